"""Spend that LiteLLM's own daily tables have and its spend logs do not, as dbt found it in model `unlogged_spend`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from loader.errors import ConfigurationError
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse, utc

TOO_MUCH = Decimal("0.1")  # share of a day's spend without which a run fails; less is a warning
REMEDY = (
    "Check that LiteLLM's general_settings do not have `disable_spend_logs: true`; `loader reconcile` compares each day"
)


@dataclass(frozen=True)
class UnloggedDay:
    """A UTC day: USD by LiteLLM's daily tables, and USD of the spend logs that were read."""

    day: date
    daily: Decimal
    logged: Decimal

    @property
    def missing(self) -> Decimal:
        """USD that no spend log has."""
        return self.daily - self.logged

    def as_json(self) -> dict[str, str]:
        """The same as JSON; amounts as text with every digit."""
        return {"day": self.day.isoformat(), "daily": decimal_text(self.daily), "logged": decimal_text(self.logged)}


def read_unlogged(warehouse: Warehouse) -> tuple[UnloggedDay, ...]:
    """Read the days, oldest first; none from a warehouse that an earlier version built.

    Raises:
        ConfigurationError: as `Warehouse.batches`.
    """
    # Files have no daily tables.
    if warehouse.target.type != "postgres" or not warehouse.has("unlogged_spend"):
        return ()
    statement = (
        f"select usage_date, daily_cost_usd, logged_cost_usd from {warehouse.relation('unlogged_spend')}"  # noqa: S608
        " order by usage_date"
    )
    return tuple(
        UnloggedDay(utc(day).date() if isinstance(day, datetime) else day, Decimal(daily), Decimal(logged))
        for day, daily, logged in warehouse.rows(statement)
    )


def describe_unlogged(days: Sequence[UnloggedDay]) -> str:
    """`LiteLLM's daily tables have $100 of 2026-11-25 that its spend logs do not have, …`."""
    first, last = days[0].day.isoformat(), days[-1].day.isoformat()
    named = first if first == last else f"{len(days)} days from {first} to {last}"
    total = decimal_text(total_usd(each.missing for each in days))
    missing = f"${total} of {named} that its spend logs do not have"
    return f"LiteLLM's daily tables have {missing}, so it is in no line. {REMEDY}"


def require_logged(days: Sequence[UnloggedDay]) -> None:
    """Fail if a large part of a day's spend is in no spend log.

    Raises:
        ConfigurationError: it is.
    """
    if far := [each for each in days if each.missing > TOO_MUCH * each.daily]:
        raise ConfigurationError(f"{describe_unlogged(far)}. Everything else was summed.")
