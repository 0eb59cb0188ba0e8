"""`dbt compile` and `dbt docs generate` work before the first build and without access to LiteLLM's data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engines.test_history import START
from tests.support.litellm.database import Server
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

COMMANDS = (("compile",), ("docs", "generate"), ("list", "--quiet"))
# dbt logs each statement with the name of its connection.
STATEMENT = re.compile(r"On (?P<name>\S+): (?P<sql>(?:.|\n)*?)(?=\n\d\d:\d\d:\d\d|\Z)")
# Parts of dbt's own queries of the catalog.
OF_DBT = (
    "information_schema",
    "pg_catalog",
    "pg_class",
    "pg_namespace",
    "duckdb_",
    "system.",
    "begin",
    "commit",
    "rollback",
    "close",
    "create schema",
)


LOGGED = {"DBT_LOG_LEVEL_FILE": "debug"}


def statements(project: Project) -> list[str]:
    """All statements in dbt's log except its own queries of the catalog."""
    log = (project.folder / "logs" / "dbt.log").read_text(encoding="utf-8")
    found = [re.sub(r"/\*.*?\*/", "", match["sql"]).strip() for match in STATEMENT.finditer(log)]
    return [sql for sql in found if not any(word in sql.lower() for word in OF_DBT)]


def compiled(project: Project, model: str) -> str:
    """The SQL that dbt compiled for a model."""
    (file,) = (project.folder / "target" / "compiled").rglob(f"{model}.sql")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_queried_before_the_first_build(project: Project, command: tuple[str, ...]) -> None:
    project.settings |= LOGGED
    project.dbt(*command)
    assert statements(project) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_litellms_tables_may_be_missing(tmp_path: Path, postgres: Server, command: tuple[str, ...]) -> None:
    project = Project(tmp_path, postgres.create(f"empty_{'_'.join(command).replace('-', '')}"))
    project.settings |= LOGGED
    project.dbt(*command)
    assert statements(project) == []


def test_nothing_is_queried_after_a_build(project: Project) -> None:
    project.settings |= LOGGED
    put(project, [spend_log("r", START)])
    project.build()
    queried = statements(project)
    assert len(queried) > 10  # the log does show statements
    for command in COMMANDS:
        project.dbt(*command)
    assert statements(project) == queried
    # A first run is compiled, which sums everything.
    assert "source_checksum" in compiled(project, "int_usage__hourly")


def test_without_tables_the_sql_for_a_current_litellm_is_compiled(tmp_path: Path, postgres: Server) -> None:
    project = Project(tmp_path, postgres.create("without_tables"))
    project.dbt("compile")
    assert '"LiteLLM_DeletedTeamTable"' in compiled(project, "stg_litellm__teams")
    assert '"organization_id"' in compiled(project, "base_litellm__spend_logs")
    assert "ptu_flat_cost" in compiled(project, "reconciliation_amounts")


def test_the_sql_for_files_is_compiled_without_reading_them(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (project.logs / "invoice.csv").write_text("date,amount\n2026-11-01,12\n")
    assert "left out" not in project.dbt("compile").out
    assert f"read_csv(['{project.logs}/*']" in compiled(project, "base_litellm__spend_logs")
