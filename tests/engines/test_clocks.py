"""Which hours are looked at does not depend on a clock, and no run that fails or overlaps another loses one."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from loader.sandbox.server import SandboxServer
from tests.engines.test_history import START, WHOLE, hours, requests
from tests.support.anycost import credentials, read_back
from tests.support.litellm.requests import Row, spend_log
from tests.support.project import Project, put
from tests.support.warehouse import BuiltWarehouse, Usage

LINES = 'select "time/usage_start", count(*), sum("cost/cost") from cbf.cbf_lines group by 1 order by 1'
HOURS = "select usage_hour, line_count, cost_usd from cbf.cbf_hours where line_count > 0 order by 1"


def test_an_hour_is_fingerprinted_whatever_the_clocks_say(project: Project) -> None:
    rows = requests(0, 3)
    put(project, rows)
    project.build()

    # A machine whose clock is ahead has stored an hour. On another machine, a run sums a late row, and is killed before cbf_hours.
    project.write("update cbf.cbf_hours set summed_at = '2099-01-01 00:00:00' where usage_hour = '2026-11-01 03:00:00'")
    put(project, [*rows, spend_log("late", START + timedelta(hours=1, minutes=50), spend=500.0)])
    project.build("--select", "+int_usage__hourly")
    # It had begun before the last run that completed.
    project.write("update cbf.int_usage__hourly set summed_at = '2026-11-01 12:00:00'")
    assert project.rows(HOURS) != project.rows(LINES)
    project.build()
    assert project.rows(HOURS) == project.rows(LINES)
    assert hours(project)[1] == (4, Decimal("501.5"))

    # A table that an earlier version built: each hour is looked at once, and keeps its fingerprint.
    fingerprints = "select usage_hour, fingerprint from cbf.cbf_hours order by 1"
    before = project.rows(fingerprints)
    project.write("update cbf.cbf_hours set invocation_id = null")
    project.write("update cbf.int_usage__hourly set invocation_id = null")
    if project.database:
        for table, column in (
            ("cbf_hours", "invocation_id"),
            ("int_usage__hourly", "invocation_id"),
            ("cbf_as_of", "newest_hour"),
        ):
            project.write(f"alter table cbf.{table} drop column {column} cascade")
    project.write("update cbf.cbf_hours set fingerprint = 'to be found' where usage_hour = '2026-11-01 01:00:00'")
    project.build()
    assert project.rows(fingerprints) == before

    # Rows that were deleted by hand leave an hour without lines.
    project.write("update cbf.cbf_hours set fingerprint = 'not read' where usage_hour = '2026-11-01 00:00:00'")
    project.write("delete from cbf.int_usage__hourly where usage_hour = '2026-11-01 02:00:00'")
    project.build("--select", "cbf_hours")
    assert project.rows("select usage_hour, fingerprint from cbf.cbf_hours order by 1") == [
        (before[0][0], "not read"),
        before[1],
        (before[2][0], "empty"),
        before[3],
    ]


def at(start: datetime, first_hour: int, last_hour: int) -> list[Row]:
    """One request in each hour of a range that includes both ends."""
    return [spend_log(f"r{n}", start + timedelta(hours=n), spend=0.5) for n in range(first_hour, last_hour + 1)]


def test_an_outage_leaves_no_gap_whatever_lies_in_the_future(project: Project) -> None:
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    start = now - timedelta(days=8)
    future = spend_log("future", now + timedelta(days=30), spend=0.5)

    def summed() -> set[int]:
        found = project.rows("select distinct usage_hour from cbf.int_usage__hourly")
        return {round((hour.replace(tzinfo=timezone.utc) - start) / timedelta(hours=1)) for (hour,) in found}

    ahead = 38 * 24
    put(project, [*at(start, 0, 3), future])
    project.build()
    assert summed() == {*range(4), ahead}

    # The clock of a complete run was ahead, and spend logs arrived five days late.
    project.write(
        "update cbf.cbf_as_of set built_at = built_at + interval '20 days', newest_hour = built_at + interval '20 days'"
    )
    put(project, [*at(start, 0, 6), future])
    project.build()
    assert summed() == {*range(7), ahead}

    # A run that fails has summed the newest hour, but the next one still looks as far back.
    newest = at(now, -1, -1)
    put(project, [*at(start, 0, 6), *newest, future])
    project.build("--select", "+int_usage__hourly")
    assert summed() == {*range(7), 191, ahead}
    put(project, [*at(start, 0, 9), *newest, future])
    project.build()
    assert summed() == {*range(10), 191, ahead}
    # What a complete run has stored moves the window, and nothing else.
    known = project.rows("select newest_hour, lookback_start from cbf.cbf_as_of")
    hour = (start + timedelta(hours=9)).replace(tzinfo=None)
    assert known == [(hour, hour - timedelta(hours=72))]


REBUILD = ("--vars", "{rebuild_thinner_hours: true}")


def test_hours_that_a_wrong_file_filled_are_emptied(project: Project, anycost: SandboxServer) -> None:
    project.settings = credentials(anycost)

    def at_cloudzero() -> Decimal:
        return sum((Decimal(row["cost/cost"]) for row in read_back(anycost)), Decimal(0))

    right = requests(1, 3)
    wrong = [spend_log(f"wrong-{n}", START + timedelta(hours=n, minutes=7), spend=100.0) for n in (0, 2, 6)]
    put(project, [*right, *wrong])
    project.build()
    assert project.loader("push", "--window", "pending").code == 0
    assert at_cloudzero() == Decimal("304.5")

    # The file is gone, and a request of hour 3 began in hour 4. By default, stored hours outlive their spend logs.
    moved = spend_log("3-45", START + timedelta(hours=4, minutes=1), spend=0.5)
    correct = [*[row for row in right if row["request_id"] != "3-45"], moved]
    put(project, correct)
    project.build()
    assert hours(project)[6] == (1, Decimal(100))
    project.build(*REBUILD, tests=True)
    cost = Decimal("0.5")
    assert hours(project) == {1: WHOLE, 2: WHOLE, 3: (2, 2 * cost), 4: (1, cost)}
    assert project.rows(HOURS) == project.rows(LINES)
    refused = project.loader("push", "--window", "pending")
    assert (refused.code, at_cloudzero()) == (6, Decimal("305"))
    assert "Held back" in refused.err
    assert project.loader("push", "--window", "pending", "--allow-shrink").code == 0
    assert at_cloudzero() == Decimal("4.5")
    assert "Nothing to send" in project.loader("push", "--window", "pending").err

    # Rows that come back are summed and sent.
    put(project, [*correct, spend_log("back", START + timedelta(hours=6), spend=7.0)])
    project.build()
    assert hours(project)[6] == (1, Decimal(7))
    assert project.loader("push", "--window", "pending").code == 0
    assert at_cloudzero() == Decimal("11.5")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            "update cbf.cbf_hours set cost_usd = 400 where cost_usd = 900",
            "cbf_lines and cbf_hours disagree on the hour 2026-10-31T21:00:00Z",
        ),
        (
            "delete from cbf.cbf_hours where cost_usd = 900",
            "cbf_hours was not built from what int_usage__hourly holds of the hour 2026-10-31T21:00:00Z",
        ),
        (
            "update cbf.int_usage__hourly set invocation_id = 'another' where cost_usd = 900",
            "cbf_hours was not built from what int_usage__hourly holds of the hour 2026-10-31T21:00:00Z",
        ),
    ],
)
def test_the_loader_sees_that_the_models_disagree(
    warehouse: BuiltWarehouse, anycost: SandboxServer, broken: str, message: str
) -> None:
    warehouse.project.settings = credentials(anycost)
    warehouse.put({0: [Usage("a", "1")], 1: [Usage("a", "900")], 2: [Usage("b", "3")]})
    commands = (("status",), ("check",), ("verify", "--month", "2026-10"))
    assert warehouse.project.loader("push", "--window", "pending").code == 0
    for command in commands:
        outcome = warehouse.project.loader(*command)
        assert (outcome.code, "disagree" in outcome.out + outcome.err) == (0, False), outcome
    warehouse.project.write(broken)
    for command in commands:
        outcome = warehouse.project.loader(*command)
        assert outcome.code == 6, command
        assert message in outcome.err
        assert "Run `dbt run`" in outcome.err
    # Another month is not affected.
    assert warehouse.project.loader("verify", "--month", "2026-11").code == 0


def test_status_sees_spend_logs_that_are_not_summed(project: Project) -> None:
    put(project, requests(0, 3))
    project.build()
    assert project.loader("status").code == 0
    project.write("delete from cbf.int_usage__hourly where usage_hour = '2026-11-01 02:00:00'")
    outcome = project.loader("status", "--format", "json")
    assert outcome.code == 6
    assert json.loads(outcome.out)["disagreements"] == {
        "unsummed": [{"hour": "2026-11-01T02:00:00Z", "cost": "1.5"}],
        "outdated": ["2026-11-01T02:00:00Z"],
        "different": ["2026-11-01T02:00:00Z"],
    }
    assert "spend logs of the hour 2026-11-01T02:00:00Z are not in int_usage__hourly, which lacks $1.5" in outcome.err
    # The next run finds it, whatever it is that removed the rows.
    project.build()
    assert project.loader("status").code == 0
