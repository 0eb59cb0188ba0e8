"""dbt as a process of its own: what it keeps in memory goes with it, and it can be ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from loader.errors import ConfigurationError, LockedError, StoppedError
from loader.stopping import StopSignal

# Tests are for people, once a day; a model that fails fails here too.
BUILD = ("build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
# dbt has no use for these.
SECRETS = ("CLOUDZERO_API_KEY", "LOADER_MASTER_KEY")
# How it is asked to end, and how many seconds it has: on Ctrl-C dbt cancels its queries.
ENDS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 60.0))
# No run takes so long, but dbt waits for a lock of the database for as long as somebody holds it.
DEADLINE = timedelta(hours=3)
TAIL_BYTES = 1_000_000
NO_VARIABLES: Mapping[str, str] = {}
# What runs now; the lock is held while one starts, so that none is missed.
_starting = threading.Lock()
_running: set[subprocess.Popen[bytes]] = set()


def build_models(
    target: str | None,
    profiles_dir: str | None,
    stop: StopSignal,
    environ: Mapping[str, str] = os.environ,
    variables: Mapping[str, str] = NO_VARIABLES,
    deadline: timedelta = DEADLINE,
) -> None:
    """Run `dbt build` for the models and seeds, without tests, in this folder.

    Args:
        target: --target, if any.
        profiles_dir: --profiles-dir, if any.
        stop: ends dbt, and all that it has started.
        environ: what dbt sees, but for our secrets.
        variables: dbt vars for this run.
        deadline: how long it may take before it is ended.

    Raises:
        ConfigurationError: there is no dbt or no project, it did not end in time, or it failed: with its last error.
        LockedError: the DuckDB file was in use for longer than dbt waits.
        StoppedError: an end was asked for.
    """
    if stop.is_set:
        raise StoppedError(f"Stopped by {stop.name} before dbt: nothing was sent.", stop.number)
    if not Path("dbt_project.yml").is_file() and not environ.get("DBT_PROJECT_DIR"):
        raise ConfigurationError(f"{Path().resolve()} is no dbt project: run this in the folder of dbt_project.yml.")
    command = [_program(environ), "--quiet", "--no-use-colors", "--log-format", "json", *BUILD]
    command += ["--target", target] if target else []
    command += ["--profiles-dir", profiles_dir] if profiles_dir else []
    command += ["--vars", json.dumps(dict(variables))] if variables else []
    seen = {name: value for name, value in environ.items() if name not in SECRETS}
    with tempfile.TemporaryFile() as output:
        code = _run(command, seen, output, stop, deadline)
        if code:
            said = last_error(_tail(output))
            if "Could not set lock on file" in said:
                raise LockedError(f"dbt could not have the DuckDB file to itself: {said}")
            raise ConfigurationError(f"dbt failed: {said or f'exit code {code}, and it did not say why.'}")


def kill_running() -> None:
    """Kill dbt and all that it has started, without a word, and let none start: this process ends right after.

    For a signal's handler: whoever waits for dbt in another thread has no time to end it.
    """
    # Not given back. A start takes no time, so whoever cannot have it has nothing to wait for.
    _starting.acquire(timeout=5.0)
    for process in tuple(_running):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _run(
    command: list[str], environ: Mapping[str, str], output: BinaryIO, stop: StopSignal, deadline: timedelta
) -> int:
    process = _start(command, environ, output)
    until = time.monotonic() + deadline.total_seconds()
    try:
        while not stop.is_set:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=0.1)
            if time.monotonic() >= until:
                raise ConfigurationError(
                    f"dbt did not end within {deadline.total_seconds() / 60:g} minutes: it was ended, and nothing was"
                    " sent. If it waits for a lock, end what holds it (on PostgreSQL pg_stat_activity and"
                    " pg_blocking_pids say what); if there is much to sum, run `loader load --step day`."
                )
    except KeyboardInterrupt:
        pass  # a second signal
    finally:
        _end(process)
        _running.discard(process)
    raise StoppedError(f"Ended by {stop.name} while dbt was at work: nothing was sent.", stop.number)


def _start(command: list[str], environ: Mapping[str, str], output: BinaryIO) -> subprocess.Popen[bytes]:
    with _starting:
        # A session of its own: Ctrl-C in a terminal reaches us alone, and its whole group can be ended.
        process = subprocess.Popen(  # noqa: S603
            command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        _running.add(process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        for number, seconds in ENDS:
            if process.poll() is not None:
                return
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
    except KeyboardInterrupt:
        # A second signal: no more patience.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def last_error(log: str) -> str:
    """The last error of dbt's JSON log as one line; of what is no log (a crash) its last line."""
    errors = [message for message in _errors(log) if message]
    text = errors[-1] if errors else next((line for line in reversed(log.splitlines()) if line.strip()), "")
    return " ".join(text.removeprefix("Encountered an error:").split())[:500]


def _errors(log: str) -> Iterator[str]:
    for line in log.splitlines():
        try:
            info = json.loads(line)["info"]
            if info["level"] == "error":
                yield str(info["msg"]).strip()
        except (ValueError, KeyError, TypeError):
            continue


def _tail(output: BinaryIO) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL_BYTES))
    return output.read().decode("utf-8", "replace")


def _program(environ: Mapping[str, str]) -> str:
    """The dbt of our own environment; another one may have other adapters."""
    ours = Path(sys.executable).parent / "dbt"
    found = str(ours) if ours.is_file() else shutil.which("dbt", path=environ.get("PATH"))
    if not found:
        raise ConfigurationError("There is no program `dbt` beside this Python: install the loader with its packages.")
    return found
