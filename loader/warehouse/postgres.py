"""A PostgreSQL database. A push holds an advisory lock, which is released when its connection ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import count
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LockedError
from loader.text import ascii_only
from loader.warehouse.base import BATCH_ROWS, first_line, not_built, pooler_hint, quoted, utc
from loader.warehouse.json_rows import JsonWarehouse

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
KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}  # seconds, probes


class PostgresWarehouse(JsonWarehouse):
    """A PostgreSQL database, read with server-side cursors in one repeatable-read transaction."""

    def __init__(self, target: Target, reader: Any, writer: Any = None, lock: Any = None) -> None:
        super().__init__(target)
        self._reader, self._writer, self._lock = reader, writer, lock
        self._names = count(1)  # several cursors can be open at the same time

    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """See `Warehouse.batches`."""
        try:
            with self._reader.cursor(name=f"loader_{next(self._names)}") as cursor:
                cursor.execute(statement, tuple(parameters))
                while batch := cursor.fetchmany(BATCH_ROWS):
                    yield batch
        except psycopg2.Error as error:
            raise self._described(error, "read") from error

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        try:
            with self._reader.cursor() as cursor:
                cursor.execute(f"select * from {self.relation(relation)} limit 0")  # noqa: S608
                return [column.name for column in cursor.description]
        except psycopg2.Error as error:
            raise self._described(error, "read") from error

    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Warehouse.append`."""
        try:
            with self._lock.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error as error:
            raise LockedError(
                "Stopped: the connection that held the lock of this push was lost, so another push may have started"
                f" ({first_line(error)}). Run the same command again to continue."
            ) from error
        names = ", ".join(map(quoted, columns))
        # Not every character exists in the encodings of other databases and clients.
        encodings = {self._writer.encoding, self._writer.info.parameter_status("server_encoding")}
        if not encodings <= UNICODE:
            rows = [[ascii_only(each) if isinstance(each, str) else each for each in row] for row in rows]
        try:
            with self._writer, self._writer.cursor() as cursor:
                _begin(cursor, self.target)
                execute_values(cursor, f"insert into {self.relation(relation)} ({names}) values %s", rows)  # noqa: S608
        except psycopg2.Error as error:
            raise self._described(error, "write to") from error

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

    def _described(self, error: psycopg2.Error, verb: str) -> ConfigurationError:
        """The error to raise for one of PostgreSQL's; `verb` is what failed: "read" or "write to"."""
        schema = self.target.schema
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
    """See `base.open_for_push`.

    It uses three connections. The lock is held by an open transaction of its own, because a session-level lock would
    be lost behind a connection pooler in transaction mode. The reader connects last, so that its snapshot is taken
    after the lock.
    """
    with closing(_connect(target)) as lock:
        _take_lock(lock, target, stream, wait, say)
        with closing(_connect(target)) as writer, closing(_connect_reader(target)) as reader:
            yield PostgresWarehouse(target, reader, writer, lock)


def _take_lock(connection: Any, target: Target, stream: Stream, wait: float, say: Callable[[str], None]) -> None:
    """Lock the stream's connection id: CloudZero takes one request at a time for it, whatever the URL says."""
    connection_id = stream.connection_id
    digest = hashlib.sha256(f"litellm-cbf push to {connection_id}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    deadline, has_said_so = time.monotonic() + wait, False
    try:
        with connection.cursor() as cursor:
            _begin(cursor, target, is_long=True)
            while True:
                cursor.execute("select pg_try_advisory_xact_lock(%s)", (key,))
                if cursor.fetchone()[0]:
                    return
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"Another push to {connection_id} is in progress, and CloudZero supports one at a time for a"
                        " stream: try again when it has finished, or wait for it with --wait."
                    )
                if not has_said_so:
                    say(f"Waiting for another push to {connection_id}.")
                    has_said_so = True
                time.sleep(0.2)
    except psycopg2.Error as error:
        raise ConfigurationError(f"Could not take the push lock in PostgreSQL: {first_line(error)}.") from error


def _begin(cursor: Any, target: Target, is_long: bool = False) -> None:
    """Configure the transaction that the cursor's first statement begins.

    Everything is local to the transaction. PgBouncer in transaction mode accepts no `options` at the start of a
    connection, and gives the next transaction to another session, in which settings of a session would be missing or
    someone else's.

    Args:
        cursor: of a connection without an open transaction.
        target: its profile may have a role.
        is_long: let the transaction stay idle while the loader waits for CloudZero. With the TCP keepalives, the server
            notices within a minute when a client has vanished, and releases its lock and snapshot.
    """
    settings: dict[str, str | int] = {"timezone": "UTC"}
    if is_long:
        settings |= {"idle_in_transaction_session_timeout": 0, **KEEPALIVES}
    if role := target.options.get("role"):
        cursor.execute(f"set local role {quoted(str(role))}")
    for name, value in settings.items():
        cursor.execute(f"set local {name} = %s", (value,))


def _connect_reader(target: Target) -> Any:
    connection = _connect(target)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    try:
        with connection.cursor() as cursor:
            _begin(cursor, target, is_long=True)
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
    arguments: dict[str, Any] = {"connect_timeout": 10, "application_name": "litellm-cbf loader"} | given
    try:
        return psycopg2.connect(**arguments)
    except psycopg2.Error as error:
        place = f"{arguments.get('dbname', '')} at {arguments.get('host', 'the default host')}"
        raise ConfigurationError(
            f"PostgreSQL database {place} of target {target.name!r} cannot be reached:"
            f" {first_line(error)}{pooler_hint(str(error))}"
        ) from error
