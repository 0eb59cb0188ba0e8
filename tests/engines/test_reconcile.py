"""`loader reconcile` finds each kind of missing money and names its cause."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from loader.audit.reconcile import HEAD, Day, findings, table, whole_days
from loader.hours import HOUR, Window
from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials
from tests.support.litellm.database import Database
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

FIRST = datetime(2026, 11, 1, tzinfo=timezone.utc)
RANGE = ("--start", "2026-11-01", "--end", "2026-11-06")


def reconciled(project: Project, *arguments: str) -> dict[int, dict[str, Any]]:
    """The reconciliation of each day, by day of the month."""
    outcome = project.loader("reconcile", *RANGE, "--format", "json", *arguments)
    assert outcome.code == 0, outcome.err
    return {int(day["day"][-2:]): day for day in json.loads(outcome.out)["days"]}


def test_findings_with_litellms_tables(
    litellm_database: Callable[[], Database], tmp_path: Path, anycost: SandboxServer
) -> None:
    project = Project(tmp_path, litellm_database())
    project.settings = credentials(anycost)
    rows = [
        spend_log(f"{day}-{n}", FIRST + timedelta(days=day - 1, hours=n), spend=0.1, custom_llm_provider=provider)
        for day in range(1, 6)
        for n, provider in enumerate(("openai", "anthropic", "bedrock"))
    ]
    put(project, [*rows, spend_log("bad", FIRST + timedelta(days=3), spend=0.25, total_tokens=-1)])
    assert project.database is not None
    daily = 'insert into "{}" (id, {}, date, api_key, model, spend, updated_at) values (%s, %s, %s, %s, %s, %s, now())'
    for day, spend in ((1, 0.1 + 0.1 + 0.1), (2, 0.8), (3, 0.2), (4, 0.55), (5, 0.3)):
        values = (f"2026-11-{day:02}", "k", "m", spend)
        project.database.run(daily.format("LiteLLM_DailyUserSpend", "user_id"), (f"u{day}", "u", *values))
    project.database.run(daily.format("LiteLLM_DailyTeamSpend", "team_id"), ("t1", "t", "2026-11-01", "k", "m", 0.3))
    project.database.run('update "LiteLLM_DailyTeamSpend" set ptu_flat_cost = 5040.5')
    project.build(tests=True)
    push = ("push", "--start", "2026-11-01", "--end", "2026-11-05")
    assert project.loader(*push).code == 0
    # Retention deletes the logs of the first day.
    project.database.run("delete from \"LiteLLM_SpendLogs\" where request_id like '1-%%'")

    found = reconciled(project)
    assert found[1]["findings"] == [
        "spend logs of $0.3 have been deleted; their sums are kept here",
        "$5040.5 of flat cost (PTU) is not in any spend log and is not sent",
    ]
    assert found[2]["findings"] == [
        "LiteLLM lost $0.5: its daily table has it, but its spend logs never did (or lost it before dbt ran)"
    ]
    assert found[3]["findings"] == ["LiteLLM's daily table is missing $0.1 that its spend logs have"]
    assert found[4]["findings"] == ["$0.25 was rejected: see rejected_spend_logs"]
    assert found[5]["findings"] == ["$0.3 not sent yet"]
    assert (found[2]["spend_logs"], found[2]["hours"], found[2]["lines"], found[2]["sent"]) == ("0.3",) * 4
    assert found[1]["ptu_flat_cost"] == "5040.5"

    # A late row, and an excluded provider.
    project.database.insert_spend_logs([spend_log("late", FIRST + timedelta(days=4, hours=9), spend=0.7)])
    assert "$0.7 of spend logs is not summed: run `dbt run`" in str(reconciled(project)[5]["findings"])
    project.build("--vars", "{exclude_providers: [anthropic]}")
    left_out = reconciled(project)
    assert "$0.1 of providers that the vars leave out" in left_out[2]["findings"]
    assert "CloudZero accepted $0.1 more than there is now: see `loader status`" in left_out[2]["findings"]

    shown = project.loader("reconcile", *RANGE)
    assert re.split(r"  +", shown.out.splitlines()[0].strip()) == list(HEAD)
    assert shown.out.splitlines()[-1].startswith("total")
    project.settings = {}
    assert reconciled(project)[2]["sent"] is None
    assert "CLOUDZERO_CONNECTION_ID is not set" in project.loader("reconcile", *RANGE).err


@pytest.mark.parametrize("spend", ["NaN", "Infinity", "-Infinity", "1e300"])
def test_amounts_and_dates_that_are_not_valid_are_left_out_and_reported(
    spend: str, litellm_database: Callable[[], Database], tmp_path: Path
) -> None:
    project = Project(tmp_path, litellm_database())
    assert project.database is not None
    put(project, [spend_log("r", FIRST, spend=0.5)])
    daily = (
        'insert into "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, spend, updated_at)'
        " values (%s, 'u', %s, 'k', 'm', cast(%s as double precision), timestamp '2026-11-02 10:00:00')"
    )
    for number, (day, amount) in enumerate([("2026-11-01", "0.5"), ("2026-11-01", spend), ("", "2"), ("soon", "3")]):
        project.database.run(daily, (f"d{number}", day, amount))
    project.build(tests=True)
    found = reconciled(project)
    assert found[1]["litellm_daily_user"] == "0.5"
    assert any("have rows of this day whose amount is not a number" in each for each in found[1]["findings"])
    assert project.loader("reconcile", *RANGE).code == 0
    today = json.loads(project.loader("reconcile", "--window", "today", "--format", "json").out)["days"]
    assert "have no valid date" in today[-1]["findings"][0]


def test_subscription_fees_are_reported(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    put(project, [spend_log("r", FIRST, spend=0.5)])
    project.write(
        'create table "LiteLLM_SubscriptionAccountTable" (id text, monthly_fee double precision, currency text)'
    )
    project.write("insert into \"LiteLLM_SubscriptionAccountTable\" values ('a', 20, 'USD'), ('b', 10.5, 'USD')")
    project.build()
    days = json.loads(project.loader("reconcile", "--window", "month_to_date", "--format", "json").out)["days"]
    assert days[0]["subscription_fee"] == "30.5"
    assert "$30.5 of monthly subscription fees is not in any spend log and is not sent" in days[0]["findings"]


def test_files_have_no_daily_tables(tmp_path: Path) -> None:
    project = Project(tmp_path)
    put(project, [spend_log("a", FIRST, spend=0.1)])
    project.build()
    (day,) = reconciled(project).values()
    assert (day["spend_logs"], day["litellm_daily_user"], day["ptu_flat_cost"], day["findings"]) == (
        "0.1",
        None,
        None,
        [],
    )
    shown = project.loader("reconcile", *RANGE)
    assert "equal" in shown.out
    assert "no independent total to compare with" in shown.err
    wrong = project.loader("reconcile", "--window", "pending")
    assert (wrong.code, "compares whole days" in wrong.err) == (2, True)


def test_old_litellm_without_daily_tables_and_columns(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    put(project, [spend_log("a", FIRST, spend=0.1)])
    project.write('alter table "LiteLLM_DailyTeamSpend" drop column ptu_flat_cost; drop table "LiteLLM_DailyUserSpend"')
    project.build(tests=True)
    assert reconciled(project)[1]["lines"] == "0.1"


def test_range_uses_the_index_of_the_spend_logs(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    project.build()
    database = project.database
    assert database is not None
    database.run(
        'insert into "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, "startTime", "endTime")'
        " select 'r' || n, 'acompletion', 'k', 0.1, timestamp '2026-01-01' + n * interval '1 minute', timestamp '2026-01-01'"
        " from generate_series(1, 100000) as n"
    )
    connection = psycopg2.connect(host=database.host, user=database.user, dbname=database.name)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute('analyze "LiteLLM_SpendLogs"')
        cursor.execute(
            "explain select amount_source, cast(happened_at as date), sum(cost_usd) from cbf.reconciliation_amounts"
            " where happened_at >= timestamp '2026-02-01' and happened_at < timestamp '2026-02-02' group by 1, 2"
        )
        shown = "\n".join(row[0] for row in cursor.fetchall())
    connection.close()
    assert "LiteLLM_SpendLogs_startTime" in shown
    assert 'Seq Scan on "LiteLLM_SpendLogs"' not in shown


def test_windows_are_extended_to_whole_days() -> None:
    assert whole_days(Window(FIRST + 5 * HOUR, FIRST + 30 * HOUR)) == Window(FIRST, FIRST + 48 * HOUR)
    assert whole_days(Window(FIRST, FIRST + 24 * HOUR)) == Window(FIRST, FIRST + 24 * HOUR)


@pytest.mark.parametrize("noise", ["0", "0.0000000000001"])
def test_rounding_errors_of_doubles_are_not_findings(noise: str) -> None:
    amount = Decimal(100)
    same = dict.fromkeys(("spend_logs", "hours", "lines", "sent"), amount)
    for daily in (amount + Decimal(noise), amount - Decimal(noise)):
        assert findings(Day(date(2026, 11, 1), same | {"litellm_daily_user": daily}), True) == []
    assert len(findings(Day(date(2026, 11, 1), same | {"litellm_daily_user": amount + 1}), True)) == 1
    # Hours, lines and sent amounts are exact, so every difference counts.
    assert len(findings(Day(date(2026, 11, 1), same | {"sent": amount - Decimal("1e-18")}), False)) == 1


def test_total_row_sums_all_days() -> None:
    rows = table(
        [Day(date(2026, 11, n), {"lines": Decimal(n), "hours": Decimal(n), "spend_logs": Decimal(n)}) for n in (1, 2)]
    )
    assert rows[-1][:2] == ["total", "3.00"]
    assert rows[0][-1] == "equal"
