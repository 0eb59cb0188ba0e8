"""Whether something else sends to the same connection: each sender would replace the hours of the other in turn.

CloudZero does not say who has sent a row. So the first push of a UTC day reads a month back and compares it with what
this warehouse has sent: a row that it never sent is another sender's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from loader.config.settings import Stream
from loader.delivery.plan import Plan
from loader.delivery.push_log import BEGUN, UNKNOWN, HourRecord, LastEvent, PushLog
from loader.errors import GuardError, LoaderError
from loader.hours import Window, iso, month_start, next_month
from loader.lines import LinesAndCost
from loader.money import decimal_text, total_usd


class Reader(Protocol):
    """The part of the AnyCost client that is used here."""

    def hours_of_month(self, month: str) -> dict[datetime, LinesAndCost]:
        """Lines and USD of each hour that CloudZero holds for a month."""


@dataclass(frozen=True)
class CheckOptions:
    """Whether a push looks for other senders, and whether it takes their hours over.

    Attributes:
        enabled: whether to look at all.
        take_over: replace what another sender has sent, instead of stopping.
    """

    enabled: bool = True
    take_over: bool = False


@dataclass(frozen=True)
class ForeignHours:
    """What CloudZero holds of some hours (UTC) that this warehouse never sent: lines and USD of each."""

    stream: Stream
    hours: Mapping[datetime, LinesAndCost] = field(default_factory=dict)

    def __str__(self) -> str:
        first = min(self.hours)
        lines, cost = self.hours[first]
        total = decimal_text(total_usd(cost for _, cost in self.hours.values()))
        return (
            f"the connection {self.stream.connection_id} holds {len(self.hours):,} hour(s) (${total}) that this"
            f" warehouse did not send, the first: {iso(first)} with {lines:,} line(s), ${decimal_text(cost)}"
        )


def is_due(last: LastEvent | None, now: datetime) -> bool:
    """Whether nothing was sent to the stream yet on this UTC day, according to its log's newest row."""
    return last is None or last.recorded_at.date() < now.date()


def foreign_hours(
    log: PushLog,
    client: Reader,
    plan: Plan,
    records: Mapping[datetime, HourRecord],
    is_sent: Callable[[datetime], bool],
) -> ForeignHours:
    """Read the month of the newest hour of a plan back, and find what this warehouse did not send.

    Args:
        log: the stream's push log.
        client: the AnyCost client.
        plan: what is about to be sent.
        records: the log's hours. Of one whose last try was cut off, or that was added to, any part may be held.
        is_sent: whether an hour may be sent at all; hours before --since belong to another exporter.

    Raises:
        LoaderError: the month cannot be read.
    """
    newest = max(hour.start for hour in plan.hours)
    month = Window(month_start(newest), next_month(newest))
    held = client.hours_of_month(f"{newest:%Y-%m}")
    tried, added = log.contents(month), log.hours_added_to(month)
    uncertain = {hour for hour, record in records.items() if record.outcome in (BEGUN, UNKNOWN)} | added
    in_view = {hour.start: (hour.line_count, hour.cost) for hour in plan.hours}
    known: Collection[datetime] = tried.keys() | in_view.keys()
    found = {
        hour: content
        for hour, content in held.items()
        if content[1] != Decimal(0)
        and is_sent(hour)
        and hour not in uncertain
        and (hour in known or not tried)
        and content not in tried.get(hour, ())
        and content != in_view.get(hour)
    }
    return ForeignHours(log.stream, found)


def require_none(found: ForeignHours) -> None:
    """Stop before another sender's hours are replaced.

    Raises:
        GuardError: there are such hours.
    """
    if found.hours:
        raise GuardError(
            f"Another sender writes to the same connection: {found}. Each would replace the hours of the other, so"
            " nothing was sent. Give each sender a connection of its own. If the other one has been stopped for good,"
            " or this warehouse has lost its push log, `loader push --window pending --take-over` replaces its hours."
        )


def describe_failure(error: LoaderError) -> str:
    """The warning when CloudZero could not be read."""
    return (
        f"Warning: whether another sender writes to this connection is not known ({str(error).rstrip('. ')}). The check"
        " needs the scope to read billing drops; LOADER_CHECK_CONNECTION=false leaves it out."
    )
