"""What /ready and /metrics need from the warehouse, read on request and cached for a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from loader.config.settings import Stream
from loader.delivery.limits import MonthUsage, month_usage
from loader.delivery.plan import plan
from loader.delivery.push_log import PushLog
from loader.delivery.selection import Pending, Selection
from loader.errors import LoaderError, LockedError
from loader.warehouse.base import Warehouse
from loader.warehouse.source import UNKNOWN_SOURCE, Source, read_source

FRESH_SECONDS = 15.0


@dataclass(frozen=True)
class Snapshot:
    """The state of all streams at one moment.

    `built_at` is when the last dbt run began (UTC). `pending` are the hours (UTC) whose current lines CloudZero does
    not have; an hour that is pending in several streams counts once. `months` are connection ID, month (UTC) and what
    CloudZero holds of it. `source` is what the last dbt run found.
    """

    built_at: datetime
    pending: tuple[datetime, ...] = ()
    months: tuple[tuple[str, datetime, MonthUsage], ...] = ()
    source: Source = UNKNOWN_SOURCE


class SnapshotCache:
    """The latest snapshot, read again when it is older than a few seconds; one thread reads at a time."""

    def __init__(
        self,
        open_for_reading: Callable[[], AbstractContextManager[Warehouse]],
        streams: Sequence[Stream],
        since: datetime | None = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._open_for_reading, self._streams, self._since = open_for_reading, streams, since
        self._fresh_seconds = fresh_seconds
        self._reading = threading.Lock()
        self._read_at: float | None = None
        self.snapshot: Snapshot | None = None
        self.problem: str | None = "The warehouse has not been read yet."

    def invalidate(self) -> None:
        """Make the next `refresh` read the warehouse: a run or an export has changed it."""
        self._read_at = None

    def refresh(self) -> None:
        """Update `snapshot` and `problem` if they are out of date. While the warehouse is locked, both stay as is."""
        if not self._reading.acquire(blocking=self._read_at is None and self.snapshot is None):
            return
        try:
            if self._read_at is None or time.monotonic() - self._read_at >= self._fresh_seconds:
                self._read()
                self._read_at = time.monotonic()
        finally:
            self._reading.release()

    def _read(self) -> None:
        try:
            with self._open_for_reading() as warehouse:
                self.snapshot = read_snapshot(warehouse, self._streams, self._since)
            self.problem = None
        except LockedError as error:
            if self.snapshot is None:
                self.problem = " ".join(str(error).split())
        except LoaderError as error:
            self.problem = " ".join(str(error).split())


def read_snapshot(warehouse: Warehouse, streams: Sequence[Stream], since: datetime | None) -> Snapshot:
    """Which hours of the streams are pending or held back, and how full their months are.

    Args:
        warehouse: opened for reading.
        streams: the streams to look at.
        since: hours before this one (UTC) are never pending.
    """
    pending: set[datetime] = set()
    months: list[tuple[str, datetime, MonthUsage]] = []
    for stream in streams:
        records = PushLog(warehouse, stream).records()
        with warehouse.of_stream(stream.name):
            chosen = plan(warehouse, Selection(Pending(since)), records)
        pending |= {hour.start for hour in chosen.hours} | {each.hour for each in chosen.held_back}
        months += [(stream.connection_id, month, usage) for month, usage in sorted(month_usage(records).items())]
    return Snapshot(warehouse.built_at(), tuple(sorted(pending)), tuple(months), read_source(warehouse))
