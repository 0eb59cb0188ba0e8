"""A DuckDB file. One process may write to it, or several may read it; this is also the lock of a push."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LockedError
from loader.warehouse.base import BATCH_ROWS, NOT_BUILT, first_line, not_built, quoted
from loader.warehouse.damage import damage, not_a_database
from loader.warehouse.json_rows import JsonWarehouse

# By default, DuckDB caches up to 80 % of the machine's memory and has buffers for every core. A push reads tables only,
# so it needs little; reading spend logs would need more.
MEMORY_LIMIT = "128MB"
THREADS = 2
LOCKED = "Could not set lock|Conflicting lock"  # text of DuckDB's error message, which also contains the path


class DuckDBWarehouse(JsonWarehouse):
    """A DuckDB file."""

    placeholder = "?"

    def __init__(self, target: Target, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(target)
        # Two connections: the writer commits its inserts while the reader keeps its snapshot.
        self._reader, self._writer = connection, connection.cursor()
        self._is_reading = False
        self._reader.execute("set TimeZone = 'UTC'")
        # DuckDB shows it on stdout, which is for data, during slow statements of a Python without a main file.
        self._reader.execute("set enable_progress_bar = false")
        self._reader.execute("begin transaction")

    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """See `Warehouse.batches`."""
        if self._is_reading:
            # A second statement would silently discard the remaining rows of the first.
            raise AssertionError(f"another statement is still being read: {statement}")
        self._is_reading = True
        try:
            self._reader.execute(statement, list(parameters))
            while batch := self._reader.fetchmany(BATCH_ROWS):
                yield batch
        except duckdb.Error as error:
            raise self._described(error) from error
        finally:
            self._is_reading = False

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        list(self.rows(f"select * from {self.relation(relation)} limit 0"))  # noqa: S608
        return [column[0] for column in self._reader.description or ()]

    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Warehouse.append`."""
        names = ", ".join(map(quoted, columns))
        row = f"({', '.join('?' for _ in columns)})"
        statement = f"insert into {self.relation(relation)} ({names}) values {', '.join([row] * len(rows))}"  # noqa: S608
        try:
            self._writer.execute(statement, [value for row_values in rows for value in row_values])
        except duckdb.Error as error:
            raise self._described(error) from error

    def iso_text(self, column: str) -> str:
        """See `JsonWarehouse.iso_text`."""
        return f"strftime({column}, '%Y-%m-%dT%H:%M:%SZ')"

    def selected_document(self, document: str) -> str:
        """See `JsonWarehouse.selected_document`: as a blob, so that Python does not encode the text again."""
        return f"encode({document})"

    @staticmethod
    def document_bytes(document: bytes) -> bytes:
        """See `JsonWarehouse.document_bytes`."""
        return document

    def now(self) -> datetime:
        """See `Warehouse.now`: this host's clock, as the file is used on one host only."""
        return datetime.now(timezone.utc)

    def _described(self, error: duckdb.Error) -> ConfigurationError:
        """The error to raise for one of DuckDB's."""
        if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
            return not_built(self.target, error)
        found = damage(Path(str(self.target.options.get("path", ""))), error)
        return ConfigurationError(found or f"DuckDB could not use {self.target.schema}: {first_line(error)}.")


@contextmanager
def open_to_read(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[DuckDBWarehouse]:
    """See `base.open_warehouse`."""
    connection = _connect(target, True, lock_timeout, say)
    try:
        yield DuckDBWarehouse(target, connection)
    finally:
        connection.close()


@contextmanager
def open_to_push(
    target: Target,
    stream: Stream,  # noqa: ARG001
    lock_timeout: float,
    wait: float,
    say: Callable[[str], None],
) -> Iterator[DuckDBWarehouse]:
    """See `base.open_for_push`. The lock of the file excludes all other processes, whatever the stream."""
    connection = _connect(target, False, max(lock_timeout, wait), say)
    try:
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"set threads = {THREADS}")
        yield DuckDBWarehouse(target, connection)
    finally:
        connection.close()


def _connect(
    target: Target, read_only: bool, lock_timeout: float, say: Callable[[str], None]
) -> duckdb.DuckDBPyConnection:
    path = str(target.options.get("path", ":memory:"))
    deadline, has_said_so = time.monotonic() + lock_timeout, False
    while True:
        try:
            if not read_only:
                # Otherwise a missing file would be created.
                duckdb.connect(path, read_only=True).close()
            return duckdb.connect(path, read_only=read_only)
        except duckdb.Error as error:
            if not isinstance(error, duckdb.IOException) or not re.search(LOCKED, str(error)):
                raise ConfigurationError(_why_unusable(Path(path), read_only, error)) from error
            holder = _lock_holder(error)
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"The DuckDB file {path} is still in use by {holder} after {lock_timeout:g} s: try again"
                    f" when it has finished, or wait longer with --lock-timeout{'' if read_only else ' or --wait'}."
                ) from error
            if not has_said_so:
                say(f"Waiting for the DuckDB file {path}: it is in use by {holder}.")
                has_said_so = True
            time.sleep(0.2)


def _why_unusable(path: Path, read_only: bool, error: duckdb.Error) -> str:
    """Why DuckDB cannot open a file, and what to do. DuckDB itself says the same of nearly every cause."""
    if not path.parent.is_dir():
        return (
            f"The folder {path.parent} of the DuckDB file {path.name} does not exist: create it, or set"
            " LOADER_DUCKDB_PATH to a file in another folder."
        )
    if not path.exists():
        return f"The DuckDB file {path} does not exist: {NOT_BUILT}."
    if path.is_dir():
        return f"{path} is a folder: set LOADER_DUCKDB_PATH to a file."
    if not os.access(path, os.R_OK):
        return f"The DuckDB file {path} may not be read by this user: change its permissions."
    # After any other kind of error, this process may have the file open.
    is_from_file = isinstance(error, duckdb.IOException)
    if found := (not_a_database(path) if is_from_file else None) or damage(path, error, is_opening=True):
        return found
    if not read_only and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return (
            f"The DuckDB file {path} or its folder is read-only, and a push writes its log there: change the"
            " permissions, or run as the user that owns it."
        )
    return f"The DuckDB file {path} cannot be opened: {first_line(error)}."


def _lock_holder(error: Exception) -> str:
    """The process that holds the lock of the file, for messages, from DuckDB's error."""
    found = re.search(r"PID (\d+)", str(error))
    return f"another process (PID {found[1]})" if found else "another process, such as dbt or a push"
