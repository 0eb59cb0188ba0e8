"""A warehouse remembers the settings that it was summed with; a run with others says so, or stops until they are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from loader.sandbox.server import SandboxServer
from tests.engines.test_history import START
from tests.support.anycost import credentials, read_back
from tests.support.litellm.database import Server
from tests.support.litellm.requests import spend_log, write
from tests.support.project import Project, put
from tests.support.warehouse import Template, Usage

STOPPED = "Settings differ from those of the last run: "
TABLES = ("SpendLogs", "TeamTable", "UserTable", "VerificationToken", "OrganizationTable")


def sent(server: SandboxServer) -> Decimal:
    """USD that the sandbox holds."""
    return sum((Decimal(row["cost/cost"]) for row in read_back(server)), Decimal(0))


def test_settings_of_the_command_line_are_not_lost_in_the_next_run(project: Project, anycost: SandboxServer) -> None:
    project.settings = credentials(anycost)
    rows = [spend_log("r1", START, spend=1.5), spend_log("r2", START, spend=9.0, custom_llm_provider="anthropic")]
    put(project, rows)
    variables = {"user_email": "omitted", "exclude_providers": ["anthropic"]}
    changed = ["user_email", "exclude_providers"]
    if project.database:
        # LiteLLM uses another schema than public, which holds a table that it no longer writes to.
        project.database.run("create schema litellm")
        for name in TABLES:
            like = f'"LiteLLM_{name}" including all'
            project.database.run(f'create table litellm."LiteLLM_{name}" (like public.{like})')
        project.database.run('insert into litellm."LiteLLM_SpendLogs" select * from public."LiteLLM_SpendLogs"')
        put(project, [spend_log("old", START, spend=999.0)])
        variables["litellm_schema"] = "litellm"
        changed.insert(0, "litellm_schema")
    project.build(variables=variables)
    assert project.loader("push", "--window", "pending").code == 0
    assert sent(anycost) == Decimal("1.5")

    stopped = project.loader("run")
    assert (stopped.code, stopped.out) == (6, "")
    assert stopped.err.startswith(f"Error: {STOPPED}{changed[0]} was ")
    assert all(f"--accept-changed {name}" in stopped.err for name in changed)
    assert sent(anycost) == Decimal("1.5")
    assert project.rows("select sum(cost_usd) from cbf.int_usage__hourly") == [(Decimal("10.5"),)]

    # The environment makes them last, and a change that is accepted is applied and remembered.
    lasting = {"LOADER_VARS": json.dumps(variables)}
    accepted = project.loader(
        "run", "--vars", "exclude_providers: []", "--accept-changed", "exclude_providers", **lasting
    )
    assert accepted.code == 0, accepted.err
    assert 'Changed since the last run: exclude_providers was ["anthropic"] and is now []' in accepted.err
    assert sent(anycost) == Decimal("10.5")


def test_a_schema_that_is_sql_never_reaches_the_database(tmp_path: Path, postgres: Server) -> None:
    project = Project(tmp_path, postgres.create("schema_that_is_sql"))
    schema = "public'; create table public.injected (x int); commit; select '"
    stopped = project.dbt("run", variables={"litellm_schema": schema}, ok=False)
    assert stopped.code != 0
    assert "var litellm_schema is not a valid name" in stopped.out
    assert project.rows("select 1 from pg_tables where tablename = 'injected'") == []


def test_dbt_stops_when_the_spend_logs_are_other_files(tmp_path: Path, template_of: Callable[[str], Template]) -> None:
    warehouse = template_of("duckdb").copy(tmp_path)
    project = warehouse.project
    # The template has no usage: until something is summed, any source may be chosen.
    assert project.dbt("run", "--select", "cbf_hours").code == 0
    warehouse.put({0: [Usage("a", "1.5")]})
    write([spend_log("r", START)], tmp_path / "others", "jsonl")
    project.settings = {"LITELLM_SPEND_LOGS": f"{tmp_path}/others/*"}
    stopped = project.dbt("run", "--select", "cbf_hours", ok=False)
    assert stopped.code != 0
    assert f"{STOPPED}LITELLM_SPEND_LOGS was " in stopped.out
    assert project.rows("select sum(cost_usd) from cbf.int_usage__hourly") == [(Decimal("1.5"),)]
    accepted = project.dbt("run", "--select", "cbf_hours", variables={"accept_changed": ["LITELLM_SPEND_LOGS"]})
    assert "LITELLM_SPEND_LOGS was" in accepted.out
    assert "LITELLM_SPEND_LOGS was" not in project.dbt("run", "--select", "cbf_hours").out
