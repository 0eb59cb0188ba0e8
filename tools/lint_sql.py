"""sqlfluff over models and data tests: `make lint`.

The dbt templater looks at the warehouse (which columns the files and the hourly table have), so it gets one of its own.
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
    """Returns sqlfluff's exit code."""
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
