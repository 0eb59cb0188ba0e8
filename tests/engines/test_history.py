"""Summed hours are kept: retention, full refreshes, late rows and long pauses, on each engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.litellm.database import Database
from tests.support.litellm.requests import Row, spend_log
from tests.support.project import Project, put
from tests.support.warehouse import BuiltWarehouse

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
HOUR_1 = (START + timedelta(hours=1)).replace(tzinfo=None)
WAITING = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def hours(project: Project) -> dict[int, tuple[int, Decimal]]:
    """Requests and USD by hour, counted from START."""
    rows = project.rows(
        "select usage_hour, sum(request_count), sum(cost_usd) from cbf.int_usage__hourly where request_count > 0 group by 1"
    )
    naive = START.replace(tzinfo=None)
    return {round((hour - naive) / timedelta(hours=1)): (int(count), cost) for hour, count, cost in sorted(rows)}


def requests(first_hour: int, last_hour: int, spend: float = 0.5, minutes: tuple[int, ...] = (5, 25, 45)) -> list[Row]:
    """Three requests in each hour of a range that includes both ends."""
    return [
        spend_log(f"{hour}-{minute}", START + timedelta(hours=hour, minutes=minute), spend=spend)
        for hour in range(first_hour, last_hour + 1)
        for minute in minutes
    ]


WHOLE = (3, Decimal("1.5"))


def test_hours_outlive_their_source_and_late_rows_are_found(project: Project) -> None:
    everything = requests(0, 9)
    put(project, everything)
    project.build()
    assert hours(project) == dict.fromkeys(range(10), WHOLE)

    # Retention has deleted everything up to a part of hour 6, which is within the lookback; a late row of hour 2 arrived.
    left = [*requests(6, 6, minutes=(45,)), *requests(7, 9), *requests(2, 2, minutes=(50,))]
    put(project, left)
    project.build("--vars", "{lookback_hours: 1000}")
    assert hours(project) == dict.fromkeys(range(10), WHOLE)
    project.build("--full-refresh", tests=True)
    assert hours(project) == dict.fromkeys(range(10), WHOLE)

    # A late row replaces hour 8, and a price that was corrected downwards replaces hour 9.
    corrected = [row | {"spend": 0.25} if row["request_id"].startswith("9-") else row for row in left]
    put(project, [*corrected, spend_log("late", START + timedelta(hours=8, minutes=59), spend=2.0)])
    project.build()
    assert hours(project) == dict.fromkeys(range(8), WHOLE) | {8: (4, Decimal("3.5")), 9: (3, Decimal("0.75"))}

    # The source is empty: nothing is lost.
    put(project, [])
    project.build()
    project.build("--full-refresh")
    assert sum(count for count, _ in hours(project).values()) == 31

    # With rebuild_thinner_hours, an hour is replaced by what the source has now, and removed if that is nothing. When everything is
    # read again, hours before the oldest spend log stay: they outlived theirs.
    put(project, [*requests(7, 7), *requests(9, 9, minutes=(5,))])
    project.build("--full-refresh", "--vars", "{rebuild_thinner_hours: true}")
    assert hours(project) == dict.fromkeys(range(8), WHOLE) | {9: (1, Decimal("0.5"))}
    put(project, requests(8, 8, minutes=(5,)))
    project.build("--vars", "{rebuild_thinner_hours: true}")
    assert hours(project) == {8: (1, Decimal("0.5"))}


def test_a_run_reads_its_window_only_and_a_long_pause_leaves_no_gap(project: Project) -> None:
    put(project, requests(50, 60))
    project.build("--vars", "{lookback_hours: 3}")

    # A row of hour 10 arrives ten days late, which is beyond the lookback, so only a full refresh finds it. All hours
    # since the last run are summed.
    put(project, [*requests(10, 10), *requests(50, 60), *requests(400, 402)])
    project.build("--vars", "{lookback_hours: 3}")
    assert sorted(hours(project)) == [*range(50, 61), 400, 401, 402]
    project.build("--full-refresh")
    assert sorted(hours(project)) == [10, *range(50, 61), 400, 401, 402]


@pytest.mark.slow
def test_dimensions_can_be_added_and_removed_without_changing_the_past(project: Project) -> None:
    def ids() -> list[str]:
        return [
            i.removeprefix("czrn:litellm:openai:cross-region:")
            for (i,) in project.rows('select "resource/id" from cbf.cbf_lines order by 1')
        ]

    rows = [spend_log(f"a{n}", START, request_tags=[f"env:{n}"], user="u") for n in range(2)]
    put(project, rows)
    project.build(variables={"line_dimensions": ["user", "tag:env"]})
    split = [f"team-123:llm-usage:gpt-4o|user=u|tag__env={n}" for n in range(2)]
    assert ids() == split

    # The source loses those rows, and the dimension is removed: old hours stay split, with the same ids.
    put(project, [spend_log("b", START + timedelta(hours=1), request_tags=["env:0"], user="u")])
    project.build(tests=True, variables={"line_dimensions": ["user"]})
    assert ids() == ["team-123:llm-usage:gpt-4o|user=u", *split]

    # Another dimension is added, whose column the table does not have yet.
    put(project, [spend_log("b", START + timedelta(hours=1), request_tags=["app:x"], user="u")])
    project.build(tests=True, variables={"line_dimensions": ["tag:app"]})
    assert ids() == ["team-123:llm-usage:gpt-4o|tag__app=x", *split]


HOURS = "select usage_hour, line_count, cost_usd, total_tokens, fingerprint from cbf.cbf_hours order by 1"


def test_incremental_cbf_hours_equals_a_full_build(project: Project) -> None:
    put(project, requests(0, 9))
    project.build()
    compiled = (project.folder / "target/compiled/litellm_cbf/models/cbf/cbf_hours.sql").read_text(encoding="utf-8")
    everything = HOURS.replace("cbf.cbf_hours", f"({compiled}) as full_build")
    first = project.rows(HOURS)
    assert first == project.rows(everything)
    assert len({row[-1] for row in first}) == 1  # the same usage in each hour

    # Later runs update only the hours that were summed again, including those of a run that ended before this model.
    put(project, [*requests(0, 9), spend_log("late", START + timedelta(hours=4), spend=9.0), *requests(10, 10)])
    project.build("--select", "+int_usage__hourly", "cbf_lines")
    put(project, [*requests(8, 12)])
    project.build("--vars", "{lookback_hours: 1}")
    second = project.rows(HOURS)
    assert second == project.rows(everything)
    assert [hour for hour, row in enumerate(second) if row[-1] != first[0][-1]] == [4]
    assert len(second) == 13

    # Hours that did not change are not read again, so the cost of a run does not grow with the history.
    project.write("update cbf.cbf_hours set fingerprint = 'not read' where line_count > 0")
    put(project, [*requests(8, 12), spend_log("later", START + timedelta(hours=12), spend=9.0)])
    project.build("--vars", "{lookback_hours: 1}")
    assert [row[-1] == "not read" for row in project.rows(HOURS)] == [True] * 12 + [False]
    second[12] = project.rows(HOURS)[12]

    # A changed mapping changes every line. If all providers are excluded, each hour has a row without lines.
    project.build("--vars", "{token_tags: false, lookback_hours: 1}")
    assert not {row[-1] for row in project.rows(HOURS)} & {"not read", *(row[-1] for row in second)}
    project.build("--vars", "{exclude_providers: [openai], lookback_hours: 1}")
    assert {row[1:] for row in project.rows(HOURS)} == {(0, Decimal(0), 0, "empty")}
    project.build("--full-refresh", tests=True, variables={"accept_changed": ["exclude_providers"]})
    assert project.rows(HOURS) == second


def test_an_hour_is_summed_again_only_if_its_source_has_changed(project: Project) -> None:
    def summed_again(*arguments: str) -> list[int]:
        project.write("update cbf.int_usage__hourly set summed_at = '2026-01-01 00:00:00'")
        project.build(*arguments)
        found = project.rows(
            "select distinct usage_hour from cbf.int_usage__hourly where summed_at > '2026-01-02 00:00:00'"
        )
        return sorted(hour.hour for (hour,) in found)

    rows = requests(0, 5)
    put(project, rows)
    project.build()
    assert summed_again() == []  # right after the first run
    project.build("--full-refresh")
    assert summed_again() == []

    # A late row; a corrected price; a team corrected by hand, without a new updated_at.
    late = [*rows, spend_log("late", START + timedelta(hours=2, minutes=59))]
    put(project, late)
    assert summed_again() == [2]
    put(project, [row | {"spend": 0.75} if row["request_id"] == "3-25" else row for row in late])
    assert summed_again() == [3]
    put(project, [row | {"team_id": "other"} if row["request_id"] == "4-25" else row for row in late])
    assert summed_again() == [3, 4]

    # Fewer rows: the stored hour is kept, however many runs follow.
    put(project, [row for row in late if row["request_id"] not in {"1-5", "4-25"}])
    assert summed_again() == []
    assert hours(project)[1] == WHOLE

    # The sum also depends on line_dimensions and on names.
    put(project, late)
    assert summed_again() == [4]
    assert summed_again("--vars", "{line_dimensions: [user, api_key]}") == list(range(6))
    assert summed_again("--vars", "{line_dimensions: [user, api_key]}") == []
    if project.database:
        project.database.insert("LiteLLM_TeamTable", [{"team_id": "team-123", "team_alias": "Renamed"}])
        assert summed_again("--vars", "{line_dimensions: [user, api_key]}") == list(range(6))
    assert hours(project)[0] == WHOLE


@pytest.mark.slow
def test_a_long_history_can_be_summed_in_steps(project: Project) -> None:
    put(project, [*requests(0, 3), *requests(30, 31), *requests(100, 101)])
    for until, expected in (
        ("2026-11-01 02:00", [0, 1]),
        ("2026-11-02", [0, 1, 2, 3]),
        ("2026-11-04", [0, 1, 2, 3, 30, 31]),
    ):
        project.build("--vars", f"{{load_until: '{until}', lookback_hours: 1}}")
        assert sorted(hours(project)) == expected
        assert project.rows("select built_at from cbf.cbf_as_of") == [(datetime.fromisoformat(until),)]
    outcome = project.dbt("run", "--vars", "{load_until: '2026-11-04 02:30'}", ok=False)
    assert outcome.code == 2
    assert "load_until is not valid: 2026-11-04 02:30. It must be a whole UTC hour" in outcome.out
    project.build(tests=True)
    assert hours(project) == dict.fromkeys([0, 1, 2, 3, 30, 31, 100, 101], WHOLE)


def test_the_push_log_is_kept_by_every_run(project: Project) -> None:
    put(project, requests(0, 1))
    project.build()
    project.write(
        "insert into cbf.push_log (connection_id, api_url, sequence, usage_hour, outcome, recorded_at)"
        " values ('c', 'https://h', 1, '2026-11-01 00:00:00', 'accepted', '2026-11-01 02:00:00')"
    )
    project.build("--full-refresh", tests=True)
    assert project.rows("select connection_id, sequence, outcome from cbf.push_log") == [("c", 1, "accepted")]


def test_a_row_of_the_year_9999_does_not_stop_a_run(project: Project) -> None:
    wrong = spend_log("wrong clock", datetime(9999, 12, 31, 23, 30, tzinfo=timezone.utc), spend=1.0)
    put(project, [*requests(0, 1), wrong])
    for _ in range(2):
        project.build()
    put(project, [*requests(0, 1), wrong | {"spend": 2.0}])
    project.build()
    assert [cost for _, cost in hours(project).values()] == [Decimal("1.5"), Decimal("1.5")]
    rejected = project.rows("select rejection_reason, cost_usd from cbf.rejected_spend_logs")
    assert rejected == [("start_time_out_of_range", Decimal(2))]


def test_two_concurrent_runs_leave_each_hour_once(tmp_path: Path, litellm_database: Callable[[], Database]) -> None:
    """Without a lock, one run would insert its rows beside those that the other is about to commit."""
    database = litellm_database()
    project = Project(tmp_path, database)
    put(project, requests(0, 2))
    project.build()
    database.insert_spend_logs([spend_log("late", START + timedelta(hours=1, minutes=50), spend=0.5)])

    # Another run has replaced the hour and is about to commit.
    other = database.connect()
    with other.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute(
            "create temporary table built as select * from cbf.int_usage__hourly where usage_hour = %s", (HOUR_1,)
        )
        cursor.execute("delete from cbf.int_usage__hourly where usage_hour = %s", (HOUR_1,))
        cursor.execute("insert into cbf.int_usage__hourly select * from built")
        run = pool.submit(project.build)
        while not database.run(WAITING):
            assert not run.done(), run.result().out
            time.sleep(0.05)
        other.commit()
        other.close()
        run.result()
    assert hours(project) == {0: WHOLE, 1: (4, Decimal("2.0")), 2: WHOLE}


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_a_push_log_of_an_earlier_version_gets_its_missing_index(warehouse: BuiltWarehouse) -> None:
    def indexes() -> list[str]:
        found = warehouse.project.rows("select indexdef from pg_indexes where tablename = 'push_log' order by indexdef")
        return sorted(definition.partition(" USING ")[2] for (definition,) in found)

    wanted = ["btree (connection_id, api_url, recorded_at)", "btree (connection_id, api_url, usage_hour)"]
    assert indexes() == wanted
    warehouse.project.write("drop index cbf.push_log_recorded_at")
    for _ in range(2):
        warehouse.project.dbt("run", "--select", "push_log")
        assert indexes() == wanted
    # A run does not wait for a push that is writing.
    assert warehouse.project.database
    with warehouse.project.database.connect() as writing:
        writing.cursor().execute("lock table cbf.push_log in row exclusive mode")
        warehouse.project.dbt("run", "--select", "push_log", variables={"lookback_hours": 71})
        writing.rollback()


TOKEN = "0a" * 32
NAMES = """
    insert into "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x');
    insert into "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
    values ('org-1', 'Org One', 'b', 'x', 'x');
    insert into "LiteLLM_UserTable" (user_id, user_email) values ('u-1', 'ann@example.org');
    insert into "LiteLLM_TeamTable" (team_id, team_alias, organization_id) values ('t-1', 'Team One', 'org-1');
    insert into "LiteLLM_VerificationToken" (token, key_alias, key_name) values ('{token}', 'svc-key', 'sk-...');
"""
DELETED = """
    delete from "LiteLLM_UserTable";
    delete from "LiteLLM_TeamTable";
    delete from "LiteLLM_OrganizationTable";
    update "LiteLLM_VerificationToken" set token = 'new-hash';
"""
STORED_NAMES = """
    select user_email, team_alias, team_organization_id, api_key_alias, organization_alias from cbf.int_usage__hourly
"""


def test_a_name_outlives_the_deletion_of_its_owner(tmp_path: Path, litellm_database: Callable[[], Database]) -> None:
    """A user, key, team or organization that is deleted keeps its name in the hours that are summed again."""
    database = litellm_database()
    project = Project(tmp_path, database)
    row = spend_log("r", START, team_id="t-1", user="u-1", api_key=TOKEN, organization_id="org-1", metadata={})
    database.run(NAMES.format(token=TOKEN))
    put(project, [row])
    variables = {"line_dimensions": ["user", "api_key", "organization"]}
    project.build(variables=variables)
    names = [("ann@example.org", "Team One", "org-1", "svc-key", "Org One")]
    assert project.rows(STORED_NAMES) == names
    fingerprints = project.rows("select usage_hour, fingerprint from cbf.cbf_hours")
    database.run(DELETED)
    project.build(variables=variables)
    assert project.rows(STORED_NAMES) == names
    assert project.rows("select usage_hour, fingerprint from cbf.cbf_hours") == fingerprints
    # There is a newer name: it replaces the old one.
    database.run("insert into \"LiteLLM_TeamTable\" (team_id, team_alias) values ('t-1', 'Team Two')")
    project.build(variables=variables)
    assert [team for _, team, *_ in project.rows(STORED_NAMES)] == ["Team Two"]
    # An address that is no longer to be stored does not come back from what was stored before.
    project.build(variables=variables | {"user_email": "hashed"})
    assert [email for email, *_ in project.rows(STORED_NAMES)] == [None]
    project.build(variables=variables | {"user_email": "omitted"})
    assert [email for email, *_ in project.rows(STORED_NAMES)] == [None]
