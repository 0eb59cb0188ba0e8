"""The same requests give the same lines from LiteLLM's database and from files of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from loader.sandbox.sample import SamplePlan, write_sample
from loader.sandbox.sample_world import name_tables, project_rows
from tests.support.litellm.database import Database, Server
from tests.support.litellm.requests import Row, spend_log, write
from tests.support.project import Project

UNTIL = datetime(2026, 11, 2, 9, tzinfo=timezone.utc)  # the sample crosses the end of a month
HOUR = datetime(2026, 11, 1, 13, 0, tzinfo=timezone.utc)
ALL_DIMENSIONS = [
    "user", "api_key", "end_user", "organization", "project", "model_group", "call_type", "agent",
    "tag:env", "tag:app", "metadata:cost_center", "metadata:env",
]  # fmt: skip
HOUR_COLUMNS = "usage_hour, line_count, cost_usd, total_tokens, fingerprint"
FILE_KINDS = ("jsonl", "json", "csv", "parquet", "payload", "payload_files")


def awkward_requests() -> list[Row]:
    """Requests with unusual values."""
    names = {
        "user_api_key_alias": "ключ",
        "user_api_key_team_alias": 'Ärger & Söhne, "quoted"',
        "user_api_key_user_email": "zoe@example.com",
        "user_api_key_project_id": "p|1",
        "user_api_key_project_alias": "Project: 1/2",
        "spend_logs_metadata": {"cost_center": 12, "env": "stage", "deep": {"a": 1}, "none": None, "flag": True},
    }
    at = HOUR.replace(minute=59, second=59, microsecond=999_000)
    return [
        spend_log("tiny", HOUR, spend=1e-12),
        spend_log("large", HOUR, spend=12345.678901234567),
        spend_log("third", HOUR, spend=1 / 3),
        spend_log("sum", HOUR, spend=0.30000000000000004),
        spend_log("crosses", at, endTime="2026-11-01T14:20:00.000"),
        spend_log("no team", HOUR, team_id=None, user="alice"),
        spend_log("empty team", HOUR, team_id="", user="alice"),
        spend_log("no owner", HOUR, team_id=None),
        spend_log("team like user", HOUR, team_id="alice", user="alice"),
        spend_log("unicode", HOUR, team_id="数据", user="Zoë/Å:b|c", metadata=names, request_tags=["env:prod", "env=dev", "app:x y"]),
        spend_log("upper", HOUR, team_id="Team A"),
        spend_log("lower", HOUR, team_id="team a"),
        spend_log("unknown team", HOUR, team_id="unknown"),
        spend_log("no provider", HOUR, custom_llm_provider="", model="bedrock/anthropic.claude-3-sonnet-20240229-v1:0"),
        spend_log("null provider", HOUR, custom_llm_provider=None, model="meta-llama/Llama-3"),
        spend_log("no model", HOUR, custom_llm_provider=None, model=""),
        spend_log("azure", HOUR, custom_llm_provider="azure"),
        spend_log("azure_ai", HOUR, custom_llm_provider="azure_ai"),
        spend_log("failed free", HOUR, status="failure", spend=0.0, total_tokens=0, prompt_tokens=0, completion_tokens=0),
        spend_log("failed paid", HOUR, status="failure", spend=0.5),
        spend_log("old status", HOUR, status=None),
        spend_log("cache hit", HOUR, spend=0.0),
        spend_log("image", HOUR, spend=0.04, total_tokens=0, prompt_tokens=0, completion_tokens=0, model="dall-e-3"),
        spend_log("negative", HOUR, prompt_tokens=-5),
        spend_log("plain tags", HOUR, request_tags=["env", "other", "environment:no"]),
        spend_log("organization", HOUR, organization_id="org-9", end_user="cust 1", agent_id="agent-1"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """A realistic sample, and awkward requests."""
    folder = tmp_path_factory.mktemp("sample")
    report = write_sample(SamplePlan(rows=1500, days=2, until=UNTIL), folder)
    lines = (line for file in report.files for line in file.read_text(encoding="utf-8").splitlines())
    rows = [json.loads(line) for line in lines]
    # LiteLLM's spend logs lack the organization's name, which payloads and its table have.
    aliases = {r["organization_id"]: r["organization_alias"] for r in name_tables(1)["LiteLLM_OrganizationTable"]}
    for row in rows:
        row["metadata"]["user_api_key_org_alias"] = aliases.get(row["organization_id"])
    return [*rows, *awkward_requests()]


def insert_names(database: Database) -> None:
    """Fill LiteLLM's tables of names, with values for their other required columns."""
    who = {"created_by": "test", "updated_by": "test"}
    tables = name_tables(1)
    database.insert("LiteLLM_BudgetTable", [{"budget_id": "budget", **who}])
    database.insert(
        "LiteLLM_OrganizationTable", [r | who | {"budget_id": "budget"} for r in tables["LiteLLM_OrganizationTable"]]
    )
    database.insert("LiteLLM_TeamTable", tables["LiteLLM_TeamTable"])
    database.insert("LiteLLM_UserTable", tables["LiteLLM_UserTable"])
    database.insert("LiteLLM_ProjectTable", [r | who for r in project_rows(1)])
    database.insert("LiteLLM_VerificationToken", tables["LiteLLM_VerificationToken"])


def lines_of(project: Project, dimensions: list[str], tests: bool = True) -> list[tuple[Any, ...]]:
    """Build, with or without data tests, and return lines and hours."""
    project.build(tests=tests, variables={"line_dimensions": dimensions})
    order = '"time/usage_start", "resource/id"'
    lines = project.rows(f"select * from cbf.cbf_lines order by {order}")
    hours = project.rows(f"select {HOUR_COLUMNS} from cbf.cbf_hours order by usage_hour")
    return sorted(lines, key=repr) + hours


def test_every_kind_of_source_gives_the_same_lines_and_fingerprints(
    requests: list[Row], litellm_database: Callable[[], Database], tmp_path: Path
) -> None:
    database = litellm_database()
    insert_names(database)
    database.insert_spend_logs(requests)
    expected = lines_of(Project(tmp_path / "postgres", database), ALL_DIMENSIONS)
    assert len(expected) > 500
    for kind in FILE_KINDS:
        project = Project(tmp_path / kind)
        write(requests, project.logs, kind)
        found = lines_of(project, ALL_DIMENSIONS, tests=kind == "jsonl")
        assert found == expected, kind
    money = sum(
        (line[3] for line in expected[: -len({r[0] for r in expected if isinstance(r[0], datetime)})]), Decimal(0)
    )
    kept = [r for r in requests if r["request_id"] != "negative"]
    assert money == sum(
        (Decimal(repr(float(r["spend"]))).quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP) for r in kept), Decimal(0)
    )


def test_a_folder_may_mix_kinds_and_repeat_requests(tmp_path: Path) -> None:
    project = Project(tmp_path)
    rows = [spend_log(f"r{n}", HOUR, spend=0.25) for n in range(4)]
    late = [row | {"spend": 0.5, "updated_at": "2026-11-01T13:30:00.000"} for row in rows[:1]]
    for kind, part in (("jsonl", rows[:2]), ("csv", rows[1:3]), ("parquet", rows[2:]), ("payload_files", rows[:3])):
        write(part, project.logs, kind, name=kind)
    write(late, project.logs, "jsonl", name="late")
    (project.logs / "README.txt").write_text("not a spend log")
    outcome = project.build()
    assert "left out" in outcome.out
    assert project.rows('select sum("cost/cost"), sum("usage/amount") from cbf.cbf_lines') == [(Decimal("1.25"), 600)]


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-01T13:59:59.999Z", 13),
        ("2026-11-01 15:30:00+02:00", 13),
        ("2026-11-01 13:30:00", 13),
        ("2026-11-01T08:30:00-05:30", 14),
        (1793541599.9996, 13),
        ("1793541600", 14),
    ],
)
def test_times_are_utc_however_they_are_written(text: object, hour: int, tmp_path: Path) -> None:
    project = Project(tmp_path)
    write([spend_log("r", HOUR, startTime=text)], project.logs, "jsonl")
    project.build()
    assert project.rows('select "time/usage_start" from cbf.cbf_lines') == [(datetime(2026, 11, 1, hour),)]  # noqa: DTZ001


def test_rejected_requests_are_listed_with_reason_and_cost(tmp_path: Path) -> None:
    project = Project(tmp_path)
    rows = [
        spend_log("no time", HOUR, startTime=None, spend=3.5),
        spend_log("bad time", HOUR, startTime="yesterday", spend=1.5),
        spend_log("bad spend", HOUR, spend="12,50"),
        spend_log("bad tokens", HOUR, total_tokens="many"),
        spend_log("negative", HOUR, completion_tokens=-1),
        spend_log("fine", HOUR),
    ]
    write(rows, project.logs, "jsonl")
    outcome = project.build(tests=True)
    assert "WARN 5" in outcome.out
    assert project.rows("select request_id, rejection_reason, cost_usd from cbf.rejected_spend_logs order by 1") == [
        ("bad spend", "spend_not_a_number", None),
        ("bad time", "no_start_time", Decimal("1.5")),
        ("bad tokens", "tokens_not_a_number", Decimal("0.002")),
        ("negative", "negative_tokens", Decimal("0.002")),
        ("no time", "no_start_time", Decimal("3.5")),
    ]


def test_a_broken_line_stops_the_run_and_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write([spend_log(f"r{n}", HOUR) for n in range(5)], project.logs, "jsonl")
    project.build()
    before = project.rows(f"select {HOUR_COLUMNS} from cbf.cbf_hours order by usage_hour")
    broken = project.logs / "broken.jsonl"
    broken.write_text('{"request_id": "a", "spend": 1}\n{"request_id": "b", "messages": "my secret prompt\n')
    outcome = project.build(ok=False)
    assert outcome.code == 1
    assert f"the spend log file {broken}, line 2 is not valid JSON" in outcome.out
    assert "secret prompt" not in outcome.out
    assert project.rows(f"select {HOUR_COLUMNS} from cbf.cbf_hours order by usage_hour") == before


def test_a_broken_csv_line_stops_the_run_and_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write([spend_log(f"r{n}", HOUR) for n in range(5)], project.logs, "csv", name="broken")
    file = project.logs / "broken.csv"
    file.write_text(file.read_text() + "too,few,columns,my secret prompt\n")
    outcome = project.build(ok=False)
    assert outcome.code == 1
    assert f"the spend log file {file}, line 7 " in outcome.out


def test_files_that_are_not_spend_logs_are_rejected(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (project.logs / "invoice.csv").write_text("date,amount\n2026-11-01,12\n")
    outcome = project.build(ok=False)
    assert outcome.code == 1
    assert "they need the columns startTime and spend, and have: date, amount" in outcome.out


def test_no_file_is_a_warning_that_names_the_glob(tmp_path: Path) -> None:
    project = Project(tmp_path)
    outcome = project.build()
    assert f"No spend log file matches LITELLM_SPEND_LOGS={project.logs}/*" in outcome.out


def test_a_first_run_without_the_seed_says_what_to_run(project: Project) -> None:
    outcome = project.dbt("run", ok=False)
    assert outcome.code == 1
    assert "run `dbt build`, or `dbt seed`, once before `dbt run`" in outcome.out


def test_an_unknown_dimension_is_named(tmp_path: Path) -> None:
    outcome = Project(tmp_path).build(variables={"line_dimensions": ["user", "colour"]}, ok=False)
    assert outcome.code != 0
    assert "line_dimensions: 'colour' is not a valid dimension. It must be one of user," in outcome.out


def test_an_old_litellm_without_newer_columns_and_tables(postgres: Server, tmp_path: Path) -> None:
    database = postgres.create("litellm_of_spring_2025")
    database.migrate(before="20250500")
    columns = {
        c
        for (c,) in database.run(
            "select column_name from information_schema.columns where table_name = 'LiteLLM_SpendLogs'"
        )
    }
    assert not columns & {"status", "organization_id", "agent_id", "created_at", "updated_at"}
    database.insert_spend_logs(
        [spend_log("r1", HOUR), spend_log("r2", HOUR, team_id="t2", metadata={"user_api_key_org_id": "o"})]
    )
    project = Project(tmp_path, database)
    project.build()
    assert project.rows('select sum("cost/cost"), count("resource/tag:organization_id") from cbf.cbf_lines') == [
        (Decimal("0.004"), 1)
    ]


def test_deleted_and_renamed_teams_and_keys_keep_a_name(
    litellm_database: Callable[[], Database], tmp_path: Path
) -> None:
    database = litellm_database()
    database.insert("LiteLLM_TeamTable", [{"team_id": "renamed", "team_alias": "New name"}])
    database.insert(
        "LiteLLM_DeletedTeamTable",
        [
            {"id": "1", "team_id": "renamed", "team_alias": "Name before it was deleted"},
            {"id": "2", "team_id": "deleted", "team_alias": "Deleted team"},
        ],
    )
    database.insert("LiteLLM_DeletedVerificationToken", [{"id": "1", "token": "k1", "key_alias": "Deleted key"}])
    old = {"user_api_key_team_alias": "Old name", "user_api_key_alias": "Old key"}
    database.insert_spend_logs(
        [
            spend_log("r1", HOUR, team_id="renamed", api_key="k1", metadata=old),
            spend_log("r2", HOUR, team_id="deleted", api_key="k2", metadata=old),
            spend_log("r3", HOUR, team_id="forgotten", api_key="k2", metadata=old),
        ]
    )
    project = Project(tmp_path, database)
    project.build(variables={"line_dimensions": ["api_key"]})
    names = '"resource/tag:team_id", "resource/tag:team_alias", "resource/tag:api_key_alias"'
    assert project.rows(f"select {names} from cbf.cbf_lines order by 1") == [
        ("deleted", "Deleted team", "Old key"),
        ("forgotten", "Old name", "Old key"),
        ("renamed", "New name", "Deleted key"),
    ]


def test_a_schema_without_litellms_tables_is_named(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    outcome = project.build(variables={"litellm_schema": "elsewhere"}, ok=False)
    assert outcome.code == 1
    assert 'Could not find the table "' in outcome.out
    assert "litellm_schema" in outcome.out


def test_prompts_are_never_selected(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    project.build()
    definitions = project.rows("select definition from pg_views where schemaname = 'cbf'")
    assert len(definitions) > 5
    for (definition,) in definitions:
        assert not any(word in definition for word in ("messages", "response", "proxy_server_request"))
