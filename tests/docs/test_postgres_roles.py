"""docs/postgres_roles.sql, run with psql by different roles: it gives dbt and the loader the rights that they need, and no more."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.docs.blocks import ROOT, blocks_of
from tests.docs.world import CONNECTION, DBA, KEY, LITELLM, litellm_database, pg_bin, sandbox
from tests.support.litellm.database import Database, Server
from tests.support.litellm.requests import spend_log
from tests.support.project import Project
from tests.support.warehouse import START

FILE = ROOT / "docs/postgres_roles.sql"
LOADER = "litellm_cbf_loader"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A separate server, because roles belong to a whole server."""
    server = Server(tmp_path / "pg")
    yield server
    server.stop()


def as_role(database: Database, role: str, statement: str) -> None:
    """Run one statement as another role."""
    connection = psycopg2.connect(host=database.host, user=role, dbname=database.name)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def run_file(database: Database, role: str) -> subprocess.CompletedProcess[str]:
    """Run the file with the command in its first lines."""
    typed = [
        str(pg_bin() / "psql"),
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        f"--dbname={database.name}",
        f"--file={FILE}",
    ]
    login = {"PGHOST": database.host, "PGUSER": role}
    return subprocess.run(typed, env=login, capture_output=True, text=True, check=False)


def test_an_administrator_creates_logins_with_the_necessary_rights_only(server: Server, tmp_path: Path) -> None:
    database = litellm_database(server, "litellm")
    first = run_file(database, DBA)
    assert first.returncode == 0, first.stderr
    assert "run this file again" in first.stderr
    database.insert_spend_logs([spend_log("r1", START, messages={"secret": "prompt"})])
    project = Project(tmp_path / "project", database, {"PGUSER": "litellm_cbf"})
    project.build(tests=True)
    with sandbox(tmp_path) as anycost:
        project.settings = {
            "CLOUDZERO_API_KEY": KEY,
            "CLOUDZERO_CONNECTION_ID": CONNECTION,
            "CLOUDZERO_API_URL": anycost,
            "PGUSER": LOADER,
        }
        shut_out = project.loader("push", "--window", "pending")
        assert shut_out.code == 3
        assert "push_log" in shut_out.err
        again = run_file(database, DBA)
        assert (again.returncode, "run this file again" in again.stderr) == (0, False), again.stderr
        month = f"{START:%Y-%m}"
        for command in (
            ("dry-run",),
            ("push", "--window", "pending", "--settle-for", "0s"),
            ("status",),
            ("reconcile",),
            ("check",),
            ("verify", "--month", month),
            ("validate", "--window", "yesterday"),
            ("drop", "--month", month, "--out", str(tmp_path / "drop")),
        ):
            outcome = project.loader(*command)
            assert outcome.code == 0, (command, outcome.err)
        assert project.loader("run").code == 3, "it runs dbt, which this login cannot"
        assert project.loader("run", PGUSER="litellm_cbf").code == 0
        # dbt has recreated its views; the loader can still read them.
        assert project.loader("dry-run").code == 0
    for role, statement in (
        ("litellm_cbf", 'select messages from "LiteLLM_SpendLogs"'),
        ("litellm_cbf", 'select proxy_server_request from "LiteLLM_SpendLogs"'),
        ("litellm_cbf", 'select * from "LiteLLM_VerificationToken"'),
        ("litellm_cbf", 'delete from "LiteLLM_SpendLogs"'),
        ("litellm_cbf", "create schema other"),
        (LOADER, 'select spend from "LiteLLM_SpendLogs"'),
        (LOADER, "delete from cbf.push_log"),
        (LOADER, "update cbf.push_log set outcome = 'accepted'"),
        (LOADER, "delete from cbf.int_usage__hourly"),
        (LOADER, "insert into cbf.cbf_as_of values (now())"),
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_role(database, role, statement)
    uninstall(database)


def uninstall(database: Database) -> None:
    """The statements of docs/upgrading.md remove everything except LiteLLM's tables."""
    (block,) = (each for each in blocks_of(ROOT / "docs/upgrading.md") if each.language == "sql")
    as_role(database, DBA, block.text)
    assert database.run("select from pg_namespace where nspname = 'cbf'") == []
    assert database.run("select from pg_roles where rolname like 'litellm_cbf%%'", ()) == []
    assert database.run('select count(*) from "LiteLLM_SpendLogs"') == [(1,)]


def test_the_owner_of_an_older_litellm_can_run_it(server: Server) -> None:
    database = litellm_database(server, "litellm", before="20250601")
    database.run(f"alter role {LITELLM} createrole")
    for _ in range(2):
        done = run_file(database, LITELLM)
        assert done.returncode == 0, done.stderr
    as_role(database, "litellm_cbf", 'select spend, "startTime" from "LiteLLM_SpendLogs"')


def test_another_database_is_rejected_before_anything_is_created(server: Server) -> None:
    database = server.create("other")
    done = run_file(database, database.user)
    assert done.returncode != 0
    assert "connect to LiteLLM's database" in done.stderr
    assert database.run("select from pg_roles where rolname like 'litellm_cbf%%'", ()) == []
