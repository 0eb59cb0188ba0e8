"""Lines and hours of the bill, as the warehouse has them. Money is an exact decimal, never a float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import orjson

HOUR_COLUMN, COST_COLUMN, AMOUNT_COLUMN = "time/usage_start", "cost/cost", "usage/amount"
EMPTY_FINGERPRINT = "empty"  # of an hour without lines, as the model cbf_hours writes it


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
