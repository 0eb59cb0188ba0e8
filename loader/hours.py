"""Time windows: half-open intervals [start, end) of whole UTC hours. Pure functions; none reads the clock.

Named windows (today, last_month, …) follow CLOUDZERO_TIMEZONE; hours of lines are always UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta, timezone, tzinfo

from loader.errors import UsageError

HOUR = timedelta(hours=1)
END_OF_TIME = datetime(MAXYEAR, 12, 31, 23, tzinfo=timezone.utc)
PENDING = "pending"  # not a time window: the hours whose current lines CloudZero does not hold yet
WINDOW_NAMES = ("last_hour", "last_24h", "today", "yesterday", "month_to_date", "last_month")


@dataclass(frozen=True)
class Window:
    """[start, end), both aware UTC and on the hour.

    `widened` says that the requested times were not on the hour, so the window was extended to whole hours.
    """

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
        """Whether the window contains no hour."""
        return self.start >= self.end

    def is_whole_month(self) -> bool:
        """Whether the window is exactly one UTC calendar month, which is what AnyCost's `replace_drop` replaces."""
        return self.start == month_start(self.start) and self.end == next_month(self.start)


def iso(moment: datetime) -> str:
    """A moment in UTC as AnyCost expects it: `2024-01-15T14:00:00Z`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def floor_hour(moment: datetime) -> datetime:
    """The start of the UTC hour that contains `moment`."""
    return moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)


def ceil_hour(moment: datetime) -> datetime:
    """`moment` itself when it is on the hour, else the start of the next UTC hour."""
    floor = floor_hour(moment)
    return floor if floor == moment else floor + HOUR


def month_start(moment: datetime) -> datetime:
    """The first hour of the UTC month that contains `moment`."""
    return moment.astimezone(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(moment: datetime) -> datetime:
    """The first hour of the following UTC month."""
    return month_start(month_start(moment) + timedelta(days=32))


def month_named(text: str) -> Window:
    """The UTC month given as `YYYY-MM`.

    Raises:
        UsageError: the text is not a month from 0001-01 to 9998-12.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text) or text[:4] in ("0000", "9999"):
        raise UsageError(f"--month {text!r} is not a valid month: write it as 2024-01.")
    start = datetime(int(text[:4]), int(text[5:]), 1, tzinfo=timezone.utc)
    return Window(start, next_month(start))


def by_name(name: str, now: datetime, zone: tzinfo) -> Window:
    """The window with one of the WINDOW_NAMES.

    `today` and `month_to_date` include the current, incomplete hour; whether it is sent is decided elsewhere.

    Args:
        name: the window's name.
        now: the current time, aware.
        zone: the time zone whose days and months the names refer to.

    Raises:
        UsageError: there is no window of this name.
    """
    this_hour = floor_hour(now)
    # Where clocks go back to 00:00, a day has two midnights, and `now` may be after the second: take the first.
    midnight = _local_midnight(now.astimezone(zone)).replace(fold=0)
    first = midnight.replace(day=1)
    # Wall-clock arithmetic, not elapsed time: days of 23 or 25 hours start at midnight too.
    windows: dict[str, tuple[datetime, datetime]] = {
        "last_hour": (this_hour - HOUR, this_hour),
        "last_24h": (this_hour - 24 * HOUR, this_hour),
        "today": (midnight, this_hour + HOUR),
        "yesterday": (_local_midnight(midnight - timedelta(days=1)), midnight),
        "month_to_date": (first, this_hour + HOUR),
        "last_month": (_local_midnight(first - timedelta(days=1)).replace(day=1), first),
    }
    if name not in windows:
        raise UsageError(f"There is no window {name!r}; it must be one of: {', '.join(WINDOW_NAMES)}.")
    return _widen(*windows[name])


def between(start: str, end: str | None, now: datetime) -> Window:
    """The window from --start to --end: ISO 8601, UTC unless they carry an offset.

    Args:
        start: first hour.
        end: end, exclusive; None for the end of the current hour.
        now: the current time, aware.

    Raises:
        UsageError: a time is not valid, the start is not before the end, or the window is in the future.
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

    Args:
        text: what the user wrote; UTC unless it has an offset.
        option: the option's name, for the error message.

    Raises:
        UsageError: the text is not valid, or in the year 9999, whose last hour and month have no end in Python.
    """
    cleaned = text.strip()
    if cleaned.endswith("z"):
        cleaned = cleaned[:-1] + "Z"  # Python does not parse a lower-case one.
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not a valid ISO 8601 time: write it as 2024-01-15T14:00:00Z or 2024-01-15."
        ) from error
    out_of_range = UsageError(f"{option} {text!r} is out of range: it must be in the years 1 to 9998, UTC.")
    try:
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except OverflowError as error:
        raise out_of_range from error
    if moment.year == MAXYEAR:
        raise out_of_range
    return moment


def months(window: Window) -> Iterator[Window]:
    """The window split at the starts of UTC months, oldest first: an AnyCost body holds rows of one month only."""
    start = window.start
    while start < window.end:
        end = min(window.end, next_month(start))
        yield Window(start, end)
        start = end


def whole_months(window: Window | None) -> Window | None:
    """The whole UTC months that a window touches; None (all hours) for None."""
    if window is None:
        return None
    return Window(month_start(window.start), next_month(max(window.start, window.end - HOUR)))


def _widen(start: datetime, end: datetime) -> Window:
    # Convert first: a wall-clock time that is ambiguous or missing in its zone never compares equal to one in UTC.
    start, end = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    wide = Window(floor_hour(start), ceil_hour(end))
    return Window(wide.start, wide.end, widened=(wide.start, wide.end) != (start, end))


def _local_midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
