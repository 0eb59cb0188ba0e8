"""A warehouse that dbt builds once, copied for each test, and changed as dbt runs would change it.

A dbt run takes seconds. So tests change int_usage__hourly directly and then refresh cbf_hours with the SQL that dbt
compiled for it; cbf_lines is the view that dbt created.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from loader.config.profiles import read_target
from loader.hours import HOUR, Window
from loader.warehouse.base import open_warehouse
from tests.support.litellm.database import Database, Server
from tests.support.project import Project

START = datetime(2026, 10, 31, 20, tzinfo=timezone.utc)  # four hours before the end of a month


@dataclass(frozen=True)
class Usage:
    """One line of an hour: team ID, cost in USD, and team name."""

    team: str
    cost: str
    alias: str = "Team"


class BuiltWarehouse:
    """A copy of the built warehouse. `project` runs commands on it."""

    def __init__(self, project: Project, hours_sql: str) -> None:
        self.project = project
        self._hours_sql = hours_sql
        self._built_hours = 0.0

    def put(self, hours: dict[int, list[Usage]], built_hours: float = 0.0) -> None:
        """Replace the lines of these hours (counted from START), like a dbt run that began `built_hours` after START."""
        self._built_hours = max([self._built_hours, built_hours, *(number + 1 for number in hours)])
        statements = []
        for number, usages in hours.items():
            start = f"timestamp '{START + number * HOUR:%Y-%m-%d %H:%M:%S}'"
            statements.append(f"delete from cbf.int_usage__hourly where usage_hour = {start}")
            statements += [
                "insert into cbf.int_usage__hourly (usage_hour, team_id, team_alias, provider, model, cloud_provider,"
                " request_count, first_started_at, prompt_tokens, completion_tokens, total_tokens, cost_usd) values"
                f" ({start}, '{usage.team}', '{usage.alias}', 'openai', 'gpt-4o', 'OpenAI', 1, {start}, 1, 1, 2, {usage.cost})"
                for usage in usages
            ]
        built = START + timedelta(hours=self._built_hours)
        statements += [
            "delete from cbf.cbf_hours",
            f"insert into cbf.cbf_hours {self._hours_sql}",
            f"update cbf.cbf_as_of set built_at = timestamp '{built:%Y-%m-%d %H:%M:%S}'",
        ]
        self.project.write("; ".join(statements))

    def rows(self, hours: dict[int, object] | range) -> dict[str, list[bytes]]:
        """The encoded lines of cbf_lines, by hour."""
        target = read_target(None, None, self.project.environment())
        found: dict[str, list[bytes]] = {}
        with open_warehouse(target, 30, print) as warehouse:
            for line in warehouse.lines(Window(START - 1000 * HOUR, START + 10_000 * HOUR)):
                found.setdefault(line.values["time/usage_start"], []).append(line.data)
        wanted = {f"{START + number * HOUR:%Y-%m-%dT%H:%M:%SZ}" for number in hours}
        return {hour: sorted(rows) for hour, rows in found.items() if hour in wanted}

    def log(self, columns: str = "outcome") -> list[tuple[object, ...]]:
        """The rows of the push log in the order they were written."""
        return self.project.rows(f"select {columns} from cbf.push_log order by connection_id, api_url, sequence")

    def cost(self) -> Decimal:
        """Total cost of cbf_lines in USD."""
        ((cost,),) = self.project.rows('select coalesce(sum("cost/cost"), 0) from cbf.cbf_lines')
        return Decimal(cost)


@dataclass
class Template:
    """A built warehouse without usage, to copy."""

    project: Project
    hours_sql: str
    server: Server | None
    copies: int = 0

    def copy(self, folder: Path) -> BuiltWarehouse:
        """A copy of the warehouse, with its project in `folder`."""
        self.copies += 1
        if self.server is None:
            project = Project(folder)
            shutil.copy(self.project.duckdb_file, project.duckdb_file)
        else:
            assert self.project.database is not None
            database = self.server.create(f"copies_{self.copies:07}", self.project.database.name)
            project = Project(folder, database)
        return BuiltWarehouse(project, self.hours_sql)


def make_template(folder: Path, database: Callable[[], Database] | None, server: Server | None) -> Template:
    """Build the template with dbt."""
    project = Project(folder, database() if database else None)
    project.build()
    # Copies are changed in the warehouse, so a warning that there are no files would only disturb their tests.
    project.write("update cbf.cbf_as_of set spend_log_files = 1 where spend_log_files = 0")
    # A copy has files of its own, which must not count as a changed setting.
    project.write("delete from cbf.run_log")
    compiled = project.folder / "target/compiled/litellm_cbf/models/cbf/cbf_hours.sql"
    sql = re.sub(r'"[a-z_0-9]+"\.("cbf"\.)', r"\1", compiled.read_text(encoding="utf-8"))
    return Template(project, sql.strip().rstrip(";"), server)
