"""Which hours a push sends, and which it leaves out or holds back. Reads the warehouse, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from loader.delivery import limits
from loader.delivery.limits import MORE_ROOM, HeldBack, shrunk, without_room
from loader.delivery.push_log import REFUSED, WITHOUT_EFFECT, HourRecord, accepted_entries
from loader.errors import GuardError, UsageError
from loader.hours import HOUR, Window, floor_hour, iso, month_start
from loader.lines import EMPTY_FINGERPRINT, HourSummary
from loader.warehouse.base import Warehouse

LARGE_LINE = 3_000  # bytes; a new stream is not measured while even lines of this size have room
NO_RECORDS: Mapping[datetime, HourRecord] = {}


@dataclass(frozen=True)
class Selection:
    """What is asked for.

    `window` None means pending: every complete hour, from `since` (UTC) on, that differs from what CloudZero accepted
    of it. `only` keeps it to these hours (UTC), lines or not.
    """

    window: Window | None
    operation: str = "replace_hourly"
    include_incomplete: bool = False
    limit: int | None = None
    allow_shrink: bool = False
    allow_full_month: bool = False
    only: frozenset[datetime] | None = None
    since: datetime | None = None

    def __post_init__(self) -> None:
        if self.operation == "replace_drop" and (
            self.window is None or not self.window.is_whole_month() or self.limit is not None
        ):
            raise UsageError(
                "--operation replace_drop replaces a whole month of CloudZero's: it takes exactly one UTC month, such"
                " as --start 2024-01-01 --end 2024-02-01, and no --limit"
                + (f"; the window is {self.window}." if self.window else "; not what is pending.")
            )
        if self.operation == "sum" and self.window is None:
            raise UsageError("What is pending is replaced, never added: --window pending takes no --operation sum.")
        if self.include_incomplete and self.window is None:
            raise UsageError("Only complete hours are pending: --window pending takes no --include-incomplete.")


@dataclass(frozen=True)
class Plan:
    """What a push will send: whole hours, oldest first; one without lines is sent as a line of no cost.

    `incomplete` are hours that it leaves out because they may be half, `held_back` those that a guard stops, `others`
    all hours with lines that it does not send.
    """

    hours: tuple[HourSummary, ...]
    incomplete: tuple[datetime, ...]
    built_at: datetime
    held_back: tuple[HeldBack, ...] = ()
    others: tuple[datetime, ...] = ()

    @property
    def line_count(self) -> int:
        """Lines over all hours, with those that stand for an hour that has none."""
        return sum(max(1, hour.line_count) for hour in self.hours)


def plan(warehouse: Warehouse, selection: Selection, records: Mapping[datetime, HourRecord] = NO_RECORDS) -> Plan:
    """Choose the hours.

    An hour is complete when it had ended before the models were last built: then its sum was read after its end.
    With a limit, the newest hours that fit into so many lines (of what is pending the oldest); never a part of one.

    Args:
        warehouse: what the hours are read from.
        selection: what is asked for.
        records: the push log, of the whole months that the hours lie in.

    Raises:
        GuardError: a month for replace_drop is not complete, would lose hours, or has no room; or one hour alone has
            more lines than the limit.
    """
    window, operation = selection.window, selection.operation
    built_at = warehouse.built_at()
    complete_until = floor_hour(built_at)
    hours = warehouse.hours(window)
    if operation == "replace_hourly":
        hours = _with_emptied(hours, records, window)
    else:
        hours = [hour for hour in hours if hour.line_count]
    incomplete = tuple(hour.start for hour in hours if hour.start >= complete_until and hour.line_count)
    asked = hours if selection.only is None else _with_only(hours, selection.only)
    chosen = asked if selection.include_incomplete else [hour for hour in asked if hour.start < complete_until]
    if window is None:
        chosen = [hour for hour in chosen if selection.since is None or hour.start >= selection.since]
        chosen = [
            hour for hour in chosen if hour.start not in records or not records[hour.start].holds(hour.fingerprint)
        ]
    if operation == "replace_drop":
        _require_whole_month(selection, chosen, records, built_at)
    held_back = [] if selection.allow_shrink or operation == "sum" else list(shrunk(chosen, records))
    chosen = _without(chosen, held_back)
    if selection.limit is not None:
        chosen = _within(selection.limit, chosen, oldest_first=window is None)
    if not selection.allow_full_month:
        full = list(
            without_room(chosen, records, _bytes_per_line(warehouse, chosen, records), operation == "replace_drop")
        )
        if full and operation == "replace_drop":
            raise GuardError(
                f"replace_drop sends a whole month or nothing, and {full[0].reason}. {MORE_ROOM}; --allow-full-month"
                " sends it all the same."
            )
        chosen, held_back = _without(chosen, full), held_back + full
    starts = {hour.start for hour in chosen}
    others = tuple(hour.start for hour in hours if hour.line_count and hour.start not in starts)
    left_out = () if selection.include_incomplete or window is None else incomplete
    return Plan(tuple(chosen), left_out, built_at, tuple(held_back), others)


def require_complete(plan: Plan, window: Window, now: datetime, named: bool) -> None:
    """Stop rather than leave out what the user believes to be sent.

    Args:
        plan: what will be sent.
        window: what was asked for.
        now: the loader's clock.
        named: whether the window came from a word such as `today`, of which the running hour is left out as a matter
            of course, or from times.

    Raises:
        GuardError: hours of the window have ended but dbt has not run since, so what the models hold of them may be
            half; or nothing is left but an hour that is still running.
    """
    ended = min(window.end, floor_hour(now))
    if plan.built_at < ended and window.start < ended:
        raise GuardError(
            f"The models were last built at {iso(plan.built_at)}, before the hour {iso(ended - HOUR)} had ended: run"
            " `dbt run` first, or send what is there with --include-incomplete."
        )
    if plan.incomplete and not plan.hours and not named:
        raise GuardError(
            f"The hour {iso(plan.incomplete[0])} is not complete: wait until it has ended and run `dbt run`, or send"
            " what is there with --include-incomplete."
        )


def _with_emptied(
    hours: list[HourSummary], records: Mapping[datetime, HourRecord], window: Window | None
) -> list[HourSummary]:
    """Without the hours that never had a line, and with those that CloudZero holds and that have lost theirs."""
    with_lines = {hour.start for hour in hours if hour.line_count}
    found = {hour.start: hour for hour in hours}
    emptied = [
        found[start].emptied() if start in found else HourSummary(start, 0, Decimal(0), 0, EMPTY_FINGERPRINT)
        for start, record in records.items()
        if start not in with_lines
        and (window is None or window.start <= start < window.end)
        and not record.holds(EMPTY_FINGERPRINT)
        and (record.accepted is not None or record.outcome not in (REFUSED, WITHOUT_EFFECT))
    ]
    return sorted([hour for hour in hours if hour.line_count] + emptied, key=lambda hour: hour.start)


def _with_only(hours: list[HourSummary], only: frozenset[datetime]) -> list[HourSummary]:
    """Of these hours those, and an hour without lines for each that is not among them."""
    found = {hour.start: hour for hour in hours}
    return [found.get(start) or HourSummary(start, 0, Decimal(0), 0, EMPTY_FINGERPRINT) for start in sorted(only)]


def _require_whole_month(
    selection: Selection, chosen: list[HourSummary], records: Mapping[datetime, HourRecord], built_at: datetime
) -> None:
    """What replace_drop does not send, it deletes."""
    assert selection.window is not None  # noqa: S101
    if selection.window.end > floor_hour(built_at) and not selection.include_incomplete:
        raise GuardError(
            f"The month is not complete: the models were last built at {iso(built_at)}. Send its hours with"
            " replace_hourly, or all the same with --include-incomplete."
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
            f"replace_drop would take money away from {month:%Y-%m}: {len(lost)} hour(s) that CloudZero accepted have"
            f" no lines any more, and {len(less)} cost less; the first is {iso(first)}. Send what there is with"
            " replace_hourly, or replace the month all the same with --allow-shrink."
        )


def _bytes_per_line(warehouse: Warehouse, chosen: list[HourSummary], records: Mapping[datetime, HourRecord]) -> float:
    """As measured on the newest hours that CloudZero accepted; on a new stream, on the newest hour to send."""
    newest = [entry for entry in accepted_entries(records) if entry.fingerprint != EMPTY_FINGERPRINT][-24:]
    lines, size = sum(entry.line_count for entry in newest), sum(entry.byte_count for entry in newest)
    with_lines = [hour for hour in chosen if hour.line_count]
    small = sum(hour.line_count for hour in with_lines) * LARGE_LINE < limits.MONTH_BYTES
    if not lines and not small:
        last = Window(with_lines[-1].start, with_lines[-1].start + HOUR)
        rows = [line.data for line in warehouse.unordered_lines(last)]
        lines, size = len(rows), sum(map(len, rows))
    return size / lines if lines else 0.0


def _within(limit: int, hours: list[HourSummary], oldest_first: bool) -> list[HourSummary]:
    chosen: list[HourSummary] = []
    count = 0
    for hour in hours if oldest_first else reversed(hours):
        count += max(1, hour.line_count)
        if count > limit:
            break
        chosen.append(hour)
    if hours and not chosen:
        first = hours[0] if oldest_first else hours[-1]
        raise GuardError(
            f"The hour {iso(first.start)} has {first.line_count} lines, more than --limit {limit}: an hour is sent"
            " whole or not at all."
        )
    return chosen if oldest_first else chosen[::-1]


def _without(hours: list[HourSummary], held_back: list[HeldBack]) -> list[HourSummary]:
    starts = {each.hour for each in held_back}
    return [hour for hour in hours if hour.start not in starts]
