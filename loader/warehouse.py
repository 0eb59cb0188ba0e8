"""Opens the dbt target and reads `cbf_lines` and `cbf_hours`. Nothing else knows an engine.

All values come as the text that is sent: money keeps each digit that the decimal had and never gets an exponent,
because no float and no Decimal's own notation is ever in between.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from loader.errors import ConfigurationError
from loader.settings import Target
from loader.windows import HOUR, Window, iso

BATCH_ROWS = 10_000
HOUR_COLUMN, COST_COLUMN, AMOUNT_COLUMN = "time/usage_start", "cost/cost", "usage/amount"
NOT_BUILT = "run `dbt build` with the same profile and target first"


@dataclass(frozen=True)
class Hour:
    """One row of `cbf_hours`: an hour (UTC), its lines, USD and tokens."""

    start: datetime
    line_count: int
    cost: Decimal
    tokens: int


@dataclass(frozen=True)
class Line:
    """One row of `cbf_lines`: its hour (UTC) and its values as text, absent ones left out."""

    hour: datetime
    values: dict[str, str]


class Warehouse(ABC):
    """A read-only look at the views, all of it as of one moment."""

    placeholder = "%s"

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of one statement, in batches from the engine.

        Raises:
            ConfigurationError: the views are not there, or the database gave up.
        """

    @abstractmethod
    def column_names(self, relation: str) -> list[str]:
        """The columns of one of our relations, in order."""

    def relation(self, name: str) -> str:
        """The quoted name of one of our models."""
        return f"{quoted(self.target.schema)}.{quoted(name)}"

    def built_at(self) -> datetime:
        """When the run of dbt began that last summed usage (UTC). Hours that ended before it are complete."""
        for (moment,) in self.rows(f"select built_at from {self.relation('cbf_as_of')}"):  # noqa: S608
            return utc(moment)
        raise ConfigurationError(f"{self.target.schema}.cbf_as_of is empty: {NOT_BUILT}.")

    def hours(self, window: Window | None = None) -> list[Hour]:
        """The hours of the window that have lines, oldest first; all for None."""
        where, parameters = self._where("usage_hour", window)
        # Only the columns that are needed: the fingerprint would cost a hash of each line.
        statement = (
            "select usage_hour, line_count, cast(cost_usd as varchar), total_tokens"  # noqa: S608
            f" from {self.relation('cbf_hours')} {where} order by usage_hour"
        )
        return [
            Hour(utc(hour), int(count), Decimal(cost), int(tokens))
            for hour, count, cost, tokens in self.rows(statement, parameters)
        ]

    def lines(self, window: Window | None = None, newest: int | None = None) -> Iterator[Line]:
        """The lines of the window (all for None), oldest hour first; with `newest`, that many, newest hour first."""
        if newest is not None:
            window = self._newest_hours(window, newest)
        names = self.column_names("cbf_lines")
        hour, where_and_parameters = quoted(HOUR_COLUMN), self._where(quoted(HOUR_COLUMN), window)
        where, parameters = where_and_parameters
        order = f"order by {hour}{' desc' if newest is not None else ''}, {quoted('resource/id')}"
        limit = f" limit {int(newest)}" if newest is not None else ""
        selected = ", ".join(_as_text(name) for name in names)
        statement = f"select {selected} from {self.relation('cbf_lines')} {where} {order}{limit}"  # noqa: S608
        hour_index = names.index(HOUR_COLUMN)
        stamp: tuple[Any, datetime, str] | None = None
        for row in self.rows(statement, parameters):
            if stamp is None or stamp[0] != row[hour_index]:
                moment = utc(row[hour_index])
                stamp = (row[hour_index], moment, iso(moment))
            values = {name: value for name, value in zip(names, row, strict=True) if value is not None and value != ""}
            values[HOUR_COLUMN] = stamp[2]
            yield Line(stamp[1], values)

    def _newest_hours(self, window: Window | None, lines: int) -> Window | None:
        """The part of the window that holds its newest `lines`: the order needs the ids of these hours only."""
        chosen, count = window, 0
        for hour in reversed(self.hours(window)):
            end = chosen.end if count and chosen else hour.start + HOUR
            chosen, count = Window(hour.start, end), count + hour.line_count
            if count >= lines:
                break
        return chosen

    def _where(self, column: str, window: Window | None) -> tuple[str, tuple[datetime, ...]]:
        if window is None:
            return "", ()
        bounds = (window.start.replace(tzinfo=None), window.end.replace(tzinfo=None))
        return f"where {column} >= {self.placeholder} and {column} < {self.placeholder}", bounds


class DuckDBWarehouse(Warehouse):
    """A DuckDB file, opened read-only."""

    placeholder = "?"

    def __init__(self, target: Target, connection: Any) -> None:
        super().__init__(target)
        self._connection = connection
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("begin transaction")

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """See `Warehouse.rows`."""
        import duckdb

        cursor = self._connection
        try:
            cursor.execute(statement, list(parameters))
            while batch := cursor.fetchmany(BATCH_ROWS):
                yield from batch
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise _not_built(self.target, error) from error
        except duckdb.Error as error:
            raise ConfigurationError(f"DuckDB could not read {self.target.schema}: {_first_line(error)}") from error

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        list(self.rows(f"select * from {self.relation(relation)} limit 0"))  # noqa: S608
        return [column[0] for column in self._connection.description]


class PostgresWarehouse(Warehouse):
    """A PostgreSQL database, read through server-side cursors in one repeatable-read transaction."""

    def __init__(self, target: Target, connection: Any) -> None:
        super().__init__(target)
        self._connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """See `Warehouse.rows`."""
        import psycopg2

        try:
            with self._connection.cursor(name="loader") as cursor:
                cursor.itersize = BATCH_ROWS
                cursor.execute(statement, tuple(parameters))
                yield from cursor
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
            raise _not_built(self.target, error) from error
        except psycopg2.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"The login may not read {self.target.schema}: {_first_line(error)}. Grant it usage on the schema and"
                " select on cbf_lines, cbf_hours and cbf_as_of."
            ) from error
        except psycopg2.Error as error:
            raise ConfigurationError(f"PostgreSQL could not read {self.target.schema}: {_first_line(error)}") from error

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"select * from {self.relation(relation)} limit 0")  # noqa: S608
                return [column.name for column in cursor.description]
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName) as error:
            raise _not_built(self.target, error) from error
        except psycopg2.Error as error:
            raise ConfigurationError(f"PostgreSQL could not read {self.target.schema}: {_first_line(error)}") from error


@contextmanager
def open_warehouse(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[Warehouse]:
    """The target's views, closed again at the end.

    Args:
        target: the dbt target.
        lock_timeout: seconds to wait for a DuckDB file that another process writes to.
        say: where to tell that it waits.

    Raises:
        ConfigurationError: no such database, it is down or stays locked, or we have no reader for this engine.
    """
    if target.type == "duckdb":
        connection: Any = _open_duckdb(target, lock_timeout, say)
        try:
            yield DuckDBWarehouse(target, connection)
        finally:
            connection.close()
    elif target.type == "postgres":
        connection = _open_postgres(target)
        try:
            yield PostgresWarehouse(target, connection)
        finally:
            connection.close()
    else:
        raise ConfigurationError(
            f"The loader reads targets of type duckdb and postgres; target {target.name!r} is of type {target.type!r}."
        )


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def utc(moment: datetime) -> datetime:
    """A timestamp of the models, which are UTC without saying so, as aware UTC."""
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def _as_text(name: str) -> str:
    column = quoted(name)
    if name == COST_COLUMN:
        return f"rtrim(rtrim(cast({column} as varchar), '0'), '.')"
    if name == AMOUNT_COLUMN:
        return f"cast({column} as varchar)"
    return column


def _open_duckdb(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Any:
    import duckdb

    path = str(target.options.get("path", ":memory:"))
    deadline, told = time.monotonic() + lock_timeout, False
    while True:
        try:
            return duckdb.connect(path, read_only=True)
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise ConfigurationError(f"There is no DuckDB file {path} to read: {NOT_BUILT}.") from error
            if time.monotonic() >= deadline:
                raise ConfigurationError(
                    f"The DuckDB file {path} is locked by another process, such as a run of dbt, and still was after"
                    f" {lock_timeout:g} s: try again when that has ended, or wait longer with --lock-timeout."
                ) from error
            if not told:
                say(f"Waiting for the DuckDB file {path}: another process writes to it.")
                told = True
            time.sleep(0.2)
        except duckdb.Error as error:
            raise ConfigurationError(f"The DuckDB file {path} cannot be opened: {_first_line(error)}") from error


def _open_postgres(target: Target) -> Any:
    import psycopg2

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
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        if role := options.get("role"):
            with connection.cursor() as cursor:
                cursor.execute(f"set role {quoted(str(role))}")
    except psycopg2.Error as error:
        place = f"{arguments.get('dbname', '')} at {arguments.get('host', 'the default host')}"
        raise ConfigurationError(
            f"PostgreSQL database {place} cannot be reached with target {target.name!r}: {_first_line(error)}"
        ) from error
    return connection


def _not_built(target: Target, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The views are not in schema {target.schema!r} of target {target.name!r} ({_first_line(error)}): {NOT_BUILT}."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
