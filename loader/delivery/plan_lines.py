"""The lines of a plan, read hour by hour and compared with `cbf_hours`."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain

from loader.delivery.plan import Plan
from loader.errors import ConnectionLostError, GuardError
from loader.hours import HOUR, Window, iso
from loader.lines import COST_COLUMN, HOUR_COLUMN, HourSummary, Line
from loader.warehouse.base import Warehouse

SLICE_LINES = 30_000  # lines that are read and held at a time, unless a single hour has more


def lines_of(warehouse: Warehouse, plan: Plan) -> Iterator[Line]:
    """The lines of the plan's hours, oldest hour first, read in slices of whole hours.

    Raises:
        GuardError: cbf_lines and cbf_hours disagree on an hour.
    """
    return chain.from_iterable(_lines_by_hour(warehouse, plan))


def _lines_by_hour(warehouse: Warehouse, plan: Plan) -> Iterator[Iterable[Line]]:
    """The lines of one hour after the other.

    Built-in functions iterate over the lines, because a loop in Python takes several times as long.
    """
    for hours in _slices(plan):
        window = Window(hours[0].start, hours[-1].start + HOUR)
        if len(hours) == 1 and hours[0].line_count > SLICE_LINES:
            yield _counted(hours[0], warehouse.unordered_lines(window))
            continue
        of_hour: defaultdict[datetime, list[Line]] = defaultdict(list)
        for line in _read(warehouse, window) if any(hour.line_count for hour in hours) else ():
            of_hour[line.hour].append(line)
        for hour in hours:
            found = of_hour.pop(hour.start, [])
            yield found if len(found) == hour.line_count > 0 else _counted(hour, found)


def _read(warehouse: Warehouse, window: Window) -> list[Line]:
    """The lines of a slice; read again if the database has closed the connection while a body was being sent."""
    try:
        return list(warehouse.unordered_lines(window))
    except ConnectionLostError:
        warehouse.reconnect()
        return list(warehouse.unordered_lines(window))


def _counted(hour: HourSummary, lines: Iterable[Line]) -> Iterator[Line]:
    """One hour's lines, their count checked against cbf_hours; without lines, its adjustment line."""
    count = 0
    for line in lines:
        count += 1
        yield line
    if count != hour.line_count:
        raise changed(hour.start)
    if not count:
        yield adjustment(hour.start)


def newest_lines(warehouse: Warehouse, plan: Plan, limit: int) -> list[Line]:
    """The first `limit` lines that a push of the plan would send, newest hour first."""
    lines: list[Line] = []
    for hour in reversed(plan.hours):
        if len(lines) >= limit:
            break
        if hour.line_count:
            lines += warehouse.lines(Window(hour.start, hour.start + HOUR))
        else:
            lines.append(adjustment(hour.start))
    return lines[:limit]


def adjustment(hour: datetime) -> Line:
    """A line of no cost, which replaces an hour (UTC) that has lost all its lines; an empty body would not.

    docs.cloudzero.com/docs/anycost-common-bill-format-cbf, `lineitem/type`.
    """
    values = {
        "lineitem/type": "Adjustment",
        "lineitem/description": "No LLM usage is left in this hour",
        HOUR_COLUMN: iso(hour),
        COST_COLUMN: "0",
        "resource/service": "litellm",
    }
    return Line.from_values(hour, values)


def changed(hour: datetime) -> GuardError:
    """The error for an hour on which cbf_lines and cbf_hours disagree."""
    return GuardError(
        f"cbf_lines and cbf_hours disagree on the hour {iso(hour)}, so it was not sent: a run of dbt may be in progress"
        " or may have failed. Run `dbt run`; after a manual change, `dbt run --full-refresh --select cbf_hours`."
    )


def _slices(plan: Plan) -> Iterator[list[HourSummary]]:
    """The plan's hours in lists of at most SLICE_LINES lines; no list spans an hour with lines that is not sent."""
    hours: list[HourSummary] = []
    count = 0
    for hour in plan.hours:
        between = hours and bisect_right(plan.others, hours[-1].start) != bisect_right(plan.others, hour.start)
        if hours and (between or count + hour.line_count > SLICE_LINES):
            yield hours
            hours, count = [], 0
        hours.append(hour)
        count += hour.line_count
    if hours:
        yield hours
