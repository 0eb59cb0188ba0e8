"""`loader load` of a history with gaps: days and months without spend logs are skipped."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from loader.runs.history import ends_with_logs
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

TODAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
NOW = datetime(2026, 2, 1, tzinfo=timezone.utc)


@pytest.mark.slow
def test_spend_log_of_2001_takes_one_step(project: Project) -> None:
    starts = [datetime(2001, 1, 1, tzinfo=timezone.utc), TODAY - timedelta(days=40), TODAY - timedelta(hours=3)]
    put(project, [spend_log(f"r{number}", start, spend=0.25) for number, start in enumerate(starts)])
    loaded = project.loader("load", "--step", "day")
    assert loaded.code == 0, loaded.err
    ends = [datetime(2001, 1, 2), TODAY - timedelta(days=39), TODAY]  # noqa: DTZ001
    assert loaded.err.splitlines() == [
        "Creating tables and views.",
        *(f"{n} of 4: everything before {end:%Y-%m-%dT00:00:00Z} is summed." for n, end in enumerate(ends, 1)),
        "4 of 4: everything is summed.",
    ]
    assert project.rows("select count(*), sum(cost_usd) from cbf.int_usage__hourly") == [(3, Decimal("0.75"))]


def test_steps_without_spend_logs_are_skipped() -> None:
    days = [date(2026, 1, 31), date(1970, 1, 1), date(2025, 11, 30), date(2025, 11, 2)]
    assert [f"{end:%Y-%m-%d}" for end in ends_with_logs(days, NOW, "month")] == [
        "1970-02-01",
        "2025-12-01",
        "2026-02-01",
    ]
    assert [f"{end:%Y-%m-%d}" for end in ends_with_logs(days, NOW - timedelta(hours=1), "day")] == [
        "1970-01-02",
        "2025-11-03",
        "2025-12-01",
    ]
    assert ends_with_logs([], NOW, "day") == []
