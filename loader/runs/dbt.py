"""dbt as a separate process, which frees its memory when it ends and can be stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from loader.errors import ConfigurationError, GuardError, LockedError, StoppedError
from loader.runs.dbt_environment import environment_of_dbt
from loader.stopping import StopSignal
from loader.warehouse.base import pooler_hint

# Data tests belong in a daily `dbt build`; a model that fails also fails here.
BUILD = ("build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
# The signals that end it, and how many seconds it has after each: on SIGINT dbt cancels its queries.
ENDS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 60.0))
# No run takes this long, but dbt waits for a lock of the database for as long as another session holds it.
DEADLINE = timedelta(hours=3)
TAIL_BYTES = 1_000_000
MAX_MESSAGE = 1_000  # characters
# Where dbt's message ends and details begin: the stack of macros, the path of the compiled SQL, and a line of a spend
# log file that DuckDB quotes, which can contain a prompt.
DETAILS = re.compile(r"^\s*(?:> in macro|> called by|compiled code at|Original Line:)", re.MULTILINE)
# The first words of the error of the macro require_accepted.
CHANGED_SETTINGS = "Settings differ from those of the last run"
NO_VARIABLES: Mapping[str, object] = {}
# The running processes. The lock is held while one starts, so that `kill_running` misses none.
_starting = threading.Lock()
_running: set[subprocess.Popen[bytes]] = set()


def build_models(
    target: str | None,
    profiles_dir: str | None,
    stop: StopSignal,
    environ: Mapping[str, str] = os.environ,
    variables: Mapping[str, object] = NO_VARIABLES,
    deadline: timedelta = DEADLINE,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Run `dbt build` for the models and seeds, without tests, in this folder.

    Args:
        target: --target, if any.
        profiles_dir: --profiles-dir, if any.
        stop: ends dbt and all processes that it started.
        environ: the environment of dbt, without the loader's secrets and without what makes dbt build less.
        variables: dbt vars for this run.
        deadline: how long it may take before it is ended.
        say: receives which variables of the environment are left out.

    Raises:
        ConfigurationError: there is no dbt or no project, dbt did not end in time, or dbt failed; with its last error.
        LockedError: the DuckDB file was in use for longer than dbt waits.
        GuardError: settings differ from those of the last run, and the change was not accepted.
        StoppedError: a stop was requested.
    """
    if stop.is_set:
        raise StoppedError(f"Stopped by {stop.name} before dbt: nothing was sent.", stop.number)
    if not Path("dbt_project.yml").is_file() and not environ.get("DBT_PROJECT_DIR"):
        raise ConfigurationError(f"{Path().resolve()} is not a dbt project: run this in the folder of dbt_project.yml.")
    command = [_program(environ), "--quiet", "--no-use-colors", "--log-format", "json", *BUILD]
    command += ["--target", target] if target else []
    command += ["--profiles-dir", profiles_dir] if profiles_dir else []
    command += ["--vars", json.dumps(dict(variables), default=str)] if variables else []
    seen, left_out = environment_of_dbt(environ)
    if left_out:
        say(f"Ignored: {', '.join(left_out)}. With that, dbt would not sum everything; unset it to avoid this message.")
    with tempfile.TemporaryFile() as output:
        code = _run(command, seen, output, stop, deadline)
        if code:
            message = last_error(_tail(output))
            if "Could not set lock on file" in message:
                raise LockedError(f"dbt could not get exclusive access to the DuckDB file: {message}")
            if CHANGED_SETTINGS in message:
                raise GuardError(message[message.index(CHANGED_SETTINGS) :])
            message = f"{message}{pooler_hint(message)}" or f"exit code {code}, without an error message."
            raise ConfigurationError(f"dbt failed: {message}")


def kill_running() -> None:
    """Kill dbt and all processes that it started, and prevent new ones: this process is about to exit.

    For a signal handler: a thread that waits for dbt has no time left to end it.
    """
    # Never released. Starting takes no time, so there is nothing to wait for if it cannot be acquired.
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
                    f"dbt did not finish within {deadline.total_seconds() / 60:g} minutes and was ended; nothing was"
                    " sent. If it was waiting for a lock, end the session that holds it (on PostgreSQL, see"
                    " pg_stat_activity and pg_blocking_pids). To sum a long history, run `loader load --step day`."
                )
    except KeyboardInterrupt:
        pass  # a second signal
    finally:
        _end(process)
        _running.discard(process)
    raise StoppedError(f"Ended by {stop.name} while dbt was running: nothing was sent.", stop.number)


def _start(command: list[str], environ: Mapping[str, str], output: BinaryIO) -> subprocess.Popen[bytes]:
    with _starting:
        # A session of its own: Ctrl-C in a terminal reaches the loader alone, and the whole group can be ended.
        process = subprocess.Popen(  # noqa: S603
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
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
        # A second signal: stop waiting.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def last_error(log: str) -> str:
    """The last error in dbt's JSON log as one line; without a log (a crash), the last line of the output."""
    errors = [message for message in _errors(log) if message]
    text = errors[-1] if errors else next((line for line in reversed(log.splitlines()) if line.strip()), "")
    text = DETAILS.split(text.removeprefix("Encountered an error:"), maxsplit=1)[0]
    return " ".join(text.split())[:MAX_MESSAGE]


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
    """The dbt of the loader's own environment; another one may have other adapters."""
    beside = Path(sys.executable).parent / "dbt"
    found = str(beside) if beside.is_file() else shutil.which("dbt", path=environ.get("PATH"))
    if not found:
        raise ConfigurationError(
            "There is no `dbt` program beside this Python: install the loader with its dependencies."
        )
    return found
