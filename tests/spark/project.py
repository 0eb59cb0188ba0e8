"""The project on Spark: dbt runs in this process, because a session of Spark takes long to start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from tests.support.project import ROOT, Outcome, Project


@dataclass
class SparkProject(Project):
    """One schema in the metastore of the session."""

    warehouse: Path = field(kw_only=True)
    schema: str = field(kw_only=True)
    data_tests: bool = True

    @property
    def target(self) -> str:
        """The dbt target."""
        return "spark"

    def environment(self) -> dict[str, str]:
        """What dbt sees."""
        return super().environment() | {"DBT_SCHEMA": self.schema, "LOADER_SPARK_WAREHOUSE": str(self.warehouse)}

    def dbt(self, *arguments: str, variables: Mapping[str, Any] | None = None, ok: bool = True) -> Outcome:
        """Run dbt on the project."""
        from dbt.cli.main import dbtRunner

        command = ["--no-use-colors", *arguments, "--project-dir", str(ROOT)]
        command += [
            "--target-path",
            str(self.folder / "target"),
            "--log-path",
            str(self.folder / "logs"),
            "--threads",
            "4",
        ]
        if variables:
            command += ["--vars", yaml.safe_dump(dict(variables))]
        lines: list[str] = []

        def note(event: Any) -> None:
            lines.append(event.info.msg)

        with mock.patch.dict(os.environ, self.environment(), clear=True):
            result = dbtRunner(callbacks=[note]).invoke(command)
        out = "\n".join(lines)
        assert not ok or result.success, out
        return Outcome(0 if result.success else 1, out, "")

    def build(self, *arguments: str, tests: bool = False, **kwargs: Any) -> Outcome:
        """As everywhere, but without what nobody asks for: each node takes Spark a second."""
        tests = tests and self.data_tests
        unasked = (
            ()
            if tests or arguments
            else ("--exclude", "rejected_spend_logs", "cbf_as_of", "push_log", "reconciliation_amounts")
        )
        return super().build(*unasked, *arguments, tests=tests, **kwargs)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows from the warehouse itself. Times come as text, because PySpark turns them into the process's zone."""
        from pyspark.sql import SparkSession
        from pyspark.sql.types import TimestampType

        found = SparkSession.builder.getOrCreate().sql(
            re.sub(r"\bcbf\.", f"{self.schema}.", statement).replace('"', "`")
        )
        for name in (f.name for f in found.schema.fields if isinstance(f.dataType, TimestampType)):
            found = found.withColumn(name, found[f"`{name}`"].cast("timestamp_ntz"))
        return [tuple(row) for row in found.collect()]

    def write(self, statement: str) -> None:
        """Change the warehouse itself."""
        self.rows(statement)
