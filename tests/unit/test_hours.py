"""Time windows: whole UTC hours, by name or by start and end."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.audit.reconcile import whole_days
from loader.errors import UsageError
from loader.hours import (
    WINDOW_NAMES,
    Window,
    between,
    by_name,
    floor_hour,
    months,
    next_month,
    parse_time,
    whole_months,
)

UTC = timezone.utc
NOW = datetime(2024, 3, 10, 20, 34, 56, tzinfo=UTC)
NEW_YORK, KOLKATA = ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")


def at(day: int, hour: int = 0, month: int = 3) -> datetime:
    """An hour of 2024, UTC."""
    return datetime(2024, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2024-03-11", None, "in the future"),
        ("2024-03-10T20:34:56Z", "2024-03-11", "in the future"),
        ("2024-03-09", "2024-03-09", "not before"),
        ("2024-03-09", "2024-03-08", "not before"),
        ("yesterday", None, "ISO 8601"),
        ("", None, "ISO 8601"),
        ("2024-03-09", "2024-13-01", "--end"),
        ("2024-03-09", "9999-12-31", "--end '9999-12-31' is out of range: it must be in the years 1 to 9998"),
        ("2024-03-09", "9998-12-31T23:59:59-01:00", "years 1 to 9998"),
        ("0001-01-01T00:00:00+05:00", None, "years 1 to 9998"),
    ],
)
def test_invalid_times_are_rejected(start: str, end: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        between(start, end, NOW)


def test_an_unknown_window_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="last_hour"):
        by_name("last_week", NOW, UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-09", at(9)),
        ("2024-03-09T14:00:00Z", at(9, 14)),
        ("2024-03-09T14:00:00z", at(9, 14)),
        ("2024-03-09T14:00:00", at(9, 14)),
        ("2024-03-09T14:00:00-05:00", at(9, 19)),
        ("2024-03-09 14:00", at(9, 14)),
    ],
)
def test_times_are_utc_unless_they_have_an_offset(text: str, expected: datetime) -> None:
    assert parse_time(text, "--start") == expected


def test_times_are_widened_to_whole_hours() -> None:
    window = between("2024-01-15T00:00:00Z", "2024-01-15T23:59:59Z", NOW)
    assert (window.start, window.end, window.widened) == (at(15, month=1), at(16, month=1), True)
    assert between("2024-01-15T00:00:00Z", "2024-01-16T00:00:00Z", NOW).widened is False
    assert between("2024-03-10T20:00:00Z", None, NOW) == Window(at(10, 20), at(10, 21))


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("last_hour", at(10, 19), at(10, 20)),
        ("last_24h", at(9, 20), at(10, 20)),
        ("today", at(10), at(10, 21)),
        ("yesterday", at(9), at(10)),
        ("month_to_date", at(1), at(10, 21)),
        ("last_month", at(1, month=2), at(1)),
    ],
)
def test_named_windows_in_utc(name: str, start: datetime, end: datetime) -> None:
    assert by_name(name, NOW, UTC) == Window(start, end)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("today", at(10, 5), at(10, 21)),  # clocks went forward at 07:00 UTC
        ("yesterday", at(9, 5), at(10, 5)),
        ("month_to_date", at(1, 5), at(10, 21)),
        ("last_month", at(1, 5, month=2), at(1, 5)),
        ("last_hour", at(10, 19), at(10, 20)),
    ],
)
def test_named_windows_follow_the_time_zone(name: str, start: datetime, end: datetime) -> None:
    assert by_name(name, NOW, NEW_YORK) == Window(start, end)


@pytest.mark.parametrize(
    ("now", "hours"), [(at(11, 12), 23), (datetime(2024, 11, 4, 12, tzinfo=UTC), 25), (at(12, 12), 24)]
)
def test_a_day_has_23_or_25_hours_when_the_clocks_change(now: datetime, hours: int) -> None:
    window = by_name("yesterday", now, NEW_YORK)
    assert window.end - window.start == timedelta(hours=hours)


@pytest.mark.parametrize("minutes", [4 * 60 + 30, 5 * 60 + 30, 12 * 60])
def test_a_day_with_two_midnights_begins_at_the_first(minutes: int) -> None:
    # Havana, 1 November 2026: at 01:00 the clocks went back to 00:00, so the hour from midnight came twice.
    day = datetime(2026, 11, 1, tzinfo=UTC)
    now, zone = day + timedelta(minutes=minutes), ZoneInfo("America/Havana")
    midnight = day + timedelta(hours=4)
    assert by_name("today", now, zone).start == midnight
    assert by_name("month_to_date", now, zone).start == midnight
    assert by_name("yesterday", now, zone) == Window(midnight - timedelta(hours=24), midnight)
    assert by_name("last_month", now, zone).end == midnight


def test_cut_to_keeps_the_part_before() -> None:
    window = Window(at(9), at(10))
    assert window.cut_to(at(9, 5) + timedelta(minutes=30)) == Window(at(9), at(9, 5))
    assert window.cut_to(at(11)) == window
    assert window.cut_to(at(8)).is_empty
    assert not window.is_empty


def test_cut_from_keeps_the_part_after() -> None:
    window = Window(at(9), at(10))
    assert window.cut_from(at(9, 5) - timedelta(minutes=30)) == Window(at(9, 5), at(10))
    assert window.cut_from(at(8)) == window
    assert window.cut_from(at(11)).is_empty


def test_the_last_possible_hour_has_a_whole_month_and_day() -> None:
    window = between("2024-01-01", "9998-12-31T23:59:59Z", NOW)
    whole = Window(at(1, month=1), datetime(9999, 1, 1, tzinfo=UTC))
    assert (whole_days(window).end, whole_months(window)) == (whole.end, whole)


def test_a_time_zone_off_the_hour_widens_the_window() -> None:
    window = by_name("yesterday", NOW, KOLKATA)
    assert (window.start, window.end, window.widened) == (at(9, 18), at(10, 19), True)


def test_a_whole_month_is_a_utc_month() -> None:
    assert Window(at(1), at(1, month=4)).is_whole_month()
    assert not Window(at(1), at(31)).is_whole_month()
    assert not Window(at(1), at(1, month=5)).is_whole_month()
    assert not by_name("last_month", NOW, NEW_YORK).is_whole_month()
    assert next_month(datetime(2024, 12, 31, 23, tzinfo=UTC)) == datetime(2025, 1, 1, tzinfo=UTC)


TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    TIMES,
    st.sampled_from(WINDOW_NAMES),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
)
def test_every_window_has_whole_hours(now: datetime, name: str, zone: str) -> None:
    window = by_name(name, now, ZoneInfo(zone))
    assert window.start < window.end
    assert floor_hour(window.start) == window.start
    assert floor_hour(window.end) == window.end


@given(TIMES, st.integers(1, 5000))
def test_months_split_the_window_at_utc_months(start: datetime, hours: int) -> None:
    window = Window(floor_hour(start), floor_hour(start) + timedelta(hours=hours))
    parts = list(months(window))
    assert (parts[0].start, parts[-1].end) == (window.start, window.end)
    assert all(a.end == b.start for a, b in pairwise(parts))
    assert all(part.end <= next_month(part.start) for part in parts)
