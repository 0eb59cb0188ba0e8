"""What one request is: copies, ids that are used again, and batches whose cost is logged at each retrieval."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials
from tests.support.litellm.database import Database
from tests.support.litellm.requests import Row, spend_log, write
from tests.support.project import Project, put

START = datetime(2026, 11, 20, 10, 11, tzinfo=timezone.utc)
FILE_KINDS = ("jsonl", "json", "csv", "parquet", "payload", "payload_files")
ONE_HOUR_BACK = {"lookback_hours": 1}


def poll(hours: float, batch: str = "batch_abc", **values: object) -> Row:
    """The spend log of a retrieval of a finished batch, some hours after START."""
    return spend_log(batch, START + timedelta(hours=hours), **({"call_type": "aretrieve_batch", "spend": 5.0} | values))


def partitioned(project: Project) -> None:
    """Give the table the key that LiteLLM's script for partitions leaves."""
    assert project.database
    project.database.run('alter table "LiteLLM_SpendLogs" drop constraint "LiteLLM_SpendLogs_pkey"')
    project.database.run('alter table "LiteLLM_SpendLogs" add primary key (request_id, "startTime")')


def keyless(project: Project) -> None:
    """Take the table's key away, as in a copy of it."""
    assert project.database
    project.database.run('alter table "LiteLLM_SpendLogs" drop constraint "LiteLLM_SpendLogs_pkey"')


def billed(project: Project) -> dict[str, Decimal]:
    """USD of each team's lines, and of all that was merged."""
    lines = project.rows('select "resource/account", sum("cost/cost") from cbf.cbf_lines group by 1')
    merged = project.rows("select 'merged', coalesce(sum(cost_usd), 0) from cbf.merged_spend_logs")
    return {name: Decimal(cost) for name, cost in lines + merged}


def test_polls_of_a_batch_count_once_however_late_and_beside_their_twin(project: Project) -> None:
    if project.database:
        partitioned(project)
    rows = [
        poll(0),
        poll(1 / 60),
        poll(2 / 60),
        poll(9, team_id="team-2"),
        poll(1, batch="batch_abc_batch_cost", team_id=None),
    ]
    put(project, rows)
    project.build(tests=True)
    assert billed(project) == {"team-123": Decimal(5), "merged": Decimal(20)}

    # A later run no longer reads the first poll's hour.
    rows += [spend_log("other", START + timedelta(hours=200), spend=1.0)]
    put(project, rows)
    project.build(variables=ONE_HOUR_BACK)
    rows += [poll(200.1), poll(200.2, batch="batch_new"), poll(200.3, batch="batch_new")]
    put(project, rows)
    project.build(variables=ONE_HOUR_BACK, tests=True)
    assert billed(project) == {"team-123": Decimal(11), "merged": Decimal(30)}

    # Retention deletes the poll that counts, and the batch is polled again.
    put(project, [*rows[5:], poll(201)])
    project.build(variables=ONE_HOUR_BACK, tests=True)
    assert billed(project)["team-123"] == Decimal(11)
    project.build("--full-refresh", tests=True)
    assert billed(project)["team-123"] == Decimal(11)


def test_a_poll_before_and_a_row_of_the_cost_after_an_upgrade_are_one_charge(project: Project) -> None:
    put(project, [poll(0), poll(5, batch="batch_abc_batch_cost"), poll(1, batch="batch_def", spend=0.0)])
    project.build(tests=True)
    assert billed(project) == {"team-123": Decimal(5), "merged": Decimal(5)}
    assert project.rows("select request_id, merge_reason from cbf.merged_spend_logs") == [
        ("batch_abc_batch_cost", "batch_poll")
    ]


def test_a_poll_that_counted_is_replaced_when_its_file_was_wrong(project: Project) -> None:
    put(project, [poll(0), spend_log("r1", START), poll(0.2, batch="batch_abc_batch_cost")])
    project.build()
    put(project, [spend_log("r1", START), poll(0.2, batch="batch_abc_batch_cost")])
    project.build(tests=True)
    assert billed(project)["team-123"] == Decimal("5.002")  # kept: the hour has fewer requests than before
    project.build(variables={"rebuild_thinner_hours": True}, tests=True)
    assert billed(project) == {"team-123": Decimal("5.002"), "merged": Decimal(0)}


def test_a_rejected_poll_takes_no_money_away(project: Project) -> None:
    put(project, [poll(0, prompt_tokens=-1), poll(1, batch="batch_abc_batch_cost")])
    project.build(tests=True)
    assert billed(project) == {"team-123": Decimal(5), "merged": Decimal(0)}


@pytest.mark.parametrize("kind", FILE_KINDS)
@pytest.mark.parametrize("word", ["None", "null", "nan", "N/A", "undefined", ""])
def test_a_word_for_no_value_is_no_id_in_files_of_any_kind(kind: str, word: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    rows = [
        spend_log(word, START, spend=spend, team_id=team) for spend, team in ((1.5, "t1"), (2.5, "t2"), (4.0, "t2"))
    ]
    write(rows, project.logs, kind)
    project.build("--select", "+stg_litellm__spend_logs", "+merged_spend_logs")
    assert project.rows("select count(*), count(request_id), sum(cost_usd) from cbf.stg_litellm__spend_logs") == [
        (3, 0, Decimal(8))
    ]


def reused_ids() -> list[Row]:
    """Rows with one id: copies, and requests of other teams, users, keys and models."""
    at = START.replace(second=46)
    return [
        spend_log("chatcmpl-213", at, spend=1.0, team_id="a", user="u1"),
        spend_log("chatcmpl-213", at + timedelta(milliseconds=847), spend=1.0, team_id="a", user="u1"),
        spend_log("chatcmpl-213", at + timedelta(milliseconds=848), spend=2.0, team_id="b", user="u1"),
        spend_log("chatcmpl-213", at + timedelta(milliseconds=849), spend=4.0, team_id="b", user="u2"),
        spend_log("chatcmpl-213", at + timedelta(milliseconds=850), spend=8.0, team_id="b", user="u2", model="gemini"),
        spend_log(
            "chatcmpl-213", at + timedelta(milliseconds=851), spend=16.0, team_id="b", user="u2", api_key="2" * 64
        ),
        spend_log("whole", at, spend=32.0, team_id="c"),
        spend_log("whole", at + timedelta(seconds=1), spend=64.0, team_id="c"),
    ]


def test_whole_seconds_are_merged_and_other_requests_are_not(project: Project) -> None:
    if project.database:
        partitioned(project)
    put(project, reused_ids())
    project.build(tests=True)
    assert billed(project) == {"a": Decimal(1), "b": Decimal(30), "c": Decimal(96), "merged": Decimal(1)}


def test_an_hour_takes_late_requests_after_its_first_one_was_exported_again(tmp_path: Path) -> None:
    project = Project(tmp_path)
    whole, precise = START, START + timedelta(milliseconds=500)
    write([spend_log("r1", whole)], project.logs, "jsonl", "first")
    project.build()
    write([spend_log("r1", precise), spend_log("r2", precise)], project.logs, "parquet", "second")
    project.build(tests=True)
    assert billed(project) == {"team-123": Decimal("0.004"), "merged": Decimal("0.002")}


def test_a_table_without_a_key_has_its_copies_merged(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    keyless(project)
    old, new = spend_log("r1", START, spend=1.0), spend_log("r1", START, spend=2.0, updated_at="2026-11-21T00:00:00")
    put(project, [old, new, spend_log("r1", START, spend=4.0, team_id="team-2")])
    project.build(tests=True)
    assert billed(project) == {"team-123": Decimal(2), "team-2": Decimal(4), "merged": Decimal(1)}


@pytest.mark.parametrize(("change", "sorts"), [(None, False), (partitioned, False), (keyless, True)])
def test_postgres_sorts_no_spend_logs_that_a_key_keeps_apart(
    change: Callable[[Project], None] | None, sorts: bool, litellm_database: Callable[[], Database], tmp_path: Path
) -> None:
    project = Project(tmp_path, litellm_database())
    if change:
        change(project)
    put(project, [spend_log("r1", START)])
    project.build()
    plan = "\n".join(line for (line,) in project.rows("explain select * from cbf.stg_litellm__spend_logs"))
    assert ("WindowAgg" in plan) == sorts


def test_what_was_merged_and_what_has_a_warning_is_reported(project: Project, anycost: SandboxServer) -> None:
    if project.database:
        partitioned(project)
    put(project, [poll(0), poll(1), spend_log("minus", START, spend=-1.0)])
    project.settings = credentials(anycost)
    merged = "1 spend log ($5) was merged into another one of the same request: 1 batch_poll ($5), such as batch_abc."
    warned = "Warning: 1 request ($-1) was counted with a warning: 1 negative_spend ($-1), such as minus."
    run = project.loader("run", "--settle-for", "0s")
    for outcome in (
        run,
        project.loader("push", "--window", "pending"),
        project.loader("status"),
        project.loader("dry-run"),
    ):
        assert outcome.err.count(merged) == 1, outcome.err
        assert outcome.err.count(warned) == 1, outcome.err
    source = json.loads(project.loader("status", "--format", "json").out)["source"]
    assert source["merged"] == [{"reason": "batch_poll", "requests": 1, "cost": "5", "example": "batch_abc"}]
    assert source["warnings"] == [{"warning": "negative_spend", "requests": 1, "cost": "-1", "example": "minus"}]
    put(project, [poll(0)])
    project.build(tests=True)
    source = json.loads(project.loader("status", "--format", "json").out)["source"]
    assert (source["merged"], source["warnings"]) == ([], [])
