"""A PostgreSQL database. A push holds an advisory lock, which is released when its connection ends.

The server, or a pooler, may close connections while CloudZero is slow. A push then connects again and takes the lock
again, so that the outcome of a body is recorded whatever became of the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import count
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, ConnectionLostError, LockedError
from loader.text import ascii_only
from loader.warehouse.base import BATCH_ROWS, first_line, not_built, pooler_hint, quoted, utc
from loader.warehouse.json_rows import JsonWarehouse
from loader.warehouse.postgres_sessions import CLIENT_KEEPALIVES, begin, is_lost, take_lock

# Keys of a dbt profile that are also parameters of libpq.
LIBPQ_OPTIONS = (
    "host",
    "port",
    "user",
    "dbname",
    "password",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "connect_timeout",
    "keepalives_idle",
)
UNICODE = {"UTF8", "UNICODE"}  # PostgreSQL's and psycopg2's names of UTF-8
RECONNECT_FOR = 120.0  # seconds to try to connect again, which is enough for a restart of the server
# Seconds to wait for a lock that was lost: the server may take a minute to notice that its old session has ended.
RELOCK_FOR = 90.0


class PostgresWarehouse(JsonWarehouse):
    """A PostgreSQL database, read with server-side cursors in one repeatable-read transaction."""

    def __init__(self, target: Target, reader: Any) -> None:
        super().__init__(target)
        self._reader = reader
        self._names = count(1)  # several cursors can be open at the same time

    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """See `Warehouse.batches`."""
        try:
            with self._reader.cursor(name=f"loader_{next(self._names)}") as cursor:
                cursor.execute(statement, tuple(parameters))
                while batch := cursor.fetchmany(BATCH_ROWS):
                    yield batch
        except psycopg2.Error as error:
            raise self._described(error, "read", self._reader) from error

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        try:
            with self._reader.cursor() as cursor:
                cursor.execute(f"select * from {self.relation(relation)} limit 0")  # noqa: S608
                return [column.name for column in cursor.description]
        except psycopg2.Error as error:
            raise self._described(error, "read", self._reader) from error

    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Warehouse.append`; only `PostgresForPush` can write."""
        raise AssertionError(f"opened to read, not to append {len(rows)} rows of {columns} to {relation}")

    def iso_text(self, column: str) -> str:
        """See `JsonWarehouse.iso_text`."""
        return f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""

    @staticmethod
    def document_bytes(document: str) -> bytes:
        """See `JsonWarehouse.document_bytes`."""
        return document.encode()

    def now(self) -> datetime:
        """See `Warehouse.now`: the server's clock."""
        for (moment,) in self.rows("select clock_timestamp()"):
            return utc(moment)
        raise AssertionError("a select without a from has one row")

    def _described(self, error: psycopg2.Error, verb: str, connection: Any) -> ConfigurationError:
        """The error to raise for one of PostgreSQL's; `verb` is what failed: "read" or "write to"."""
        schema = self.target.schema
        if is_lost(connection):
            return ConnectionLostError(
                f"PostgreSQL closed the connection while the loader was about to {verb} schema {schema}:"
                f" {first_line(error)}."
            )
        if isinstance(
            error, psycopg2.errors.UndefinedTable | psycopg2.errors.UndefinedColumn | psycopg2.errors.InvalidSchemaName
        ):
            return not_built(self.target, error)
        if isinstance(error, psycopg2.errors.InsufficientPrivilege):
            return ConfigurationError(
                f"The role has no permission to {verb} schema {schema}: {first_line(error)}. Grant it usage on the"
                " schema, select on all its tables and views, and insert on push_log: see docs/postgres_roles.sql."
            )
        return ConfigurationError(f"PostgreSQL could not {verb} schema {schema}: {first_line(error)}.")


class PostgresForPush(PostgresWarehouse):
    """The database during a push. It has three connections: one reads, one writes the log, and one holds the lock.

    The lock is held by an open transaction of its own, because a session-level lock would be lost behind a connection
    pooler in transaction mode. The reader connects last, so that its snapshot is taken after the lock. The writer is
    idle between its transactions, so that the server may close its connection; it then connects again.
    """

    def __init__(self, target: Target, stream: Stream, wait: float, say: Callable[[str], None]) -> None:
        """Connect, and take the lock of the stream.

        Raises:
            LockedError, ConfigurationError: as `open_to_push`.
        """
        self._stream_to_lock, self._say = stream, say
        self._lock: Any = None
        self._writer: Any = None
        try:
            self._lock = _locked(target, stream, wait, say)
            self._writer = _connect(target)
            super().__init__(target, _connect_reader(target))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections, which releases the lock."""
        for connection in (getattr(self, "_reader", None), self._writer, self._lock):
            if connection is not None:
                connection.close()

    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Warehouse.append`."""
        names = ", ".join(map(quoted, columns))
        # Not every character exists in the encodings of other databases and clients.
        encodings = {self._writer.encoding, self._writer.info.parameter_status("server_encoding")}
        if not encodings <= UNICODE:
            rows = [[ascii_only(each) if isinstance(each, str) else each for each in row] for row in rows]
        try:
            with self._writer, self._writer.cursor() as cursor:
                begin(cursor, self.target)
                execute_values(cursor, f"insert into {self.relation(relation)} ({names}) values %s", rows)  # noqa: S608
        except psycopg2.Error as error:
            raise self._described(error, "write to", self._writer) from error

    def rows_now(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See `Warehouse.rows_now`."""
        try:
            with self._writer, self._writer.cursor() as cursor:
                begin(cursor, self.target)
                cursor.execute(statement, tuple(parameters))
                return list(cursor.fetchall())
        except psycopg2.Error as error:
            raise self._described(error, "read", self._writer) from error

    def now(self) -> datetime:
        """See `Warehouse.now`: the server's clock."""
        ((moment,),) = self.rows_now("select clock_timestamp()")
        return utc(moment)

    def renew_lock(self) -> bool:
        """See `Warehouse.renew_lock`."""
        try:
            with self._lock.cursor() as cursor:
                cursor.execute("select 1")
            return False
        except psycopg2.Error as error:
            reason = first_line(error)
        self._lock.close()
        self._say(f"PostgreSQL closed the connection that held the lock of this push ({reason}): connecting again.")
        try:
            self._lock = _patiently(lambda: _locked(self.target, self._stream_to_lock, RELOCK_FOR, self._say))
        except LockedError as error:
            raise LockedError(
                "Stopped: the connection that held the lock of this push was lost, and another push has started"
                f" ({reason}). Run the same command again to continue."
            ) from error
        return True

    def reconnect(self) -> None:
        """See `Warehouse.reconnect`. The lines that are read from now on are of a new snapshot."""
        if is_lost(self._writer):
            self._writer = _patiently(lambda: _connect(self.target))
        if is_lost(self._reader):
            self._reader = _patiently(lambda: _connect_reader(self.target))


@contextmanager
def open_to_read(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[PostgresWarehouse]:  # noqa: ARG001
    """See `base.open_warehouse`. Reading never waits for a lock."""
    with closing(_connect_reader(target)) as reader:
        yield PostgresWarehouse(target, reader)


@contextmanager
def open_to_push(
    target: Target,
    stream: Stream,
    lock_timeout: float,  # noqa: ARG001
    wait: float,
    say: Callable[[str], None],
) -> Iterator[PostgresWarehouse]:
    """See `base.open_for_push`."""
    warehouse = PostgresForPush(target, stream, wait, say)
    try:
        yield warehouse
    finally:
        warehouse.close()


def _patiently(connect: Callable[[], Any]) -> Any:
    """Connect, again and again for RECONNECT_FOR.

    Raises:
        ConfigurationError: the last error.
        LockedError: at once.
    """
    deadline = time.monotonic() + RECONNECT_FOR
    while time.monotonic() < deadline:
        with suppress(ConfigurationError):
            return connect()
        time.sleep(1.0)
    return connect()


def _locked(target: Target, stream: Stream, wait: float, say: Callable[[str], None]) -> Any:
    connection = _connect(target)
    try:
        take_lock(connection, target, stream, wait, say)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_reader(target: Target) -> Any:
    connection = _connect(target)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    try:
        with connection.cursor() as cursor:
            begin(cursor, target)
    except psycopg2.Error as error:
        connection.close()
        raise ConfigurationError(f"Could not configure the PostgreSQL transaction: {first_line(error)}.") from error
    return connection


def _connect(target: Target) -> Any:
    options = target.options
    names = {name: name for name in LIBPQ_OPTIONS} | {"database": "dbname", "pass": "password"}  # dbt's aliases
    # Leave out empty values, so that libpq uses its own defaults, such as ~/.pgpass.
    given: dict[str, Any] = {
        libpq: options[name] for name, libpq in names.items() if options.get(name) not in (None, "")
    }
    arguments: dict[str, Any] = {"connect_timeout": 10, "application_name": "litellm-cbf loader"}
    arguments |= CLIENT_KEEPALIVES | given
    try:
        return psycopg2.connect(**arguments)
    except psycopg2.Error as error:
        place = f"{arguments.get('dbname', '')} at {arguments.get('host', 'the default host')}"
        raise ConfigurationError(
            f"PostgreSQL database {place} of target {target.name!r} cannot be reached:"
            f" {first_line(error)}{pooler_hint(str(error))}"
        ) from error
