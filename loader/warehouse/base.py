"""Opens the dbt target, reads `cbf_lines` and `cbf_hours`, and appends to `push_log`.

`duckdb` and `postgres` in this package are the modules of these engines; `any_dbt` uses every other engine through
its dbt adapter.

Money is selected as text, so it keeps every digit of the decimal: it is never converted to a float, and never written
with an exponent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError
from loader.hours import Window, floor_hour
from loader.lines import EMPTY_FINGERPRINT, HOUR_COLUMN, HourSummary, Line, newest_window
from loader.warehouse.sql_values import parsed

BATCH_ROWS = 2_000
ENGINES = {"duckdb": "loader.warehouse.duckdb", "postgres": "loader.warehouse.postgres"}
STREAM_COLUMN = "stream"  # of cbf_lines, with var streams only: which stream a line is sent to. It is not sent itself
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NOT_BUILT = "run `dbt build` with the same profile and target first"


class Warehouse(ABC):
    """The views of a target, read from one snapshot. If it was opened for a push, the push log can be written."""

    placeholder = "%s"
    text_type = "varchar"

    def __init__(self, target: Target) -> None:
        self.target = target
        self._stream: str | None = None

    @contextmanager
    def of_stream(self, name: str | None) -> Iterator[None]:
        """Restrict hours and lines to one stream of var streams within the block; None for all streams."""
        before, self._stream = self._stream, name
        try:
            yield
        finally:
            self._stream = before

    @abstractmethod
    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """The rows of one statement, in batches as the engine returns them.

        Args:
            statement: SQL with `placeholder` for each parameter.
            parameters: the values.

        Raises:
            ConfigurationError: the views do not exist or cannot be read, or the database reported an error.
        """

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of one statement, one by one.

        Raises:
            ConfigurationError: as `batches`.
        """
        for batch in self.batches(statement, parameters):
            yield from batch

    @abstractmethod
    def column_names(self, relation: str) -> list[str]:
        """The columns of one of the project's models, in order."""

    def has(self, relation: str) -> bool:
        """Whether one of the project's models exists and may be read; an earlier version did not build all of them."""
        condition = f"table_schema = {self.placeholder} and table_name = {self.placeholder}"
        statement = f"select count(*) from information_schema.tables where {condition}"  # noqa: S608
        return any(count for (count,) in self.rows(statement, (self.target.schema, relation)))

    @abstractmethod
    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows into one of the project's tables. They are committed when this returns.

        Raises:
            ConfigurationError: the table does not exist or cannot be written, or the database reported an error.
            ConnectionLostError: the connection was closed; the rows may have been committed.
        """

    def rows_now(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement as they are now, with what was appended since the snapshot.

        Raises:
            ConfigurationError: as `batches`.
            ConnectionLostError: the connection was closed.
        """
        return list(self.rows(statement, parameters))

    def renew_lock(self) -> bool:
        """Make sure that the lock of the push is still held; whether it was lost and has been taken again.

        Raises:
            LockedError: another push has it.
            ConfigurationError: the database cannot be reached.
        """
        return False

    def reconnect(self) -> None:  # noqa: B027 (only engines with a server have something to do)
        """Open the connections again that the server has closed.

        Raises:
            ConfigurationError: the database cannot be reached.
        """

    @abstractmethod
    def now(self) -> datetime:
        """The current time (UTC) by the clock that all users of this warehouse share."""

    def relation(self, name: str) -> str:
        """The quoted name of one of the project's models."""
        return f"{quoted(self.target.schema)}.{quoted(name)}"

    def quoted(self, name: str) -> str:
        """An SQL identifier, quoted for this engine."""
        return quoted(name)

    def moment(self, expression: str) -> str:
        """SQL that selects a timestamp in a form that `utc` accepts."""
        return expression

    def built_at(self) -> datetime:
        """The start (UTC) of the dbt run that last aggregated usage. Hours that ended before it are complete.

        Raises:
            ConfigurationError: as `batches`, or dbt has not run yet.
        """
        for (moment,) in self.rows(f"select {self.moment('built_at')} from {self.relation('cbf_as_of')}"):  # noqa: S608
            return utc(moment)
        raise ConfigurationError(f"{self.target.schema}.cbf_as_of is empty: {NOT_BUILT}.")

    def complete_until(self) -> datetime:
        """Hours before this one (UTC) are complete: they had ended when dbt last summed usage."""
        return floor_hour(self.built_at())

    def hours(self, window: Window | None = None) -> list[HourSummary]:
        """The hours of the window (all for None) that ever had usage, oldest first. An hour can be without lines.

        Raises:
            ConfigurationError: as `batches`.
        """
        where, bounds = self.between("usage_hour", window)
        of_stream = "" if self._stream is None else f"where {self._in_stream()}"
        stream = () if self._stream is None else (self._stream,)
        # For one stream, each sum is over one row. For all streams together, the fingerprint has no meaning.
        statement = f"""
            with hours as (select * from {self.relation("cbf_hours")} {where}),
            all_streams as (select usage_hour, sum(cost_usd) as cost_usd from hours group by usage_hour),
            selected as (
                select
                    usage_hour,
                    sum(line_count) as line_count,
                    sum(cost_usd) as cost_usd,
                    sum(total_tokens) as total_tokens,
                    max(fingerprint) as fingerprint
                from hours {of_stream}
                group by usage_hour
            )
            select
                {self.moment("all_streams.usage_hour")}, coalesce(selected.line_count, 0),
                cast(coalesce(selected.cost_usd, 0) as {self.text_type}), coalesce(selected.total_tokens, 0),
                coalesce(selected.fingerprint, '{EMPTY_FINGERPRINT}'), cast(all_streams.cost_usd as {self.text_type})
            from all_streams
            left join selected on all_streams.usage_hour = selected.usage_hour
            order by all_streams.usage_hour
        """  # noqa: S608
        return [
            HourSummary(utc(hour), int(count), Decimal(cost), int(tokens), fingerprint, Decimal(cost_of_all))
            for hour, count, cost, tokens, fingerprint, cost_of_all in self.rows(statement, (*bounds, *stream))
        ]

    def lines(self, window: Window | None = None) -> Iterator[Line]:
        """The lines of the window (all for None), oldest hour first, ordered by resource/id within an hour."""
        return self._read_lines(window, f"order by {self._hour_column}, {self._id_column}")

    def newest_lines(self, hours: Sequence[HourSummary], limit: int) -> Iterator[Line]:
        """At most `limit` lines, newest hour first, ordered by resource/id within an hour.

        Args:
            hours: the hours to choose from, oldest first, as `hours` returns them. Only the newest of them that hold
                `limit` lines are read, so that the engine does not have to sort the whole view.
            limit: how many lines.
        """
        window = newest_window(hours, limit)
        if window is None:
            return iter(())
        order = f"order by {self._hour_column} desc, {self._id_column} limit {int(limit)}"
        return self._read_lines(window, order)

    def unordered_lines(self, window: Window | None = None) -> Iterator[Line]:
        """The lines of the window (all for None) in any order.

        Sorting takes an engine longer than encoding the lines as JSON, and memory for all of them.
        """
        return self._read_lines(window)

    @abstractmethod
    def _read_lines(self, window: Window | None, clauses: str = "") -> Iterator[Line]:
        """The encoded lines of the window, selected with these clauses (order by, limit) at the end of the SQL.

        All lines of the loader come from here, so the bytes of a dry run are those of a push.
        """

    @property
    def _hour_column(self) -> str:
        return self.quoted(HOUR_COLUMN)

    @property
    def _id_column(self) -> str:
        return self.quoted("resource/id")

    def line_selection(self, window: Window | None) -> tuple[list[str], str, tuple[Any, ...]]:
        """The columns of cbf_lines that are sent, and a where clause with its parameters for the window and stream."""
        names = self.column_names("cbf_lines")
        where, parameters = self._where(self._hour_column, window, has_stream_column=STREAM_COLUMN in names)
        return [name for name in names if name != STREAM_COLUMN], where, parameters

    def _where(self, column: str, window: Window | None, has_stream_column: bool) -> tuple[str, tuple[Any, ...]]:
        where, parameters = self.between(column, window)
        if self._stream is None or (not has_stream_column and not self._stream):
            return where, parameters
        # Without var streams there is no such column, and named streams have no lines.
        condition, values = (self._in_stream(), (self._stream,)) if has_stream_column else ("1 = 0", ())
        return f"{where} and {condition}" if where else f"where {condition}", (*parameters, *values)

    def _in_stream(self) -> str:
        return f"coalesce({STREAM_COLUMN}, '') = {self.placeholder}"

    def between(self, column: str, window: Window | None) -> tuple[str, tuple[datetime, ...]]:
        """A where clause that restricts a column to a window, and its parameters; both empty for None."""
        if window is None:
            return "", ()
        bounds = (window.start.replace(tzinfo=None), window.end.replace(tzinfo=None))
        return f"where {column} >= {self.placeholder} and {column} < {self.placeholder}", bounds


@contextmanager
def open_warehouse(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[Warehouse]:
    """Open the target to read its views, and close it at the end of the block.

    Args:
        target: the dbt target.
        lock_timeout: seconds to wait while another process writes to the DuckDB file.
        say: called with a message for the user when it has to wait.

    Raises:
        ConfigurationError: the database does not exist or is down, or the dbt adapter is not installed.
        LockedError: the DuckDB file is still locked after `lock_timeout`.
    """
    with _engine(target).open_to_read(target, lock_timeout, say) as warehouse:
        yield warehouse


@contextmanager
def open_for_push(
    target: Target, stream: Stream, lock_timeout: float, wait: float, say: Callable[[str], None]
) -> Iterator[Warehouse]:
    """Open the target to read the hours and lines of a stream and write its push log, locked for other pushes.

    The lock is the database's own: it works across processes and hosts, and is released when the process ends. Only
    with `any_dbt` it is a lock of this host.

    Args:
        target: the dbt target.
        stream: the stream that will be sent to.
        lock_timeout: seconds to wait while another process uses the DuckDB file.
        wait: seconds to wait for another push to the same stream.
        say: called with a message for the user when it has to wait.

    Raises:
        ConfigurationError: as `open_warehouse`.
        LockedError: another push is in progress, or the file is still locked.
    """
    with (
        _engine(target).open_to_push(target, stream, lock_timeout, wait, say) as warehouse,
        warehouse.of_stream(stream.name),
    ):
        yield warehouse


def _engine(target: Target) -> Any:
    """The module of the engine, or the one that uses dbt adapters. Imported on use, because drivers load slowly."""
    return import_module(ENGINES.get(target.type, "loader.warehouse.any_dbt"))


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def utc(moment: datetime | str) -> datetime:
    """A timestamp of the models, which are UTC without an offset, as aware UTC.

    Args:
        moment: a datetime, or a timestamp as text in the format of an engine.

    Raises:
        ValueError: the text is not a timestamp.
    """
    if isinstance(moment, str):
        moment = parsed(moment)
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def not_built(target: Target, error: Exception) -> ConfigurationError:
    """The error for a view that does not exist."""
    return ConfigurationError(
        f"The views are not in schema {target.schema!r} of target {target.name!r} ({first_line(error)}): {NOT_BUILT}."
    )


def first_line(error: Exception) -> str:
    """The first line of an engine's error message, without a trailing period."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def pooler_hint(message: str) -> str:
    """What to do about PgBouncer's refusal of a startup parameter; empty for other messages."""
    if "unsupported startup parameter" not in message:
        return ""
    return (
        ". PgBouncer accepts no such parameter in a connection's start: leave `search_path` out of profiles.yml and"
        " PGOPTIONS out of the environment, or add the parameter to ignore_startup_parameters in pgbouncer.ini."
    )
