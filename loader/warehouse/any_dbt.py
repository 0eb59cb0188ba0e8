"""Any other dbt target, read and written through the adapter that dbt itself uses for it.

What differs between engines is taken from the adapter (relation names, quoting, the type of a text) or found out with a
query (backslash escapes, the clock). All other SQL is of the kind that the models use as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LoaderError
from loader.hours import Window, iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, Line
from loader.money import decimal_text
from loader.warehouse.base import BATCH_ROWS, NOT_BUILT, Warehouse, utc
from loader.warehouse.dbt_adapter import error_line, make_adapter, require_adapter
from loader.warehouse.host_lock import host_lock
from loader.warehouse.sql_values import AWKWARD_TEXT, PLACEHOLDER, bound, literal

# Clocks differ by less than this, and time zones by more.
MAX_CLOCK_DIFFERENCE = timedelta(minutes=10)
CONNECTION = "litellm-cbf loader"


class DbtWarehouse(Warehouse):
    """A target used through its dbt adapter, which connects at the first statement.

    Each statement is a transaction of its own, and all its rows are fetched at once: an adapter has one connection, and
    on most of them another statement would discard the rows that are not fetched yet.
    """

    placeholder = PLACEHOLDER

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._opened: tuple[Any, AbstractContextManager[Any]] | None = None
        self._backslash_escapes = False
        self._ahead = timedelta(0)  # how far the engine's clock is ahead of this host's

    @property
    def _adapter(self) -> Any:
        if self._opened is None:
            adapter = make_adapter(self.target)
            connection = adapter.connection_named(CONNECTION)
            with self._errors_described("reach"):
                connection.__enter__()
            self._opened = adapter, connection
            try:
                self._probe()
            except BaseException:
                self.close()
                raise
        return self._opened[0]

    @property
    def text_type(self) -> str:  # type: ignore[override]
        """The name of the adapter's type for text."""
        return str(self._adapter.Column.translate_type("string"))

    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """See `Warehouse.batches`: all rows in one batch."""
        adapter = self._adapter
        yield self._run(adapter, bound(statement, parameters, self._backslash_escapes), "read")[1]

    def column_names(self, relation: str) -> list[str]:
        """See `Warehouse.column_names`."""
        return self._run(self._adapter, f"select * from {self.relation(relation)} where 1 = 0", "read")[0]  # noqa: S608

    def has(self, relation: str) -> bool:
        """See `Warehouse.has`: not every engine has an information_schema."""
        try:
            self.column_names(relation)
        except ConfigurationError:
            return False
        return True

    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Warehouse.append`. One statement, so that either all rows are inserted or none."""
        adapter = self._adapter
        row = f"({', '.join(PLACEHOLDER for _ in columns)})"
        statement = (
            f"insert into {self.relation(relation)} ({', '.join(columns)}) values {', '.join([row] * len(rows))}"  # noqa: S608
        )
        values = [value for row_values in rows for value in row_values]
        self._run(adapter, bound(statement, values, self._backslash_escapes), "write to")

    def now(self) -> datetime:
        """See `Warehouse.now`: this host's clock plus the difference measured when the connection was opened."""
        _ = self._adapter  # connects, which measures the difference
        return datetime.now(timezone.utc) + self._ahead

    def relation(self, name: str) -> str:
        """See `Warehouse.relation`: with the database and quoting that dbt uses."""
        adapter = self._adapter
        credentials = adapter.config.credentials
        return str(
            adapter.Relation.create(
                database=credentials.database,
                schema=credentials.schema,
                identifier=name,
                quote_policy=adapter.config.quoting,
            ).render()
        )

    def quoted(self, name: str) -> str:
        """See `Warehouse.quoted`."""
        quote = self._adapter.quote("x")[-1]
        return str(self._adapter.quote(name.replace(quote, quote * 2)))

    def moment(self, expression: str) -> str:
        """See `Warehouse.moment`: as text, because drivers may convert timestamps to a local time zone."""
        return f"cast({expression} as {self.text_type})"

    def _read_lines(self, window: Window | None, clauses: str = "") -> Iterator[Line]:
        """See `Warehouse._read_lines`. Encoded in Python: engines do not agree on functions that make JSON."""
        names, where, parameters = self.line_selection(window)
        selected = ", ".join(map(self._selected_text, names))
        statement = f"select {selected} from {self.relation('cbf_lines')} {where} {clauses}"  # noqa: S608
        hours: dict[str, tuple[datetime, str]] = {}  # as the engine writes it: parsed, as it is sent
        for row in self.rows(statement, parameters):
            values = {name: value for name, value in zip(names, row, strict=True) if value is not None and value != ""}
            text = values[HOUR_COLUMN]
            if text not in hours:
                start = utc(text)
                hours[text] = start, iso(start)
            start, values[HOUR_COLUMN] = hours[text]
            values[COST_COLUMN] = decimal_text(Decimal(values[COST_COLUMN]))
            yield Line.from_values(start, values)

    def _selected_text(self, column: str) -> str:
        """SQL that selects a column of cbf_lines as text."""
        name = self.quoted(column)
        return self.moment(name) if column in (HOUR_COLUMN, COST_COLUMN, AMOUNT_COLUMN) else name

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            (adapter, connection), self._opened = self._opened, None
            with suppress(Exception):  # everything is committed already
                connection.__exit__(None, None, None)
                adapter.cleanup_connections()

    def _probe(self) -> None:
        """Find out whether the engine has backslash escapes, and check its string literals and session time zone.

        Raises:
            ConfigurationError: a string literal comes back changed, or the session is not in UTC.
        """
        adapter = self._adapter
        clock = self.moment("cast(current_timestamp as timestamp)")
        before = datetime.now(timezone.utc)
        _, [(backslashes, text)] = self._run(adapter, f"select '\\\\' as backslashes, {clock} as now", "read")
        self._backslash_escapes = len(backslashes) == 1
        self._ahead = utc(text) - before
        _, [(read,)] = self._run(adapter, f"select {literal(AWKWARD_TEXT, self._backslash_escapes)} as awkward", "read")
        if read != AWKWARD_TEXT:
            raise ConfigurationError(
                f"Target {self.target.name!r} of type {self.target.type} returns a string literal changed, so no value"
                " can be sent to it safely: set its options for string literals to their defaults."
            )
        if abs(self._ahead) > MAX_CLOCK_DIFFERENCE:
            raise ConfigurationError(
                f"The time in the session of target {self.target.name!r} is {text},"
                f" {_minutes(self._ahead)} off this host's UTC time: set the session's time zone to UTC in the profile,"
                " or correct the clocks."
            )

    def _run(self, adapter: Any, statement: str, verb: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one statement as a transaction. Returns its column names and all rows."""
        with self._errors_described(verb):
            try:
                _, cursor = adapter.connections.add_query(statement, auto_begin=True)
                names = [str(column[0]) for column in cursor.description or ()]
                found = list(_fetched(cursor)) if verb != "write to" else []
                adapter.connections.commit()
            except BaseException:
                with suppress(Exception):  # report the first error, not one of the rollback
                    adapter.connections.rollback_if_open()
                raise
            return names, found

    @contextmanager
    def _errors_described(self, verb: str) -> Iterator[None]:
        """Turn any error of dbt or of a driver, which have no common base class, into a ConfigurationError."""
        try:
            yield
        except LoaderError:
            raise
        except NotImplementedError as error:
            raise ConfigurationError(
                f"The adapter dbt-{self.target.type} does not provide a cursor, which the loader needs to read rows:"
                " copy the views to DuckDB or PostgreSQL."
            ) from error
        except Exception as error:
            raise ConfigurationError(
                f"The loader could not {verb} schema {self.target.schema!r} of target {self.target.name!r}"
                f" ({self.target.type}): {error_line(error, self.target)}. If the views do not exist, {NOT_BUILT}."
            ) from error


@contextmanager
def open_to_read(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[DbtWarehouse]:  # noqa: ARG001
    """See `base.open_warehouse`."""
    require_adapter(target)
    warehouse = DbtWarehouse(target)
    try:
        yield warehouse
    finally:
        warehouse.close()


@contextmanager
def open_to_push(
    target: Target,
    stream: Stream,
    lock_timeout: float,
    wait: float,
    say: Callable[[str], None],
) -> Iterator[DbtWarehouse]:
    """See `base.open_for_push`. The lock is of this host and user, because engines have no lock in common.

    It is the connection's, whatever the target and the URL.
    """
    require_adapter(target)
    with (
        host_lock(f"push to {stream.connection_id}", stream.connection_id, wait, say),
        open_to_read(target, lock_timeout, say) as warehouse,
    ):
        yield warehouse


def _minutes(span: timedelta) -> str:
    """The length of a time span in whole minutes, for messages."""
    return f"{abs(span) // timedelta(minutes=1)} minutes"


def _fetched(cursor: Any) -> Iterator[tuple[Any, ...]]:
    """All rows of a cursor, in batches if it has `fetchmany`, which the cursor of dbt-spark lacks."""
    if not hasattr(cursor, "fetchmany"):
        yield from map(tuple, cursor.fetchall() or ())
        return
    while batch := cursor.fetchmany(BATCH_ROWS):
        yield from map(tuple, batch)
