"""A user's mistake is reported in one line, with the right exit code, and nothing is sent."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pytest

from loader.config.settings import MISSING_CREDENTIALS
from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import serve_sandbox
from tests.support.litellm.database import Database, Server
from tests.support.litellm.requests import spend_log, write
from tests.support.project import BIN, Outcome, Project
from tools.cli_docs import PAGE, render

START = datetime(2024, 1, 15, 14, tzinfo=timezone.utc)
GIVEN = {
    "CLOUDZERO_API_KEY": "secret-key-0815",
    "CLOUDZERO_CONNECTION_ID": "c",
    "CLOUDZERO_API_URL": "http://127.0.0.1:9",
}
PUSH = ("push", "--start", "2024-01-15T14:00:00Z", "--end", "2024-01-15T15:00:00Z", "--give-up-after", "0s")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A DuckDB project with one line."""
    project = Project(tmp_path_factory.mktemp("built"))
    write([spend_log("r1", START)], project.logs, "jsonl")
    project.build()
    project.settings = dict(GIVEN)
    return project


def fails(outcome: Outcome, code: int, *words: str) -> None:
    """One line on stderr, nothing on stdout, no traceback, no key."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert GIVEN["CLOUDZERO_API_KEY"] not in outcome.err
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    for word in words:
        assert word in last


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("push",), 2, ("Which hours?", "last_hour")),
        (("push", "--window", "last_week"), 2, ("last_week", "last_hour")),
        (("push", "--window", "today", "--start", "2024-01-01"), 2, ("not both",)),
        (("push", "--end", "2024-01-01"), 2, ("--start",)),
        (("push", "--start", "soon"), 2, ("soon", "ISO 8601")),
        (("push", "--start", "2999-01-01"), 2, ("in the future", "2999-01-01")),
        (("push", "--start", "2024-01-02", "--end", "2024-01-01"), 2, ("not before", "2024-01-01")),
        (("push", "--start", "2024-01-01", "--end", "9999-12-31"), 2, ("--end", "years 1 to 9998")),
        (("push", "--window", "pending", "--since", "9999-12-31T23:30"), 2, ("--since", "years 1 to 9998")),
        (("reconcile", "--start", "2024-01-01", "--end", "9999-12-31"), 2, ("--end", "years 1 to 9998")),
        (("push", "--window", "today", "--operation", "delete"), 2, ("delete",)),
        (("push", "--window", "today", "--limit", "0"), 2, ("limit",)),
        (("push", "--window", "today", "--give-up-after", "soon"), 2, ("soon", "15m")),
        (("dry-run", "--target", "nope"), 3, ("nope", "dev", "postgres")),
        (("dry-run", "--profiles-dir", "/nowhere"), 3, ("/nowhere", "make setup")),
        (("sample", "--rows", "0"), 2, ("rows",)),
        (("sandbox", "--host", "203.0.113.1", "--port", "1"), 3, ("203.0.113.1",)),
    ],
)
def test_wrong_input(arguments: tuple[str, ...], code: int, words: tuple[str, ...], built: Project) -> None:
    fails(built.loader(*arguments), code, *words)


@pytest.mark.parametrize("missing", ["CLOUDZERO_API_KEY", "CLOUDZERO_CONNECTION_ID"])
def test_missing_credentials_have_litellms_message(missing: str, built: Project) -> None:
    outcome = built.loader(*PUSH, **{missing: ""})
    fails(outcome, 3)
    assert outcome.err == f"Error: {MISSING_CREDENTIALS}\n"
    assert MISSING_CREDENTIALS == (
        "CloudZero configuration missing. Please set CLOUDZERO_API_KEY and CLOUDZERO_CONNECTION_ID environment variables."
    )


def test_unreachable_host(built: Project) -> None:
    fails(
        built.loader(*PUSH), 5, "No response from http://127.0.0.1:9", "2024-01-15T14:00:00Z", "Sent before it: 0 hours"
    )


def test_wrong_key(built: Project) -> None:
    with serve_sandbox(AnyCostSandbox("another key")) as server:
        fails(built.loader(*PUSH, CLOUDZERO_API_URL=server.url), 4, "403", "CLOUDZERO_API_KEY is wrong")
        check = built.loader("check", CLOUDZERO_API_URL=server.url)
        assert check.code == 4
        assert "FAILED" in check.out
        assert server.sandbox.state()["streams"] == {}


def test_nothing_to_send_is_not_an_error(built: Project) -> None:
    outcome = built.loader("push", "--start", "2023-01-01", "--end", "2023-02-01")
    assert (outcome.code, outcome.out) == (0, "")
    assert "Nothing to send" in outcome.err


def test_times_within_an_hour_are_widened_with_a_notice(built: Project) -> None:
    outcome = built.loader(
        "dry-run", "--start", "2024-01-15T14:10:00", "--end", "2024-01-15T14:20:00", "--format", "ndjson"
    )
    assert outcome.code == 0
    assert '"time/usage_start":"2024-01-15T14:00:00Z"' in outcome.out
    assert "Widened to whole hours: 2024-01-15T14:00:00Z to 2024-01-15T15:00:00Z" in outcome.err


def test_the_example_line_of_litellms_page_to_the_letter(built: Project) -> None:
    line = built.loader("dry-run", "--format", "ndjson").out
    for pair in (
        '"time/usage_start":"2024-01-15T14:00:00Z"',
        '"cost/cost":"0.002"',
        '"usage/amount":"150"',
        '"usage/units":"tokens"',
        '"resource/id":"czrn:litellm:openai:cross-region:team-123:llm-usage:gpt-4o"',
        '"resource/service":"litellm"',
        '"resource/account":"team-123"',
        '"resource/region":"cross-region"',
        '"resource/usage_family":"llm-usage"',
        '"resource/tag:provider":"openai"',
        '"resource/tag:model":"gpt-4o"',
        '"resource/tag:prompt_tokens":"100"',
        '"resource/tag:completion_tokens":"50"',
    ):
        assert pair in line


def test_csv_has_the_same_values(built: Project) -> None:
    head, row = built.loader("dry-run", "--format", "csv").out.splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True))["cost/cost"] == "0.002"


def test_since_without_a_window_leaves_older_hours_out(built: Project) -> None:
    outcome = built.loader("dry-run", "--since", "2099-01-01", "--limit", "0")
    assert outcome.code == 0
    assert "Hours before 2099-01-01T00:00:00Z are left out" in outcome.err
    assert "0 of 0 lines in 0 hours" in outcome.err
    assert "1 lines in 1 hours" in built.loader("dry-run", "--since", "2024-01-01", "--limit", "0").err


def test_csv_and_ndjson_have_all_lines_unless_limited(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write([spend_log(f"r{n}", START, user=f"user-{n}") for n in range(25)], project.logs, "jsonl")
    project.build()
    assert len(project.loader("dry-run", "--format", "ndjson").out.splitlines()) == 25
    assert len(project.loader("dry-run", "--format", "csv").out.splitlines()) == 26
    assert "10 of 25 lines" in project.loader("dry-run").err
    limited = project.loader("dry-run", "--format", "csv", "--limit", "3")
    assert len(limited.out.splitlines()) == 4
    assert limited.err == "3 of 25 lines: --limit leaves out the rest.\n"


@pytest.mark.parametrize("arguments", [("dry-run", "--format", "csv"), ("status",), ("check", "--format", "json")])
def test_output_that_cannot_be_written(arguments: tuple[str, ...], built: Project) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        outcome = subprocess.run(
            [BIN / "loader", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=built.environment(),
            check=False,
        )
    assert outcome.returncode == 3
    assert "Traceback" not in outcome.stderr
    assert "could not write the output: No space left on device" in outcome.stderr.splitlines()[-1]


def test_a_duckdb_file_in_a_missing_folder(tmp_path: Path) -> None:
    project = Project(tmp_path)
    settings = GIVEN | {"LOADER_DUCKDB_PATH": str(tmp_path / "missing" / "x.duckdb")}
    for command in (("run",), ("dry-run",), ("status",), ("push", "--window", "pending")):
        fails(project.loader(*command, **settings), 3, f"The folder {tmp_path}/missing", "does not exist")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_a_read_only_duckdb_file(built: Project) -> None:
    built.duckdb_file.chmod(0o444)
    try:
        assert built.loader("dry-run").code == 0
        fails(built.loader("push", "--window", "pending"), 3, "read-only", "a push writes its log there")
    finally:
        built.duckdb_file.chmod(0o644)


def test_a_duckdb_path_that_is_a_folder(tmp_path: Path) -> None:
    outcome = Project(tmp_path).loader("dry-run", LOADER_DUCKDB_PATH=str(tmp_path))
    fails(outcome, 3, f"{tmp_path} is a folder")


def test_a_warehouse_that_was_never_built(tmp_path: Path) -> None:
    project = Project(tmp_path)
    fails(project.loader("dry-run"), 3, str(project.duckdb_file), "dbt build")
    duckdb.connect(str(project.duckdb_file)).close()
    fails(project.loader("dry-run"), 3, "schema 'cbf'", "dbt build")
    check = project.loader("check", **GIVEN)
    assert check.code == 3
    assert check.out.count("FAILED") == 2  # the views, and the host that cannot be reached


def test_a_missing_file_whose_path_has_the_word_lock_is_not_waited_for(tmp_path: Path) -> None:
    project = Project(tmp_path / "blocks")
    outcome = project.loader("dry-run", "--lock-timeout", "0s")
    fails(outcome, 3, str(project.duckdb_file), "does not exist", "dbt build")


def hold_open(path: str, opened: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    """Write to a DuckDB file until `stop` is set."""
    with duckdb.connect(path):
        opened.set()
        done.wait(60)


def test_a_file_that_another_process_writes_to_is_waited_for_and_named(built: Project) -> None:
    context = multiprocessing.get_context("spawn")
    opened, done = context.Event(), context.Event()
    writer = context.Process(target=hold_open, args=(str(built.duckdb_file), opened, done))
    writer.start()
    try:
        assert opened.wait(60)
        outcome = built.loader("dry-run", "--lock-timeout", "0.3s")
        fails(outcome, 6, str(built.duckdb_file), "in use by another process (PID ", "--lock-timeout")
        assert "Waiting for the DuckDB file" in outcome.err
    finally:
        done.set()
        writer.join()
    assert built.loader("dry-run").code == 0


def test_postgres_that_is_down_or_without_the_views(litellm_database: Callable[[], Database], tmp_path: Path) -> None:
    project = Project(tmp_path, litellm_database())
    fails(project.loader("dry-run"), 3, "cbf", "dbt build")
    fails(project.loader("dry-run", PGHOST=str(tmp_path)), 3, "cannot be reached", str(tmp_path))
    fails(project.loader("dry-run", PGDATABASE="nope"), 3, "nope")


def test_a_required_password_is_used_and_never_shown(
    postgres: Server, litellm_database: Callable[[], Database], tmp_path: Path
) -> None:
    project = Project(tmp_path, litellm_database())
    project.build()
    postgres.ask_for_password("reader")
    password = "it's {{ 4711 }} %s"  # noqa: S105
    project.write("create role reader login")
    assert project.database is not None
    project.database.run("alter role reader password %s", (password,))
    fails(project.loader("dry-run", PGUSER="reader", PGPASSWORD="wrong"), 3, "cannot be reached", "password")
    shut_out = project.loader("dry-run", PGUSER="reader", PGPASSWORD=password)
    fails(shut_out, 3, "no permission to read schema cbf", "Grant")
    # The rights that the loader needs.
    project.write("grant usage on schema cbf to reader; grant select on all tables in schema cbf to reader")
    let_in = project.loader("dry-run", PGUSER="reader", PGPASSWORD=password)
    assert let_in.code == 0, let_in.err
    assert "4711" not in shut_out.err + let_in.err + let_in.out
    # libpq's own file instead of the variable: for dbt and the loader, and only if no other user can read it.
    password_file = tmp_path / "pgpass"
    password_file.write_text(f"*:*:*:reader:{password}\n", encoding="utf-8")
    password_file.chmod(0o640)
    project.settings = {"PGUSER": "reader", "PGPASSFILE": str(password_file)}
    fails(project.loader("dry-run"), 3, "cannot be reached", "password")
    password_file.chmod(0o600)
    from_file = project.loader("dry-run")
    assert from_file.code == 0, from_file.err
    assert "hello" in project.dbt("show", "--inline", "select 'hello' as word").out


def test_the_page_of_commands_is_the_output_of_help() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make docs`"
