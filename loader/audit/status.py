"""The state of each stream, month by month: what CloudZero holds, what is pending, what a guard holds back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from loader.config.api_url import DEFAULT_API_URL
from loader.config.settings import Stream
from loader.delivery.limits import MONTH_BYTES, MONTH_ROWS, HeldBack, MonthUsage, month_usage
from loader.delivery.plan import plan
from loader.delivery.push_log import REFUSED, Entry, HourRecord, LastEvent, PushLog
from loader.delivery.selection import Pending, Selection
from loader.hours import HOUR, iso, month_start
from loader.lines import HourSummary
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse


@dataclass(frozen=True)
class MonthStatus:
    """One UTC month of a stream. Costs are USD; `oldest_pending` is an hour (UTC)."""

    month: datetime
    hours_sent: int
    cost_sent: Decimal
    usage: MonthUsage
    pending: int
    shrunk: int
    full: int
    oldest_pending: datetime | None


@dataclass(frozen=True)
class StreamStatus:
    """One stream. `refused` are the pending hours (UTC) that CloudZero refused when they were last sent."""

    stream: Stream
    months: tuple[MonthStatus, ...]
    last: LastEvent | None
    oldest_pending: datetime | None
    behind: timedelta = field(default_factory=timedelta)
    refused: tuple[datetime, ...] = ()


def read_status(
    warehouse: Warehouse, streams: Iterable[Stream], now: datetime, since: datetime | None = None
) -> list[StreamStatus]:
    """Read the state of each stream. Nothing before `since` is pending.

    `behind` is how long ago the oldest hour ended that CloudZero does not hold as it is now: it is pending, held back,
    or not summed because dbt has not run since.
    """
    found = []
    for stream in streams:
        log = PushLog(warehouse, stream)
        records = log.records()
        with warehouse.of_stream(stream.name):
            chosen = plan(warehouse, Selection(Pending(since)), records)
        months = _months(chosen.hours, chosen.held_back, records)
        waiting = [hour.start for hour in chosen.hours] + [each.hour for each in chosen.held_back]
        oldest = min(waiting, default=None)
        ended = (oldest or chosen.complete_until) + HOUR
        refused = tuple(hour for hour in sorted(waiting) if hour in records and records[hour].outcome == REFUSED)
        behind = max(timedelta(0), now - ended)
        found.append(StreamStatus(stream, months, log.last_event(), oldest, behind, refused))
    return found


def _months(
    pending: Sequence[HourSummary], held_back: Sequence[HeldBack], records: Mapping[datetime, HourRecord]
) -> tuple[MonthStatus, ...]:
    sizes = month_usage(records)
    accepted: dict[datetime, list[Entry]] = defaultdict(list)
    waiting: dict[datetime, list[datetime]] = defaultdict(list)
    held: dict[datetime, list[HeldBack]] = defaultdict(list)
    for hour, record in records.items():
        if record.accepted and record.accepted.line_count:
            accepted[month_start(hour)].append(record.accepted)
    for summary in pending:
        waiting[month_start(summary.start)].append(summary.start)
    for each in held_back:
        held[month_start(each.hour)].append(each)
    return tuple(
        MonthStatus(
            start,
            len(accepted[start]),
            total_usd(entry.cost for entry in accepted[start]),
            sizes.get(start, MonthUsage()),
            len(waiting[start]),
            sum(each.kind == "shrunk" for each in held[start]),
            sum(each.kind == "full" for each in held[start]),
            min([*waiting[start], *(each.hour for each in held[start])], default=None),
        )
        for start in sorted({month_start(hour) for hour in records} | waiting.keys() | held.keys())
    )


HEAD = ("stream", "month", "hours sent", "cost sent", "pending", "held back", "oldest", "lines", "MB", "of limit")


def table(statuses: Sequence[StreamStatus]) -> list[list[str]]:
    """Table rows, with the columns of HEAD."""
    return [
        [
            _name(status.stream),
            f"{month.month:%Y-%m}",
            f"{month.hours_sent:,}",
            f"${month.cost_sent:,.2f}",
            f"{month.pending:,}",
            f"{month.shrunk + month.full:,}",
            iso(month.oldest_pending) if month.oldest_pending else "",
            f"{month.usage.rows:,}",
            f"{month.usage.size / 1e6:.1f}",
            f"{month.usage.share:.0%}",
        ]
        for status in statuses
        for month in status.months
    ]


def _name(stream: Stream) -> str:
    """The connection id alone when the host is CloudZero's own."""
    return stream.connection_id if stream.api_url == DEFAULT_API_URL else str(stream)


def answer(statuses: Sequence[StreamStatus], built_at: datetime) -> dict[str, object]:
    """The same as JSON; amounts as text with every digit."""
    return {
        "built_at": iso(built_at),
        "limits": {"month_lines": MONTH_ROWS, "month_bytes": MONTH_BYTES},
        "streams": [
            {
                "connection_id": status.stream.connection_id,
                "api_url": status.stream.api_url,
                "oldest_pending": iso(status.oldest_pending) if status.oldest_pending else None,
                "behind_seconds": round(status.behind.total_seconds()),
                "hours_refused": len(status.refused),
                "oldest_refused": iso(status.refused[0]) if status.refused else None,
                "last_push": None
                if status.last is None
                else {"at": iso(status.last.recorded_at), "outcome": status.last.outcome, "detail": status.last.detail},
                "months": [
                    {
                        "month": f"{month.month:%Y-%m}",
                        "hours_sent": month.hours_sent,
                        "cost_sent": decimal_text(month.cost_sent),
                        "hours_pending": month.pending,
                        "hours_shrunk": month.shrunk,
                        "hours_without_room": month.full,
                        "oldest_pending": iso(month.oldest_pending) if month.oldest_pending else None,
                        "lines": month.usage.rows,
                        "bytes": month.usage.size,
                        "share_of_limit": round(month.usage.share, 4),
                    }
                    for month in status.months
                ],
            }
            for status in statuses
        ],
    }
