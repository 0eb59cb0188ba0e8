"""The lines and fingerprints of a fixed sample do not change: otherwise every hour would be sent again.

If a change is intended, update the hashes and list the change in CHANGELOG.md as breaking: every hour is then sent again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.project import Project

SAMPLE = ("sample", "--until", "2026-11-02T00:00:00Z", "--rows", "4000", "--days", "3", "--seed", "7")
HOURS = "11b77d438340d91b714ccbb29eaeaf38b47065872b618011effd1a89c6b4507e"
LINES = "713a370d478004cf7bf3136c90a6052c2432bb24b7c0a574a47fab100b485870"


def sha256(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def test_lines_and_fingerprints_of_the_sample(tmp_path: Path) -> None:
    project = Project(tmp_path)
    written = project.loader(*SAMPLE, "--out", str(project.logs))
    assert written.code == 0, written.err
    project.build()
    hours = project.rows(
        "select usage_hour || ' ' || stream || ' ' || line_count || ' ' || cost_usd || ' ' || total_tokens || ' ' || fingerprint"
        " from cbf.cbf_hours"
    )
    assert (len(hours), sha256([row for (row,) in hours])) == (72, HOURS)
    lines = project.loader("dry-run", "--limit", "1000000", "--format", "ndjson").out.splitlines()
    assert (len(lines), sha256(lines)) == (2957, LINES)
