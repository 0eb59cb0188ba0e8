"""What a line and an hour of the bill are to the loader: values as text, money as exact decimals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import orjson

HOUR_COLUMN, COST_COLUMN, AMOUNT_COLUMN = "time/usage_start", "cost/cost", "usage/amount"
EMPTY_FINGERPRINT = "empty"  # the fingerprint of an hour without lines, as in cbf_hours


@dataclass(frozen=True)
class HourSummary:
    """One hour (UTC) of `cbf_hours`: its lines, USD, tokens, and the fingerprint of its lines.

    Of one stream, where there are several; `cost_of_all` is then the USD of them all.
    """

    start: datetime
    line_count: int
    cost: Decimal
    tokens: int
    fingerprint: str
    cost_of_all: Decimal | None = None

    def emptied(self) -> HourSummary:
        """The same hour when it has no line of the stream."""
        return replace(self, line_count=0, cost=Decimal(0), tokens=0, fingerprint=EMPTY_FINGERPRINT)


class Sendable(Protocol):
    """A line as AnyCost gets it: its hour (UTC), its USD, and its bytes as JSON."""

    @property
    def hour(self) -> datetime:
        """UTC."""

    @property
    def cost(self) -> Decimal:
        """USD."""

    @property
    def data(self) -> bytes:
        """One JSON object: all values are strings, absent ones are left out."""


@dataclass(frozen=True)
class Line:
    """One row of `cbf_lines`: its hour (UTC) and its values as text, absent ones left out."""

    hour: datetime
    values: dict[str, str]

    @property
    def cost(self) -> Decimal:
        """USD."""
        return Decimal(self.values[COST_COLUMN])

    @property
    def data(self) -> bytes:
        """See `Sendable.data`."""
        return orjson.dumps(self.values)
