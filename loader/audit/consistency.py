"""Compares spend logs, summed hours, lines and `cbf_hours` with each other, as dbt's data tests do.

A push relies on them, but neither a run nor a push runs data tests. Spend logs and lines are compared within the
lookback window, or the month that is verified; which hours dbt has built from which, over all hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from loader.errors import ConfigurationError, GuardError
from loader.hours import END_OF_TIME, Window, floor_hour, iso
from loader.lines import COST_COLUMN, HOUR_COLUMN, NO_LINES, LinesAndCost
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse, utc

# As far as the lines are compared if cbf_as_of does not say it: dbt has summed nothing since.
LOOKBACK = timedelta(hours=72)


@dataclass(frozen=True)
class Consistency:
    """The hours (UTC) on which the models disagree, oldest first.

    Attributes:
        unsummed: hours whose spend logs are not summed, and the USD that the stored hour lacks.
        outdated: hours that cbf_hours does not have as they are summed.
        different: hours whose lines or cost in cbf_lines and in cbf_hours differ.
        unread: why the spend logs could not be compared; empty if they were.
    """

    unsummed: Sequence[tuple[datetime, Decimal]] = ()
    outdated: Sequence[datetime] = ()
    different: Sequence[datetime] = ()
    unread: str = ""


def read_consistency(warehouse: Warehouse, month: Window | None = None) -> Consistency:
    """Compare the hours of a month, or of the lookback window; nothing for a warehouse of an earlier version.

    Raises:
        ConfigurationError: the models are not built, or the database reported an error.
    """
    if "lookback_start" not in warehouse.column_names("cbf_as_of"):
        return Consistency()
    window = month or Window(_lookback_start(warehouse), END_OF_TIME)
    hour = warehouse.moment("usage_hour")
    outdated = [utc(each) for (each,) in warehouse.rows(f"select {hour} from {warehouse.relation('outdated_hours')}")]  # noqa: S608
    unsummed, unread = [], ""
    statement = f"select {hour}, cast(cost_usd as {warehouse.text_type}) from {warehouse.relation('unsummed_hours')}"  # noqa: S608
    try:
        unsummed = [(utc(each), Decimal(cost)) for each, cost in warehouse.rows(statement)]
    except ConfigurationError as error:  # a file of the source has been removed since dbt ran, or is not on this host
        unread = str(error)
    return Consistency(
        sorted(each for each in unsummed if month is None or month.start <= each[0] < month.end),
        sorted(each for each in outdated if month is None or month.start <= each < month.end),
        read_lines_and_hours(warehouse, window).different,
        unread,
    )


def problem(found: Consistency) -> str:
    """What disagrees and how to fix it, in one line; empty if nothing does."""
    parts = []
    if found.unsummed:
        cost = decimal_text(total_usd(cost for _, cost in found.unsummed))
        hours = _named([hour for hour, _ in found.unsummed])
        parts.append(f"spend logs of {hours} are not in int_usage__hourly, which lacks ${cost}")
    if found.outdated:
        parts.append(f"cbf_hours was not built from what int_usage__hourly holds of {_named(found.outdated)}")
    if found.different:
        parts.append(f"cbf_lines and cbf_hours disagree on {_named(found.different)}")
    if not parts:
        return ""
    return (
        f"The models disagree: {'; '.join(parts)}. A run of dbt is in progress or has failed, or rows were changed by"
        " hand. Run `dbt run`; after a change by hand, `dbt run --full-refresh --select cbf_hours`."
    )


def require_consistent(found: Consistency) -> None:
    """Fail if the models disagree.

    Raises:
        GuardError: they do; with the hours and what to do.
    """
    if message := problem(found):
        raise GuardError(message)


def messages(found: Consistency) -> list[str]:
    """What is to be reported besides the problem: spend logs that could not be compared."""
    return [f"Warning: the spend logs were not compared with the hours: {found.unread}"] if found.unread else []


def answer(found: Consistency) -> dict[str, object]:
    """The same as JSON; amounts as text with every digit."""
    return {
        "unsummed": [{"hour": iso(hour), "cost": decimal_text(cost)} for hour, cost in found.unsummed],
        "outdated": [iso(hour) for hour in found.outdated],
        "different": [iso(hour) for hour in found.different],
    }


def _lookback_start(warehouse: Warehouse) -> datetime:
    column = warehouse.moment("lookback_start")
    for (start,) in warehouse.rows(f"select {column} from {warehouse.relation('cbf_as_of')}"):  # noqa: S608
        if start is not None:
            return utc(start)
    return floor_hour(warehouse.built_at()) - LOOKBACK


@dataclass(frozen=True)
class LinesAndHours:
    """Number of lines and USD of each UTC hour that has lines, by cbf_lines and by cbf_hours."""

    lines: Mapping[datetime, LinesAndCost]
    hours: Mapping[datetime, LinesAndCost]

    @property
    def different(self) -> list[datetime]:
        """The hours on which the two differ, oldest first."""
        lines, hours = self.lines, self.hours
        return sorted(each for each in {*lines, *hours} if lines.get(each, NO_LINES) != hours.get(each, NO_LINES))


def read_lines_and_hours(warehouse: Warehouse, window: Window | None = None) -> LinesAndHours:
    """What cbf_lines and cbf_hours have of the hours of a window, or of all hours.

    Raises:
        ConfigurationError: as `Warehouse.batches`.
    """
    _, where, parameters = warehouse.line_selection(window)
    hour, cost = warehouse.quoted(HOUR_COLUMN), warehouse.quoted(COST_COLUMN)
    statement = (
        f"select {warehouse.moment(hour)}, count(*), cast(sum({cost}) as {warehouse.text_type})"  # noqa: S608
        f" from {warehouse.relation('cbf_lines')} {where} group by {hour}"
    )
    found = warehouse.rows(statement, parameters)
    lines: dict[datetime, LinesAndCost] = {utc(start): (int(count), Decimal(usd)) for start, count, usd in found}
    hours = {each.start: (each.line_count, each.cost) for each in warehouse.hours(window) if each.line_count}
    return LinesAndHours(lines, hours)


def _named(hours: Sequence[datetime]) -> str:
    """`the hour 2026-11-01T04:00:00Z`, or `3 hours (the first is 2026-11-01T04:00:00Z)`."""
    return f"the hour {iso(hours[0])}" if len(hours) == 1 else f"{len(hours):,} hours (the first is {iso(hours[0])})"
