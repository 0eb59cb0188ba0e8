"""Money as text, from exact decimals; never through a float."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal


def decimal_text(value: Decimal) -> str:
    """An amount with all its digits, without exponent or trailing zeros: `0.00083575` for Decimal('8.35750E-4')."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def total_usd(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum; 0 for none."""
    return sum(amounts, Decimal(0))
