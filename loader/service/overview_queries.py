"""The queries of the overview: each covers a bounded range of hours and returns few rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from loader.config.settings import Stream
from loader.delivery.push_log import ACCEPTED, BEGUN, of_place, spellings
from loader.hours import HOUR, Window, iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, HourSummary, Line
from loader.money import decimal_text, total_usd
from loader.service.overview_schema import ChartSeries, LineSummary, PushSummary
from loader.warehouse.base import Warehouse, utc

LARGEST = 8  # series of the chart; all others become one more
MODEL, TEAM, TEAM_NAME = "resource/tag:model", "resource/tag:team_id", "resource/tag:team_alias"
OTHER = "all others"
PUSHES, LINES = 12, 20


@dataclass(frozen=True)
class SummedSpend:
    """USD of the summed spend logs, and the part of it from providers that have no lines."""

    cost: Decimal
    left_out: Decimal


def summed_spend(warehouse: Warehouse, window: Window) -> SummedSpend:
    """The cost of LiteLLM's spend logs in the window, from int_usage__hourly.

    The spend logs themselves are not read: old ones may be deleted, and reading the rest takes a scan, which
    `loader reconcile` does.
    """
    where, parameters = warehouse.between("usage_hour", window)
    statement = (
        f"select provider, cast(sum(cost_usd) as {warehouse.text_type})"  # noqa: S608
        f" from {warehouse.relation('int_usage__hourly')} {where} group by provider"
    )
    costs = {provider: Decimal(cost) for provider, cost in warehouse.rows(statement, parameters)}
    where, parameters = warehouse.between(warehouse.quoted(HOUR_COLUMN), window)
    provider = warehouse.quoted("resource/tag:provider")
    statement = f"select distinct {provider} from {warehouse.relation('cbf_lines')} {where}"  # noqa: S608
    # Lines without a known provider have an empty tag.
    sent = {name or "unknown" for (name,) in warehouse.rows(statement, parameters)}
    left_out = total_usd(cost for name, cost in costs.items() if name not in sent)
    return SummedSpend(total_usd(costs.values()), left_out)


def newest_hour(warehouse: Warehouse) -> datetime | None:
    """The newest hour (UTC) with summed usage; None if there is none."""
    newest = warehouse.moment("max(usage_hour)")
    for (hour,) in warehouse.rows(f"select {newest} from {warehouse.relation('cbf_hours')}"):  # noqa: S608
        return utc(hour) if hour is not None else None
    return None


def series(warehouse: Warehouse, window: Window, key: str, name: str, absent: str) -> list[ChartSeries]:
    """Cost and tokens by hour: one series for each of the largest by cost, largest first, and one for all others.

    Args:
        warehouse: opened for reading.
        window: a few days.
        key: the column of cbf_lines to group by.
        name: the column with the display name.
        absent: the label for lines without a key.
    """
    quoted, lines = warehouse.quoted, warehouse.relation("cbf_lines")
    hour, cost, amount = quoted(HOUR_COLUMN), quoted(COST_COLUMN), quoted(AMOUNT_COLUMN)
    where, parameters = warehouse.between(hour, window)
    key_or_empty = f"coalesce({quoted(key)}, '')"
    statement = (
        f"select {key_or_empty}, max({quoted(name)}), sum({cost}) as cost, sum({amount}) as amount"  # noqa: S608
        f" from {lines} {where} group by {key_or_empty}"
        f" order by cost desc, amount desc, {key_or_empty} limit {LARGEST}"
    )
    chosen = [(each, label) for each, label, *_ in warehouse.rows(statement, parameters)]
    if not chosen:
        return []
    marks = ", ".join(warehouse.placeholder for _ in chosen)
    which = f"case when {key_or_empty} in ({marks}) then {key_or_empty} end"
    statement = (
        f"select {warehouse.moment(hour)}, which, cast(sum({cost}) as {warehouse.text_type}), sum({amount})"  # noqa: S608
        f" from (select {hour}, {cost}, {amount}, {which} as which from {lines} {where}) as marked"
        f" group by {hour}, which"
    )
    found: dict[str | None, dict[datetime, tuple[Decimal, int]]] = defaultdict(dict)
    for start, series_key, total, tokens in warehouse.rows(statement, [*(each for each, _ in chosen), *parameters]):
        found[series_key][utc(start)] = (Decimal(total), int(tokens))
    hours = list(hours_of(window))
    named: list[tuple[str | None, str]] = [(each, label or each or absent) for each, label in chosen]
    if None in found:
        named.append((None, OTHER))
    return [_series(each, label, [found[each].get(hour, (Decimal(0), 0)) for hour in hours]) for each, label in named]


def _series(key: str | None, label: str, values: list[tuple[Decimal, int]]) -> ChartSeries:
    return ChartSeries(
        key=key,
        label=label,
        cost=decimal_text(total_usd(cost for cost, _ in values)),
        tokens=sum(tokens for _, tokens in values),
        costs=[decimal_text(cost) for cost, _ in values],
        token_counts=[tokens for _, tokens in values],
    )


def hours_of(window: Window) -> Iterator[datetime]:
    """The hours of a window, oldest first."""
    start = window.start
    while start < window.end:
        yield start
        start += HOUR


def pushes(warehouse: Warehouse, stream: Stream, now: datetime, days: int) -> list[PushSummary]:
    """The latest pushes of the last `days`, newest first, with the last outcome of each of their hours."""
    mark, log = warehouse.placeholder, warehouse.relation("push_log")
    began_at, ended_at = warehouse.moment("newest.began_at"), warehouse.moment("newest.ended_at")
    at_place, urls = of_place(warehouse, spellings(warehouse, stream.api_url, stream.connection_id))
    statement = f"""
        with events as (
            select
                push_id, operation, outcome, line_count, byte_count, cost_usd, detail, recorded_at, sequence,
                row_number() over (partition by push_id, usage_hour order by sequence desc) as from_last
            from {log}
            where connection_id = {mark} and {at_place} and recorded_at >= {mark}
        ),
        newest as (
            select push_id, max(sequence) as sequence, min(recorded_at) as began_at, max(recorded_at) as ended_at
            from events
            group by push_id
            order by max(sequence) desc
            limit {PUSHES}
        )
        select
            newest.sequence, {began_at}, {ended_at}, min(events.operation), events.outcome, count(*),
            sum(events.line_count), sum(events.byte_count), cast(sum(events.cost_usd) as {warehouse.text_type}),
            max(events.detail)
        from newest
        inner join events on newest.push_id = events.push_id
        where events.from_last = 1
        group by newest.sequence, newest.began_at, newest.ended_at, events.outcome
        order by newest.sequence desc, events.outcome
    """  # noqa: S608
    first = (now - timedelta(days=days)).replace(tzinfo=None)
    by_push: dict[tuple[int, object], list[tuple[object, ...]]] = defaultdict(list)
    for sequence, *rest in warehouse.rows(statement, (stream.connection_id, *urls, first)):
        by_push[int(sequence), rest[0]].append(tuple(rest))
    return [_push(rows) for rows in by_push.values()]


def _push(rows: list[tuple[object, ...]]) -> PushSummary:
    """One push from its rows, of which there is one per outcome."""
    began_at, ended_at, operation = rows[0][:3]
    assert isinstance(began_at, datetime | str)  # noqa: S101
    assert isinstance(ended_at, datetime | str)  # noqa: S101
    hours = {str(row[3]): int(str(row[4])) for row in rows}
    accepted = next((row for row in rows if row[3] == ACCEPTED), None)
    details = [f"{hours[str(row[3])]:,} {str(row[3]).replace('_', ' ')}: {row[8]}" for row in rows if row[8]]
    if set(hours) == {ACCEPTED}:
        outcome = "accepted"
    elif BEGUN in hours:
        outcome = "under_way"
    else:
        outcome = "partly" if accepted else "failed"
    return PushSummary(
        began_at=iso(utc(began_at)),
        ended_at=iso(utc(ended_at)),
        operation=str(operation),
        outcome=outcome,  # type: ignore[arg-type]
        hours=sum(hours.values()),
        hours_accepted=hours.get(ACCEPTED, 0),
        lines=int(str(accepted[5] or 0)) if accepted else 0,
        bytes=int(str(accepted[6] or 0)) if accepted else 0,
        cost=decimal_text(Decimal(str(accepted[7] or 0))) if accepted else "0",
        detail="; ".join(details),
    )


def newest_lines(warehouse: Warehouse, hours: Sequence[HourSummary]) -> list[LineSummary]:
    """The newest lines of these hours."""
    return [_line(line) for line in warehouse.newest_lines(hours, LINES)]


def _line(line: Line) -> LineSummary:
    values = line.values

    def tag(*names: str) -> str:
        return next((values[f"resource/tag:{name}"] for name in names if f"resource/tag:{name}" in values), "")

    return LineSummary(
        hour=values[HOUR_COLUMN],
        provider=values.get("lineitem/cloud_provider", ""),
        model=tag("model"),
        owner=tag("team_alias", "team_id"),
        user=tag("user_email", "user_id"),
        tokens=int(values.get(AMOUNT_COLUMN, "0")),
        cost=values[COST_COLUMN],
        resource_id=values["resource/id"],
    )
