"""A PostgreSQL database. A push is locked by an advisory lock, which ends with its connection."""

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
from loader.warehouse.base import BATCH_ROWS, first_line, not_built, quoted, utc
from loader.warehouse.json_rows import JsonWarehouse

KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}  # seconds, probes


class PostgresWarehouse(JsonWarehouse):
    """A PostgreSQL database, read through server-side cursors in one repeatable-read transaction."""

    def __init__(self, target: Target, reader: Any, writer: Any = None, lock: Any = None) -> None:
        super().__init__(target)
        self._reader, self._writer, self._lock = reader, writer, lock
        self._names = count(1)  # two statements can be read side by side

    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """See `Warehouse.batches`."""
        try:
            with self._reader.cursor(name=f"loader_{next(self._names)}") as cursor:
                cursor.execute(statement, tuple(parameters))
                while batch := cursor.fetchmany(BATCH_ROWS):
                    yield batch
        except psycopg2.Error as error:
            raise self._mended(error, "read") from error

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        try:
            with self._reader.cursor() as cursor:
                cursor.execute(f"select * from {self.relation(relation)} limit 0")  # noqa: S608
                return [column.name for column in cursor.description]
        except psycopg2.Error as error:
            raise self._mended(error, "read") from error

    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Warehouse.append`."""
        try:
            with self._lock.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error as error:
            raise LockedError(
                "The connection that held the lock of this push is lost, so another push may have begun: stopped"
                f" ({first_line(error)}). The same command, run again, goes on."
            ) from error
        names = ", ".join(map(quoted, columns))
        try:
            with self._writer, self._writer.cursor() as cursor:
                execute_values(cursor, f"insert into {self.relation(relation)} ({names}) values %s", rows)  # noqa: S608
        except psycopg2.Error as error:
            raise self._mended(error, "write to") from error

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

    def _mended(self, error: psycopg2.Error, verb: str) -> ConfigurationError:
        schema = self.target.schema
        if isinstance(
            error, psycopg2.errors.UndefinedTable | psycopg2.errors.UndefinedColumn | psycopg2.errors.InvalidSchemaName
        ):
            return not_built(self.target, error)
        if isinstance(error, psycopg2.errors.InsufficientPrivilege):
            return ConfigurationError(
                f"The login may not {verb} {schema}: {first_line(error)}. Grant it usage on the schema, select on"
                " cbf_lines, cbf_hours and cbf_as_of, and select and insert on push_log."
            )
        return ConfigurationError(f"PostgreSQL could not {verb} {schema}: {first_line(error)}.")


@contextmanager
def open_to_read(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[PostgresWarehouse]:  # noqa: ARG001
    """See `warehouse.open_warehouse`. Readers wait for nobody here."""
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
    """See `warehouse.open_for_push`.

    Three connections. The lock belongs to a transaction of its own that stays open: a lock of the session would be
    lost behind a pooler that hands out connections by transaction. The reader comes last, so that what it sees is
    of after the lock.
    """
    with closing(_connect(target)) as lock:
        _take_lock(lock, stream, wait, say)
        with closing(_connect(target)) as writer, closing(_connect_reader(target)) as reader:
            yield PostgresWarehouse(target, reader, writer, lock)


def _take_lock(connection: Any, stream: Stream, wait: float, say: Callable[[str], None]) -> None:
    digest = hashlib.sha256(f"litellm-cbf push to {stream}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    deadline, told = time.monotonic() + wait, False
    try:
        with connection.cursor() as cursor:
            _wait_in_peace(cursor)
            while True:
                cursor.execute("select pg_try_advisory_xact_lock(%s)", (key,))
                if cursor.fetchone()[0]:
                    return
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"Another push to {stream} is under way: CloudZero takes one at a time for a stream. Try again"
                        " when it has ended, or wait for it with --wait."
                    )
                if not told:
                    say(f"Waiting for another push to {stream}.")
                    told = True
                time.sleep(0.2)
    except psycopg2.Error as error:
        raise ConfigurationError(f"PostgreSQL gave no lock for the push: {first_line(error)}.") from error


def _wait_in_peace(cursor: Any) -> None:
    """Keep a transaction open while CloudZero is waited for: that is no reason for the server to end it.

    A host that is gone without a word gives its lock and its look at the tables back within a minute.
    """
    cursor.execute("set idle_in_transaction_session_timeout = 0")
    for name, value in KEEPALIVES.items():
        cursor.execute(f"set {name} = {value}")


def _connect_reader(target: Target) -> Any:
    connection = _connect(target)
    try:
        with connection, connection.cursor() as cursor:
            _wait_in_peace(cursor)
    except psycopg2.Error as error:
        raise ConfigurationError(f"PostgreSQL does not let a reader wait: {first_line(error)}.") from error
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    return connection


def _connect(target: Target) -> Any:
    options = target.options
    names = {
        "host": "host", "port": "port", "user": "user", "dbname": "dbname", "database": "dbname",
        "password": "password", "pass": "password", "sslmode": "sslmode", "sslcert": "sslcert", "sslkey": "sslkey",
        "sslrootcert": "sslrootcert",
        "connect_timeout": "connect_timeout", "keepalives_idle": "keepalives_idle",
    }  # fmt: skip
    # An empty value is none: libpq then looks into its own places, such as ~/.pgpass.
    given: dict[str, Any] = {
        libpq: options[name] for name, libpq in names.items() if options.get(name) not in (None, "")
    }
    arguments: dict[str, Any] = {"connect_timeout": 10, "application_name": "litellm-cbf loader"} | given
    try:
        connection = psycopg2.connect(**arguments, options="-c timezone=UTC")
        if role := options.get("role"):
            with connection.cursor() as cursor:
                cursor.execute(f"set role {quoted(str(role))}")
            connection.commit()
    except psycopg2.Error as error:
        place = f"{arguments.get('dbname', '')} at {arguments.get('host', 'the default host')}"
        raise ConfigurationError(
            f"PostgreSQL database {place} cannot be reached with target {target.name!r}: {first_line(error)}"
        ) from error
    return connection
