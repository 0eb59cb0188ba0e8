"""Lines as JSON, made by the engine itself: faster than here. For one whose to_json() quotes a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import orjson

from loader.hours import Window
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN
from loader.warehouse.base import Warehouse, as_text, quoted, utc


class EncodedLine(NamedTuple):
    """A line whose bytes the engine has made. See `warehouse.Sendable`."""

    hour: datetime
    cost_text: str
    data: bytes

    @property
    def cost(self) -> Decimal:
        """USD."""
        return Decimal(self.cost_text)


class _Moments(dict[datetime, datetime]):
    """Timestamps of the engine as hours (UTC): the same object for all lines of an hour, in whatever order they come.

    Its hash is then known, so that the lines of an hour are quickly put together.
    """

    def __missing__(self, start: datetime) -> datetime:
        moment = self[start] = utc(start)
        return moment


def encoded_lines(
    warehouse: Warehouse,
    window: Window | None,
    iso_text: Callable[[str], str],
    encoded: Callable[[str], str],
    as_bytes: Callable[[Any], bytes],
) -> Iterator[EncodedLine]:
    """The lines of the window as they are sent, in no order.

    Args:
        warehouse: what to read from.
        window: which hours; all for None.
        iso_text: makes SQL for a timestamp in the form `"2024-01-15T14:00:00Z"`, quotes included, of a column's.
        encoded: makes SQL for what the engine hands out of a text's.
        as_bytes: makes UTF-8 of what it hands out.
    """
    hour, cost = quoted(HOUR_COLUMN), as_text(COST_COLUMN)
    names, where, parameters = warehouse.line_selection(window)
    document = encoded(f"'{{' || concat_ws(',', {', '.join(_member(name, iso_text) for name in names)}) || '}}'")
    statement = f"select {hour}, {cost}, {document} from {warehouse.relation('cbf_lines')} {where}"  # noqa: S608
    moments = _Moments()
    make = partial(tuple.__new__, EncodedLine)  # what its own __new__ calls, without a call of Python's for each line
    for batch in warehouse.batches(statement, parameters):
        starts, costs, documents = zip(*batch, strict=True)
        yield from map(make, zip(map(moments.__getitem__, starts), costs, map(as_bytes, documents), strict=True))


def _member(name: str, iso_text: Callable[[str], str]) -> str:
    """A column as the member of a JSON object; null when it is absent or empty."""
    key = orjson.dumps(name).decode().replace("'", "''") + ":"
    if name == HOUR_COLUMN:
        return f"'{key}' || {iso_text(quoted(name))}"
    if name in (COST_COLUMN, AMOUNT_COLUMN):
        return f"""'{key}"' || {as_text(name)} || '"'"""
    return f"'{key}' || cast(to_json(nullif({quoted(name)}, '')) as varchar)"
