"""The project on Spark. dbt runs in this process, because a Spark session takes long to start."""

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
    """A project with a schema of its own in the metastore of the session."""

    warehouse: Path = field(kw_only=True)
    schema: str = field(kw_only=True)
    data_tests: bool = True

    @property
    def target(self) -> str:
        """The dbt target."""
        return "spark"

    def environment(self) -> dict[str, str]:
        """The environment of dbt."""
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

        def record(event: Any) -> None:
            lines.append(event.info.msg)

        with mock.patch.dict(os.environ, self.environment(), clear=True):
            result = dbtRunner(callbacks=[record]).invoke(command)
        out = "\n".join(lines)
        assert not ok or result.success, out
        return Outcome(0 if result.success else 1, out, "")

    def build(self, *arguments: str, tests: bool = False, **kwargs: Any) -> Outcome:
        """As `Project.build`, but by default without models that the tests do not read: each node takes a second."""
        tests = tests and self.data_tests
        excluded = (
            ()
            if tests or arguments
            else (
                "--exclude",
                "rejected_spend_logs",
                "int_usage__rejected_hours",
                "unlogged_spend",
                "cbf_as_of",
                "push_log",
                "reconciliation_amounts",
            )
        )
        return super().build(*excluded, *arguments, tests=tests, **kwargs)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Query the warehouse directly. Timestamps are cast, because PySpark converts them to the local time zone."""
        from pyspark.sql import SparkSession
        from pyspark.sql.types import TimestampType

        found = SparkSession.builder.getOrCreate().sql(
            re.sub(r"\bcbf\.", f"{self.schema}.", statement).replace('"', "`")
        )
        for name in (f.name for f in found.schema.fields if isinstance(f.dataType, TimestampType)):
            found = found.withColumn(name, found[f"`{name}`"].cast("timestamp_ntz"))
        return [tuple(row) for row in found.collect()]

    def write(self, statement: str) -> None:
        """Change the warehouse directly."""
        self.rows(statement)
