"""Sample spend logs: invalid plans, where they are written, and their content."""

import csv
import json
import os
import re
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal
from hashlib import md5
from pathlib import Path
from typing import Any

import duckdb
import litellm_proxy_extras
import pytest

from loader.errors import ConfigurationError, ExitCode, UsageError
from loader.sandbox.sample import FORMATS, SamplePlan, SampleReport, write_sample
from loader.sandbox.sample_world import name_tables, project_rows

UNTIL = datetime(2026, 11, 24, 14, 30, 59, 999_999, tzinfo=timezone.utc)
START, END = (datetime(2026, 11, day, 14, tzinfo=timezone.utc) for day in (22, 24))
ROWS = 4_000
Row = dict[str, Any]


def plan(rows: int = 50, days: int = 1, until: datetime = UNTIL, seed: int = 1, kind: str = "jsonl") -> SamplePlan:
    return SamplePlan(rows=rows, days=days, until=until, seed=seed, format=kind)


def json_lines(path: Path) -> list[Row]:
    return [json.loads(line, parse_float=Decimal) for line in path.read_text("utf-8").splitlines()]


def parquet_rows(path: Path) -> list[Row]:
    with path.open("rb"), duckdb.connect() as database:
        cursor = database.execute("select * from read_parquet($1)", [str(path)])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def csv_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def payload_rows(path: Path) -> list[Row]:
    """Put a payload into the columns of its spend log; it has no created_at and updated_at."""
    rows = []
    for payload in json_lines(path):
        metadata = payload["metadata"]
        row = {name: payload[name] for name in payload if name not in ("id", "response_cost")}
        rows.append(
            row
            | {
                "request_id": payload["id"],
                "spend": payload["response_cost"],
                "api_key": metadata.pop("user_api_key_hash"),
                "team_id": metadata.pop("user_api_key_team_id"),
                "user": metadata["user_api_key_user_id"],
                "organization_id": metadata["user_api_key_org_id"],
                "startTime": from_seconds(payload["startTime"]),
                "endTime": from_seconds(payload["endTime"]),
                "cache_hit": str(payload["cache_hit"]),
            }
        )
        metadata.pop("user_api_key_org_alias")
    return rows


def from_seconds(seconds: Decimal) -> datetime:
    assert seconds == round(seconds, 3)
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=int(seconds * 1000))


def from_text(text: str) -> datetime:
    """Parse a time with `T` or a blank, and with any number of decimals: CSV has no trailing zeros."""
    whole, _, decimals = text.replace("T", " ").partition(".")
    return datetime.strptime(f"{whole}.{decimals or 0}+0000", "%Y-%m-%d %H:%M:%S.%f%z")


READERS = {"jsonl": json_lines, "parquet": parquet_rows, "csv": csv_rows, "payload": payload_rows}


def common(row: Row) -> Row:
    """Convert a row of any format to the same types; a missing value becomes an empty text."""
    same: Row = {}
    for name, value in row.items():
        if name in ("startTime", "endTime", "created_at", "updated_at"):
            same[name] = from_text(value) if isinstance(value, str) else value.replace(tzinfo=timezone.utc)
        elif name in ("metadata", "request_tags"):
            same[name] = json.loads(value) if isinstance(value, str) else value
        elif name == "spend":
            same[name] = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        elif name.endswith("_tokens"):
            same[name] = int(value)
        else:
            same[name] = value or ""
    return same


def read(report: SampleReport, kind: str) -> list[Row]:
    return [common(row) for file in report.files for row in READERS[kind](file)]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SampleReport, list[Row]]]:
    folder = tmp_path_factory.mktemp("it's a sample")
    found = {}
    for kind in FORMATS:
        report = write_sample(plan(ROWS, days=2, kind=kind), folder / kind)
        found[kind] = report, read(report, kind)
    return found


@pytest.fixture(scope="module")
def rows(samples: dict[str, tuple[SampleReport, list[Row]]]) -> list[Row]:
    return samples["jsonl"][1]


# Invalid plans


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (plan(rows=0), "rows is 0: it must be at least 1"),
        (plan(rows=-5), "rows is -5: it must be at least 1"),
        (plan(days=0), "days is 0: it must be from 1 to 3660"),
        (plan(days=10**9), "days is 1000000000: it must be from 1 to 3660"),
        (plan(kind="xml"), "format is 'xml': it must be one of jsonl, parquet, csv, payload"),
        (
            plan(until=datetime(2026, 11, 24, 14)),  # noqa: DTZ001
            "until is 2026-11-24T14:00:00: add a UTC offset",
        ),
    ],
)
def test_an_invalid_plan_is_rejected_before_anything_is_written(
    wrong: SamplePlan, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        write_sample(wrong, tmp_path / "out")
    assert str(caught.value) == message
    assert caught.value.exit_code is ExitCode.USAGE
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["taken", "taken/deeper"])
def test_a_file_in_place_of_the_folder_is_rejected(place: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        write_sample(plan(), tmp_path / place)
    message = str(caught.value)
    assert message.startswith(f"The sample cannot be written to {tmp_path / place}: ")
    assert message.endswith(". Use a writable folder.")
    assert "\n" not in message
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_error_while_writing_is_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The folder is missing after it was prepared, so that the error comes from DuckDB and not from Python.
    monkeypatch.setattr("loader.sandbox.sample._prepare_folder", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"^The sample cannot be written to .*\. Use a writable folder\.$"):
        write_sample(plan(kind=kind), tmp_path / "gone")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_rejected(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="The sample cannot be written"):
        write_sample(plan(), tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("export.parquet", b"PAR1"),
        ("spend_logs.jsonl", b'{"request_id":"sample-1"}\n'),
        ("spend_logs-2026-11-23.jsonl.gz", b"\x1f\x8b"),
        ("payload-2026-11-23.csv", b"request_id,spend\nsample-1,1\n"),
        # A real export with the name of a sample differs in its content only.
        ("spend_logs-2026-11-23.jsonl", b'{"request_id":"chatcmpl-1","team_id":"sample-team"}\n'),
        ("spend_logs-2026-11-23.csv", b"request_id,spend\nchatcmpl-1,1\n"),
        ("payload-2026-11-23.jsonl", b'{"id":"chatcmpl-1"}\n'),
        ("spend_logs-2026-11-23.jsonl", b""),
    ],
)
def test_other_files_in_the_folder_are_rejected_and_nothing_is_deleted(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "spend_logs-2026-11-22.jsonl").write_bytes(b'{"request_id":"sample-1"}\n')
    (tmp_path / name).write_bytes(content)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigurationError) as caught:
        write_sample(plan(seed=2), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} contains {name}, which is not a sample. Generated rows are not written next to other files:"
        " use another folder."
    )
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_real_parquet_export_with_the_name_of_a_sample_is_rejected(tmp_path: Path) -> None:
    target = tmp_path / "spend_logs-2026-11-23.parquet"
    duckdb.connect().execute("copy (select 'chatcmpl-1' as request_id) to $1 (format parquet)", [str(target)])
    with pytest.raises(ConfigurationError, match="not a sample"):
        write_sample(plan(kind="parquet"), tmp_path)
    assert target.exists()


def test_a_folder_with_the_name_of_a_sample_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "spend_logs-2026-11-23.jsonl").mkdir()
    with pytest.raises(ConfigurationError, match="not a sample"):
        write_sample(plan(), tmp_path)


# Destination


@pytest.mark.parametrize(("first", "second"), list(zip(FORMATS, (*FORMATS[1:], FORMATS[0]), strict=True)))
def test_an_earlier_sample_is_replaced_whatever_its_format(first: str, second: str, tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    write_sample(plan(days=3, kind=first), tmp_path)
    report = write_sample(plan(days=1, kind=second), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".gitkeep", *(file.name for file in report.files)}


def test_a_new_folder_name_may_have_quotes_spaces_and_wildcards(tmp_path: Path) -> None:
    folder = tmp_path / "it's" / 'a "new" [folder] {of} $1 *'
    report = write_sample(plan(), folder)
    assert [file.parent for file in report.files] == [folder] * 2
    assert sum(len(json_lines(file)) for file in report.files) == 50
    assert write_sample(plan(), folder) == report


def test_a_relative_folder_is_reported_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert {file.parent for file in write_sample(plan(), Path("data")).files} == {tmp_path / "data"}


def test_there_is_one_file_for_each_utc_day(samples: dict[str, tuple[SampleReport, list[Row]]]) -> None:
    days = ("2026-11-22", "2026-11-23", "2026-11-24")
    for kind, (report, _) in samples.items():
        stem, suffix = ("payload", "jsonl") if kind == "payload" else ("spend_logs", kind)
        assert [file.name for file in report.files] == [f"{stem}-{day}.{suffix}" for day in days]
    for file, day in zip(samples["jsonl"][0].files, days, strict=True):
        assert {row["startTime"][:10] for row in json_lines(file)} == {day}


def test_a_day_without_a_request_has_no_file(tmp_path: Path) -> None:
    report = write_sample(plan(rows=1, days=400), tmp_path)
    assert (len(report.files), report.rows) == (1, 1)
    assert report.first == report.last


def test_until_is_converted_to_utc_and_floored_to_the_hour(tmp_path: Path) -> None:
    elsewhere = UNTIL.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert plan(until=elsewhere).window() == plan().window()
    assert write_sample(plan(until=elsewhere), tmp_path) == write_sample(plan(), tmp_path)


def test_until_defaults_to_now(tmp_path: Path) -> None:
    before = datetime.now(timezone.utc)
    report = write_sample(SamplePlan(rows=500), tmp_path)
    floor = before.replace(minute=0, second=0, microsecond=0)
    assert floor - timedelta(days=3) <= report.first <= report.last < floor + timedelta(hours=1)


# Content


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_plan_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    once, again = (write_sample(plan(800, days=1, kind=kind), tmp_path / name) for name in ("once", "again"))
    assert (once.rows, once.spend, once.first, once.last) == (
        again.rows,
        again.spend,
        again.first,
        again.last,
    )
    for one, other in zip(once.files, again.files, strict=True):
        assert READERS[kind](one) == READERS[kind](other)
        if kind != "parquet":
            assert one.read_bytes() == other.read_bytes()


def test_a_row_depends_only_on_seed_and_number_and_rows_are_in_order(rows: list[Row]) -> None:
    expected = [f"sample-{md5(f'1:id:{number}'.encode(), usedforsecurity=False).hexdigest()}" for number in range(ROWS)]
    assert [row["request_id"] for row in rows] == expected


def test_rows_stay_in_order_when_threads_share_a_day(tmp_path: Path) -> None:
    # More rows than DuckDB hands to one thread at a time (122,880).
    until = datetime(2026, 11, 24, tzinfo=timezone.utc)
    (file,) = write_sample(plan(260_000, until=until, kind="parquet"), tmp_path).files
    with duckdb.connect() as database:
        found = database.execute("select request_id from read_parquet($1)", [str(file)]).fetchall()
        numbers = database.execute("select 'sample-' || md5(concat('1:id:', range)) from range(260000)").fetchall()
    assert found == numbers


def test_another_seed_gives_other_rows(rows: list[Row], tmp_path: Path) -> None:
    others = read(write_sample(plan(200, days=1, seed=2), tmp_path), "jsonl")
    for name in ("request_id", "session_id", "model_id"):
        assert not {row[name] for row in rows if row[name]} & {row[name] for row in others if row[name]}


def test_the_totals_of_a_known_plan_are_stable(samples: dict[str, tuple[SampleReport, list[Row]]]) -> None:
    """Fails if a version of DuckDB hashes, rounds or prints differently. A change of the sample changes them, too."""
    report = samples["jsonl"][0]
    assert report.spend == Decimal("20.7116668660000005025865776000")
    assert report.last == datetime(2026, 11, 24, 13, 59, 41, 618_000, tzinfo=timezone.utc)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_tables_hold_the_same_rows(
    kind: str, samples: dict[str, tuple[SampleReport, list[Row]]], rows: list[Row]
) -> None:
    assert samples[kind][1] == rows


def test_payloads_hold_the_same_rows(samples: dict[str, tuple[SampleReport, list[Row]]], rows: list[Row]) -> None:
    without = [{name: value for name, value in row.items() if name not in ("created_at", "updated_at")} for row in rows]
    assert samples["payload"][1] == without


def test_json_types_of_a_spend_log(samples: dict[str, tuple[SampleReport, list[Row]]]) -> None:
    for row in json_lines(samples["jsonl"][0].files[0]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", row["startTime"])
        assert isinstance(row["metadata"], dict)
        assert isinstance(row["request_tags"], list)
        assert isinstance(row["spend"], Decimal)


def test_json_types_of_a_payload(samples: dict[str, tuple[SampleReport, list[Row]]]) -> None:
    payloads = json_lines(samples["payload"][0].files[0])
    assert {payload["cache_hit"] for payload in payloads} == {True, False, None}
    assert all(isinstance(payload["startTime"], Decimal) for payload in payloads)
    aliases = {payload["metadata"]["user_api_key_org_alias"] for payload in payloads}
    assert aliases == {"Consumer", "Platform", "Labs", None}


def test_parquet_types_of_times(samples: dict[str, tuple[SampleReport, list[Row]]]) -> None:
    with duckdb.connect() as database:
        file = str(samples["parquet"][0].files[0])
        cursor = database.execute('select "startTime", created_at, spend from read_parquet($1)', [file])
        assert [str(column[1]) for column in cursor.description] == ["TIMESTAMP", "TIMESTAMP", "DOUBLE"]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_report_matches_the_files(kind: str, samples: dict[str, tuple[SampleReport, list[Row]]]) -> None:
    report, found = samples[kind]
    exact, total = Context(prec=60), Decimal(0)
    for row in found:
        total = exact.add(total, row["spend"])
    assert report.spend == total > 0
    assert report.rows == len(found) == ROWS
    starts = [row["startTime"] for row in found]
    assert (report.first, report.last) == (min(starts), max(starts))


def test_rows_start_in_the_window_and_are_written_after_their_end(rows: list[Row]) -> None:
    assert len({row["request_id"] for row in rows}) == ROWS
    for row in rows:
        assert START <= row["startTime"] < END
        assert row["startTime"] < row["endTime"]
        assert timedelta(seconds=5) <= row["created_at"] - row["endTime"] <= timedelta(hours=19)
        assert row["updated_at"] == row["created_at"]
    # None is more than a few minutes after the end, however late rows may arrive.
    assert max(row["created_at"] for row in rows) < END + timedelta(minutes=5)
    delays = sorted(row["created_at"] - row["endTime"] for row in rows)
    assert delays[ROWS * 98 // 100] <= timedelta(seconds=90) < timedelta(hours=1) < delays[-1]
    assert any(row["endTime"].hour != row["startTime"].hour for row in rows)


def test_business_hours_have_more_requests(tmp_path: Path) -> None:
    report = write_sample(plan(2_000, days=7, until=datetime(2026, 11, 23, tzinfo=timezone.utc)), tmp_path)
    hours: dict[tuple[bool, int], int] = defaultdict(int)
    for row in read(report, "jsonl"):
        hours[row["startTime"].weekday() < 5, row["startTime"].hour] += 1
    assert hours[True, 10] > 5 * hours[True, 2]
    assert hours[True, 10] / 5 > 2 * hours[False, 10] / 2


def test_shares_of_failures_cache_hits_and_unusual_rows(rows: list[Row]) -> None:
    def share(found: list[Row]) -> float:
        return len(found) / ROWS

    failures = [row for row in rows if row["status"] == "failure"]
    hits = [row for row in rows if row["cache_hit"] == "True"]
    assert 0.02 < share(failures) < 0.04
    assert 0 < len([row for row in failures if row["spend"]]) < len(failures) / 4
    assert {row["cache_hit"] for row in failures} == {"None"}
    assert 0.03 < share(hits) < 0.05
    assert not any(row["spend"] for row in hits)
    assert any(row["total_tokens"] for row in hits)
    assert any(0 < row["spend"] < Decimal("2e-8") for row in rows)
    assert any(row["spend"] and not row["total_tokens"] for row in rows)
    assert 0.01 < share([row for row in rows if not row["team_id"]]) < 0.1
    assert share([row for row in rows if not row["user"]]) > 0.2
    assert any(not row["api_key"] for row in rows)
    assert any(not row["custom_llm_provider"] and "/" in row["model"] for row in rows)
    assert any(not row["model_group"] for row in rows)
    assert any("env:prod" in row["request_tags"] for row in rows)
    assert any(row["metadata"]["spend_logs_metadata"] is None for row in rows)
    assert all(row["total_tokens"] == row["prompt_tokens"] + row["completion_tokens"] for row in rows)


def test_there_are_many_teams_users_and_models(rows: list[Row]) -> None:
    assert {row["custom_llm_provider"] for row in rows} >= {
        *("openai", "azure", "azure_ai", "anthropic", "bedrock"),
        *("vertex_ai", "gemini", "together_ai", "mistral", "groq"),
    }
    assert len({row["model"] for row in rows}) > 20
    assert "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0" in {row["model"] for row in rows}
    assert "Team Ärger/42" in {row["team_id"] for row in rows}
    assert len({row["team_id"] for row in rows} - {""}) == 8
    assert len({row["organization_id"] for row in rows} - {""}) == 3
    assert len({row["metadata"]["user_api_key_project_id"] for row in rows} - {None}) == 5
    assert len({row["user"] for row in rows} - {""}) == 60
    assert all(re.fullmatch(r"[0-9a-f]{64}|", row["api_key"]) for row in rows)


# The names


def test_every_id_has_one_name(rows: list[Row]) -> None:
    names: dict[tuple[str, str], set[Any]] = defaultdict(set)
    for row in rows:
        metadata = row["metadata"]
        names["team", row["team_id"]].add((metadata["user_api_key_team_alias"], row["organization_id"]))
        names["user", row["user"]].add(metadata["user_api_key_user_email"])
        names["key", row["api_key"]].add((metadata["user_api_key_alias"], row["team_id"], row["user"]))
        names["project", metadata["user_api_key_project_id"]].add(metadata["user_api_key_project_alias"])
    assert {key: values for key, values in names.items() if len(values) != 1} == {}


def test_name_tables_agree_with_the_rows(rows: list[Row]) -> None:
    tables = name_tables(1)
    teams = {team["team_id"]: team for team in tables["LiteLLM_TeamTable"]}
    users = {user["user_id"]: user for user in tables["LiteLLM_UserTable"]}
    keys = {key["token"]: key for key in tables["LiteLLM_VerificationToken"]}
    projects = {project["project_id"]: project for project in project_rows(1)}
    for row in rows:
        metadata = row["metadata"]
        if row["team_id"]:
            assert teams[row["team_id"]]["team_alias"] == metadata["user_api_key_team_alias"]
            assert teams[row["team_id"]]["organization_id"] == row["organization_id"]
        if row["user"]:
            assert users[row["user"]]["user_email"] == metadata["user_api_key_user_email"]
        if row["api_key"]:
            key = keys[row["api_key"]]
            assert key["key_alias"] == metadata["user_api_key_alias"]
            assert [key[name] or "" for name in ("team_id", "user_id", "organization_id")] == [
                row[name] for name in ("team_id", "user", "organization_id")
            ]
            assert key["project_id"] == metadata["user_api_key_project_id"]
        if metadata["user_api_key_project_id"]:
            project = projects[metadata["user_api_key_project_id"]]
            assert project["project_alias"] == metadata["user_api_key_project_alias"]


def test_name_tables_have_unique_keys_and_refer_to_each_other() -> None:
    tables = name_tables(7) | {"LiteLLM_ProjectTable": project_rows(7)}
    ids = {name: [next(iter(row.values())) for row in rows] for name, rows in tables.items()}
    assert {name: len(found) for name, found in ids.items()} == {
        "LiteLLM_OrganizationTable": 3,
        "LiteLLM_TeamTable": 8,
        "LiteLLM_UserTable": 60,
        "LiteLLM_VerificationToken": 85,
        "LiteLLM_ProjectTable": 5,
    }
    assert all(len(set(found)) == len(found) and all(found) for found in ids.values())
    assert len({user["user_email"] for user in tables["LiteLLM_UserTable"]}) == 60
    assert all(str(user["user_email"]).endswith("@example.com") for user in tables["LiteLLM_UserTable"])
    for key in tables["LiteLLM_VerificationToken"]:
        assert key["team_id"] in {*ids["LiteLLM_TeamTable"], None}
        assert key["user_id"] in {*ids["LiteLLM_UserTable"], None}
        assert key["organization_id"] in {*ids["LiteLLM_OrganizationTable"], None}
        assert key["project_id"] in {*ids["LiteLLM_ProjectTable"], None}


def test_every_column_is_a_column_of_litellm(rows: list[Row]) -> None:
    schema = (Path(str(litellm_proxy_extras.__file__)).parent / "schema.prisma").read_text("utf-8")

    def columns(table: str) -> set[str]:
        block = re.search(rf"^model {table} \{{$(.*?)^\}}$", schema, re.MULTILINE | re.DOTALL)
        assert block is not None
        return {line.split()[0] for line in block[1].splitlines() if line.strip()}

    prompts = {"messages", "response", "proxy_server_request"}
    assert set(rows[0]) <= columns("LiteLLM_SpendLogs") - prompts
    for table, found in (name_tables(1) | {"LiteLLM_ProjectTable": project_rows(1)}).items():
        assert set(found[0]) <= columns(table)
