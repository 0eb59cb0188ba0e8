"""`make bench`: 1,000,000 spend logs, what 30 days of history cost an hourly run, and a day of very many requests.

Absolute seconds depend on the machine; ratios are measured side by side in one run. The whole takes more than an hour;
BENCH_PARTS (build, history, volume), BENCH_ENGINES (duckdb, postgres) and BENCH_HISTORY_ROWS make it shorter.
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
from bench.measure import BIN, ROOT, clean_environment, measured, sandbox, told
from loader.sandbox.sample import SamplePlan, write_sample

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
STARTS = 9


def start_ratio(environment: Mapping[str, str]) -> None:
    """`loader dry-run --limit 10` against the bare imports, in turn."""
    ours = [str(BIN / "loader"), "dry-run", "--limit", "10"]
    theirs = [sys.executable, "-c", "import click, duckdb, requests"]
    pairs = []
    for _ in range(STARTS):
        pair = []
        for command in (ours, theirs):
            began = time.perf_counter()
            subprocess.run(command, cwd=ROOT, env=dict(environment), check=True, capture_output=True)
            pair.append(time.perf_counter() - began)
        pairs.append(pair)
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    told(
        "loader dry-run --limit 10",
        f"{a:.2f} s, `import click, duckdb, requests` {b:.2f} s: {ratio:.2f} times, 2 wanted",
    )


def build(folder: Path, environment: Mapping[str, str]) -> None:
    """A first build, the same again, a push of all of it; and the loader's start."""
    until = datetime(2026, 11, 23, tzinfo=timezone.utc)
    write_sample(SamplePlan(rows=ROWS, days=7, until=until, format="parquet"), folder / "logs")
    environment = dict(environment) | {
        "LOADER_DUCKDB_PATH": str(folder / "bench.duckdb"),
        "LITELLM_SPEND_LOGS": f"{folder}/logs/*",
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder),
    }
    print(f"{ROWS:,} spend logs of 7 days in Parquet")
    measured("dbt build, first", [str(BIN / "dbt"), "--quiet", "build"], environment)
    measured("dbt run, again (lookback 72 h)", [str(BIN / "dbt"), "--quiet", "run"], environment)
    push = [str(BIN / "loader"), "push", "--start", "2026-11-01", "--end", "2026-11-23", "--allow-full-month"]
    measured("loader push, all of it", push, environment)
    bucket = folder / "bucket"
    measured(
        "loader drop, the same as a bucket drop",
        [str(BIN / "loader"), "drop", "--month", f"{until:%Y-%m}", "--out", str(bucket)], environment,
    )  # fmt: skip
    size = sum(each.stat().st_size for each in bucket.rglob("*.csv.gz"))
    told("its size", f"{size / 1e6:.1f} MB")
    start_ratio(environment)


def main() -> None:
    """Run all and print the figures."""
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}", flush=True)
    parts = {"build": build, "history": hourly.main, "volume": volume.main}
    for part in os.environ.get("BENCH_PARTS", " ".join(parts)).split():
        with tempfile.TemporaryDirectory() as name, sandbox() as url:
            parts[part](Path(name), clean_environment() | {"CLOUDZERO_API_URL": url})


if __name__ == "__main__":
    main()
