"""A DuckDB file: one process may write to it, or several may read. That is also the lock of a push."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import duckdb

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LockedError
from loader.warehouse.base import BATCH_ROWS, NOT_BUILT, first_line, not_built, quoted
from loader.warehouse.json_rows import JsonWarehouse

# DuckDB would keep blocks of the file up to 80 % of the machine's memory, and buffers for each of its cores. A push
# reads tables only; whoever reads spend logs as well needs more.
MEMORY_LIMIT = "128MB"
THREADS = 2
LOCKED = "Could not set lock|Conflicting lock"  # DuckDB's own words; the path in its message can have any


class DuckDBWarehouse(JsonWarehouse):
    """A DuckDB file."""

    placeholder = "?"

    def __init__(self, target: Target, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(target)
        # Two of the same: what the one appends is committed while the other still reads as of its beginning.
        self._reader, self._writer = connection, connection.cursor()
        self._is_reading = False
        self._reader.execute("set TimeZone = 'UTC'")
        self._reader.execute("begin transaction")

    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """See `Warehouse.batches`."""
        if self._is_reading:
            # DuckDB would let the rest of the other statement's rows vanish without a word.
            raise AssertionError(f"one statement at a time: {statement}")
        self._is_reading = True
        try:
            self._reader.execute(statement, list(parameters))
            while batch := self._reader.fetchmany(BATCH_ROWS):
                yield batch
        except duckdb.Error as error:
            raise self._mended(error) from error
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
            raise self._mended(error) from error

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
        """See `Warehouse.now`. One machine, one clock."""
        return datetime.now(timezone.utc)

    def _mended(self, error: duckdb.Error) -> ConfigurationError:
        if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
            return not_built(self.target, error)
        return ConfigurationError(f"DuckDB could not use {self.target.schema}: {first_line(error)}.")


@contextmanager
def open_to_read(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[DuckDBWarehouse]:
    """See `warehouse.open_warehouse`."""
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
    """See `warehouse.open_for_push`. The file's own lock lets nobody else in, whatever the stream."""
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
    deadline, told = time.monotonic() + lock_timeout, False
    while True:
        try:
            if not read_only:
                # A file that is not there would be made, empty.
                duckdb.connect(path, read_only=True).close()
            return duckdb.connect(path, read_only=read_only)
        except duckdb.IOException as error:
            if not re.search(LOCKED, str(error)):
                raise ConfigurationError(
                    f"The DuckDB file {path} is not there, or may not be used: {NOT_BUILT}."
                ) from error
            holder = _holder(error)
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"The DuckDB file {path} is in use by {holder}, and still was after {lock_timeout:g} s: try again"
                    f" when that has ended, or wait longer with --lock-timeout{'' if read_only else ' or --wait'}."
                ) from error
            if not told:
                say(f"Waiting for the DuckDB file {path}: it is in use by {holder}.")
                told = True
            time.sleep(0.2)
        except duckdb.Error as error:
            raise ConfigurationError(f"The DuckDB file {path} cannot be opened: {first_line(error)}.") from error


def _holder(error: Exception) -> str:
    found = re.search(r"PID (\d+)", str(error))
    return f"another process (PID {found[1]})" if found else "another process, such as a run of dbt or a push"
