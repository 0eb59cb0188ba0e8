"""The same requests give the same lines from LiteLLM's database and from files of every kind."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loader.sandbox.sample import SamplePlan, write_sample
from loader.sandbox.sample_world import name_tables, project_rows
from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials
from tests.support.litellm.database import Database, Server
from tests.support.litellm.requests import Row, payload, spend_log, write
from tests.support.project import Outcome, Project, put

UNTIL = datetime(2026, 11, 2, 9, tzinfo=timezone.utc)  # the sample crosses the end of a month
HOUR = datetime(2026, 11, 1, 13, 0, tzinfo=timezone.utc)
ALL_DIMENSIONS = [
    "user", "api_key", "end_user", "organization", "project", "model_group", "call_type", "agent",
    "tag:env", "tag:app", "metadata:cost_center", "metadata:env",
]  # fmt: skip
HOUR_COLUMNS = "usage_hour, line_count, cost_usd, total_tokens, fingerprint"
KEY_1, KEY_2 = "1" * 64, "2" * 64  # hashes, as LiteLLM stores them
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


def test_values_that_cannot_be_placed_are_shown_with_their_money(tmp_path: Path) -> None:
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
        ("bad time", "unreadable_start_time", Decimal("1.5")),
        ("bad tokens", "tokens_not_a_number", Decimal("0.002")),
        ("negative", "negative_tokens", Decimal("0.002")),
        ("no time", "no_start_time", Decimal("3.5")),
    ]


MARKER = "my secret prompt"
ARTIFACTS = {"DBT_WRITE_JSON": "true", "DBT_LOG_LEVEL_FILE": "debug"}


def said(project: Project, outcome: Outcome) -> str:
    """Everything that dbt said or wrote down."""
    written = [project.folder / "logs" / "dbt.log", project.folder / "target" / "run_results.json"]
    return outcome.out + outcome.err + "".join(file.read_text(encoding="utf-8") for file in written)


def rejected(project: Project) -> list[tuple[Any, ...]]:
    """Reason, file name and money of what is rejected."""
    found = project.rows("select rejection_reason, source_file, cost_usd from cbf.rejected_spend_logs order by 1, 2, 3")
    return [(reason, file and Path(file).name, cost) for reason, file, cost in found]


def total(project: Project) -> tuple[Any, ...]:
    """Money and tokens of all lines."""
    return project.rows('select sum("cost/cost"), sum("usage/amount") from cbf.cbf_lines')[0]


def test_a_broken_line_is_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path, settings=ARTIFACTS)
    write([spend_log("good", HOUR)], project.logs, "jsonl")
    lines = [
        json.dumps(spend_log("fine", HOUR)).encode(),
        f'{{"request_id": "cut", "messages": "{MARKER}'.encode(),
        f'["{MARKER}"]'.encode(),
        f'{{"request_id": "bytes", "messages": "{MARKER}'.encode() + b' \xff\xfe"}',
    ]
    (project.logs / "broken.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    outcome = project.build()
    assert total(project) == (Decimal("0.004"), 300)
    assert rejected(project) == [
        ("not_json", "broken.jsonl", None),
        ("not_json", "broken.jsonl", None),
        ("not_utf8", "broken.jsonl", None),
    ]
    assert f"the spend log file {project.logs}/broken.jsonl, line 4 is not UTF-8" in outcome.out
    assert MARKER not in said(project, outcome)
    run = project.loader("dry-run")
    assert MARKER not in run.out + run.err
    assert "Warning: 3 requests ($0) were rejected and not sent: " in run.err


def test_a_broken_csv_row_is_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path, settings=ARTIFACTS)
    write([spend_log(f"r{n}", HOUR) for n in range(5)], project.logs, "csv", name="broken")
    file = project.logs / "broken.csv"
    file.write_text(file.read_text() + f"too,few,columns,{MARKER}\n")
    outcome = project.build()
    assert f"the spend log file {file}, line 7 is not valid CSV" in outcome.out
    assert total(project) == (Decimal("0.01"), 750)
    assert rejected(project) == [("broken_csv_row", "broken.csv", None)]
    assert MARKER not in said(project, outcome)


def test_half_an_emoji_in_a_column_that_is_not_read_costs_no_row(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for number, kind in enumerate(("jsonl", "json")):
        text = json.dumps(
            spend_log(f"r{number}", HOUR, team_id="\U0001f600", response={"t": "cut \ud83d", "whole": "\U0001f600"})
        )
        (project.logs / f"logs.{kind}").write_text(text)
    project.build()
    assert rejected(project) == []
    assert project.rows('select "resource/tag:team_id", "cost/cost" from cbf.cbf_lines') == [
        ("\U0001f600", Decimal("0.004"))
    ]


def test_files_that_are_no_spend_logs_are_set_aside_by_name(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write([spend_log("r", HOUR)], project.logs, "csv")
    (project.logs / "invoice.csv").write_text("date,amount\n2026-11-01,12\n")
    (project.logs / "semicolons.csv").write_text("request_id;startTime;spend\nr;2026-11-01 13:00:00;1\n")
    (project.logs / "empty.csv").write_text("")
    (project.logs / "empty.json").write_text("")
    (project.logs / "utf16.csv").write_bytes("request_id,startTime,spend\n".encode("utf-16"))
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 1 as a) to '{project.logs}/other.parquet'")
    out = project.build().out
    assert "invoice.csv' is set aside: spend logs need the columns startTime and spend, and it has: date, amount" in out
    assert "semicolons.csv' is set aside" in out
    assert "To fix: separate its columns with commas" in out
    assert "empty.csv' is set aside" in out
    assert "utf16.csv' is set aside" in out
    assert "other.parquet' is set aside" in out
    assert total(project) == (Decimal("0.002"), 150)
    # An empty file has nothing that could be missing.
    assert rejected(project) == [
        ("not_spend_logs", name, None) for name in ("invoice.csv", "other.parquet", "semicolons.csv", "utf16.csv")
    ]


def test_damaged_files_are_set_aside_by_name(tmp_path: Path, anycost: SandboxServer) -> None:
    project = Project(tmp_path, settings=ARTIFACTS)
    for kind in ("parquet", "jsonl", "csv"):
        write([spend_log(kind, HOUR)], project.logs, kind, name="good")
    whole = (project.logs / "good.parquet").read_bytes()
    (project.logs / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (project.logs / "it's a text.parquet").write_text("no Parquet at all\n" * 3)
    (project.logs / "empty.parquet").write_bytes(b"")
    for name in ("plain.jsonl.gz", "plain.csv.gz", "plain.json.gz", "plain.jsonl.zst"):
        (project.logs / name).write_text(f'{{"messages": "{MARKER}"}}\n')
    broken = f'[{{"request_id": "cut", "messages": "{MARKER}'.encode()
    (project.logs / "broken.json.gz").write_bytes(gzip.compress(broken))
    (project.logs / "large.json").write_bytes(broken + b" " * 17_000_000)
    outcome = project.build()
    assert rejected(project) == [
        ("not_gzip", "plain.csv.gz", None),
        ("not_gzip", "plain.json.gz", None),
        ("not_gzip", "plain.jsonl.gz", None),
        ("not_gzip", "plain.jsonl.zst", None),
        ("not_json", "broken.json.gz", None),
        ("not_json", "large.json", None),
        ("not_parquet", "cut.parquet", None),
        ("not_parquet", "empty.parquet", None),
        ("not_parquet", "it's a text.parquet", None),
    ]
    assert "cut.parquet' is set aside: it is no complete Parquet file. To fix: write it again" in outcome.out
    assert total(project) == (Decimal("0.006"), 450)
    assert MARKER not in said(project, outcome)
    project.settings = credentials(anycost)
    run = project.loader("run", "--settle-for", "0s")
    assert (run.code, "Sent 1 hours, 1 lines" in run.out) == (3, True)
    assert "9 spend log files were rejected as a whole" in run.err
    check, status = project.loader("check"), project.loader("status")
    assert MARKER not in "".join(each.out + each.err for each in (run, check, status))


def test_a_list_in_a_compressed_file_is_read(tmp_path: Path) -> None:
    project = Project(tmp_path)
    rows = [spend_log(f"r{n}", HOUR) for n in range(3)]
    (project.logs / "pretty.json.gz").write_bytes(gzip.compress(json.dumps(rows, indent=2).encode()))
    (project.logs / "wrapped.json.gz").write_bytes(gzip.compress(json.dumps({"data": [spend_log("w", HOUR)]}).encode()))
    (project.logs / "lines.json.gz").write_bytes(
        gzip.compress("\n".join(json.dumps(spend_log(f"l{n}", HOUR)) for n in range(2)).encode())
    )
    project.build()
    assert rejected(project) == []
    assert total(project) == (Decimal("0.012"), 900)


def test_a_compressed_file_that_is_cut_off_stops_the_run_by_name(tmp_path: Path) -> None:
    project = Project(tmp_path)
    lines = "\n".join(json.dumps(spend_log(f"r{n}", HOUR)) for n in range(2000)).encode()
    (project.logs / "cut.jsonl.gz").write_bytes(gzip.compress(lines)[:-200])
    outcome = project.build(ok=False)
    assert outcome.code != 0
    assert f"the spend log file {project.logs}/cut.jsonl.gz is cut off. To fix: correct or remove it" in outcome.out


def respelled(row: Row, spell: Callable[[str], str]) -> Row:
    return {spell(key): value for key, value in row.items()}


def camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)


def test_names_are_read_whatever_their_case_and_underscores(tmp_path: Path) -> None:
    project = Project(tmp_path)
    row = spend_log("r", HOUR, user="u1", messages='a "startTime": 1 and \\"start_time\\": 2')
    spellings: list[Callable[[str], str]] = [
        str.lower,
        str.upper,
        camel,
        lambda key: key.replace("startTime", "start_time"),
    ]
    for number, spell in enumerate(spellings):
        for kind in ("jsonl", "json", "csv", "parquet"):
            write(
                [respelled(row | {"request_id": f"{number} {kind}"}, spell)],
                project.logs,
                kind,
                name=f"{number}-{kind}",
            )
    project.build(variables={"line_dimensions": ["user", "api_key"]})
    assert rejected(project) == []
    columns = '"resource/tag:team_id", "resource/tag:user_id", "resource/tag:api_key", "cost/cost", "usage/amount"'
    assert project.rows(f"select {columns} from cbf.cbf_lines") == [
        ("team-123", "u1", row["api_key"], Decimal("0.032"), 2400)
    ]


def test_objects_of_litellms_loggers_and_apis_are_read_and_what_lies_beside_them_is_not(tmp_path: Path) -> None:
    project = Project(tmp_path, settings={"LITELLM_SPEND_LOGS": f"{tmp_path}/spend_logs/**"})
    day = project.logs / "2026-11-01"
    day.mkdir()
    (day / "chatcmpl-1").write_text(json.dumps(payload(spend_log("chatcmpl-1", HOUR))))
    (day / "failure-0a1b").write_text(
        json.dumps(payload(spend_log("failure", HOUR, status="failure", spend=0.0, total_tokens=0)))
    )
    (day / "batch-1.ndjson").write_text(json.dumps(payload(spend_log("2", HOUR))) + "\n")
    for number, key in enumerate(("data", "logs", "results")):
        (day / f"{key}.json").write_text(
            json.dumps({key: [spend_log(f"{key} {n}", HOUR) for n in range(2)], "page": number})
        )
    partition = project.logs / "dt=2026-11-01"
    write([spend_log("partition", HOUR)], partition, "csv")
    for folder in ("audit_logs/2026-11-01", "batch_line_items/2026-11-01/b1"):
        (project.logs / folder).mkdir(parents=True)
        (project.logs / folder / "part-0.jsonl").write_text(json.dumps({"custom_id": "1", "spend": 9}) + "\n")
    (project.logs / "_SUCCESS").write_text("")
    outcome = project.build()
    assert total(project) == (Decimal("0.018"), 1350)
    assert rejected(project) == []
    assert "2 file(s) of batch_line_items/ or audit_logs/ that are left out" in outcome.out


def test_a_gzipped_file_without_the_suffix_is_set_aside_by_name(tmp_path: Path) -> None:
    project = Project(tmp_path)
    line = json.dumps(spend_log("r", HOUR)).encode()
    (project.logs / "named.json.gz").write_bytes(gzip.compress(line))
    (project.logs / "hidden.json").write_bytes(gzip.compress(line))
    project.build()
    assert total(project) == (Decimal("0.002"), 150)
    assert rejected(project) == [("gzip_without_suffix", "hidden.json", None)]


def test_copys_text_format_is_read(tmp_path: Path, litellm_database: Callable[[], Database]) -> None:
    database = litellm_database()
    odd = "a\\b \t c"
    database.insert_spend_logs(
        [
            spend_log(
                "r",
                HOUR,
                team_id=None,
                user=odd,
                metadata={"user_api_key_alias": 'say "hi"'},
                request_tags=["env:a\\b"],
            ),
        ]
    )
    project = Project(tmp_path)
    # COPY in another form than the server's own: no superuser is needed to build the text here.
    names = [
        name
        for (name,) in database.run(
            "select column_name from information_schema.columns where table_name = 'LiteLLM_SpendLogs'"
        )
    ]
    with (
        database.connect() as connection,
        connection.cursor() as cursor,
        (project.logs / "logs.tsv").open("wb") as file,
    ):
        file.write(("\t".join(names) + "\n").encode())
        cursor.copy_expert(
            'copy "LiteLLM_SpendLogs" (' + ", ".join(f'"{name}"' for name in names) + ") to stdout", file
        )
    with (
        database.connect() as connection,
        connection.cursor() as cursor,
        (project.logs / "logs.csv").open("wb") as file,
    ):
        cursor.copy_expert('copy "LiteLLM_SpendLogs" to stdout (format csv, header)', file)
    dimensions = {"line_dimensions": ["user", "api_key", "tag:env"]}
    project.build(variables=dimensions)
    columns = (
        '"resource/tag:team_id", "resource/tag:user_id", "resource/tag:api_key_alias", "resource/tag:env", "cost/cost"'
    )
    expected = [(None, "a\\b  c", 'say "hi"', "a\\b", Decimal("0.002"))]
    assert project.rows(f"select {columns} from cbf.cbf_lines") == expected
    in_place = Project(tmp_path / "postgres", database)
    in_place.build(variables=dimensions)
    assert in_place.rows(f"select {columns} from cbf.cbf_lines") == expected


def test_parquet_files_of_several_schemas_are_read_by_schema(tmp_path: Path) -> None:
    project = Project(tmp_path)
    ordinary = "'gpt-4o' as model, 'acompletion' as call_type, 0.25::{} as spend, 30 as total_tokens, 'openai' as custom_llm_provider"
    files = {
        "text": (
            '\'{"user_api_key_user_id": "zo\\u00eb"}\' as metadata, \'["env:a"]\' as request_tags',
            "double",
            "timestamp '2026-11-01 13:00:00'",
        ),
        "struct": ("{'user_api_key_user_id': 'zoë'} as metadata, ['env:a'] as request_tags", "float", "1793538000.5"),
        "json": (
            '\'{"user_api_key_user_id": "zoë"}\'::json as metadata, [\'"env:a"\'::json] as request_tags',
            "double",
            "1793538000500",
        ),
        "map": (
            "map {'user_api_key_user_id': 'zoë'} as metadata, ['env:a'] as request_tags",
            "decimal(10, 6)",
            "timestamptz '2026-11-01 13:00:00+00'",
        ),
    }
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for name, (documents, kind, start) in files.items():
            statement = f"select '{name}' as request_id, {start} as \"startTime\", {ordinary.format(kind)}, {documents}"
            connection.execute(f"copy ({statement}) to '{project.logs}/{name}.parquet'")
    project.build(variables={"line_dimensions": ["user", "tag:env"]})
    columns = '"resource/tag:user_id", "resource/tag:env", "cost/cost", "usage/amount"'
    assert project.rows(f"select {columns} from cbf.cbf_lines") == [("zoë", "a", Decimal(1), 120)]


# What a cell of metadata or request_tags may hold, with the user, the tag env and the warning that it gives.
ENCODED = [
    ({"user_api_key_user_id": "u1"}, ["env:é"], "u1", "é", None),
    (json.dumps({"user_api_key_user_id": "u1"}), json.dumps(["env:é"]), "u1", "é", None),
    (json.dumps(json.dumps({"user_api_key_user_id": "u1"})), json.dumps(json.dumps(["env:é"])), "u1", "é", None),
    (json.dumps(json.dumps(json.dumps({"user_api_key_user_id": 'say \\ "é"'}))), [], 'say \\ "é"', None, None),
    ({"user_api_key_user_id": "u1", "spend_logs_metadata": json.dumps({"a": "b"})}, ' ["env:x", [1.5e3, {"a": [null]}], ""] ', "u1", "x", None),
    ("", "", None, None, None),
    ("null", "null", None, None, None),
    (None, None, None, None, None),
    ({}, [], None, None, None),
    ("{'user_api_key_user_id': 'u1'}", ["env:x"], None, "x", "unreadable_metadata"),
    ({"user_api_key_user_id": "u1"}, "{env:x}", "u1", None, "unreadable_request_tags"),
    ("{", "env:x", None, None, "unreadable_metadata, unreadable_request_tags"),
    ('{"a": 1]', '["env:x"', None, None, "unreadable_metadata, unreadable_request_tags"),
    ("[1]", "{}", None, None, "unreadable_metadata, unreadable_request_tags"),
    ('{"a": "\\ud83d"}', "[]", None, None, "unreadable_metadata"),
]  # fmt: skip


def encoded_requests() -> list[Row]:
    return [
        spend_log(f"{number:02}", HOUR, metadata=metadata, request_tags=tags)
        for number, (metadata, tags, *_) in enumerate(ENCODED)
    ]


def as_jsonb(row: Row) -> Row:
    """A row whose JSON columns hold JSON texts where they hold texts."""
    return row | {name: json.dumps(row[name]) for name in ("metadata", "request_tags") if isinstance(row[name], str)}


def encoded_found(project: Project) -> list[tuple[Any, ...]]:
    """Build, and read what ENCODED expects."""
    project.build("--select", "+stg_litellm__spend_logs", variables={"line_dimensions": ["user"]})
    return project.rows("select user_id, request_tags, warning from cbf.stg_litellm__spend_logs order by request_id")


@pytest.mark.parametrize("kind", ["jsonl", "postgres"])
def test_json_inside_json_text_is_read_by_one_rule(
    kind: str, litellm_database: Callable[[], Database], tmp_path: Path
) -> None:
    project = Project(tmp_path, litellm_database() if kind == "postgres" else None)
    rows = encoded_requests()
    put(project, [as_jsonb(row) for row in rows] if project.database else rows)
    found = encoded_found(project)
    assert [(user, warning) for user, _, warning in found] == [(user, warning) for *_, user, _, warning in ENCODED]
    tags = [
        next((t.removeprefix("env:") for t in json.loads(tags or "[]") if str(t).startswith("env:")), None)
        for _, tags, _ in found
    ]
    assert tags == [tag for *_, tag, _ in ENCODED]


TIMES: list[tuple[object, str | None]] = [
    ("2026-11-01T13:59:59.999Z", "2026-11-01 13:59:59.999"),
    ("2026-11-01 15:30:00+02:00", "2026-11-01 13:30:00"),
    ("2026-11-01 13:30", "2026-11-01 13:30:00"),
    ("2026-11-01 9:30:05", "2026-11-01 09:30:05"),
    ("2026-11-01T08:30:00-05:30", "2026-11-01 14:00:00"),
    ("2026-11-01 05:30:00.5 -0800", "2026-11-01 13:30:00.5"),
    ("2026-11-01 14:30:00+01", "2026-11-01 13:30:00"),
    ("2026-11-01 13:30:00.123999999 UTC", "2026-11-01 13:30:00.123"),
    ("2026-11-20 04:20:46.847 America/New_York", "2026-11-20 09:20:46.847"),
    ("2026-11-20 04:20:46 America/Argentina/Buenos_Aires", "2026-11-20 07:20:46"),
    ("2026-11-01 01:30:00 America/New_York", "2026-11-01 05:30:00"),  # the clocks show it twice: the first
    (1793541599.9996, "2026-11-01 13:59:59.999"),
    ("1793541600", "2026-11-01 14:00:00"),
    (1793541600123, "2026-11-01 14:00:00.123"),
    ("1793541600123456", "2026-11-01 14:00:00.123"),
    (1793541600123456789, "2026-11-01 14:00:00.123"),
    ("1.7935416e9", "2026-11-01 14:00:00"),
    *[
        (text, None)
        for text in (
            "yesterday", "2026-11-01", "11/01/2026 9:20", "2026-11-01 09:20:46 PM", "2026-11-01 09:20:46 garbage", "2026-11-01 24:00:00",
            "2026-11-01 12:60:00", "2026-02-30 12:00:00", "2026-11-01 12:00:00+25:00", "2026-11-01 12:00:00 Nowhere/City",
            "2026-11-01 12:00:00 EST", "2026-03-08 02:30:00 America/New_York", "2026-11-01 12:00:00Z Z", "20261101T120000", "0x1p3", "1d",
        )
    ],
]  # fmt: skip


def times_found(project: Project) -> list[str | None]:
    """Build, and read the starts of TIMES back."""
    project.build("--select", "+stg_litellm__spend_logs")
    starts = project.rows(
        "select started_at, rejection_reason from cbf.stg_litellm__spend_logs where request_id <> 'none' order by request_id"
    )
    assert all(reason == (None if start else "unreadable_start_time") for start, reason in starts)
    return [start and start.isoformat(" ") for start, _ in starts]


def requests_at_times() -> list[Row]:
    return [spend_log(f"{number:02}", HOUR, startTime=text) for number, (text, _) in enumerate(TIMES)]


def expected_times() -> list[str | None]:
    return [text and datetime.fromisoformat(text).isoformat(" ") for _, text in TIMES]


def test_a_time_is_read_when_the_whole_text_is_one(tmp_path: Path) -> None:
    for kind in ("jsonl", "csv"):
        project = Project(tmp_path / kind)
        write(requests_at_times(), project.logs, kind)
        assert times_found(project) == expected_times(), kind


def test_times_out_of_range_have_a_reason_of_their_own(project: Project) -> None:
    starts = [
        "1969-12-31 23:59:59",
        "1999-12-31 23:59:59.999",
        "2000-01-01 00:00:00",
        "2099-12-31 23:00:00",
        "2100-01-01 00:00:00",
        "9999-12-31 23:30:00",
    ]
    put(project, [spend_log(start, HOUR, startTime=start) for start in starts])
    project.build()
    assert {row[0] for row in rejected(project)} == {"start_time_out_of_range"}
    assert total(project) == (Decimal("0.004"), 300)


def test_a_row_without_a_cost_or_without_a_request_is_rejected(tmp_path: Path) -> None:
    project = Project(tmp_path)
    absent = spend_log("absent", HOUR)
    del absent["spend"]
    rows = [
        absent,
        spend_log("null", HOUR, spend=None),
        spend_log("failure", HOUR, spend=None, status="failure"),
        spend_log("zero", HOUR, spend=0.0),
        {"startTime": "2026-11-01", "spend": 12.5, "users": {"u1": 12.5}, "models": {"gpt-4o": 12.5}},
    ]
    write(rows, project.logs, "json")
    project.build()
    assert rejected(project) == [
        ("no_cost", "logs.json", None),
        ("no_cost", "logs.json", None),
        ("not_a_request", "logs.json", Decimal("12.5")),
    ]


def test_ids_are_trimmed_keys_are_hashed_and_sessions_are_left_out(project: Project) -> None:
    blob = json.dumps({"device_id": "d1", "account_uuid": "", "session_id": "{}"})
    text = "user_0a1b_account_3f2e_session_{}"
    control = {"team_id": " team\x01\x1f\x7f\x85-1 ", "user": "\t"}
    rows = [
        spend_log("1", HOUR, api_key="sk-raw", end_user=blob.replace("{}", "s1"), request_tags=["h: acme"], **control),
        spend_log("2", HOUR, api_key="", metadata={"user_api_key": "sk-raw"}, end_user=blob.replace("{}", "s2"), request_tags=[" h:acme"], **control),
        spend_log("3", HOUR, api_key="litellm_proxy_master_key", end_user=text.format("5"), team_id="team-1"),
        spend_log("None", HOUR, api_key="litellm_proxy_master_key", end_user=text.format("6"), team_id="team-1"),
        spend_log("null", HOUR, api_key="litellm_proxy_master_key", end_user=text.format("6"), team_id="team-1"),
    ]  # fmt: skip
    put(project, rows)
    project.build(variables={"line_dimensions": ["api_key", "end_user", "tag:h"]})
    columns = (
        '"resource/tag:team_id", "resource/tag:api_key", "resource/tag:end_user", "resource/tag:h", "usage/amount"'
    )
    assert sorted(project.rows(f"select {columns} from cbf.cbf_lines")) == [
        ("team-1", hashlib.sha256(b"sk-raw").hexdigest(), "d1", "acme", 300),
        ("team-1", "litellm_proxy_master_key", "user_0a1b_account_3f2e", None, 450),
    ]


def test_what_is_counted_under_a_warning_is_shown_with_its_money(project: Project) -> None:
    metadata = "{'a': 1}"
    rows = [spend_log("minus", HOUR, spend=-0.156), spend_log("repr", HOUR, metadata=metadata), spend_log("plus", HOUR)]
    put(project, [as_jsonb(row) for row in rows] if project.database else rows)
    outcome = project.build(tests=True)
    assert "Warning in test assert_no_spend_log_has_a_warning" in outcome.out
    found = project.rows("select request_id, warning, cost_usd from cbf.spend_log_warnings order by 1")
    assert found == [("minus", "negative_spend", Decimal("-0.156")), ("repr", "unreadable_metadata", Decimal("0.002"))]
    assert total(project) == (Decimal("-0.152"), 450)


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
    database.insert("LiteLLM_DeletedVerificationToken", [{"id": "1", "token": KEY_1, "key_alias": "Deleted key"}])
    old = {"user_api_key_team_alias": "Old name", "user_api_key_alias": "Old key"}
    database.insert_spend_logs(
        [
            spend_log("r1", HOUR, team_id="renamed", api_key=KEY_1, metadata=old),
            spend_log("r2", HOUR, team_id="deleted", api_key=KEY_2, metadata=old),
            spend_log("r3", HOUR, team_id="forgotten", api_key=KEY_2, metadata=old),
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
        assert not re.search(r"\b(messages|response|proxy_server_request)\b", definition)
