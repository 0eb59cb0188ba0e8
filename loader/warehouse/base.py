"""Opens the dbt target, reads `cbf_lines` and `cbf_hours`, and appends to `push_log`.

What an engine needs stands in `warehouse_duckdb` and `warehouse_postgres`; `warehouse_dbt` reads every other one
through its dbt adapter.

All values come as the text that is sent: money keeps each digit that the decimal had and never gets an exponent,
because no float and no Decimal's own notation is ever in between.
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
from loader.hours import HOUR, Window, floor_hour
from loader.lines import EMPTY_FINGERPRINT, HOUR_COLUMN, HourSummary, Line
from loader.warehouse.sql_values import parsed

BATCH_ROWS = 2_000
ENGINES = {"duckdb": "loader.warehouse.duckdb", "postgres": "loader.warehouse.postgres"}
STREAM_COLUMN = "stream"  # of cbf_lines where var streams makes several: where a line is sent, and no part of it
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NOT_BUILT = "run `dbt build` with the same profile and target first"


class Warehouse(ABC):
    """A look at the views, all of it as of one moment; and, when it was opened for a push, a pen for the push log."""

    placeholder = "%s"
    text_type = "varchar"

    def __init__(self, target: Target) -> None:
        self.target = target
        self._stream: str | None = None

    @contextmanager
    def of_stream(self, name: str | None) -> Iterator[None]:
        """Within the block, `hours` and lines are those of one stream of var streams; of all for None."""
        before, self._stream = self._stream, name
        try:
            yield
        finally:
            self._stream = before

    @abstractmethod
    def batches(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[tuple[Any, ...]]]:
        """The rows of one statement, as many at a time as come from the engine together.

        Raises:
            ConfigurationError: the views are not there, or the database gave up.
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
        """The columns of one of our relations, in order."""

    @abstractmethod
    def append(self, relation: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows to one of our tables, kept from when this returns, whatever happens after.

        Raises:
            ConfigurationError: the table is not there or may not be written to, or the database gave up.
            LockedError: the lock that this was opened with is lost; nothing was written.
        """

    @abstractmethod
    def now(self) -> datetime:
        """The present moment by the clock that all who use this warehouse share (UTC)."""

    def relation(self, name: str) -> str:
        """The quoted name of one of our models."""
        return f"{quoted(self.target.schema)}.{quoted(name)}"

    def quoted(self, name: str) -> str:
        """An SQL identifier, as this engine quotes it."""
        return quoted(name)

    def moment(self, expression: str) -> str:
        """SQL that selects a timestamp so that `utc` can read it."""
        return expression

    def built_at(self) -> datetime:
        """When the run of dbt began that last summed usage (UTC). Hours that ended before it are complete."""
        for (moment,) in self.rows(f"select {self.moment('built_at')} from {self.relation('cbf_as_of')}"):  # noqa: S608
            return utc(moment)
        raise ConfigurationError(f"{self.target.schema}.cbf_as_of is empty: {NOT_BUILT}.")

    def complete_until(self) -> datetime:
        """Hours before this one (UTC) are complete: they had ended when dbt last summed usage."""
        return floor_hour(self.built_at())

    def hours(self, window: Window | None = None) -> list[HourSummary]:
        """The hours of the window that were ever summed, oldest first; all for None. One can be without lines."""
        where, bounds = self.between("usage_hour", window)
        ours = "" if self._stream is None else f"where {self._in_stream()}"
        stream = () if self._stream is None else (self._stream,)
        # Over all streams there is no fingerprint; with one stream these sums are over one row.
        statement = f"""
            with hours as (select * from {self.relation("cbf_hours")} {where}),
            every_stream as (select usage_hour, sum(cost_usd) as cost_usd from hours group by usage_hour),
            ours as (
                select
                    usage_hour,
                    sum(line_count) as line_count,
                    sum(cost_usd) as cost_usd,
                    sum(total_tokens) as total_tokens,
                    max(fingerprint) as fingerprint
                from hours {ours}
                group by usage_hour
            )
            select
                {self.moment("every_stream.usage_hour")}, coalesce(ours.line_count, 0),
                cast(coalesce(ours.cost_usd, 0) as {self.text_type}), coalesce(ours.total_tokens, 0),
                coalesce(ours.fingerprint, '{EMPTY_FINGERPRINT}'), cast(every_stream.cost_usd as {self.text_type})
            from every_stream
            left join ours on every_stream.usage_hour = ours.usage_hour
            order by every_stream.usage_hour
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
        """The columns of cbf_lines that are sent; a where clause and its parameters, for window and `of_stream`."""
        names = self.column_names("cbf_lines")
        where, parameters = self._where(self._hour_column, window, in_stream=STREAM_COLUMN in names)
        return [name for name in names if name != STREAM_COLUMN], where, parameters

    def _where(self, column: str, window: Window | None, in_stream: bool) -> tuple[str, tuple[Any, ...]]:
        where, parameters = self.between(column, window)
        if self._stream is None or (not in_stream and not self._stream):
            return where, parameters
        # Without var streams there is no column, and no line is of a stream that has a name.
        condition, values = (self._in_stream(), (self._stream,)) if in_stream else ("1 = 0", ())
        return f"{where} and {condition}" if where else f"where {condition}", (*parameters, *values)

    def _in_stream(self) -> str:
        return f"coalesce({STREAM_COLUMN}, '') = {self.placeholder}"

    def between(self, column: str, window: Window | None) -> tuple[str, tuple[datetime, ...]]:
        """A where clause that keeps a column within a window, and its parameters; neither for None."""
        if window is None:
            return "", ()
        bounds = (window.start.replace(tzinfo=None), window.end.replace(tzinfo=None))
        return f"where {column} >= {self.placeholder} and {column} < {self.placeholder}", bounds


@contextmanager
def open_warehouse(target: Target, lock_timeout: float, say: Callable[[str], None]) -> Iterator[Warehouse]:
    """The target's views to read, closed again at the end.

    Args:
        target: the dbt target.
        lock_timeout: seconds to wait for a DuckDB file that another process writes to.
        say: where to tell that it waits.

    Raises:
        ConfigurationError: no such database, it is down, or the adapter of this engine is not installed.
        LockedError: the DuckDB file stays locked.
    """
    with _engine(target).open_to_read(target, lock_timeout, say) as warehouse:
        yield warehouse


@contextmanager
def open_for_push(
    target: Target, stream: Stream, lock_timeout: float, wait: float, say: Callable[[str], None]
) -> Iterator[Warehouse]:
    """The target's views to read and its push log to write, while nobody else can push to the same stream.

    Hours and lines are those of the stream.

    The lock is the warehouse's own, so it holds over all processes and hosts, and ends with the process; but for
    `warehouse_dbt`, whose lock holds on one host.

    Args:
        target: the dbt target.
        stream: what will be sent to.
        lock_timeout: seconds to wait for a DuckDB file that another process uses.
        wait: seconds to wait for another push.
        say: where to tell that it waits.

    Raises:
        ConfigurationError: as `open_warehouse`.
        LockedError: another push is under way, or the file stays locked.
    """
    with (
        _engine(target).open_to_push(target, stream, lock_timeout, wait, say) as warehouse,
        warehouse.of_stream(stream.name),
    ):
        yield warehouse


def _engine(target: Target) -> Any:
    """The module that knows the engine, else the one that asks dbt's adapter; imported only when it is used."""
    return import_module(ENGINES.get(target.type, "loader.warehouse.any_dbt"))


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def utc(moment: datetime | str) -> datetime:
    """A timestamp of the models, which are UTC without saying so, as aware UTC; also as an engine writes one as text.

    Raises:
        ValueError: the text is no timestamp.
    """
    if isinstance(moment, str):
        moment = parsed(moment)
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def newest_window(hours: Sequence[HourSummary], limit: int) -> Window | None:
    """From the newest of the hours back as far as it takes to have `limit` lines; None for no lines.

    Args:
        hours: oldest first.
        limit: how many lines.
    """
    with_lines = [hour for hour in hours if hour.line_count]
    if not with_lines or limit <= 0:
        return None
    count = 0
    for hour in reversed(with_lines):
        count += hour.line_count
        if count >= limit:
            break
    return Window(hour.start, with_lines[-1].start + HOUR)


def not_built(target: Target, error: Exception) -> ConfigurationError:
    """What to raise when a view is not there."""
    return ConfigurationError(
        f"The views are not in schema {target.schema!r} of target {target.name!r} ({first_line(error)}): {NOT_BUILT}."
    )


def first_line(error: Exception) -> str:
    """The first line of what an engine says, without a point at its end."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
