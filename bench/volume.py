"""One day with 10,000,000 or more spend logs: the time of a dbt run by lookback, and the number of lines by grain.

BENCH_VOLUME_ROWS lists the numbers of rows. PostgreSQL is measured with the first of them only, and so are the grains,
because it already contains all owners and models. 100,000,000 rows need 16 GB of disk, and as much again while DuckDB
sums them.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from bench.hourly import Files, History, Table
from bench.measure import BIN, build_models, report, run, run_and_report
from loader.delivery.limits import MONTH_BYTES, MONTH_ROWS
from loader.sandbox.sample import SamplePlan, write_sample
from tests.support.litellm.database import Server

VOLUMES = [int(each) for each in os.environ.get("BENCH_VOLUME_ROWS", "10000000").split()]
LOOKBACKS = (24, 3)
GRAINS: tuple[Mapping[str, object], ...] = (
    {"line_dimensions": ["user", "api_key"]},
    {"line_dimensions": ["user"]},
    {"line_dimensions": ["user"], "token_tags": False},
    {"line_dimensions": [], "token_tags": False},
)
DAYS_OF_A_MONTH = 30


def runs(name: str, history: History) -> None:
    """A first run, then runs without new data, for each lookback."""
    build_models(f"{name}: dbt, first run", history.environment)
    for hours in LOOKBACKS:
        command = [str(BIN / "dbt"), "--quiet", "run", "--vars", json.dumps({"lookback_hours": hours})]
        # Warm up: the first run parses again because of the var, and checksums of hours exist from the second run on.
        run(command, history.environment)
        run_and_report(f"{name}: dbt run without new data, lookback {hours} hours", command, history.environment)


def lines_by_grain(name: str, history: History) -> None:
    """The number of lines of the day by grain, and how many streams a month of such days would need."""
    for number, grain in enumerate(GRAINS):
        environment = history.other_warehouse(f"grain_{number}")
        build_models(f"{name}: dbt, first run, {json.dumps(grain)}", environment, **grain)
        result = json.loads(run([sys.executable, "-m", "bench.read_rate", "push"], environment).last_line)
        lines, size = result["lines"] * DAYS_OF_A_MONTH, result["bytes"] * DAYS_OF_A_MONTH
        streams = max(math.ceil(size / MONTH_BYTES), math.ceil(lines / MONTH_ROWS))
        report(
            f"  {json.dumps(grain)}",
            f"{result['lines'] / 24:,.0f} lines an hour, {result['bytes'] / result['lines']:.0f} bytes each:"
            f" {size / 1e6:,.0f} MB a month, {streams} stream(s)",
        )


def main(folder: Path, environment: Mapping[str, str]) -> None:
    """Measure each volume on DuckDB, and the first one on PostgreSQL as well."""
    until = datetime(2026, 11, 19, tzinfo=timezone.utc)
    engines = os.environ.get("BENCH_ENGINES", "duckdb postgres").split()
    for rows in VOLUMES:
        sample = write_sample(SamplePlan(rows=rows, days=1, until=until, format="parquet"), folder / f"sample-{rows}")
        print(f"{rows:,} spend logs of one day, {sum(each.stat().st_size for each in sample.files) / 1e6:,.0f} MB")
        if "duckdb" in engines:
            files = Files("DuckDB", folder / f"duckdb-{rows}", environment)
            files.add(sample.files)
            runs(f"DuckDB, {rows:,}", files)
            if rows == VOLUMES[0]:
                lines_by_grain(f"DuckDB, {rows:,}", files)
        if "postgres" in engines and rows == VOLUMES[0]:
            server = Server(folder / "pg")
            try:
                table = Table("PostgreSQL", folder / "postgres", environment, server.create("volume"))
                table.add(sample.files)
                runs(f"PostgreSQL, {rows:,}", table)
            finally:
                server.stop()
