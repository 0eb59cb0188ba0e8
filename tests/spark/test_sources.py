"""The same requests result in the same lines on Spark, PostgreSQL and DuckDB."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import struct
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.engines.test_history import HOURS
from tests.engines.test_sources import (
    ALL_DIMENSIONS,
    ARTIFACTS,
    ENCODED,
    HOUR,
    MARKER,
    camel,
    encoded_found,
    encoded_requests,
    expected_times,
    insert_names,
    rejected,
    requests,
    requests_at_times,
    respelled,
    said,
    times_found,
    total,
)
from tests.spark.project import SparkProject
from tests.support.litellm.database import Database
from tests.support.litellm.requests import Row, spend_log, write
from tests.support.project import Project, put

__all__ = ["requests"]


def lines_and_hours(
    project: Project, dimensions: list[str], *arguments: str, tests: bool = False
) -> list[tuple[Any, ...]]:
    """Build, and return lines and hours."""
    project.build(*arguments, tests=tests, variables={"line_dimensions": dimensions})
    lines = project.rows("select * from cbf.cbf_lines")
    hours = project.rows(HOURS)
    return sorted(lines, key=repr) + hours


def test_lines_and_fingerprints_equal_those_of_postgresql_and_duckdb(
    requests: list[Row],
    litellm_database: Callable[[], Database],
    spark_project: Callable[[], SparkProject],
    tmp_path: Path,
) -> None:
    database = litellm_database()
    insert_names(database)
    database.insert_spend_logs(requests)
    files = Project(tmp_path / "duckdb")
    write(requests, files.logs, "jsonl")
    spark = {kind: spark_project() for kind in ("jsonl", "parquet", "payload")}
    for kind, project in spark.items():
        write(requests, project.logs, kind) if kind != "parquet" else write_parquet_as_exported(requests, project.logs)

    expected = lines_and_hours(Project(tmp_path / "postgres", database), ALL_DIMENSIONS)
    assert len(expected) > 500
    assert lines_and_hours(files, ALL_DIMENSIONS) == expected
    for kind, project in spark.items():
        assert lines_and_hours(project, ALL_DIMENSIONS, tests=kind == "jsonl") == expected, kind


def write_parquet_as_exported(rows: list[Row], folder: Path) -> None:
    """Write Parquet like an export of LiteLLM's table: jsonb columns as text, timestamps without time zone."""
    write(rows, folder, "jsonl", "to_convert")
    texts = "metadata::json::varchar as metadata, request_tags::json::varchar as request_tags, startTime::timestamp as startTime"
    with duckdb.connect() as connection:
        columns = dict.fromkeys(rows[0], "varchar") | {"spend": "double", "metadata": "json", "request_tags": "json"}
        typed = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
        source = f"read_json('{folder}/to_convert.jsonl', columns = {{{typed}}})"
        connection.execute(
            f"copy (select * replace ({texts}) from {source}) to '{folder}/logs.parquet' (format parquet)"
        )
    (folder / "to_convert.jsonl").unlink()


@pytest.mark.slow
def test_nested_parquet_is_read_unless_it_has_json_in_text(project: SparkProject) -> None:
    plain = [
        spend_log(str(n), HOUR, metadata={"user_api_key_alias": "k", "spend_logs_metadata": {"env": "a"}})
        for n in range(2)
    ]
    dimensions = {"line_dimensions": ["metadata:env"]}
    write(plain, project.logs, "parquet")
    project.build(variables=dimensions)
    assert project.rows("select metadata__env, request_count from cbf.int_usage__hourly") == [("a", 2)]
    mixed = [plain[0], spend_log("3", HOUR, metadata={"user_api_key_alias": "k", "spend_logs_metadata": {"env": 1}})]
    write(mixed, project.logs, "parquet")
    outcome = project.build(variables=dimensions, ok=False)
    assert outcome.code == 1
    assert "is nested and contains strings of JSON" in outcome.out


@pytest.mark.slow
def test_mixed_file_formats_with_repeated_requests(project: SparkProject) -> None:
    rows = [spend_log(f"r{n}", HOUR, spend=0.25) for n in range(4)]
    late = [row | {"spend": 0.5, "updated_at": "2026-11-01T13:30:00.000"} for row in rows[:1]]
    for kind, part in (("jsonl", rows[:2]), ("json", rows[1:3]), ("parquet", rows[2:]), ("payload_files", rows[:3])):
        write(part, project.logs, kind, name=kind)
    write(late, project.logs, "jsonl", name="late, {1}")
    (project.logs / "README.txt").write_text("not a spend log")
    outcome = project.build()
    assert "left out" in outcome.out
    assert project.rows('select sum("cost/cost"), sum("usage/amount") from cbf.cbf_lines') == [(Decimal("1.25"), 600)]


def test_broken_lines_and_foreign_files_are_set_aside_and_the_rest_goes_on(project: SparkProject) -> None:
    put(project, [spend_log("r", HOUR)])
    broken = ['{"request_id": "cut', '{"request_id": "a"} {"request_id": "b"}', f'["{MARKER}"]']
    (project.logs / "broken.jsonl").write_bytes(
        "\n".join(broken).encode() + b'\n{"messages": "' + MARKER.encode() + b' \xff"}\n'
    )
    emoji = json.dumps(spend_log("emoji", HOUR, response={"t": "cut \ud83d"}))
    (project.logs / "emoji.jsonl").write_text(emoji)
    (project.logs / "hidden.json").write_bytes(gzip.compress(emoji.encode()))
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 1 as a) to '{project.logs}/other.parquet'")
    whole = (project.logs / "other.parquet").read_bytes()
    (project.logs / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (project.logs / "empty.parquet").write_bytes(b"")  # Spark does not list it
    project.settings |= ARTIFACTS
    outcome = project.build("--exclude", "cbf_as_of")
    assert total(project) == (Decimal("0.004"), 300)
    assert rejected(project) == [
        ("gzip_without_suffix", "hidden.json", None),
        *[("not_json", "broken.jsonl", None)] * 3,
        ("not_parquet", "cut.parquet", None),
        ("not_spend_logs", "other.parquet", None),
        ("not_utf8", "broken.jsonl", None),
    ]
    assert project.rows(
        "select distinct reverse(split(reverse(source_file), '/')[0]) from cbf.int_usage__rejected_hours where file_is_rejected order by 1"
    ) == [("broken.jsonl",), ("cut.parquet",), ("hidden.json",), ("other.parquet",)]
    assert "other.parquet' is set aside" in outcome.out
    assert MARKER not in said(project, outcome)


def test_json_inside_json_text_is_read_by_one_rule(project: SparkProject) -> None:
    put(project, encoded_requests())
    found = encoded_found(project)
    assert [(user, warning) for user, _, warning in found] == [(user, warning) for *_, user, _, warning in ENCODED]


def test_a_time_is_read_when_the_whole_text_is_one(project: SparkProject) -> None:
    put(project, requests_at_times())
    assert times_found(project) == expected_times()


def test_names_wrappers_and_parquet_schemas(project: SparkProject) -> None:
    row = spend_log("r", HOUR, user="u1")
    spellings: list[Callable[[str], str]] = [str.lower, str.upper, camel]
    for number, spell in enumerate(spellings):
        for kind in ("jsonl", "json", "parquet"):
            write(
                [respelled(row | {"request_id": f"{number} {kind}"}, spell)],
                project.logs,
                kind,
                name=f"{number}-{kind}",
            )
    (project.logs / "chatcmpl-1").write_text(json.dumps(row | {"request_id": "no extension"}))
    (project.logs / "wrapped.json").write_text(json.dumps({"data": [row | {"request_id": f"w{n}"} for n in range(2)]}))
    (project.logs / "summary.json").write_text(
        '[{"startTime": "2026-11-01", "spend": 12.5, "models": {"gpt-4o": 12.5}}]'
    )
    with duckdb.connect() as connection:
        connection.execute(
            "copy (select 'text' as request_id, 1793538000.5 as \"startTime\", 0.002::float as spend, 150 as total_tokens, 'gpt-4o' as model,"
            " 'openai' as custom_llm_provider, 'team-123' as team_id, '{\"user_api_key_user_id\": \"u1\"}' as metadata)"
            f" to '{project.logs}/text.parquet'"
        )
    project.build("--exclude", "cbf_as_of")
    assert rejected(project) == [("not_a_request", "summary.json", Decimal("12.5"))]
    columns = '"resource/tag:team_id", "resource/tag:user_id", "cost/cost", "usage/amount"'
    assert project.rows(f"select {columns} from cbf.cbf_lines") == [("team-123", "u1", Decimal("0.026"), 1950)]


def test_ids_are_trimmed_keys_are_hashed_and_sessions_are_left_out(project: SparkProject) -> None:
    blob = json.dumps({"device_id": "d1", "session_id": "s1"})
    rows = [
        spend_log(
            "1",
            HOUR,
            team_id=" team\x01\x7f\x85-1 ",
            api_key="sk-raw",
            end_user=blob,
            request_tags=["h: acme", " h:acme"],
        ),
        spend_log("2", HOUR, team_id="team-1", api_key="sk-raw", end_user="d1", request_tags=["h:acme"], spend=-0.5),
    ]
    put(project, rows)
    project.build(variables={"line_dimensions": ["api_key", "end_user", "tag:h"]})
    columns = (
        '"resource/tag:team_id", "resource/tag:api_key", "resource/tag:end_user", "resource/tag:h", "usage/amount"'
    )
    assert project.rows(f"select {columns} from cbf.cbf_lines") == [
        ("team-1", hashlib.sha256(b"sk-raw").hexdigest(), "d1", "acme", 300)
    ]
    assert project.rows("select request_id, warning from cbf.spend_log_warnings") == [("2", "negative_spend")]


def edge_case_spends() -> list[float]:
    """Doubles that are hard to print and round correctly."""
    generator = random.Random(1)  # noqa: S311
    powers = [2.0**power for power in range(-70, 50)]
    spends = [
        1e-12,
        0.1 + 0.2,
        12345.678901234567,
        1 / 3,
        2e-323,
        5e-324,
        1.0e-5,
        1e-7,
        2.0e-3,
        9.5e-19,
        5e-19,
        4.9e-19,
    ]
    spends += [0.0, 123456789012345.6, 999999999999999.9, 0.0012345678901234565, 0.00012345678901234565, 1e-18, 1e14]
    spends += powers + [power * (1 + 2**-52) for power in powers] + [power * (1 - 2**-53) for power in powers]
    for _ in range(10_000):
        exponent = 1023 + generator.randint(-62, 48)
        spends.append(struct.unpack("d", struct.pack("Q", generator.getrandbits(52) | exponent << 52))[0])
        spends.append(round(generator.uniform(0, 1), generator.randint(1, 17)) * generator.choice([1, 1e-3, 1e-6, 1e3]))
    return [spend for spend in spends if spend < 1e15]


def test_spend_is_rounded_once_from_its_shortest_decimal(project: SparkProject) -> None:
    spends = edge_case_spends()
    put(project, [spend_log(str(number), HOUR, spend=spend) for number, spend in enumerate(spends)])
    project.build("--select", "+stg_litellm__spend_logs")
    found = dict(project.rows("select cast(request_id as int), cost_usd from cbf.stg_litellm__spend_logs"))
    with localcontext(prec=60):
        exact = [Decimal(repr(spend)).quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP) for spend in spends]
    assert {spend: found[number] for number, spend in enumerate(spends) if found[number] != exact[number]} == {}
