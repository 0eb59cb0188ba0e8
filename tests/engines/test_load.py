"""`loader load`: a long history in steps, with the real dbt; interrupted and resumed."""

from __future__ import annotations

import signal
import subprocess
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from loader.runs.history import step_ends
from tests.support.litellm.requests import spend_log
from tests.support.project import BIN, ROOT, Project, put

# Four days with three requests each, the last one yesterday, so that the result does not depend on the time of day.
NOON = (datetime.now(timezone.utc) - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
REQUESTS = [
    spend_log(f"r{day}-{n}", NOON - timedelta(days=day, hours=n, minutes=30), spend=0.25)
    for day in range(4)
    for n in range(3)
]
SUMMED = "select count(*), coalesce(sum(request_count), 0), coalesce(sum(cost_usd), 0) from cbf.int_usage__hourly"
WHOLE = [(12, 12, Decimal("3"))]


def load(project: Project, *arguments: str) -> subprocess.Popen[str]:
    folders = {"DBT_TARGET_PATH": f"{project.folder}/target", "DBT_LOG_PATH": f"{project.folder}/logs"}
    return subprocess.Popen(
        [BIN / "loader", "load", *arguments],
        cwd=ROOT,
        env=project.environment() | folders,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_interrupted_load_resumes(tmp_path: Path) -> None:
    project = Project(tmp_path)
    put(project, REQUESTS)
    first = load(project, "--step", "day")
    assert first.stderr is not None
    lines = []
    for line in first.stderr:
        lines.append(line)
        if "2 of " in line:
            first.send_signal(signal.SIGTERM)
    assert first.wait() == 143, lines
    assert "Run the same command again to continue" in lines[-1]
    assert "Traceback" not in "".join(lines)
    [(_, requests, _)] = project.rows(SUMMED)
    assert 0 < requests < 12
    (built_at,) = project.rows("select built_at from cbf.cbf_as_of")[0]
    assert built_at.date() == (NOON - timedelta(days=1)).date()
    assert project.rows("select max(usage_hour) < (select built_at from cbf.cbf_as_of) from cbf.int_usage__hourly") == [
        (True,)
    ]

    days = [datetime.now(timezone.utc).date()]
    second = load(project, "--step", "day")
    out, err = second.communicate()
    days.append(datetime.now(timezone.utc).date())
    assert (second.returncode, out) == (0, "")
    steps = [line for line in err.splitlines() if " of " in line]
    assert len(steps) in {(day - built_at.date()).days + 1 for day in days}, err
    assert "everything is summed" in steps[-1]
    assert project.rows(SUMMED) == WHOLE

    # Nothing is left to load: a single plain run.
    third = load(project)
    _, err = third.communicate()
    assert third.returncode == 0
    assert [line for line in err.splitlines() if " of " in line] == ["1 of 1: everything is summed."]
    assert project.rows(SUMMED) == WHOLE


def test_unreadable_source_is_reported(tmp_path: Path) -> None:
    project = Project(tmp_path)
    put(project, REQUESTS)
    (project.logs / "broken.parquet").write_text("not a Parquet file")
    process = load(project)
    out, err = process.communicate()
    assert (process.returncode, out) == (3, "")
    assert "broken.parquet" in err
    assert "Traceback" not in err


def test_steps_end_at_days_or_months_and_not_in_the_future() -> None:
    begin = datetime(2025, 11, 30, 5, 30, tzinfo=timezone.utc)
    now = datetime(2026, 2, 1, tzinfo=timezone.utc)
    assert [each.strftime("%Y-%m-%d %H") for each in step_ends(begin, now, "month")] == [
        "2025-12-01 00",
        "2026-01-01 00",
        "2026-02-01 00",
    ]
    days = list(step_ends(begin, begin + timedelta(days=3), "day"))
    assert [each.strftime("%Y-%m-%d %H") for each in days] == ["2025-12-01 00", "2025-12-02 00", "2025-12-03 00"]
    assert list(step_ends(now, now, "month")) == []
