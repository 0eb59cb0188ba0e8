"""What the calendar says of each hour. Pure: `loader.delivery.plan` decides what is pending and what is held back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from loader.delivery.limits import HeldBack
from loader.delivery.plan import Plan
from loader.delivery.push_log import BEGUN, REFUSED, UNKNOWN, WITHOUT_EFFECT, HourRecord
from loader.hours import HOUR, Window, floor_hour, iso
from loader.lines import Hour
from loader.money import decimal_text
from loader.service.overview_schema import Cell, State

FAILED = {
    REFUSED: "CloudZero refused it",
    UNKNOWN: "no certain answer came, so it may be there",
    WITHOUT_EFFECT: "CloudZero answered that it did nothing",
}


def cells(
    window: Window,
    hours: Mapping[datetime, Hour],
    records: Mapping[datetime, HourRecord],
    plan: Plan,
    now: datetime,
    since: datetime | None = None,
) -> list[Cell]:
    """One cell for each hour of the window, oldest first.

    Args:
        window: what to show.
        hours: cbf_hours of the window, by hour.
        records: the push log of the window, by hour.
        plan: what a push of all that is pending would send now.
        now: the clock; later hours are to come.
        since: nothing older is sent.
    """
    pending = {hour.start for hour in plan.hours}
    held_back = {each.hour: each for each in plan.held_back}
    found = []
    start = window.start
    while start < window.end:
        hour, record = hours.get(start), records.get(start)
        if start >= now:
            state, detail = _NOTHING_YET
        elif start >= floor_hour(plan.built_at):
            state, detail = _incomplete(hour, start + HOUR <= now)
        elif start in held_back:
            state, detail = _held_back(held_back[start])
        elif start in pending:
            state, detail = _pending(record)
        elif since is not None and start < since and hour and hour.line_count and record is None:
            state, detail = "before_since", "older than what this loader sends"
        else:
            state, detail = _settled(hour, record)
        count, cost = (hour.line_count, decimal_text(hour.cost)) if hour else (0, "0")
        found.append(Cell(hour=iso(start), state=state, lines=count, cost=cost, detail=detail))
        start += HOUR
    return found


_NOTHING_YET: tuple[State, str] = ("future", "")


def _incomplete(hour: Hour | None, has_ended: bool) -> tuple[State, str]:
    if has_ended:
        return "incomplete", "it has ended, but dbt has not run since"
    return "incomplete", "it is still running" if hour and hour.line_count else "it is still running, without usage yet"


def _held_back(held: HeldBack) -> tuple[State, str]:
    return "held_back", held.reason


def _pending(record: HourRecord | None) -> tuple[State, str]:
    """A pending hour was never sent, or the last try of it failed, or it has changed since it was sent."""
    if record is None:
        return "pending", ""
    if record.outcome in FAILED:
        return "failed", FAILED[record.outcome]
    if record.outcome == BEGUN:
        return "pending", "a push of it has begun and not ended: it is under way, or was killed"
    if record.accepted is not None and record.accepted.fingerprint is None:
        return "changed", "it was sent with the operation sum: it is replaced by the next push"
    return "changed", f"sent as ${decimal_text(record.accepted.cost)}" if record.accepted else ""


def _settled(hour: Hour | None, record: HourRecord | None) -> tuple[State, str]:
    if hour and hour.line_count and record is not None and record.holds(hour.fingerprint):
        return "sent", ""
    if hour and hour.line_count:
        # Not pending and not held: only what lies before `since`, and has a record of other lines.
        return "before_since", "older than what this loader sends, and not at CloudZero as it is now"
    return "none", "its lines are gone, and CloudZero holds none" if record and record.accepted else ""
