"""What the engines read: an hourly run, and a query of one hour, read only their own hours, however long the history."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb

from tests.support.litellm.database import Database
from tests.support.litellm.requests import spend_log
from tests.support.project import Project
from tests.support.warehouse import Template, Usage

# More rows than a page or a row group holds, so that reading all of them cannot be the better plan.
DAYS, A_DAY = 60, 4_000
NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
HISTORY = f"""
    insert into "LiteLLM_SpendLogs" (
        request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
        model, custom_llm_provider, "user", team_id, metadata, request_tags, status
    )
    select
        'r' || n, 'acompletion', 'key-' || n % 7, 0.01, 3, 1, 2, at, at,
        'gpt-4o', 'openai', 'user-' || n % 50, 'team-' || n % 5, '{{}}', '[]', 'success'
    from (
        select n, timestamp '{NOW:%Y-%m-%d}' - n * interval '1 day' / {A_DAY} as at
        from generate_series(1, {DAYS * A_DAY}) as n
    ) as moments
"""
ONE_HOUR = f"""
    select * from cbf.cbf_lines
    where
        "time/usage_start" >= timestamp '{NOW - timedelta(hours=1):%Y-%m-%d %H:%M}'
        and "time/usage_start" < timestamp '{NOW:%Y-%m-%d %H:%M}'
"""


def counted(database: Database, table: str) -> dict[str, int]:
    """How many rows of a table PostgreSQL has read in sequential scans, inserted and deleted so far.

    A session reports its counts when it ends, so this waits until all other sessions have ended.
    """
    others = "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while database.run(f"{others} and backend_type = 'client backend'"):
        time.sleep(0.05)
    names = ("seq_tup_read", "n_tup_ins", "n_tup_del")
    statement = f"select {', '.join(names)} from pg_stat_user_tables where relname = %s"
    return dict(zip(names, database.run(statement, (table,))[0], strict=True))


def test_postgres_reads_the_hours_of_a_run_and_no_others(
    tmp_path: Path, litellm_database: Callable[[], Database]
) -> None:
    database = litellm_database()
    project = Project(tmp_path, database)
    database.run(HISTORY)
    project.build()
    database.run("analyze")
    tables = ("LiteLLM_SpendLogs", "int_usage__hourly")
    [(kept,)] = project.rows("select count(*) from cbf.int_usage__hourly")
    uncounted = counted(database, "LiteLLM_SpendLogs")["seq_tup_read"]
    database.run('select count(*) from "LiteLLM_SpendLogs" where spend > 5')
    before = {table: counted(database, table) for table in tables}
    assert before["LiteLLM_SpendLogs"]["seq_tup_read"] >= uncounted + DAYS * A_DAY  # a sequential scan is counted

    database.insert_spend_logs([spend_log("late", NOW - timedelta(minutes=5), spend=1.0)])
    project.build()
    assert project.loader("dry-run", "--start", f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%MZ}").code == 0
    found = project.rows(ONE_HOUR)
    after = {table: counted(database, table) for table in tables}
    of_the_hour = A_DAY // 24 + 2
    assert kept > 100 * of_the_hour
    assert 1 < len(found) <= of_the_hour
    for table in tables:
        # One row: whether anything has been summed.
        assert after[table]["seq_tup_read"] <= before[table]["seq_tup_read"] + 1, table
    for name in ("n_tup_ins", "n_tup_del"):
        assert 0 < after["int_usage__hourly"][name] - before["int_usage__hourly"][name] <= of_the_hour

    plan = explained(project, ONE_HOUR)
    assert "Index Cond" in plan
    assert "Seq Scan on int_usage__hourly" not in plan
    assert "LiteLLM_SpendLogs" not in plan
    # Without a condition, the whole table is read, so the assertion above can fail.
    assert "Seq Scan on int_usage__hourly" in explained(project, "select * from cbf.cbf_lines")


# The names of a large company right after they were loaded, when PostgreSQL has no statistics.
NAMES = """
    alter table "LiteLLM_SpendLogs" set (autovacuum_enabled = off);
    alter table "LiteLLM_TeamTable" set (autovacuum_enabled = off);
    alter table "LiteLLM_UserTable" set (autovacuum_enabled = off);
    alter table "LiteLLM_VerificationToken" set (autovacuum_enabled = off);
    alter table "LiteLLM_DeletedVerificationToken" set (autovacuum_enabled = off);
    insert into "LiteLLM_TeamTable" (team_id, team_alias) select 'team-' || n, 'Team ' || n from generate_series(1, 2000) as n;
    insert into "LiteLLM_UserTable" (user_id, user_email)
    select 'user-' || n, n || '@example.com' from generate_series(1, 20000) as n;
    insert into "LiteLLM_VerificationToken" (token, key_alias)
    select 'key-' || n, 'Key ' || n from generate_series(1, 20000) as n;
    insert into "LiteLLM_DeletedVerificationToken" (id, token, key_alias)
    select n, 'key-' || 15000 + n, 'Deleted key ' || n from generate_series(1, 50000) as n;
    insert into "LiteLLM_SpendLogs" (
        request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
        model, custom_llm_provider, "user", team_id, metadata, request_tags, status
    )
    select
        'r' || n, 'acompletion', 'key-' || 1 + n % 60000, 0.01, 3, 1, 2, at, at,
        'gpt-4o', 'openai', 'user-' || 1 + n % 20000, 'team-' || 1 + n % 2000, '{{}}', '[]', 'success'
    from (
        select n, timestamp '{now:%Y-%m-%d}' - n * interval '10 days' / 100000 as at from generate_series(1, 100000) as n
    ) as moments
"""
DIMENSIONS = {"line_dimensions": ["user", "api_key"]}
TABLES_OF_NAMES = (
    "LiteLLM_TeamTable",
    "LiteLLM_UserTable",
    "LiteLLM_VerificationToken",
    "LiteLLM_DeletedVerificationToken",
)


def repeated(node: dict[str, Any]) -> set[str]:
    """The tables and CTEs that a plan reads more than once, as the inner side of a nested loop."""
    name = node.get("Relation Name") or node.get("CTE Name")
    own = {name} if name and node["Actual Loops"] > 1 else set()
    return own.union(*(repeated(child) for child in node.get("Plans", [])))


def read_whole(node: dict[str, Any]) -> set[str]:
    """The tables that a plan reads with sequential scans."""
    own = {node["Relation Name"]} if node["Node Type"].endswith("Seq Scan") else set()
    return own.union(*(read_whole(child) for child in node.get("Plans", [])))


def plans(project: Project) -> dict[str, dict[str, Any]]:
    """PostgreSQL's plans, with actual row counts, of the statements that the last run compiled, by model."""
    assert project.database
    project.database.run(f"alter database {project.database.name} set max_parallel_workers_per_gather = 0")
    folder = project.folder / "target/compiled/litellm_cbf/models/intermediate"
    found = {}
    for model in ("int_usage__summed_hours", "int_usage__hourly"):
        statement = (folder / f"{model}.sql").read_text(encoding="utf-8")
        [[[plan]]] = project.rows(f"explain (analyze, format json) {statement}")
        found[model] = plan["Plan"]
    return found


def test_postgres_joins_many_names_without_statistics(tmp_path: Path, litellm_database: Callable[[], Database]) -> None:
    """Nested loops would compare 100,000 rows with 70,000 names here."""
    database = litellm_database()
    project = Project(tmp_path, database)
    for statement in NAMES.format(now=NOW).split(";"):
        database.run(statement)
    analyzed = "select 1 from pg_stat_user_tables where relname like 'LiteLLM%' and last_analyze is not null"

    project.build(variables=DIMENSIONS)
    first = plans(project)
    assert {table for table in TABLES_OF_NAMES if table in read_whole(first["int_usage__hourly"])} == {*TABLES_OF_NAMES}
    assert set().union(*map(repeated, first.values())) == set()

    # Late rows arrive in three hours: these are summed, and no other hour is read.
    database.insert_spend_logs(
        spend_log(f"late-{hour}", NOW - timedelta(hours=hour, minutes=5), team_id="team-1", spend=1.0)
        for hour in (0, 1, 3)
    )
    project.build(variables=DIMENSIONS)
    assert project.rows("select count(*) > 1200 from cbf.int_usage__summed_hours") == [(True,)]
    later = plans(project)
    for plan in later.values():
        assert not repeated(plan) & {*TABLES_OF_NAMES, "providers"}
        assert not read_whole(plan) & {"LiteLLM_SpendLogs", "int_usage__hourly"}
    assert database.run(analyzed) == []
    found = project.rows(
        'select count(*), count("resource/tag:team_alias"), count("resource/tag:user_email") from cbf.cbf_lines'
    )
    assert found == [(100_003, 100_003, 100_000)]


def explained(project: Project, statement: str) -> str:
    """PostgreSQL's plan of a statement."""
    return "\n".join(line for (line,) in project.rows(f"explain {statement}"))


def scanned(node: dict[str, Any]) -> int:
    """How many rows of int_usage__hourly a part of DuckDB's profile has scanned."""
    own = str(node.get("extra_info", {}).get("Table", "")).endswith(".int_usage__hourly")
    return (int(node["rows_scanned"]) if own else 0) + sum(scanned(child) for child in node.get("children", []))


def test_duckdb_finds_an_hour_by_its_row_groups(tmp_path: Path, template_of: Callable[[str], Template]) -> None:
    warehouse = template_of("duckdb").copy(tmp_path)
    warehouse.put({0: [Usage("a", "1.00")]})
    hours, an_hour = 1_500, 500
    begin = NOW - timedelta(hours=hours)
    warehouse.project.write(f"""
        insert into cbf.int_usage__hourly
        select hourly.* replace (
            timestamp '{begin:%Y-%m-%d %H:%M}' + n // {an_hour} * interval '1 hour' as usage_hour,
            'team-' || n % {an_hour} as team_id
        )
        from cbf.int_usage__hourly as hourly, generate_series(0, {hours * an_hour - 1}) as numbers (n)
    """)
    with duckdb.connect(str(warehouse.project.duckdb_file), read_only=True) as connection:
        connection.execute("set enable_profiling = 'no_output'")

        def count_and_scanned(statement: str) -> tuple[int, int]:
            count = len(connection.execute(statement).fetchall())
            profile = json.loads(connection.get_profiling_information())
            return count, sum(scanned(node) for node in profile["operator"])

        everything = hours * an_hour + 1
        assert count_and_scanned("select * from cbf.cbf_lines") == (everything, everything)
        count, scanned_rows = count_and_scanned(ONE_HOUR)
    assert count == an_hour
    # DuckDB reads whole row groups of 122,880 rows; the hour lies in one or two.
    assert 0 < scanned_rows <= 2 * 122_880
