"""Compares cost day by day, to show where it went missing.

The sources are spend logs, LiteLLM's daily tables, hours, lines and the push log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

from loader.delivery.push_log import HourRecord
from loader.hours import Window
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse, utc

ZERO = Decimal(0)
SOURCES = (
    "spend_logs",
    "rejected",
    "litellm_daily_user",
    "litellm_daily_team",
    "ptu_flat_cost",
    "subscription_fee",
    "hours",
    "left_out",
    "lines",
)
# LiteLLM's daily tables are sums of doubles, so they differ from exact sums in the last digits.
TOLERANCE, RELATIVE_TOLERANCE = Decimal("0.000001"), Decimal("1e-9")


@dataclass(frozen=True)
class Day:
    """One UTC day: USD by source, with `sent` as CloudZero accepted it. A source that does not exist has no entry."""

    day: date
    amounts: Mapping[str, Decimal] = field(default_factory=dict)

    def __getitem__(self, source: str) -> Decimal:
        return self.amounts.get(source, ZERO)


def whole_days(window: Window) -> Window:
    """The UTC days that a window touches."""
    day = timedelta(days=1)
    start = window.start.replace(hour=0)
    end = window.end.replace(hour=0)
    return Window(start, end if end == window.end else end + day)


def days(warehouse: Warehouse, window: Window, records: Iterable[HourRecord] | None) -> list[Day]:
    """Read every amount of the window's days.

    Args:
        warehouse: what to read from.
        window: whole UTC days.
        records: the push log of these days, of all streams; None when no stream is known.
    """
    where, parameters = warehouse.between("happened_at", window)
    statement = (
        f"select amount_source, cast(happened_at as date), cast(sum(cost_usd) as {warehouse.text_type})"  # noqa: S608
        f" from {warehouse.relation('reconciliation_amounts')} {where}"
        " group by amount_source, cast(happened_at as date)"
    )
    found: dict[date, dict[str, Decimal]] = defaultdict(dict)
    for source, day, cost in warehouse.rows(statement, parameters):
        found[utc(day).date() if isinstance(day, datetime | str) else day][source] = Decimal(cost)
    if records is not None:
        for entry in (record.accepted for record in records):
            if entry and window.start <= entry.hour < window.end:
                amounts = found[entry.hour.astimezone(timezone.utc).date()]
                amounts["sent"] = amounts.get("sent", ZERO) + entry.cost
        for amounts in found.values():
            amounts.setdefault("sent", ZERO)
    return [Day(day, amounts) for day, amounts in sorted(found.items())]


def findings(day: Day, has_daily_tables: bool) -> list[str]:
    """What the amounts of a day mean, for a person to read; none when all agree."""
    found: list[str] = []
    logs, hours, lines, daily = day["spend_logs"], day["hours"], day["lines"], day["litellm_daily_user"]

    def more(greater: Decimal, less: Decimal) -> bool:
        return greater - less > max(TOLERANCE, RELATIVE_TOLERANCE * abs(greater))

    if has_daily_tables and more(daily, max(logs, hours)):
        found.append(
            f"LiteLLM lost ${decimal_text(daily - max(logs, hours))}: its daily table has it, but its spend logs never"
            " did (or lost it before dbt ran)"
        )
    if has_daily_tables and more(max(logs, hours), daily):
        found.append(
            f"LiteLLM's daily table is missing ${decimal_text(max(logs, hours) - daily)} that its spend logs have"
        )
    if "litellm_daily_invalid" in day.amounts:
        found.append(
            "LiteLLM's daily tables have rows of this day whose amount is not a number, or that have no valid date:"
            " they are left out"
        )
    if day["rejected"]:
        found.append(f"${decimal_text(day['rejected'])} was rejected: see rejected_spend_logs")
    if more(hours, logs - day["rejected"]):
        found.append(
            f"spend logs of ${decimal_text(hours - logs + day['rejected'])} have been deleted; their sums are kept here"
        )
    if more(logs - day["rejected"], hours):
        found.append(
            f"${decimal_text(logs - day['rejected'] - hours)} of spend logs is not summed: run `dbt run`, or `dbt run"
            " --full-refresh` for rows older than lookback_hours"
        )
    if day["left_out"]:
        found.append(f"${decimal_text(day['left_out'])} of providers that the vars leave out")
    if hours - day["left_out"] != lines:
        found.append(f"hours and lines differ by ${decimal_text(hours - day['left_out'] - lines)}: run `dbt build`")
    if "sent" in day.amounts and lines > day["sent"]:
        found.append(f"${decimal_text(lines - day['sent'])} not sent yet")
    if "sent" in day.amounts and lines < day["sent"]:
        found.append(
            f"CloudZero accepted ${decimal_text(day['sent'] - lines)} more than there is now: see `loader status`"
        )
    if day["ptu_flat_cost"]:
        found.append(
            f"${decimal_text(day['ptu_flat_cost'])} of flat cost (PTU) is not in any spend log and is not sent"
        )
    if day["subscription_fee"]:
        found.append(
            f"${decimal_text(day['subscription_fee'])} of monthly subscription fees is not in any spend log and is not"
            " sent"
        )
    return found


HEAD = ("day (UTC)", "spend logs", "LiteLLM daily", "PTU flat", "hours", "lines", "sent", "findings")


def table(found: Sequence[Day]) -> list[list[str]]:
    """Table rows with the columns of HEAD, and their totals."""
    daily = has_daily_tables(found)
    total = Day(date.min, {source: total_usd(day[source] for day in found) for source in (*SOURCES, "sent")})
    rows = []
    for day in [*found, total]:
        is_total = day is total
        rows.append(
            [
                "total" if is_total else day.day.isoformat(),
                _cents(day["spend_logs"]),
                _cents(day["litellm_daily_user"]) if daily else "",
                _cents(day["ptu_flat_cost"]) if daily else "",
                _cents(day["hours"]),
                _cents(day["lines"]),
                _cents(day["sent"]) if "sent" in day.amounts and any("sent" in each.amounts for each in found) else "",
                "" if is_total else "; ".join(findings(day, daily)) or "equal",
            ]
        )
    return rows


def answer(found: Sequence[Day]) -> dict[str, object]:
    """The same as JSON; amounts as text with every digit, null for a source that does not exist."""
    daily = has_daily_tables(found)
    absent = set() if daily else {"litellm_daily_user", "litellm_daily_team", "ptu_flat_cost"}
    if not any("subscription_fee" in day.amounts for day in found):
        absent.add("subscription_fee")
    return {
        "tolerance_of_daily_tables": {"usd": format(TOLERANCE, "f"), "relative": format(RELATIVE_TOLERANCE, "f")},
        "days": [
            {
                "day": day.day.isoformat(),
                **{source: None if source in absent else decimal_text(day[source]) for source in SOURCES},
                "sent": decimal_text(day["sent"]) if "sent" in day.amounts else None,
                "findings": findings(day, daily),
            }
            for day in found
        ],
    }


def has_daily_tables(found: Iterable[Day]) -> bool:
    """Whether LiteLLM's daily tables have anything for these days; a source of files has no such tables."""
    return any("litellm_daily_user" in day.amounts or "litellm_daily_team" in day.amounts for day in found)


def _cents(amount: Decimal) -> str:
    """Two decimals, or all of them when two would show zero."""
    return f"{amount:,.2f}" if amount == 0 or abs(amount) >= Decimal("0.01") else decimal_text(amount)
