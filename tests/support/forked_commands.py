"""Runs dbt and the loader in processes forked from one that has imported them, as imports take half of the time.

Each command still is a process with its own environment, like a user's, only with the Python modules already loaded.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support import dbt_parse_cache

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "dbt.cli.main",
        "dbt.adapters.duckdb",
        "dbt.adapters.postgres",
        "dbt.task.build",
        "loader.cli.main",
        "loader.cloudzero.client",
        "loader.delivery.push",
        "loader.audit.status",
        "loader.cli.output",
        "loader.warehouse.duckdb",
        "loader.warehouse.postgres",
        "duckdb",
        "psycopg2",
        "yaml",
        "jinja2.sandbox",
    ]
)


def apply_process_settings(environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
    """Set the environment, working directory and output files of this process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for path, number in ((out, 1), (err, 2)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    # sys.stdout and sys.stderr were set up before the fork.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115


def run_command(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path
) -> None:
    """The main function of the process: runs the entry point of the program."""
    apply_process_settings(environment, folder, out, err)
    sys.argv = [program, *arguments]
    gc.disable()  # a tenth of the time of a command, which ends before its garbage matters
    try:
        if program == "dbt":
            from dbt.cli.main import cli

            if parsed := environment.get(dbt_parse_cache.CACHE):
                dbt_parse_cache.use_shared_cache(Path(parsed))
            cli(prog_name=program)
        else:
            from loader.cli.main import main

            main(prog_name=program)
    finally:
        sys.stdout.flush()


def run_and_wait(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path
) -> int:
    """Run a command and wait for its exit code."""
    process: ForkServerProcess = CONTEXT.Process(
        target=run_command, args=(program, list(arguments), dict(environment), folder, out, err)
    )
    process.start()
    process.join(600)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{program} {' '.join(arguments)} did not finish within 600 s")
    return process.exitcode
