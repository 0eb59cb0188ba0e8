"""Everything that the page shows, read from the warehouse in one go. Read-only, and independent of HTTP.

The cost of a read hardly depends on the length of the history: it covers sums of at most a month, lines of at most a
week, and the push log of the months in the calendar. Only cbf_hours, with one short row per hour, is read completely,
by `loader.delivery.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from loader.audit.reconcile import Day, findings
from loader.config.settings import Stream
from loader.delivery.limits import MONTH_BYTES, MONTH_ROWS, WARN_AT, MonthUsage, month_usage
from loader.delivery.plan import plan
from loader.delivery.push_log import HourRecord, PushLog, streams
from loader.delivery.selection import Pending, Selection
from loader.hours import HOUR, Window, floor_hour, iso, month_start
from loader.lines import HourSummary
from loader.money import decimal_text, total_usd
from loader.service import overview_queries
from loader.service.hour_states import calendar_cells
from loader.service.overview_schema import HourlyUsage, MonthLimits, Overview, PeriodTotals, StreamOverview
from loader.warehouse.base import Warehouse
from loader.warehouse.source import read_source, warnings

CHART_DAYS, CALENDAR_DAYS = 7, 31


def read_overview(
    warehouse: Warehouse, configured: Sequence[Stream], now: datetime, since: datetime | None = None
) -> Overview:
    """Read the overview.

    Args:
        warehouse: opened for reading.
        configured: the streams to show, in this order; if empty, all streams in the push log.
        now: the current time (UTC).
        since: hours before this one (UTC) are not sent (`LOADER_PUSH_SINCE`), so they do not count as missing.

    Raises:
        ConfigurationError: the models are not built, or the database reported an error.
    """
    built_at = warehouse.built_at()
    current_hour = floor_hour(now)
    chart = Window(current_hour - (24 * CHART_DAYS - 1) * HOUR, current_hour + HOUR)
    newest = overview_queries.newest_hour(warehouse)
    periods = _periods(now, built_at, since)
    sources = [overview_queries.summed_spend(warehouse, window) for _, window in periods]
    window = Window(_first_day(now), _first_day(now) + timedelta(days=CALENDAR_DAYS))
    hours = {hour.start: hour for hour in warehouse.hours(Window(month_start(window.start), current_hour + HOUR))}
    shown: list[Stream | None] = [*(configured or streams(warehouse))] or [None]
    # Whole months, because the limit of a month counts everything that it holds.
    months = Window(month_start(window.start), window.end)
    records = {each: PushLog(warehouse, each).records(months) for each in shown if each is not None}

    def sent_to(stream: Stream | None) -> list[HourRecord] | None:
        """What was sent of all lines: the streams of var streams share them, a single stream gets them all."""
        if stream is None:
            return None
        together = configured if len(configured) > 1 else [stream]
        return [record for each in together for record in records[each].values()]

    return Overview(
        read_at=iso(now),
        built_at=iso(built_at),
        since=iso(since) if since else None,
        is_empty=newest is None,
        warnings=warnings(read_source(warehouse)),
        newest_hour=iso(newest) if newest else None,
        usage=_usage(warehouse, chart),
        streams=[
            _stream(
                warehouse,
                stream,
                now,
                since,
                records[stream] if stream else {},
                [_totals(*period, sums, hours, sent_to(stream)) for period, sums in zip(periods, sources, strict=True)],
            )
            for stream in shown
        ],
        newest_lines=overview_queries.newest_lines(
            warehouse, [hour for start, hour in hours.items() if start >= chart.start]
        ),
    )


def _first_day(now: datetime) -> datetime:
    """The start of the first day of the calendar (UTC)."""
    return floor_hour(now).replace(hour=0) - timedelta(days=CALENDAR_DAYS - 1)


def _periods(now: datetime, built_at: datetime, since: datetime | None) -> list[tuple[str, Window]]:
    """The current UTC month and the last days, each up to the last complete hour."""
    complete_until = min(floor_hour(built_at), floor_hour(now))
    found = []
    for name, start in (
        (f"{now:%B %Y}", month_start(now)),
        (f"Last {CHART_DAYS} days", floor_hour(now) - timedelta(days=CHART_DAYS)),
    ):
        first = max(start, since) if since else start
        found.append((name, Window(first, max(first, complete_until))))
    return found


def _stream(
    warehouse: Warehouse,
    stream: Stream | None,
    now: datetime,
    since: datetime | None,
    records: Mapping[datetime, HourRecord],
    totals: list[PeriodTotals],
) -> StreamOverview:
    window = Window(_first_day(now), _first_day(now) + timedelta(days=CALENDAR_DAYS))
    first = max(window.start, since) if since else window.start
    with warehouse.of_stream(stream.name if stream else None):
        hours = {hour.start: hour for hour in warehouse.hours(window)}
        chosen = plan(warehouse, Selection(Pending(first)), records)
    return StreamOverview(
        connection_id=stream.connection_id if stream else None,
        api_url=stream.api_url if stream else None,
        totals=totals,
        calendar=calendar_cells(window, hours, records, chosen, now, since),
        months=_months(now, records) if stream else [],
        pushes=overview_queries.pushes(warehouse, stream, now, CALENDAR_DAYS) if stream else [],
    )


def _totals(
    name: str,
    window: Window,
    sums: overview_queries.SummedSpend,
    hours: Mapping[datetime, HourSummary],
    records: Sequence[HourRecord] | None,
) -> PeriodTotals:
    """The totals of a period, with the findings that `loader reconcile` would report."""

    def within(hour: datetime) -> bool:
        return window.start <= hour < window.end

    lines = total_usd(hour.cost for start, hour in hours.items() if within(start))
    amounts = {"spend_logs": sums.cost, "hours": sums.cost, "left_out": sums.left_out, "lines": lines}
    if records is not None:
        accepted = [record.accepted for record in records if record.accepted]
        amounts["sent"] = total_usd(entry.cost for entry in accepted if within(entry.hour))
    sent = amounts.get("sent")
    return PeriodTotals(
        name=name,
        start=iso(window.start),
        end=iso(window.end),
        source=decimal_text(sums.cost),
        left_out=decimal_text(sums.left_out),
        lines=decimal_text(lines),
        sent=None if sent is None else decimal_text(sent),
        lines_difference=decimal_text(lines - sums.cost + sums.left_out),
        sent_difference=None if sent is None else decimal_text(sent - lines),
        agree=sums.cost - sums.left_out == lines == sent,
        findings=findings(Day(window.start.date(), amounts), has_daily_tables=False),
    )


def _usage(warehouse: Warehouse, window: Window) -> HourlyUsage:
    by_model = overview_queries.series(
        warehouse, window, overview_queries.MODEL, overview_queries.MODEL, "unknown model"
    )
    return HourlyUsage(
        hours=[iso(hour) for hour in overview_queries.hours_of(window)],
        cost=decimal_text(total_usd(Decimal(each.cost) for each in by_model)),
        tokens=sum(each.tokens for each in by_model),
        by_model=by_model,
        by_team=overview_queries.series(
            warehouse, window, overview_queries.TEAM, overview_queries.TEAM_NAME, "no team"
        ),
    )


def _months(now: datetime, records: Mapping[datetime, HourRecord]) -> list[MonthLimits]:
    """This month and the one before, newest first."""
    used, this_month = month_usage(records), month_start(now)
    return [_month(start, used.get(start, MonthUsage())) for start in (this_month, month_start(this_month - HOUR))]


def _month(start: datetime, usage: MonthUsage) -> MonthLimits:
    return MonthLimits(
        month=f"{start:%Y-%m}",
        rows=usage.rows,
        rows_limit=MONTH_ROWS,
        bytes=usage.size,
        bytes_limit=MONTH_BYTES,
        share=round(usage.share, 4),
        warns=usage.share >= WARN_AT,
    )
