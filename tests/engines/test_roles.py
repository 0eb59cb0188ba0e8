"""The SQL of docs/postgres_roles.sql, run as it stands: dbt and the loader work with these rights and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials
from tests.support.litellm.database import Database
from tests.support.litellm.requests import spend_log
from tests.support.project import ROOT, Project, put
from tests.support.warehouse import START


def as_role(database: Database, role: str, statement: str) -> None:
    """One statement, as somebody else."""
    connection = psycopg2.connect(host=database.host, user=role, dbname=database.name)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def test_the_least_rights_are_enough_and_no_more(
    litellm_database: Callable[[], Database], tmp_path: Path, anycost: SandboxServer
) -> None:
    database = litellm_database()
    project = Project(tmp_path, database)
    before, after = (ROOT / "docs/postgres_roles.sql").read_text(encoding="utf-8").split("-- 2. ")
    database.run(before)
    put(project, [spend_log("r1", START, messages={"secret": "prompt"})])
    project.settings = {"PGUSER": "litellm_cbf"}
    project.build(tests=True)
    project.settings = credentials(anycost) | {"PGUSER": "litellm_cbf_loader"}
    shut_out = project.loader("push", "--window", "pending")
    assert shut_out.code == 3
    assert "no permission to write to schema cbf" in shut_out.err
    assert "select and insert on push_log" in shut_out.err
    database.run("-- 2. " + after)

    for command in (
        ("dry-run",), ("push", "--window", "pending", "--settle-for", "0s"), ("status",),
        ("verify", "--month", f"{START:%Y-%m}"), ("validate", "--window", "yesterday"), ("check",),
    ):  # fmt: skip
        outcome = project.loader(*command)
        assert outcome.code == 0, (command, outcome.err)
    # dbt makes its views anew; the loader still reads them.
    project.settings["PGUSER"] = "litellm_cbf"
    project.build()
    project.settings["PGUSER"] = "litellm_cbf_loader"
    assert project.loader("dry-run").code == 0

    for role, statement in (
        ("litellm_cbf", 'select messages from "LiteLLM_SpendLogs"'),
        ("litellm_cbf", 'select proxy_server_request from "LiteLLM_SpendLogs"'),
        ("litellm_cbf", 'delete from "LiteLLM_SpendLogs"'),
        ("litellm_cbf_loader", 'select spend from "LiteLLM_SpendLogs"'),
        ("litellm_cbf_loader", "delete from cbf.push_log"),
        ("litellm_cbf_loader", "update cbf.push_log set outcome = 'accepted'"),
        ("litellm_cbf_loader", "delete from cbf.int_usage__hourly"),
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_role(database, role, statement)
