"""The state of each hour in the calendar. Pure; `loader.delivery.plan` decides what is pending or held back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from loader.delivery.limits import HeldBack
from loader.delivery.plan import Plan
from loader.delivery.push_log import BEGUN, REFUSED, UNKNOWN, WITHOUT_EFFECT, HourRecord
from loader.hours import HOUR, Window, iso
from loader.lines import HourSummary
from loader.money import decimal_text
from loader.service.overview_schema import CalendarCell, State

FAILED = {
    REFUSED: "CloudZero refused it",
    UNKNOWN: "no conclusive answer, so it may have been stored",
    WITHOUT_EFFECT: "CloudZero answered that it stored nothing",
}


def calendar_cells(
    window: Window,
    hours: Mapping[datetime, HourSummary],
    records: Mapping[datetime, HourRecord],
    plan: Plan,
    now: datetime,
    since: datetime | None = None,
) -> list[CalendarCell]:
    """One cell for each hour of the window, oldest first.

    Args:
        window: the hours to show.
        hours: cbf_hours of the window, by hour.
        records: the push log of the window, by hour.
        plan: the plan for a push of everything that is pending.
        now: the current time (UTC); later hours are in the future.
        since: hours before this one (UTC) are not sent.
    """
    pending = {hour.start for hour in plan.hours}
    held_back = {each.hour: each for each in plan.held_back}
    found = []
    start = window.start
    while start < window.end:
        hour, record = hours.get(start), records.get(start)
        if start >= now:
            state, detail = _FUTURE
        elif start >= plan.complete_until:
            state, detail = _incomplete(hour, start + HOUR <= now)
        elif start in held_back:
            state, detail = _held_back(held_back[start])
        elif start in pending:
            state, detail = _pending(record)
        elif since is not None and start < since and hour and hour.line_count and record is None:
            state, detail = "before_since", "before LOADER_PUSH_SINCE"
        else:
            state, detail = _settled(hour, record)
        count, cost = (hour.line_count, decimal_text(hour.cost)) if hour else (0, "0")
        found.append(CalendarCell(hour=iso(start), state=state, lines=count, cost=cost, detail=detail))
        start += HOUR
    return found


_FUTURE: tuple[State, str] = ("future", "")


def _incomplete(hour: HourSummary | None, has_ended: bool) -> tuple[State, str]:
    if has_ended:
        return "incomplete", "it has ended, but dbt has not run since"
    return (
        "incomplete",
        "it has not ended yet" if hour and hour.line_count else "it has not ended yet, and has no usage so far",
    )


def _held_back(held: HeldBack) -> tuple[State, str]:
    return "held_back", held.reason


def _pending(record: HourRecord | None) -> tuple[State, str]:
    """A pending hour was never sent, or its last push failed, or it has changed since it was sent."""
    if record is None:
        return "pending", ""
    if record.outcome in FAILED:
        return "failed", FAILED[record.outcome]
    if record.outcome == BEGUN:
        return "pending", "a push has started and not finished: it is in progress, or was killed"
    if record.accepted is not None and record.accepted.fingerprint is None:
        return "changed", "sent with the operation sum; the next push replaces it"
    return "changed", f"sent as ${decimal_text(record.accepted.cost)}" if record.accepted else ""


def _settled(hour: HourSummary | None, record: HourRecord | None) -> tuple[State, str]:
    if hour and hour.line_count and record is not None and record.holds(hour.fingerprint):
        return "sent", ""
    if hour and hour.line_count:
        # Neither pending nor held back: an hour before `since` whose push log entry is of other lines.
        return "before_since", "before LOADER_PUSH_SINCE, and changed since it was sent"
    return "none", "its lines were removed, here and at CloudZero" if record and record.accepted else ""
