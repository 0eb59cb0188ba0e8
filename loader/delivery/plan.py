"""Which hours a push sends, and which it leaves out or holds back. Reads the warehouse, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from loader.delivery import limits
from loader.delivery.limits import MORE_ROOM, HeldBack, shrunk, without_room
from loader.delivery.push_log import REFUSED, WITHOUT_EFFECT, HourRecord, accepted_entries
from loader.delivery.selection import Selection
from loader.errors import GuardError
from loader.hours import HOUR, Window, floor_hour, iso, month_start
from loader.lines import EMPTY_FINGERPRINT, HourSummary
from loader.warehouse.base import Warehouse

LARGE_LINE = 3_000  # bytes; a new stream is not measured while even lines of this size have room
NO_RECORDS: Mapping[datetime, HourRecord] = {}


@dataclass(frozen=True)
class Plan:
    """What a push will send: whole hours, oldest first. An hour without lines is sent as one line of no cost.

    Attributes:
        hours: the hours to send.
        incomplete: hours that are left out because they may be incomplete.
        built_at: when the run of dbt began that last summed usage (UTC).
        held_back: hours that a guard stops.
        others: all hours with lines that are not sent.
    """

    hours: tuple[HourSummary, ...]
    incomplete: tuple[datetime, ...]
    built_at: datetime
    held_back: tuple[HeldBack, ...] = ()
    others: tuple[datetime, ...] = ()

    @property
    def complete_until(self) -> datetime:
        """Hours before this one are complete. See `Warehouse.complete_until`."""
        return floor_hour(self.built_at)

    @property
    def line_count(self) -> int:
        """Lines over all hours, including the adjustment line of each hour without lines."""
        return sum(max(1, hour.line_count) for hour in self.hours)

    def in_order(self, records: Mapping[datetime, HourRecord]) -> list[Plan]:
        """The plan in up to two parts: first the hours whose last try did not fail, then those whose last try did."""
        first = tuple(hour for hour in self.hours if not _has_failed(hour, records))
        last = tuple(hour for hour in self.hours if _has_failed(hour, records))
        if not first or not last:
            return [self]
        others = {hour.start for hour in self.hours if hour.line_count} | set(self.others)
        return [
            replace(self, hours=part, others=tuple(sorted(others - {hour.start for hour in part})))
            for part in (first, last)
        ]


def plan(warehouse: Warehouse, selection: Selection, records: Mapping[datetime, HourRecord] = NO_RECORDS) -> Plan:
    """Choose the hours.

    With a limit, the newest hours that fit into so many lines (of what is pending, the oldest); never part of an hour.

    Args:
        warehouse: where the hours are read.
        selection: what to send.
        records: the push log of the whole months that contain the hours.

    Raises:
        GuardError: a month for replace_drop is not complete, would lose hours, or has no room; or a single hour has
            more lines than the limit.
    """
    built_at = warehouse.built_at()
    complete_until = floor_hour(built_at)
    hours = warehouse.hours(selection.window)
    if selection.operation == "replace_hourly":
        hours = _with_emptied(hours, records, selection)
    else:
        hours = [hour for hour in hours if hour.line_count]
    incomplete = tuple(hour.start for hour in hours if hour.start >= complete_until and hour.line_count)
    chosen = hours if selection.only is None else _with_only(hours, selection.only)
    if not selection.include_incomplete:
        chosen = [hour for hour in chosen if hour.start < complete_until]
    if selection.is_pending:
        chosen = [
            hour
            for hour in chosen
            if selection.includes(hour.start)
            and not (hour.start in records and records[hour.start].holds(hour.fingerprint))
        ]
    if selection.operation == "replace_drop":
        _require_whole_month(selection, chosen, records, built_at)
    held_back: list[HeldBack] = []
    if not selection.allow_shrink and selection.operation != "sum":
        held_back = list(shrunk(chosen, records))
        chosen = _without(chosen, held_back)
    if selection.limit is not None:
        if selection.is_pending:  # the hours whose last try has failed come last, as in `Plan.in_order`
            chosen.sort(key=lambda hour: (_has_failed(hour, records), hour.start))
        chosen = within_limit(chosen, selection.limit, oldest_first=selection.is_pending)
        chosen.sort(key=lambda hour: hour.start)
    if not selection.allow_full_month:
        full = _without_room(warehouse, selection, chosen, records)
        chosen, held_back = _without(chosen, full), held_back + full
    starts = {hour.start for hour in chosen}
    others = tuple(hour.start for hour in hours if hour.line_count and hour.start not in starts)
    left_out = () if selection.include_incomplete or selection.is_pending else incomplete
    return Plan(tuple(chosen), left_out, built_at, tuple(held_back), others)


def within_limit(
    hours: Sequence[HourSummary], limit: int, oldest_first: bool, at_least_one: bool = False
) -> list[HourSummary]:
    """The hours that together have at most `limit` lines: an hour is sent whole or not at all.

    Args:
        hours: the hours to choose from, oldest first.
        limit: lines. An hour without lines counts as one, because it is sent as an adjustment line.
        oldest_first: whether to take the oldest hours; else the newest.
        at_least_one: whether to take a first hour that has more lines than the limit instead of refusing it.

    Raises:
        GuardError: the first hour has more lines than the limit, and at least one is not wanted.
    """
    chosen: list[HourSummary] = []
    count = 0
    for hour in hours if oldest_first else reversed(hours):
        count += max(1, hour.line_count)
        if count > limit and (chosen or not at_least_one):
            break
        chosen.append(hour)
    if hours and not chosen:
        first = hours[0] if oldest_first else hours[-1]
        raise GuardError(
            f"The hour {iso(first.start)} has {first.line_count} lines, more than --limit {limit}: an hour is sent"
            " whole or not at all."
        )
    return chosen if oldest_first else chosen[::-1]


def require_complete(plan: Plan, window: Window, now: datetime, by_name: bool) -> None:
    """Stop rather than leave out hours that the user believes to be sent.

    Args:
        plan: what will be sent.
        window: the selected hours.
        now: the loader's clock.
        by_name: whether a name such as `today` selected the window, from which the hour in progress is left out
            without an error.

    Raises:
        GuardError: hours of the window have ended but dbt has not run since, so that the models may hold only a part
            of them; or nothing is left but an hour that is still in progress.
    """
    ended = min(window.end, floor_hour(now))
    if plan.built_at < ended and window.start < ended:
        raise GuardError(
            f"The models were last built at {iso(plan.built_at)}, before the hour {iso(ended - HOUR)} had ended: run"
            " `dbt run` first, or send what is there with --include-incomplete."
        )
    if plan.incomplete and not plan.hours and not by_name:
        raise GuardError(
            f"The hour {iso(plan.incomplete[0])} is not complete: wait until it has ended and run `dbt run`, or send"
            " what is there with --include-incomplete."
        )


def _with_emptied(
    hours: list[HourSummary], records: Mapping[datetime, HourRecord], selection: Selection
) -> list[HourSummary]:
    """The hours that have lines, and those that CloudZero holds but that have lost all their lines."""
    with_lines = {hour.start for hour in hours if hour.line_count}
    found = {hour.start: hour for hour in hours}
    emptied = [
        found[start].emptied() if start in found else HourSummary(start, 0, Decimal(0), 0, EMPTY_FINGERPRINT)
        for start, record in records.items()
        if start not in with_lines
        and (selection.is_pending or selection.includes(start))
        and not record.holds(EMPTY_FINGERPRINT)
        and (record.accepted is not None or record.outcome not in (REFUSED, WITHOUT_EFFECT))
    ]
    return sorted([hour for hour in hours if hour.line_count] + emptied, key=lambda hour: hour.start)


def _with_only(hours: list[HourSummary], only: frozenset[datetime]) -> list[HourSummary]:
    """The hours in `only`; one without lines for each that `hours` does not have."""
    found = {hour.start: hour for hour in hours}
    return [found.get(start) or HourSummary(start, 0, Decimal(0), 0, EMPTY_FINGERPRINT) for start in sorted(only)]


def _require_whole_month(
    selection: Selection, chosen: list[HourSummary], records: Mapping[datetime, HourRecord], built_at: datetime
) -> None:
    """Stop before replace_drop deletes hours: it deletes whatever it does not send."""
    assert selection.window is not None  # noqa: S101
    if selection.window.end > floor_hour(built_at) and not selection.include_incomplete:
        raise GuardError(
            f"The month is not complete: the models were last built at {iso(built_at)}. Send its hours with"
            " replace_hourly, or replace the month anyway with --include-incomplete."
        )
    starts = {hour.start for hour in chosen}
    month = selection.window.start
    lost = [
        entry.hour
        for entry in accepted_entries(records)
        if month_start(entry.hour) == month and entry.cost > 0 and entry.hour not in starts
    ]
    less = [each.hour for each in shrunk(chosen, records)]
    if (lost or less) and not selection.allow_shrink:
        first = min(lost + less)
        raise GuardError(
            f"replace_drop would remove cost from {month:%Y-%m}: {len(lost)} hour(s) that CloudZero accepted no longer"
            f" have lines, and {len(less)} cost less; the first is {iso(first)}. Send what there is with"
            " replace_hourly, or replace the month anyway with --allow-shrink."
        )


def _without_room(
    warehouse: Warehouse, selection: Selection, chosen: list[HourSummary], records: Mapping[datetime, HourRecord]
) -> list[HeldBack]:
    """The hours that their month has no room for.

    Raises:
        GuardError: for replace_drop, when there are any.
    """
    is_whole_month = selection.operation == "replace_drop"
    full = list(without_room(chosen, records, _bytes_per_line(warehouse, chosen, records), is_whole_month))
    if full and is_whole_month:
        raise GuardError(
            f"replace_drop sends a whole month or nothing, and {full[0].reason}. {MORE_ROOM}; --allow-full-month"
            " sends it anyway."
        )
    return full


def _bytes_per_line(warehouse: Warehouse, chosen: list[HourSummary], records: Mapping[datetime, HourRecord]) -> float:
    """Measured on the newest hours that CloudZero accepted; for a new stream, on the newest hour to send."""
    newest = [entry for entry in accepted_entries(records) if entry.fingerprint != EMPTY_FINGERPRINT][-24:]
    lines, size = sum(entry.line_count for entry in newest), sum(entry.byte_count for entry in newest)
    with_lines = [hour for hour in chosen if hour.line_count]
    is_small = sum(hour.line_count for hour in with_lines) * LARGE_LINE < limits.MONTH_BYTES
    if not lines and not is_small:
        last = Window(with_lines[-1].start, with_lines[-1].start + HOUR)
        rows = [line.data for line in warehouse.unordered_lines(last)]
        lines, size = len(rows), sum(map(len, rows))
    return size / lines if lines else 0.0


def _has_failed(hour: HourSummary, records: Mapping[datetime, HourRecord]) -> bool:
    return hour.start in records and records[hour.start].has_failed


def _without(hours: list[HourSummary], held_back: list[HeldBack]) -> list[HourSummary]:
    starts = {each.hour for each in held_back}
    return [hour for hour in hours if hour.start not in starts]
