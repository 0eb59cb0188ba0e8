"""The loader on Spark sends the same bytes as on DuckDB."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from loader.cli.main import main
from loader.hours import HOUR, iso
from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.spark.project import SparkProject
from tests.support.anycost import KEY, credentials, read_back, stored_months
from tests.support.litellm.requests import Row, spend_log, write
from tests.support.project import Project

START = datetime(2026, 11, 1, 4, tzinfo=timezone.utc)  # in New York, clocks go back between the second and third hour
WINDOW = ("--start", iso(START), "--end", iso(START + 3 * HOUR))
NAMES = ("plain", "O'Brien \\ \\n''", 'say "hi" %s {x} ? ;--', "漢字 é\tx`y")


def requests() -> list[Row]:
    """Three hours with costs from 10^-12 on, by users whose names need quoting."""
    return [
        spend_log(
            f"r{hour}-{number}",
            START + hour * HOUR + timedelta(minutes=59),
            user=name,
            end_user=name,
            spend=(1e-12, 0.1, 0.0, 123456.789)[number],
            metadata={"user_api_key_team_alias": name},
        )
        for hour in range(3)
        for number, name in enumerate(NAMES)
    ]


def loader(project: Project, *arguments: str, code: int = 0, **settings: str) -> Result:
    """Run a command in this process, because a Spark session takes long to start."""
    with mock.patch.dict(os.environ, project.environment() | settings, clear=True):
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert KEY not in result.output
    return result


def log(project: Project) -> list[tuple[object, ...]]:
    """The columns of the push log that must be equal on both engines."""
    columns = (
        "connection_id, sequence, hour(usage_hour), operation, outcome, fingerprint, line_count, cost_usd, byte_count"
    )
    return [
        (*row[:7], Decimal(row[7]), row[8])
        for row in project.rows(f"select {columns} from cbf.push_log order by sequence")
    ]


def rows(server: SandboxServer) -> list[str]:
    """The rows in the sandbox, with their members in order. Sorted, because DuckDB does not order lines of an hour."""
    return sorted(json.dumps(row) for row in read_back(server))


@pytest.fixture
def on_spark(spark_project: Callable[[], SparkProject], tmp_path: Path) -> SparkProject:
    """A project built by dbt, with everything that a push needs."""
    project = spark_project()
    write(requests(), project.logs, "jsonl")
    project.settings["XDG_STATE_HOME"] = str(tmp_path / "state")
    project.build("--select", "+cbf_as_of", "+push_log", "+reconciliation_amounts", "outdated_hours", "unsummed_hours")
    return project


def test_spark_sends_what_duckdb_sends(on_spark: SparkProject, tmp_path: Path, anycost: SandboxServer) -> None:
    files = Project(tmp_path / "duckdb")
    write(requests(), files.logs, "jsonl")
    files.build()
    with serve_sandbox(AnyCostSandbox(KEY)) as elsewhere:
        files.settings |= credentials(elsewhere)
        on_spark.settings |= credentials(anycost)
        for arguments in (
            ("dry-run", *WINDOW, "--limit", "100", "--format", "ndjson"),
            ("dry-run", *WINDOW, "--limit", "5", "--format", "json"),
            ("push", *WINDOW),
        ):
            here, there = loader(on_spark, *arguments), loader(files, *arguments)
            assert here.stdout.split(" in ")[0] == there.stdout.split(" in ")[0]
        assert "Sent 3 hours" in here.stdout
        assert rows(anycost) == rows(elsewhere)
        assert stored_months(anycost) == stored_months(elsewhere)
        assert log(on_spark) == log(files)
    assert len(read_back(anycost)) == 12
    assert {row["cost/cost"] for row in read_back(anycost)} == {"0.000000000001", "0.1", "0", "123456.789"}

    again = loader(on_spark, "push", "--window", "pending", "--settle-for", "0s")
    assert (again.stdout, "Nothing to send" in again.stderr) == ("", True)
    (stream,) = json.loads(loader(on_spark, "status", "--format", "json").stdout)["streams"]
    assert stream["oldest_pending"] is None
    assert loader(on_spark, "verify", "--month", "2026-11", "--settle-for", "0s").exit_code == 0
    assert "equal" in loader(on_spark, "reconcile", *WINDOW).stdout


def test_missing_views_are_reported_in_one_line(project: SparkProject, tmp_path: Path) -> None:
    """Runs as a separate process, because Java and PySpark bypass Python's streams."""
    project.warehouse = tmp_path / "empty"
    outcome = project.loader("dry-run")
    assert (outcome.code, outcome.out) == (3, "")
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("Error: The loader could not read schema")
    assert "TABLE_OR_VIEW_NOT_FOUND" in last
    assert "dbt build" in last
    assert "Traceback" not in outcome.err
    assert "\tat org.apache" not in outcome.err.replace("\\t", "\t")
