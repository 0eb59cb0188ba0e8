"""Lines and hours of the bill, as the warehouse has them. Money is an exact decimal, never a float."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import orjson

from loader.hours import HOUR, Window

HOUR_COLUMN, COST_COLUMN, AMOUNT_COLUMN = "time/usage_start", "cost/cost", "usage/amount"
EMPTY_FINGERPRINT = "empty"  # of an hour without lines, as the model cbf_hours writes it
MAX_EXPONENT = 40  # of a cost in USD, by its first digit
LinesAndCost = tuple[int, Decimal]  # number of lines, cost in USD
NO_LINES: LinesAndCost = (0, Decimal(0))


@dataclass(frozen=True)
class HourSummary:
    """One UTC hour of `cbf_hours`: its line count, cost in USD, tokens, and the fingerprint of its lines.

    With several streams, the figures are those of one stream, and `cost_of_all` is the USD of all streams together.
    """

    start: datetime
    line_count: int
    cost: Decimal
    tokens: int
    fingerprint: str
    cost_of_all: Decimal | None = None

    def emptied(self) -> HourSummary:
        """The same hour without any line of the stream."""
        return replace(self, line_count=0, cost=Decimal(0), tokens=0, fingerprint=EMPTY_FINGERPRINT)


class Line(NamedTuple):
    """One row of `cbf_lines`, encoded.

    `hour` is aware UTC. `cost_text` is the cost in USD: all digits, no exponent. `data` is what dry-run shows and push
    sends: one JSON object in UTF-8 whose values are strings; columns that are null or empty are left out.
    """

    hour: datetime
    cost_text: str
    data: bytes

    @classmethod
    def from_values(cls, hour: datetime, values: dict[str, str]) -> Line:
        """Encode a line from its values by column name, which must include the cost."""
        return cls(hour, values[COST_COLUMN], orjson.dumps(values))

    @property
    def cost(self) -> Decimal:
        """USD."""
        return Decimal(self.cost_text)

    @property
    def values(self) -> dict[str, str]:
        """The values by column name. `data` is parsed on each access: assign the result to use it more than once."""
        values: dict[str, str] = orjson.loads(self.data)
        return values


def sums_by_hour(rows: Iterable[Mapping[str, str]]) -> dict[datetime, LinesAndCost]:
    """The number of rows and their cost (USD) in each UTC hour.

    Args:
        rows: values by column name, as they were sent. A time without an offset is UTC.

    Raises:
        ValueError: the time or the cost of a row is missing or not valid.
    """
    counts, costs = Counter[str](), defaultdict[str, Decimal](Decimal)
    found: dict[datetime, LinesAndCost] = {}
    for row in rows:
        try:
            text, cost = row[HOUR_COLUMN], Decimal(row[COST_COLUMN])
            if not cost.is_finite() or abs(cost.adjusted()) > MAX_EXPONENT:
                raise ValueError("the cost of a row is not an amount of money")
            counts[text] += 1
            costs[text] += cost
        except (KeyError, TypeError, InvalidOperation) as error:
            raise ValueError("the time or the cost of a row is missing or not valid") from error
    for text, count in counts.items():
        try:
            moment = datetime.fromisoformat(text)
            hour = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
        except (TypeError, OverflowError) as error:
            raise ValueError("the time of a row is not a valid text") from error
        lines, cost = found.get(hour, NO_LINES)
        found[hour] = (lines + count, cost + costs[text])
    return found


def newest_window(hours: Sequence[HourSummary], limit: int) -> Window | None:
    """The window from the newest hour back to the one that completes `limit` lines; None if there are no lines.

    Args:
        hours: oldest first.
        limit: how many lines.
    """
    with_lines = [hour for hour in hours if hour.line_count]
    if not with_lines or limit <= 0:
        return None
    count = 0
    for hour in reversed(with_lines):
        count += hour.line_count
        if count >= limit:
            break
    return Window(hour.start, with_lines[-1].start + HOUR)
