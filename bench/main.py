"""`make bench`: 1,000,000 spend logs, an hourly run on 30 days of history, and a day with very many requests.

Times depend on the machine; ratios compare measurements of the same run. All parts together take more than an hour;
BENCH_PARTS (build, history, volume), BENCH_ENGINES (duckdb, postgres) and BENCH_HISTORY_ROWS shorten it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from bench import hourly, volume
from bench.measure import BIN, ROOT, clean_environment, report, run_and_report, sandbox
from loader.sandbox.sample import SamplePlan, write_sample

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
STARTS = 9


def start_ratio(environment: Mapping[str, str]) -> None:
    """Compare `loader dry-run --limit 10` with the bare imports, alternately."""
    dry_run = [str(BIN / "loader"), "dry-run", "--limit", "10"]
    imports = [sys.executable, "-c", "import click, duckdb, requests"]
    pairs = []
    for _ in range(STARTS):
        pair = []
        for command in (dry_run, imports):
            began = time.perf_counter()
            subprocess.run(command, cwd=ROOT, env=dict(environment), check=True, capture_output=True)
            pair.append(time.perf_counter() - began)
        pairs.append(pair)
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    report(
        "loader dry-run --limit 10",
        f"{a:.2f} s, `import click, duckdb, requests` {b:.2f} s: {ratio:.2f} times, expected at most 2",
    )


def build(folder: Path, environment: Mapping[str, str]) -> None:
    """A first build, a second one, a push of all lines, a bucket drop, and the startup time of the loader."""
    until = datetime(2026, 11, 23, tzinfo=timezone.utc)
    write_sample(SamplePlan(rows=ROWS, days=7, until=until, format="parquet"), folder / "logs")
    environment = dict(environment) | {
        "LOADER_DUCKDB_PATH": str(folder / "bench.duckdb"),
        "LITELLM_SPEND_LOGS": f"{folder}/logs/*",
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder),
    }
    print(f"{ROWS:,} spend logs of 7 days in Parquet")
    run_and_report("dbt build, first", [str(BIN / "dbt"), "--quiet", "build"], environment)
    run_and_report("dbt run, second (lookback 72 h)", [str(BIN / "dbt"), "--quiet", "run"], environment)
    push = [str(BIN / "loader"), "push", "--start", "2026-11-01", "--end", "2026-11-23", "--allow-full-month"]
    run_and_report("loader push, all lines", push, environment)
    bucket = folder / "bucket"
    run_and_report(
        "loader drop, all lines as a bucket drop",
        [str(BIN / "loader"), "drop", "--month", f"{until:%Y-%m}", "--out", str(bucket)],
        environment,
    )
    size = sum(each.stat().st_size for each in bucket.rglob("*.csv.gz"))
    report("size of the bucket drop", f"{size / 1e6:.1f} MB")
    start_ratio(environment)


def main() -> None:
    """Run the selected parts and print the results."""
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}", flush=True)
    parts = {"build": build, "history": hourly.main, "volume": volume.main}
    for part in os.environ.get("BENCH_PARTS", " ".join(parts)).split():
        with tempfile.TemporaryDirectory() as name, sandbox() as url:
            parts[part](Path(name), clean_environment() | {"CLOUDZERO_API_URL": url})


if __name__ == "__main__":
    main()
