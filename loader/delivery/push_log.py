"""What was sent, when, with which fingerprint: the append-only table `push_log`, created by dbt.

Each hour gets a row before a try (`begun`) and one after it, so that a try whose process was killed is visible. An hour
is settled when its newest row is `accepted`; its `fingerprint` then identifies what CloudZero holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from functools import cached_property
from uuid import uuid4

from loader.config.api_url import place
from loader.config.settings import Stream
from loader.delivery.log_check import require_valid
from loader.errors import ConnectionLostError, LockedError
from loader.hours import Window
from loader.lines import LinesAndCost
from loader.text import storable
from loader.warehouse.base import Warehouse, utc

BEGUN, ACCEPTED, REFUSED, UNKNOWN, WITHOUT_EFFECT = "begun", "accepted", "refused", "unknown", "without_effect"
MAX_TRIES = 5  # of writing, when the connection is lost each time
COLUMNS = (
    "connection_id",
    "api_url",
    "sequence",
    "usage_hour",
    "push_id",
    "operation",
    "outcome",
    "fingerprint",
    "line_count",
    "cost_usd",
    "byte_count",
    "cost_of_all_streams_usd",
    "drop_id",
    "detail",
    "recorded_at",
)


@dataclass(frozen=True)
class Entry:
    """What is sent of one hour (UTC): its rows, USD and bytes as JSON.

    `fingerprint` is None if the resulting content is unknown. `cost_of_all` is the USD of this hour over all streams
    of var `streams`; None in rows that were written before there were several streams.
    """

    hour: datetime
    fingerprint: str | None
    line_count: int
    cost: Decimal
    byte_count: int
    cost_of_all: Decimal | None = None


@dataclass(frozen=True)
class HourRecord:
    """One hour in the log: what was last accepted of it, and how its last try ended."""

    outcome: str
    accepted: Entry | None

    @property
    def is_settled(self) -> bool:
        """Whether CloudZero certainly holds `accepted` and nothing else."""
        return self.outcome == ACCEPTED

    @property
    def has_failed(self) -> bool:
        """Whether its last try was refused or has no certain outcome, so that the next one may fail as well."""
        return self.outcome in (BEGUN, REFUSED, UNKNOWN)

    def holds(self, fingerprint: str) -> bool:
        """Whether CloudZero certainly holds these lines."""
        return self.is_settled and self.accepted is not None and self.accepted.fingerprint == fingerprint


@dataclass(frozen=True)
class LastEvent:
    """The newest row of a stream."""

    sequence: int
    outcome: str
    detail: str
    recorded_at: datetime


class PushLog:
    """The log of one `stream`. Writing requires a warehouse that was opened for a push."""

    def __init__(self, warehouse: Warehouse, stream: Stream) -> None:
        self._warehouse = warehouse
        self.stream = stream
        self._sequence: int | None = None
        self._is_valid = False
        self.push_id = str(uuid4())

    def records(self, window: Window | None = None) -> dict[datetime, HourRecord]:
        """The hours of the window (None for all) that a push ever tried to send, oldest first.

        Raises:
            ConfigurationError: the log has rows that no push has written, or as `Warehouse.batches`.
        """
        self._require_valid()
        where, parameters = self._of_stream(window)
        relation, hour = self._warehouse.relation("push_log"), self._warehouse.moment("newest.usage_hour")
        recorded_at = self._warehouse.moment("last_event.recorded_at")
        statement = f"""
            with events as (select * from {relation} {where}),
            newest as (
                select
                    api_url,
                    usage_hour,
                    max(sequence) as sequence,
                    max(case when outcome = 'accepted' then sequence end) as accepted_sequence
                from events
                group by api_url, usage_hour
            )
            select
                {hour}, newest.api_url, newest.sequence, {recorded_at},
                last_event.outcome, newest.accepted_sequence, accepted.fingerprint,
                accepted.line_count, cast(accepted.cost_usd as {self._warehouse.text_type}), accepted.byte_count,
                cast(accepted.cost_of_all_streams_usd as {self._warehouse.text_type})
            from newest
            inner join events as last_event
                on newest.api_url = last_event.api_url and newest.sequence = last_event.sequence
            left join events as accepted
                on newest.api_url = accepted.api_url and newest.accepted_sequence = accepted.sequence
            order by newest.usage_hour
        """  # noqa: S608
        found: dict[datetime, list[Written]] = {}
        for row in self._warehouse.rows(statement, parameters):
            hour, api_url, sequence, recorded_at, outcome, accepted, fingerprint, lines, cost, size, cost_of_all = row
            entry = None
            if accepted is not None:
                entry = Entry(
                    utc(hour),
                    fingerprint,
                    int(lines or 0),
                    Decimal(cost or 0),
                    int(size or 0),
                    None if cost_of_all is None else Decimal(cost_of_all),
                )
            written = Written(api_url, int(sequence), utc(recorded_at), HourRecord(outcome, entry))
            found.setdefault(utc(hour), []).append(written)
        return {hour: merged(each, self.stream.api_url) for hour, each in found.items()}

    def contents(self, window: Window) -> dict[datetime, set[LinesAndCost]]:
        """Lines and USD of everything that was ever tried to be sent of each hour of the window."""
        where, parameters = self._of_stream(window)
        hour, text = self._warehouse.moment("usage_hour"), self._warehouse.text_type
        statement = (
            f"select distinct {hour}, line_count, cast(cost_usd as {text})"  # noqa: S608
            f" from {self._warehouse.relation('push_log')} {where}"
        )
        found: dict[datetime, set[LinesAndCost]] = {}
        for start, lines, cost in self._warehouse.rows(statement, parameters):
            found.setdefault(utc(start), set()).add((int(lines or 0), Decimal(cost or 0)))
        return found

    def hours_added_to(self, window: Window) -> set[datetime]:
        """The hours of the window to which a push with operation sum has added lines."""
        where, parameters = self._of_stream(window)
        statement = (
            f"select distinct {self._warehouse.moment('usage_hour')}"  # noqa: S608
            f" from {self._warehouse.relation('push_log')} {where} and operation = 'sum'"
        )
        return {utc(start) for (start,) in self._warehouse.rows(statement, parameters)}

    def last_event(self) -> LastEvent | None:
        """The newest row of the stream; None when nothing was ever sent.

        Raises:
            ConfigurationError: as `records`.
        """
        self._require_valid()
        where, parameters = self._of_stream(None)
        statement = (
            f"select sequence, outcome, coalesce(detail, ''), {self._warehouse.moment('recorded_at')}"  # noqa: S608
            f" from {self._warehouse.relation('push_log')} {where} order by sequence desc limit 1"
        )
        for sequence, outcome, detail, recorded_at in self._warehouse.rows(statement, parameters):
            return LastEvent(int(sequence), outcome, detail, utc(recorded_at))
        return None

    def begin(self) -> LastEvent | None:
        """Find the end of the log, so that it can be written to, and return its newest row; None if it is empty."""
        last = self.last_event()
        self._sequence = last.sequence if last else 0
        return last

    def append(
        self, entries: Sequence[Entry], operation: str, outcome: str, drop_id: str = "", detail: str = ""
    ) -> None:
        """Add a row for each entry. The rows are durable when this returns, even if the connection was lost meanwhile.

        Raises:
            ConfigurationError: the log cannot be written to.
            LockedError: the lock of the push was lost, and another push has begun.
        """
        if self._sequence is None:
            raise AssertionError("begin() must be called before append()")
        is_in_doubt = False
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                is_in_doubt = self._warehouse.renew_lock() or is_in_doubt
                if not (is_in_doubt and self._is_written(len(entries))):
                    self._write(entries, operation, outcome, drop_id, detail)
                break
            except ConnectionLostError:
                if not tries_left:
                    raise
                is_in_doubt = True
                self._warehouse.reconnect()
        self._sequence += len(entries)

    def _is_written(self, count: int) -> bool:
        """Whether the log already has the next `count` rows of this push, although the connection was lost.

        Raises:
            LockedError: it has rows of another push.
        """
        where, parameters = self._of_stream(None)
        statement = (
            f"select sequence, push_id from {self._warehouse.relation('push_log')} {where}"  # noqa: S608
            " order by sequence desc limit 1"
        )
        found = self._warehouse.rows_now(statement, parameters)
        newest = (int(found[0][0]), found[0][1]) if found else (0, None)
        if newest == ((self._sequence or 0) + count, self.push_id):
            return True
        if newest[0] != self._sequence:
            raise LockedError(
                "Stopped: the connection that held the lock of this push was lost, and another push has begun since."
                " Run the same command again to continue."
            )
        return False

    def _write(self, entries: Sequence[Entry], operation: str, outcome: str, drop_id: str, detail: str) -> None:
        now = self._warehouse.now().astimezone(timezone.utc).replace(tzinfo=None)
        rows = [
            (
                self.stream.connection_id,
                self.stream.api_url,
                (self._sequence or 0) + number,
                _naive(entry.hour),
                self.push_id,
                operation,
                outcome,
                entry.fingerprint,
                entry.line_count,
                entry.cost,
                entry.byte_count,
                entry.cost_of_all,
                storable(drop_id) or None,
                storable(detail) or None,
                now,
            )
            for number, entry in enumerate(entries, 1)
        ]
        self._warehouse.append("push_log", COLUMNS, rows)

    def _require_valid(self) -> None:
        """Check all rows of the stream, once: the warehouse is read from one snapshot."""
        if not self._is_valid:
            require_valid(self._warehouse, *self._of_stream(None))
            self._is_valid = True

    def _of_stream(self, window: Window | None) -> tuple[str, tuple[object, ...]]:
        mark = self._warehouse.placeholder
        between, bounds = self._warehouse.between("usage_hour", window)
        condition, urls = of_place(self._warehouse, self._spellings)
        where = f"where connection_id = {mark} and {condition}"
        if between:
            where += " and " + between.removeprefix("where ")
        return where, (self.stream.connection_id, *urls, *bounds)

    @cached_property
    def _spellings(self) -> list[str]:
        return spellings(self._warehouse, self.stream.api_url, self.stream.connection_id)


@dataclass(frozen=True)
class Written:
    """What the log has of one hour under one spelling of the stream's URL."""

    api_url: str
    sequence: int
    recorded_at: datetime
    record: HourRecord


def merged(written: Sequence[Written], api_url: str) -> HourRecord:
    """What is known of an hour that the log has under one or more spellings of the same URL.

    Rows are written under `api_url`, the URL in its normal form, with a sequence above all others. Earlier versions
    wrote each spelling as a stream with a sequence of its own, and the order of two such rows is not certain: the hour
    is settled only if they agree, or if the newest one is certain to be the last.
    """
    last = max(written, key=lambda each: (each.recorded_at, each.sequence))
    others = [each for each in written if each is not last]
    is_last = last.api_url == api_url and all(each.sequence < last.sequence for each in others)
    if is_last or all(each.record == last.record for each in others):
        return last.record
    return HourRecord(UNKNOWN, last.record.accepted)


def spellings(warehouse: Warehouse, api_url: str, connection_id: str | None = None) -> list[str]:
    """The URLs in the push log, of one connection or of all, that are this place; and this URL itself.

    Earlier versions recorded the URL as it was configured, for example with the default port.
    """
    relation, mark = warehouse.relation("push_log"), warehouse.placeholder
    where, parameters = ("", ()) if connection_id is None else (f"where connection_id = {mark}", (connection_id,))
    known = warehouse.rows(f"select distinct api_url from {relation} {where}", parameters)  # noqa: S608
    return sorted({api_url, *(url for (url,) in known if place(url) == api_url)})


def of_place(warehouse: Warehouse, urls: Sequence[str]) -> tuple[str, tuple[object, ...]]:
    """An SQL condition for rows of the push log with one of these URLs, and its parameters."""
    return f"api_url in ({', '.join([warehouse.placeholder] * len(urls))})", tuple(urls)


def streams(warehouse: Warehouse) -> list[Stream]:
    """All streams that a push ever sent to.

    Raises:
        ConfigurationError: the log has rows that no push has written, or as `Warehouse.batches`.
    """
    require_valid(warehouse)
    relation = warehouse.relation("push_log")
    found = warehouse.rows(f"select distinct connection_id, api_url from {relation}")  # noqa: S608
    return sorted({Stream(connection_id, place(api_url)) for connection_id, api_url in found})


def accepted_entries(records: Mapping[datetime, HourRecord]) -> Iterator[Entry]:
    """What was last accepted of each hour."""
    return (record.accepted for record in records.values() if record.accepted is not None)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None)
