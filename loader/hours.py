"""Windows of time: half-open [start, end) of whole UTC hours. Pure; nothing here reads a clock.

Calendar words (today, last_month, …) follow CLOUDZERO_TIMEZONE; lines and drops are always UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta, timezone, tzinfo

from loader.errors import UsageError

HOUR = timedelta(hours=1)
END_OF_TIME = datetime(MAXYEAR, 12, 31, 23, tzinfo=timezone.utc)
PENDING = "pending"  # no hours of the clock: those that CloudZero does not hold as they are now
WINDOW_NAMES = ("last_hour", "last_24h", "today", "yesterday", "month_to_date", "last_month")


@dataclass(frozen=True)
class Window:
    """[start, end), both aware UTC and on the hour. `widened` when the times asked for were not."""

    start: datetime
    end: datetime
    widened: bool = False

    def __str__(self) -> str:
        return f"{iso(self.start)} to {iso(self.end)}"

    def cut_to(self, end: datetime) -> Window:
        """The part before `end`; empty (start = end) when there is none."""
        return Window(self.start, max(self.start, min(self.end, floor_hour(end))), self.widened)

    def cut_from(self, start: datetime) -> Window:
        """The part from `start` on; empty (start = end) when there is none."""
        return Window(min(self.end, max(self.start, ceil_hour(start))), self.end, self.widened)

    @property
    def is_empty(self) -> bool:
        """Whether no hour is in it."""
        return self.start >= self.end

    def is_whole_month(self) -> bool:
        """Whether it is exactly one UTC calendar month, AnyCost's unit of `replace_drop`."""
        return self.start == month_start(self.start) and self.end == next_month(self.start)


def iso(moment: datetime) -> str:
    """`2024-01-15T14:00:00Z`, as AnyCost wants times."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def floor_hour(moment: datetime) -> datetime:
    """The start of the UTC hour that `moment` lies in."""
    return moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)


def ceil_hour(moment: datetime) -> datetime:
    """`moment` itself when it is on the hour, else the start of the next UTC hour."""
    floor = floor_hour(moment)
    return floor if floor == moment else floor + HOUR


def month_start(moment: datetime) -> datetime:
    """The first hour of the UTC month."""
    return moment.astimezone(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(moment: datetime) -> datetime:
    """The first hour of the UTC month after."""
    return month_start(month_start(moment) + timedelta(days=32))


def month_named(text: str) -> Window:
    """The UTC month that `2024-01` names.

    Raises:
        UsageError: it names none.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text) or text[:4] in ("0000", "9999"):
        raise UsageError(f"--month {text!r} is no month: write 2024-01.")
    start = datetime(int(text[:4]), int(text[5:]), 1, tzinfo=timezone.utc)
    return Window(start, next_month(start))


def by_name(name: str, now: datetime, zone: tzinfo) -> Window:
    """One of WINDOW_NAMES.

    Hours that are not complete yet are in `today` and `month_to_date`; whether they are sent is not decided here.

    Raises:
        UsageError: no such window.
    """
    this_hour = floor_hour(now)
    # The first of two midnights where clocks go back to 00:00: `now` can be in the second.
    midnight = _local_midnight(now.astimezone(zone)).replace(fold=0)
    first = midnight.replace(day=1)
    # Arithmetic on the calendar, not on elapsed time: a day of 23 hours has its own midnight.
    windows: dict[str, tuple[datetime, datetime]] = {
        "last_hour": (this_hour - HOUR, this_hour),
        "last_24h": (this_hour - 24 * HOUR, this_hour),
        "today": (midnight, this_hour + HOUR),
        "yesterday": (_local_midnight(midnight - timedelta(days=1)), midnight),
        "month_to_date": (first, this_hour + HOUR),
        "last_month": (_local_midnight(first - timedelta(days=1)).replace(day=1), first),
    }
    if name not in windows:
        raise UsageError(f"There is no window {name!r}; there are: {', '.join(WINDOW_NAMES)}.")
    return _widen(*windows[name])


def between(start: str, end: str | None, now: datetime) -> Window:
    """From --start to --end, ISO 8601; UTC unless they say otherwise. No end: to the end of the present hour.

    Raises:
        UsageError: a time that cannot be read, a start at or after the end, a window in the future.
    """
    first = parse_time(start, "--start")
    last = parse_time(end, "--end") if end else floor_hour(now) + HOUR
    if first >= now:
        raise UsageError(f"The window starts in the future: --start {iso(first)}, and it is {iso(now)}.")
    if first >= last:
        raise UsageError(f"The window is empty: --start {iso(first)} is not before --end {iso(last)}.")
    return _widen(first, last)


def parse_time(text: str, option: str) -> datetime:
    """An ISO 8601 date or time as aware UTC.

    Raises:
        UsageError: it is none, or in the last year that Python knows, after which no month and no hour ends.
    """
    cleaned = text.strip()
    if cleaned[-1:] in "zZ" and cleaned:
        cleaned = cleaned[:-1] + "+00:00"  # Python 3.10 does not read the Z.
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is no ISO 8601 time: write 2024-01-15T14:00:00Z or 2024-01-15.") from error
    beyond = UsageError(f"{option} {text!r} is not in the years 1 to 9998 of UTC.")
    try:
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except OverflowError as error:
        raise beyond from error
    if moment.year == MAXYEAR:
        raise beyond
    return moment


def months(window: Window) -> Iterator[Window]:
    """The window cut at UTC months, oldest first: one body of AnyCost holds rows of one month only."""
    start = window.start
    while start < window.end:
        end = min(window.end, next_month(start))
        yield Window(start, end)
        start = end


def _widen(start: datetime, end: datetime) -> Window:
    # A time that a zone has twice, or not at all, never equals one of another zone.
    start, end = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    wide = Window(floor_hour(start), ceil_hour(end))
    return Window(wide.start, wide.end, widened=(wide.start, wide.end) != (start, end))


def _local_midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
