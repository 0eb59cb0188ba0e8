"""Runs sqlfluff on models and data tests, for `make lint`.

They are linted as dbt compiles them, which needs no built warehouse. sqlfluff does not read macros: their SQL is seen
only in the models that call them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def main() -> int:
    """Lint. Returns the exit code of sqlfluff."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {
            "LOADER_DUCKDB_PATH": str(folder / "lint.duckdb"),
            "LITELLM_SPEND_LOGS": f"{folder}/*",
            "DBT_TARGET": "dev",
            "DBT_PROFILES_DIR": str(ROOT),
            "DBT_LOG_PATH": str(folder),
            "DBT_TARGET_PATH": str(folder / "target"),
        }
        lint = [str(BIN / "sqlfluff"), "lint", "models", "tests/dbt", "--processes", "1"]
        return subprocess.run(lint, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
