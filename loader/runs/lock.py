"""One run at a time per warehouse, over all processes and hosts.

A push has a lock of its own, but two runs of dbt would collide as well. Like that lock, this one belongs to the process
and leaves nothing behind when it dies: an advisory lock on PostgreSQL, a locked file beside a DuckDB file.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LockedError
from loader.warehouse.base import open_for_push, open_warehouse

BUSY = "Another `loader run` or `loader serve` is running on this warehouse: nothing was done."


@contextmanager
def run_lock(target: Target, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock until the block ends.

    Raises:
        LockedError: another process holds it.
        ConfigurationError: the database cannot be reached, or the lock file cannot be created.
    """
    with ExitStack() as held:
        try:
            held.enter_context(_lock(target, say))
        except LockedError as error:
            raise LockedError(BUSY) from error
        yield


def require_readable(target: Target, lock_timeout: float, say: Callable[[str], None]) -> None:
    """Fail before dbt starts if a DuckDB file exists but cannot be used: dbt would end in a long traceback.

    Raises:
        ConfigurationError: the file is damaged, is no DuckDB file, or may not be read.
        LockedError: it is still in use after `lock_timeout` seconds.
    """
    if target.type == "duckdb" and Path(str(target.options.get("path", ""))).exists():
        with open_warehouse(target, lock_timeout, say):
            pass


def _lock(target: Target, say: Callable[[str], None]) -> AbstractContextManager[object]:
    if target.type == "duckdb":
        path = Path(str(target.options.get("path", "")))
        if not path.parent.exists():
            # dbt would try for minutes to create the file.
            raise ConfigurationError(
                f"The folder {path.parent} of the DuckDB file {path.name} does not exist: create it, or set"
                " LOADER_DUCKDB_PATH to a file in another folder."
            )
        return _locked_file(path.with_name(f"{path.name}.turn"))
    # The lock of a push to a stream that does not exist, so that each schema has its own.
    return open_for_push(target, Stream(f"a run of schema {target.schema}", ""), 0, 0, say)


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    try:
        file = path.open("ab")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or type(error).__name__}.") from error
    with file:  # which dbt does not inherit
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(BUSY) from error
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be locked: {error.strerror or type(error).__name__}.") from error
        yield
