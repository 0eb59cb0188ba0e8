"""Hours that another connection still holds although they are now sent to this one: CloudZero adds both."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from loader.config.settings import CONNECTION_ID
from loader.delivery.push_log import of_place, spellings
from loader.hours import HOUR, Window
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse, utc


@dataclass(frozen=True)
class HeldElsewhere:
    """What another connection holds of the hours that are being sent: how many hours, and their USD."""

    connection_id: str
    hours: int
    cost: Decimal

    def __str__(self) -> str:
        return (
            f"the connection {self.connection_id} also holds {self.hours:,} of these hours"
            f" (${decimal_text(self.cost)}), and CloudZero adds both. No {CONNECTION_ID} variable names it any more:"
            f" set one for one more push ({CONNECTION_ID}_OLD), which empties these hours there, or delete the"
            " connection at CloudZero."
        )


def held_elsewhere(
    warehouse: Warehouse, api_url: str, named: Collection[str], hours: Collection[datetime]
) -> Iterator[HeldElsewhere]:
    """What connections of this host hold of these hours (UTC) according to the push log, other than those `named`."""
    if not hours:
        return
    between, bounds = warehouse.between("usage_hour", Window(min(hours), max(hours) + HOUR))
    hour = warehouse.moment("newest.usage_hour")
    at_host, urls = of_place(warehouse, spellings(warehouse, api_url))
    statement = f"""
        with accepted as (
            select connection_id, usage_hour, sequence, cost_usd
            from {warehouse.relation("push_log")}
            {between} and outcome = 'accepted' and {at_host}
        ),
        newest as (
            select connection_id, usage_hour, max(sequence) as sequence
            from accepted group by connection_id, usage_hour
        )
        select newest.connection_id, {hour}, cast(accepted.cost_usd as {warehouse.text_type})
        from newest
        inner join accepted
            on
                newest.connection_id = accepted.connection_id
                and newest.usage_hour = accepted.usage_hour
                and newest.sequence = accepted.sequence
        where accepted.cost_usd > 0
        order by newest.connection_id
    """  # noqa: S608
    found: dict[str, dict[datetime, Decimal]] = {}
    for connection_id, start, cost in warehouse.rows(statement, (*bounds, *urls)):
        if connection_id not in named and utc(start) in hours:
            found.setdefault(connection_id, {})[utc(start)] = Decimal(cost)
    for connection_id, costs in found.items():
        yield HeldElsewhere(connection_id, len(costs), total_usd(costs.values()))
