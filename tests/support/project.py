"""Runs the real dbt and loader commands as a user would: as processes with their own environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import yaml

from tests.support.forked_commands import run_and_wait
from tests.support.litellm.database import Database
from tests.support.litellm.requests import Row, write

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# The developer's own settings must not reach a test, nor a test the developer's data.
FOREIGN = ("PG", "DBT_", "CLOUDZERO_", "LOADER_", "LITELLM_")


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@dataclass
class Project:
    """A warehouse (DuckDB file or PostgreSQL database) and the environment variables that select it."""

    folder: Path
    database: Database | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.profiles = self.folder / "profiles"
        self.profiles.mkdir(exist_ok=True)
        shutil.copy(ROOT / "profiles.example.yml", self.profiles / "profiles.yml")
        self.logs = self.folder / "spend_logs"
        self.logs.mkdir(exist_ok=True)
        self.duckdb_file = self.folder / "spend.duckdb"
        self._runs = 0

    @property
    def target(self) -> str:
        """The name of the dbt target."""
        return "postgres" if self.database else "dev"

    def environment(self) -> dict[str, str]:
        """The environment of the commands."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)} | {
            "DBT_PROFILES_DIR": str(self.profiles),
            "DBT_TARGET": self.target,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            # dbt's artifacts and log, which few tests read, take a third of the time of a command.
            "DBT_WRITE_JSON": "false",
            "DBT_LOG_LEVEL_FILE": "none",
            "LOADER_DUCKDB_PATH": str(self.duckdb_file),
            "LITELLM_SPEND_LOGS": f"{self.logs}/*",
            "NO_COLOR": "1",
        }
        return environment | (self.database.environment if self.database else {}) | self.settings

    def dbt(self, *arguments: str, variables: Mapping[str, Any] | None = None, ok: bool = True) -> Outcome:
        """Run dbt on the project, with a target path of its own."""
        command = [*arguments, "--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")]
        if variables:
            command += ["--vars", yaml.safe_dump(dict(variables))]
        outcome = self._run("dbt", "--no-use-colors", *command)
        assert not ok or outcome.code == 0, outcome.out + outcome.err
        return outcome

    def build(self, *arguments: str, tests: bool = False, **kwargs: Any) -> Outcome:
        """`dbt build` without unit tests, which use no data of the project, and by default without data tests."""
        left_out = ["--exclude-resource-type", "unit_test"] + ([] if tests else ["--exclude-resource-type", "test"])
        return self.dbt("build", *left_out, *arguments, **kwargs)

    def loader(self, *arguments: str, **settings: str) -> Outcome:
        """Run the loader."""
        return self._run("loader", *arguments, settings=settings)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Query the warehouse directly, without dbt or the loader."""
        if self.database:
            return self.database.run(statement)
        with duckdb.connect(str(self.duckdb_file), read_only=True) as connection:
            return connection.execute(statement).fetchall()

    def write(self, statement: str) -> None:
        """Change the warehouse directly, without dbt or the loader."""
        if self.database:
            self.database.run(statement)
            return
        with duckdb.connect(str(self.duckdb_file)) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Outcome:
        self._runs += 1
        out, err = (self.folder / "output" / f"{self._runs}.{name}" for name in ("out", "err"))
        out.parent.mkdir(exist_ok=True)
        code = run_and_wait(program, arguments, self.environment() | dict(settings or {}), ROOT, out, err)
        return Outcome(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def put(project: Project, rows: list[Row]) -> None:
    """Make the source hold exactly these rows."""
    if project.database:
        project.database.run('truncate "LiteLLM_SpendLogs"')
        project.database.insert_spend_logs(rows)
    else:
        for file in project.logs.iterdir():
            file.unlink()
        if rows:
            write(rows, project.logs, "jsonl")
