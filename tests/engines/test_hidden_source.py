"""What hides a part of the source is reported: it never looks as if there was nothing to send."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials
from tests.support.litellm.database import Database
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

NOW = datetime.now(timezone.utc)
YESTERDAY = (NOW - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
SAME = "CloudZero holds every complete hour as it is"
DAILY = """
    insert into "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, spend, updated_at)
    values (%s, 'u', %s, 'k', 'm', %s, now())
"""


@pytest.fixture
def on_postgres(tmp_path: Path, litellm_database: Callable[[], Database], anycost: SandboxServer) -> Project:
    """A project on PostgreSQL, not built yet, with the sandbox as destination."""
    project = Project(tmp_path, litellm_database())
    project.settings = credentials(anycost)
    return project


def database_of(project: Project) -> Database:
    """The project's database."""
    assert project.database is not None
    return project.database


def test_spend_without_spend_logs_is_reported(on_postgres: Project) -> None:
    database = database_of(on_postgres)
    database.run(DAILY, ("d1", f"{YESTERDAY:%Y-%m-%d}", 100))
    database.run(DAILY, ("today", f"{NOW:%Y-%m-%d}", 7))
    # Variables that would make dbt sum nothing do not reach it.
    run = on_postgres.loader("run", DBT_EMPTY="1", DBT_RESOURCE_TYPES="test")
    assert run.code == 3, run.err
    assert SAME not in run.err
    assert "Ignored: DBT_EMPTY, DBT_RESOURCE_TYPES." in run.err
    message = f"LiteLLM's daily tables have $100 of {YESTERDAY:%Y-%m-%d} that its spend logs do not have"
    assert message in run.err.strip().splitlines()[-1]
    assert "disable_spend_logs" in run.err
    assert message in on_postgres.loader("status").err
    check = on_postgres.loader("check")
    assert check.code == 3
    assert message in check.out
    source = json.loads(on_postgres.loader("status", "--format", "json").out)["source"]
    assert source["unlogged"] == [{"day": f"{YESTERDAY:%Y-%m-%d}", "daily": "100", "logged": "0"}]

    # A small part is a warning. Without it, everything is well.
    put(on_postgres, [spend_log("r", YESTERDAY, spend=95.0), spend_log("bad", YESTERDAY, spend=1.0, total_tokens=-1)])
    run = on_postgres.loader("run")
    assert (run.code, "Warning: LiteLLM's daily tables have $4 of" in run.err) == (0, True), run.err
    put(on_postgres, [spend_log("r", YESTERDAY, spend=95.0), spend_log("s", YESTERDAY, spend=5.0)])
    assert on_postgres.loader("run").code == 0
    assert SAME in on_postgres.loader("run").err


def test_runs_that_would_build_nothing_are_refused(project: Project) -> None:
    put(project, [spend_log("r", YESTERDAY)])
    project.build()
    before = project.rows("select built_at from cbf.cbf_as_of")
    for arguments in (
        ["run", "--empty"],
        ["build", "--empty", "--select", "cbf_lines"],
        ["run", "--select", "cbf_as_of"],
    ):
        refused = project.dbt(*arguments, ok=False)
        assert refused.code != 0
        assert "Compilation Error" in refused.out, refused.out
    assert project.rows("select built_at from cbf.cbf_as_of") == before
    assert project.rows("select count(*) from cbf.cbf_lines") == [(1,)]


def test_rows_and_columns_that_the_role_may_not_read_stop_dbt(on_postgres: Project) -> None:
    database = database_of(on_postgres)
    role = f"reader_of_{database.name}"
    database.run(f"create role {role} login")
    database.run(f"grant all on database {database.name} to {role}")
    database.run(f"grant usage on schema public to {role}; grant select on all tables in schema public to {role}")
    put(on_postgres, [spend_log("r", YESTERDAY)])
    on_postgres.settings["PGUSER"] = role

    def staging(ok: bool = False) -> str:
        outcome = on_postgres.dbt("run", "--select", "base_litellm__spend_logs", "stg_litellm__teams", ok=ok)
        assert (outcome.code == 0) == ok
        return " ".join(outcome.out.split())

    staging(ok=True)
    database.run('alter table "LiteLLM_SpendLogs" enable row level security')
    hidden = f'Row-level security hides rows of "{database.name}"."public"."LiteLLM_SpendLogs" from the role {role}'
    assert hidden in staging()
    database.run(f"create policy part_of_it on \"LiteLLM_SpendLogs\" to {role} using (team_id = 'x')")
    assert hidden in staging()
    database.run('create policy every_row on "LiteLLM_SpendLogs" for select using (true)')
    staging(ok=True)
    database.run("create policy fewer on \"LiteLLM_SpendLogs\" as restrictive using (team_id = 'x')")
    database.run('alter table "LiteLLM_TeamTable" enable row level security')
    failed = staging()
    assert hidden in failed
    assert '"LiteLLM_TeamTable" from the role' in failed
    database.run('drop policy fewer on "LiteLLM_SpendLogs"; alter table "LiteLLM_TeamTable" disable row level security')
    database.run(f'revoke select on "LiteLLM_SpendLogs" from {role}')
    columns = database.run(
        "select string_agg(quote_ident(column_name), ', ') from information_schema.columns"
        " where table_name = 'LiteLLM_SpendLogs' and column_name not in ('organization_id', 'status')"
    )[0][0]
    database.run(f'grant select ({columns}) on "LiteLLM_SpendLogs" to {role}')
    assert f"The role {role} may not read the column(s) organization_id, status of" in staging()
