"""Why an hour is held back: it costs less than before, or its month has no room for it. Pure functions.

The limits are those of docs.cloudzero.com/docs/anycost-send-stream-data: one stream holds at most 1,000,000 rows and
70 MB a month. How CloudZero counts bytes is not documented; here they are those of the rows as compact JSON.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from loader.cloudzero.bodies import BodyGroup
from loader.delivery.push_log import Entry, HourRecord, accepted_entries
from loader.errors import GuardError
from loader.hours import iso, month_start
from loader.lines import HourSummary
from loader.money import decimal_text

MONTH_ROWS, MONTH_BYTES = 1_000_000, 70_000_000
WARN_AT = 0.8
MORE_ROOM = (
    "To make room: fewer line_dimensions, `token_tags: false` (about 70 bytes a line), include_providers or"
    " exclude_providers, or several streams (docs/streams.md)"
)


@dataclass(frozen=True)
class HeldBack:
    """An hour (UTC) that is not sent, and the reason, for messages."""

    hour: datetime
    kind: str  # shrunk | full
    reason: str


@dataclass
class MonthUsage:
    """How much of a stream's limits a month uses: rows, and their bytes as JSON."""

    rows: int = 0
    size: int = 0

    @property
    def share(self) -> float:
        """The share of the limit that is closer; 1.0 is full."""
        return max(self.rows / MONTH_ROWS, self.size / MONTH_BYTES)

    def plus(self, rows: int, size: int) -> MonthUsage:
        """With this many more rows and bytes."""
        return MonthUsage(self.rows + rows, self.size + size)

    def __str__(self) -> str:
        each = f", {self.size / self.rows:.0f} bytes a line" if self.rows else ""
        return f"{self.rows:,} of {MONTH_ROWS:,} lines and {self.size / 1e6:.1f} of {MONTH_BYTES / 1e6:.0f} MB{each}"


def month_usage(records: Mapping[datetime, HourRecord]) -> dict[datetime, MonthUsage]:
    """What CloudZero holds of each month (its first hour, UTC), according to the push log."""
    found: dict[datetime, MonthUsage] = defaultdict(MonthUsage)
    for entry in accepted_entries(records):
        month = month_start(entry.hour)
        found[month] = found[month].plus(entry.line_count, entry.byte_count)
    return found


def shrunk(hours: Iterable[HourSummary], records: Mapping[datetime, HourRecord]) -> Iterator[HeldBack]:
    """The hours that cost less than CloudZero accepted for them: retention may have deleted their spend logs.

    An hour whose lines moved to another stream has not shrunk: over all streams it costs no less than before.
    """
    for hour in hours:
        record = records.get(hour.start)
        if (
            record
            and record.accepted
            and hour.cost < record.accepted.cost
            and not _moved_to_another_stream(hour, record.accepted)
        ):
            before, after = decimal_text(record.accepted.cost), decimal_text(hour.cost)
            yield HeldBack(hour.start, "shrunk", f"{iso(hour.start)} cost ${before} when it was sent and now ${after}")


def without_room(
    hours: Sequence[HourSummary], records: Mapping[datetime, HourRecord], bytes_per_line: float, starts_empty: bool
) -> Iterator[HeldBack]:
    """The hours that their month has no room for, oldest first: the first that would exceed a limit, and all after it.

    Args:
        hours: the hours to send, oldest first.
        records: the push log.
        bytes_per_line: a measured average, because the size of the hours is not known before they are encoded.
        starts_empty: whether the push replaces whole months (replace_drop).
    """
    held = {} if starts_empty else month_usage(records)
    full: set[datetime] = set()
    for hour in hours:
        month = month_start(hour.start)
        record = None if starts_empty else records.get(hour.start)
        before = record.accepted if record else None
        usage = held.get(month, MonthUsage()).plus(hour.line_count, round(hour.line_count * bytes_per_line))
        if before:
            usage = usage.plus(-before.line_count, -before.byte_count)
        if usage.share > 1 and hour.line_count:
            full.add(month)
        if month in full and hour.line_count:
            yield HeldBack(hour.start, "full", f"{month:%Y-%m} would hold {usage}")
        else:
            held[month] = usage


def explain(held_back: Sequence[HeldBack]) -> str:
    """One message about all hours that were held back, and how to send them."""
    parts = []
    for kind, problem, remedy in (
        (
            "shrunk",
            "that cost less than when CloudZero accepted them",
            "check whether retention or a lost table removed their spend logs; --allow-shrink sends them anyway",
        ),
        ("full", "for which the month has no room", f"{MORE_ROOM}; --allow-full-month sends them anyway"),
    ):
        hours = [each for each in held_back if each.kind == kind]
        if hours:
            parts.append(f"Held back {len(hours)} hour(s) {problem}, the first: {hours[0].reason}. To fix: {remedy}.")
    return " ".join(parts)


class MonthMeter:
    """Counts what CloudZero holds of each month, body by body, in the bytes that are sent."""

    def __init__(self, records: Mapping[datetime, HourRecord]) -> None:
        self._held = {entry.hour: (entry.line_count, entry.byte_count) for entry in accepted_entries(records)}
        self.months = month_usage(records)

    def after(self, group: BodyGroup) -> MonthUsage:
        """What the month of a body group will hold once it is accepted."""
        usage = self.months.get(month_start(group.hours[0]), MonthUsage())
        if group.operation == "replace_drop":
            usage = MonthUsage()
        for share in group.shares:
            if group.operation == "replace_hourly":
                rows, size = self._held.get(share.hour, (0, 0))
                usage = usage.plus(-rows, -size)
            usage = usage.plus(share.row_count, share.byte_count)
        return usage

    def require_room(self, group: BodyGroup) -> None:
        """Stop before a body that exceeds the limits of its month.

        Raises:
            GuardError: the month would exceed its limits.
        """
        usage = self.after(group)
        if usage.share > 1:
            raise GuardError(
                f"With the hours from {iso(group.hours[0])} on, {group.hours[0]:%Y-%m} would hold {usage}."
                f" {MORE_ROOM}; --allow-full-month sends them anyway."
            )

    def accepted(self, group: BodyGroup) -> None:
        """Count a body group that CloudZero accepted."""
        month = month_start(group.hours[0])
        self.months[month] = self.after(group)
        if group.operation == "replace_drop":
            self._held = {hour: held for hour, held in self._held.items() if month_start(hour) != month}
        for share in group.shares:
            rows, size = self._held.get(share.hour, (0, 0)) if group.operation == "sum" else (0, 0)
            self._held[share.hour] = (rows + share.row_count, size + share.byte_count)

    def warnings(self) -> list[str]:
        """One warning for each month that is nearly full."""
        return [
            f"{month:%Y-%m} now holds {usage}: {usage.share:.0%} of what a stream may hold in a month. {MORE_ROOM}."
            for month, usage in sorted(self.months.items())
            if usage.share >= WARN_AT
        ]


def _moved_to_another_stream(hour: HourSummary, accepted: Entry) -> bool:
    before = accepted.cost if accepted.cost_of_all is None else accepted.cost_of_all
    return hour.cost_of_all is not None and hour.cost_of_all >= before
