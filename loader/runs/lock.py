"""Whose turn it is: of all that would run dbt and push for one warehouse, wherever they are, one does.

The push has its own lock, but two runs of dbt at a time would meet as well. Like that lock this one is held by the
process and by nothing that could be left behind: an advisory lock on PostgreSQL, a locked file beside a DuckDB file.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LockedError
from loader.warehouse.base import open_for_push

BUSY = "Another `loader run` or `loader serve` is at work on this warehouse: nothing was begun."


@contextmanager
def turn(target: Target, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the turn until the block ends.

    Raises:
        LockedError: somebody else has it.
        ConfigurationError: the database is not reachable, or the file cannot be made.
    """
    with ExitStack() as held:
        try:
            held.enter_context(_lock(target, say))
        except LockedError as error:
            raise LockedError(BUSY) from error
        yield


def _lock(target: Target, say: Callable[[str], None]) -> AbstractContextManager[object]:
    if target.type == "duckdb":
        return _locked_file(Path(f"{target.options.get('path', '')}.turn"))
    # The lock of a push, to a stream that is none: each schema has its own.
    return open_for_push(target, Stream("a run", f"schema {target.schema}"), 0, 0, say)


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    try:
        file = path.open("ab")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or type(error).__name__}.") from error
    with file:  # dbt does not inherit it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(BUSY) from error
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be locked: {error.strerror or type(error).__name__}.") from error
        yield
