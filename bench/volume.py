"""One day of 10,000,000 spend logs or more: what a run of dbt costs by how far it looks back, and the lines by grain.

BENCH_VOLUME_ROWS lists how many. PostgreSQL takes the first of them, and only that is cut into lines by each grain, for
all owners and models occur in it already. 100,000,000 take 16 GB of disk, and as much again while DuckDB sums them.
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
from bench.measure import BIN, measured, run, sum_all, told
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
    """A first run, then runs that find nothing new, by how far they look back."""
    sum_all(f"{name}: dbt, first run", history.environment)
    for hours in LOOKBACKS:
        command = [str(BIN / "dbt"), "--quiet", "run", "--vars", json.dumps({"lookback_hours": hours})]
        # The first one parses with other vars, and an hour's checksum is known from its second look on.
        run(command, history.environment)
        measured(f"{name}: dbt run, nothing new in {hours} hours", command, history.environment)


def lines_by_grain(name: str, history: History) -> None:
    """How many lines the day has by grain, and what a month of such days takes of a stream's limits."""
    for number, grain in enumerate(GRAINS):
        environment = history.beside(f"grain_{number}")
        sum_all(f"{name}: dbt, first run, {json.dumps(grain)}", environment, **grain)
        found = json.loads(run([sys.executable, "-m", "bench.read_rate", "push"], environment).last_line)
        lines, size = found["lines"] * DAYS_OF_A_MONTH, found["bytes"] * DAYS_OF_A_MONTH
        streams = max(math.ceil(size / MONTH_BYTES), math.ceil(lines / MONTH_ROWS))
        told(
            f"  {json.dumps(grain)}",
            f"{found['lines'] / 24:,.0f} lines an hour, {found['bytes'] / found['lines']:.0f} bytes each:"
            f" {size / 1e6:,.0f} MB a month, {streams} stream(s)",
        )


def main(folder: Path, environment: Mapping[str, str]) -> None:
    """Each volume on DuckDB; the first one on PostgreSQL as well."""
    until = datetime(2026, 11, 19, tzinfo=timezone.utc)
    engines = os.environ.get("BENCH_ENGINES", "duckdb postgres").split()
    for rows in VOLUMES:
        report = write_sample(SamplePlan(rows=rows, days=1, until=until, format="parquet"), folder / f"sample-{rows}")
        print(f"{rows:,} spend logs of one day, {sum(each.stat().st_size for each in report.files) / 1e6:,.0f} MB")
        if "duckdb" in engines:
            files = Files("DuckDB", folder / f"duckdb-{rows}", environment)
            files.add(report.files)
            runs(f"DuckDB, {rows:,}", files)
            if rows == VOLUMES[0]:
                lines_by_grain(f"DuckDB, {rows:,}", files)
        if "postgres" in engines and rows == VOLUMES[0]:
            server = Server(folder / "pg")
            try:
                table = Table("PostgreSQL", folder / "postgres", environment, server.create("volume"))
                table.add(report.files)
                runs(f"PostgreSQL, {rows:,}", table)
            finally:
                server.stop()
