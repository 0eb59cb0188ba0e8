"""What stops an hour before it is sent: its cost has shrunk, or its month has no room for it. Pure.

The limits are those of docs.cloudzero.com/docs/anycost-send-stream-data: one stream holds at most 1,000,000 rows and
70 MB a month. How CloudZero counts bytes is not documented; here they are those of the rows as compact JSON.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from loader.cloudzero.bodies import BodyGroup
from loader.delivery.push_log import Entry, HourRecord, accepted_entries
from loader.errors import GuardError
from loader.hours import iso, month_start
from loader.lines import HourSummary

MONTH_ROWS, MONTH_BYTES = 1_000_000, 70_000_000
WARN_AT = 0.8
MORE_ROOM = (
    "Room for more: fewer line_dimensions, `token_tags: false` (about 70 bytes a line), include_providers or"
    " exclude_providers, or several streams (docs/streams.md)"
)


@dataclass(frozen=True)
class HeldBack:
    """An hour (UTC) that is not sent, and why, in words."""

    hour: datetime
    kind: str  # shrunk | full
    reason: str


@dataclass
class Room:
    """What a month takes up: rows, and their bytes as JSON."""

    rows: int = 0
    size: int = 0

    @property
    def share(self) -> float:
        """Of the limit that is nearer, 1.0 being full."""
        return max(self.rows / MONTH_ROWS, self.size / MONTH_BYTES)

    def plus(self, rows: int, size: int) -> Room:
        """With so many rows and bytes more."""
        return Room(self.rows + rows, self.size + size)

    def __str__(self) -> str:
        each = f", {self.size / self.rows:.0f} bytes a line" if self.rows else ""
        return f"{self.rows:,} of {MONTH_ROWS:,} lines and {self.size / 1e6:.1f} of {MONTH_BYTES / 1e6:.0f} MB{each}"


def rooms(records: Mapping[datetime, HourRecord]) -> dict[datetime, Room]:
    """What CloudZero holds of each month (its first hour, UTC), as far as the push log knows."""
    found: dict[datetime, Room] = defaultdict(Room)
    for entry in accepted_entries(records):
        month = month_start(entry.hour)
        found[month] = found[month].plus(entry.line_count, entry.byte_count)
    return found


def shrunk(hours: Iterable[HourSummary], records: Mapping[datetime, HourRecord]) -> Iterator[HeldBack]:
    """The hours that cost less than what CloudZero accepted of them: retention may have eaten their logs.

    Not those whose lines went to another stream: with all streams together they cost no less than at that time.
    """
    for hour in hours:
        record = records.get(hour.start)
        if record and record.accepted and hour.cost < record.accepted.cost and not _moved(hour, record.accepted):
            reason = f"{iso(hour.start)} cost ${_usd(record.accepted.cost)} when it was sent and now ${_usd(hour.cost)}"
            yield HeldBack(hour.start, "shrunk", reason)


def without_room(
    hours: Sequence[HourSummary], records: Mapping[datetime, HourRecord], bytes_per_line: float, starts_empty: bool
) -> Iterator[HeldBack]:
    """The hours, oldest first, from the first of a month on that would take it past its limits.

    Args:
        hours: what is to be sent, oldest first.
        records: the push log.
        bytes_per_line: measured; what the hours will take up is not known before they are encoded.
        starts_empty: whether the months are wiped first (replace_drop).
    """
    held = {} if starts_empty else rooms(records)
    full: set[datetime] = set()
    for hour in hours:
        month = month_start(hour.start)
        record = None if starts_empty else records.get(hour.start)
        before = record.accepted if record else None
        room = held.get(month, Room()).plus(hour.line_count, round(hour.line_count * bytes_per_line))
        if before:
            room = room.plus(-before.line_count, -before.byte_count)
        if room.share > 1 and hour.line_count:
            full.add(month)
        if month in full and hour.line_count:
            yield HeldBack(hour.start, "full", f"{month:%Y-%m} would hold {room}")
        else:
            held[month] = room


def explain(held_back: Sequence[HeldBack]) -> str:
    """One message on all hours that were not sent, with what to do."""
    parts = []
    for kind, what, mend in (
        (
            "shrunk",
            "that cost less than when CloudZero accepted them",
            "look whether retention or a lost table took their logs, and send them all the same with --allow-shrink",
        ),
        ("full", "for which the month has no room", f"{MORE_ROOM}; --allow-full-month sends them all the same"),
    ):
        hours = [each for each in held_back if each.kind == kind]
        if hours:
            parts.append(f"Held back {len(hours)} hour(s) {what}, the first: {hours[0].reason}. Mend: {mend}.")
    return " ".join(parts)


class MonthMeter:
    """Counts what each month holds, body by body, in the bytes that are really sent."""

    def __init__(self, records: Mapping[datetime, HourRecord]) -> None:
        self._held = {entry.hour: (entry.line_count, entry.byte_count) for entry in accepted_entries(records)}
        self.rooms = rooms(records)

    def after(self, delivery: BodyGroup) -> Room:
        """What the delivery's month will hold."""
        room = self.rooms.get(month_start(delivery.hours[0]), Room())
        if delivery.operation == "replace_drop":
            room = Room()
        for share in delivery.shares:
            if delivery.operation == "replace_hourly":
                rows, size = self._held.get(share.hour, (0, 0))
                room = room.plus(-rows, -size)
            room = room.plus(share.row_count, share.byte_count)
        return room

    def require_room(self, delivery: BodyGroup) -> None:
        """Stop before a body that takes its month past the limits.

        Raises:
            GuardError: the month would be more than full.
        """
        room = self.after(delivery)
        if room.share > 1:
            raise GuardError(
                f"With the hours from {iso(delivery.hours[0])} on, {delivery.hours[0]:%Y-%m} would hold {room}."
                f" {MORE_ROOM}; --allow-full-month sends them all the same."
            )

    def took(self, delivery: BodyGroup) -> None:
        """Count a delivery that was accepted."""
        month = month_start(delivery.hours[0])
        self.rooms[month] = self.after(delivery)
        if delivery.operation == "replace_drop":
            self._held = {hour: held for hour, held in self._held.items() if month_start(hour) != month}
        for share in delivery.shares:
            rows, size = self._held.get(share.hour, (0, 0)) if delivery.operation == "sum" else (0, 0)
            self._held[share.hour] = (rows + share.row_count, size + share.byte_count)

    def warnings(self) -> list[str]:
        """What to say of the months that are nearly full."""
        return [
            f"{month:%Y-%m} now holds {room}: {room.share:.0%} of what a stream may hold in a month. {MORE_ROOM}."
            for month, room in sorted(self.rooms.items())
            if room.share >= WARN_AT
        ]


def _moved(hour: HourSummary, accepted: Entry) -> bool:
    before = accepted.cost if accepted.cost_of_all is None else accepted.cost_of_all
    return hour.cost_of_all is not None and hour.cost_of_all >= before


def _usd(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
