"""Runs sqlfluff on models and data tests, for `make lint`.

The dbt templater queries the warehouse (for the columns of the files and of the hourly table), so it gets a small one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from loader.sandbox.sample import SamplePlan, write_sample

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def main() -> int:
    """Build a small warehouse and lint. Returns the exit code of sqlfluff."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample(SamplePlan(rows=100, days=1, until=datetime(2026, 11, 2, tzinfo=timezone.utc)), folder / "logs")
        environment = os.environ | {
            "LOADER_DUCKDB_PATH": str(folder / "lint.duckdb"),
            "LITELLM_SPEND_LOGS": f"{folder}/logs/*",
            "DBT_TARGET": "dev",
            "DBT_PROFILES_DIR": str(ROOT),
            "DBT_LOG_PATH": str(folder),
            "DBT_TARGET_PATH": str(folder / "target"),
        }
        build = [
            str(BIN / "dbt"),
            "--quiet",
            "build",
            "--exclude-resource-type",
            "unit_test",
            "--exclude-resource-type",
            "test",
        ]
        subprocess.run(build, cwd=ROOT, env=environment, check=True)
        lint = [str(BIN / "sqlfluff"), "lint", "models", "tests/dbt", "--processes", "1"]
        return subprocess.run(lint, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
