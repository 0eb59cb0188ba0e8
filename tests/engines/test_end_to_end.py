"""End to end: from spend logs to the rows that AnyCost returns, with the real commands on each engine."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from loader.cli.main import main
from loader.sandbox.server import SandboxServer
from tests.support.anycost import KEY, credentials, read_back, stored_months
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

UNTIL = "2026-11-02T09:00:00Z"  # the sample crosses the end of a month


def test_anycost_returns_the_lines_of_the_view_to_the_last_digit(
    project: Project, anycost: SandboxServer, tmp_path: Path
) -> None:
    project.settings = credentials(anycost)
    logs = project.logs if not project.database else tmp_path / "sample"
    assert project.loader("sample", "--out", str(logs), "--rows", "3000", "--days", "2", "--until", UNTIL).code == 0
    rows = [json.loads(line) for file in logs.iterdir() for line in file.read_text(encoding="utf-8").splitlines()]
    if project.database:
        project.database.insert_spend_logs(rows)
    project.build(tests=True)

    dry = project.loader("dry-run", "--format", "ndjson", "--limit", "100000")
    shown = sorted((json.loads(line) for line in dry.out.splitlines()), key=repr)
    first = min(line["time/usage_start"] for line in shown)
    pushed = project.loader("push", "--start", first, "--end", UNTIL)
    assert (pushed.code, pushed.err) == (0, "")
    assert pushed.out.startswith("Sent 48 hours, ")

    assert sorted(read_back(anycost), key=repr) == shown
    source = sum((Decimal(repr(r["spend"])).quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP) for r in rows), Decimal(0))
    assert sum((Decimal(line["cost/cost"]) for line in shown), Decimal(0)) == source
    assert sum((Decimal(month["cost"]) for month in stored_months(anycost).values()), Decimal(0)) == source

    # Sending a part again replaces the same hours, so nothing counts twice.
    again = project.loader("push", "--start", "2026-11-01", "--end", UNTIL, "--format", "json")
    answer = json.loads(again.out)
    assert (answer["message"], answer["status"]) == ("CloudZero export completed successfully", "success")
    assert answer["summary"]["hours"] == 33
    assert sorted(read_back(anycost), key=repr) == shown

    summary = json.loads(project.loader("dry-run", "--format", "json", "--limit", "2").out)
    assert summary["message"] == "CloudZero dry run export completed successfully."
    assert summary["status"] == "success"
    assert len(summary["dry_run_data"]["usage_data"]) == len(summary["dry_run_data"]["cbf_data"]) == 2
    assert summary["dry_run_data"]["summary"]["total_records"] == len(shown)
    assert summary["dry_run_data"]["summary"]["total_tokens"] == sum(int(line["usage/amount"]) for line in shown)

    check = project.loader("check")
    assert check.code == 0, check.out + check.err
    assert check.out.count(" ok ") == 5

    added = project.loader("push", "--start", first, "--end", UNTIL, "--operation", "sum")
    assert added.code == 0, added.err
    everything = added.out + check.out + again.out + dry.err
    assert KEY not in everything
    assert KEY not in repr(anycost.sandbox.state())
    doubled = sum((Decimal(month["cost"]) for month in stored_months(anycost).values()), Decimal(0))
    assert doubled == 2 * source
    assert anycost.sandbox.concurrent_requests_seen == 0


def test_incomplete_hours_are_not_sent(
    project: Project, anycost: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings = credentials(anycost)
    hours = [datetime(2024, 1, 15, hour, 10, tzinfo=timezone.utc) for hour in (12, 13, 14)]
    rows = [spend_log(f"{n}-{m}", hour, model=f"m{m}") for n, hour in enumerate(hours) for m in range(n + 1)]
    put(project, rows)
    project.build()
    # It is 14:40, and dbt ran at 14:30.
    project.write("update cbf.cbf_as_of set built_at = timestamp '2024-01-15 14:30:00'")
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    now = datetime(2024, 1, 15, 14, 40, tzinfo=timezone.utc)
    monkeypatch.setattr("loader.cli.options.now", lambda: now)

    def push(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, ["push", *arguments])
        return result.exit_code, result.stdout, result.stderr

    code, out, err = push("--start", "2024-01-15T14:00Z")
    assert (code, out) == (6, "")
    assert "is not complete" in err
    assert "--include-incomplete" in err
    assert stored_months(anycost) == {}

    code, out, err = push("--start", "2024-01-15T13:00Z")
    assert code == 0
    assert "Left out: 1 hour(s) from 2024-01-15T14:00:00Z" in err
    assert out.startswith("Sent 1 hours, 2 lines, ")

    code, out, err = push("--window", "today", "--limit", "2")
    assert (code, out[:21]) == (0, "Sent 1 hours, 2 lines")
    assert push("--window", "today", "--limit", "3")[1].startswith("Sent 2 hours, 3 lines")
    assert push("--window", "today", "--limit", "1")[0] == 6
    assert push("--window", "last_hour")[1].startswith("Sent 1 hours, 2 lines")
    assert push("--start", "2024-01-15T14:00Z", "--include-incomplete")[1].startswith("Sent 1 hours, 3 lines")

    # An hour later dbt has not run again, so the hour 14:00 may still be incomplete in the models.
    now += timedelta(hours=1)
    code, out, err = push("--window", "last_hour")
    assert (code, out) == (6, "")
    assert "run `dbt run` first" in err


def test_replace_drop_requires_a_whole_month(project: Project, anycost: SandboxServer) -> None:
    project.settings = credentials(anycost)
    month = datetime(2024, 1, 1, tzinfo=timezone.utc)
    put(project, [spend_log("a", month), spend_log("b", month.replace(day=31, hour=23))])
    project.build()
    refused = project.loader("push", "--start", "2024-01-01", "--end", "2024-01-31", "--operation", "replace_drop")
    assert refused.code == 2
    assert "exactly one UTC month" in refused.err
    assert project.loader("push", "--window", "month_to_date", "--operation", "replace_drop").code == 2
    assert stored_months(anycost) == {}
    sent = project.loader("push", "--start", "2024-01-01", "--end", "2024-02-01", "--operation", "replace_drop")
    assert "Sent 2 hours, 2 lines" in sent.out
    assert list(stored_months(anycost)) == ["2024-01"]
