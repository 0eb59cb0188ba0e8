"""What the warehouse says of the streams: for /ready and /metrics, read when somebody asks, and not too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from loader.config.settings import Stream
from loader.delivery.limits import Room, rooms
from loader.delivery.plan import Selection, plan
from loader.delivery.push_log import PushLog
from loader.errors import LoaderError, LockedError
from loader.warehouse.base import Warehouse

FRESH_SECONDS = 15.0


@dataclass(frozen=True)
class Seen:
    """What was read. `pending` are hours (UTC) that CloudZero does not hold as they are now; `months` what it holds.

    An hour that is pending in several streams counts once; a month is one of a connection's.
    """

    built_at: datetime
    pending: tuple[datetime, ...] = ()
    months: tuple[tuple[str, datetime, Room], ...] = ()


class Watch:
    """The newest look, taken again when it is older than a few seconds, by one thread at a time."""

    def __init__(
        self,
        open_to_read: Callable[[], AbstractContextManager[Warehouse]],
        streams: Sequence[Stream],
        since: datetime | None = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._open_to_read, self._streams, self._since = open_to_read, streams, since
        self._fresh_seconds = fresh_seconds
        self._looking = threading.Lock()
        self._looked_at: float | None = None
        self.seen: Seen | None = None
        self.problem: str | None = "The warehouse has not been looked at yet."

    def expire(self) -> None:
        """Have the next one who asks look again: something was done."""
        self._looked_at = None

    def look(self) -> None:
        """Renew `seen` and `problem`, when it is time. Where it is merely in use, both stay what they were."""
        if not self._looking.acquire(blocking=self._looked_at is None and self.seen is None):
            return
        try:
            if self._looked_at is None or time.monotonic() - self._looked_at >= self._fresh_seconds:
                self._look()
                self._looked_at = time.monotonic()
        finally:
            self._looking.release()

    def _look(self) -> None:
        try:
            with self._open_to_read() as warehouse:
                self.seen = look(warehouse, self._streams, self._since)
            self.problem = None
        except LockedError as error:
            if self.seen is None:
                self.problem = " ".join(str(error).split())
        except LoaderError as error:
            self.problem = " ".join(str(error).split())


def look(warehouse: Warehouse, streams: Sequence[Stream], since: datetime | None) -> Seen:
    """What is pending of the streams, or held back, and how full their months are."""
    pending: set[datetime] = set()
    months: list[tuple[str, datetime, Room]] = []
    for stream in streams:
        records = PushLog(warehouse, stream).records()
        with warehouse.of_stream(stream.name):
            chosen = plan(warehouse, Selection(None, since=since), records)
        pending |= {hour.start for hour in chosen.hours} | {each.hour for each in chosen.held_back}
        months += [(stream.connection_id, month, room) for month, room in sorted(rooms(records).items())]
    return Seen(warehouse.built_at(), tuple(sorted(pending)), tuple(months))
