"""The module for DuckDB files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.warehouse import Template

PROGRAM = """
import sys
from loader.config.profiles import Target
from loader.warehouse.base import open_warehouse

with open_warehouse(Target("dev", "duckdb", "cbf", {"path": sys.argv[1]}), 0, print) as warehouse:
    print(list(warehouse.rows("select current_setting('enable_progress_bar')")))
"""


def test_no_progress_bar_is_mixed_with_the_data_on_stdout(
    template_of: Callable[[str], Template], tmp_path: Path
) -> None:
    # `python -c` has no main file, for which DuckDB turns the progress bar on.
    file = template_of("duckdb").copy(tmp_path).project.duckdb_file
    shown = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True)
    assert shown.stdout == "[(False,)]\n"
