"""`make bench`: 1,000,000 spend logs on DuckDB, `dbt build` and a push to the sandbox; and the loader's start.

Absolute seconds depend on the machine; ratios are measured side by side in one run.
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

from loader.sample import SamplePlan, write_sample

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
STARTS = 9


def measured(name: str, command: list[str], environment: Mapping[str, str]) -> float:
    """Run a command as a process; print its seconds and its peak memory."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    last_line = out.strip().splitlines()[-1][:90] if out.strip() else ""
    print(f"{name:34} {seconds:8.2f} s   {usage.ru_maxrss / 1024:7.0f} MB peak   {last_line}")
    if process.returncode:
        raise SystemExit(process.returncode)
    return seconds


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
    bare = f"`import click, duckdb, requests` ({b:.2f} s)"
    print(f"{'loader dry-run --limit 10':34} {a:8.2f} s   {ratio:.2f} times {bare}, at most 2 wanted")


def main() -> None:
    """Run all and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        until = datetime(2026, 11, 23, tzinfo=timezone.utc)
        write_sample(SamplePlan(rows=ROWS, days=7, until=until, format="parquet"), folder / "logs")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DBT_", "CLOUDZERO_", "LOADER_"))} | {
            "LOADER_DUCKDB_PATH": str(folder / "bench.duckdb"),
            "LITELLM_SPEND_LOGS": f"{folder}/logs/*",
            "CLOUDZERO_API_KEY": "bench",
            "CLOUDZERO_CONNECTION_ID": "bench",
        }
        dbt = ["--target-path", str(folder / "target"), "--log-path", str(folder)]
        print(f"{ROWS:,} spend logs of 7 days in Parquet, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
        measured("dbt build, first", [str(BIN / "dbt"), "--quiet", "build", *dbt], environment)
        measured("dbt run, again (lookback 72 h)", [str(BIN / "dbt"), "--quiet", "run", *dbt], environment)
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.sandbox"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None  # noqa: S101
            environment["CLOUDZERO_API_URL"] = server.stdout.readline().strip()
            push = [str(BIN / "loader"), "push", "--start", "2026-11-01", "--end", "2026-11-23", "--allow-full-month"]
            measured("loader push, all of it", push, environment)
        finally:
            server.terminate()
            server.wait()
        start_ratio(environment)


if __name__ == "__main__":
    main()
