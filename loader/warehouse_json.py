"""Lines as JSON, made by the engine itself: faster than here. For one whose to_json() quotes a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import orjson

from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN
from loader.warehouse import Warehouse, as_text, quoted, utc
from loader.windows import Window


class EncodedLine(NamedTuple):
    """A line whose bytes the engine has made. See `warehouse.Sendable`."""

    hour: datetime
    cost_text: str
    data: bytes

    @property
    def cost(self) -> Decimal:
        """USD."""
        return Decimal(self.cost_text)


def encoded_lines(warehouse: Warehouse, window: Window | None, iso_text: Callable[[str], str]) -> Iterator[EncodedLine]:
    """The lines of the window as they are sent, in no order.

    Args:
        warehouse: what to read from.
        window: which hours; all for None.
        iso_text: makes SQL for a timestamp in the form `"2024-01-15T14:00:00Z"`, quotes included, of a column's.
    """
    hour, cost = quoted(HOUR_COLUMN), as_text(COST_COLUMN)
    names, where, parameters = warehouse.line_selection(window)
    members = ", ".join(_member(name, iso_text) for name in names)
    statement = (
        f"select {hour}, {cost}, '{{' || concat_ws(',', {members}) || '}}'"  # noqa: S608
        f" from {warehouse.relation('cbf_lines')} {where}"
    )
    # The same object for all lines of an hour, in whatever order they come: its hash is then known, so that they are
    # quickly put together.
    moments: dict[datetime, datetime] = {}
    for start, cost_text, document in warehouse.rows(statement, parameters):
        moment = moments.get(start)
        if moment is None:
            moment = moments[start] = utc(start)
        yield EncodedLine(moment, cost_text, document.encode())


def _member(name: str, iso_text: Callable[[str], str]) -> str:
    """A column as the member of a JSON object; null when it is absent or empty."""
    key = orjson.dumps(name).decode().replace("'", "''") + ":"
    if name == HOUR_COLUMN:
        return f"'{key}' || {iso_text(quoted(name))}"
    if name in (COST_COLUMN, AMOUNT_COLUMN):
        return f"""'{key}"' || {as_text(name)} || '"'"""
    return f"'{key}' || cast(to_json(nullif({quoted(name)}, '')) as varchar)"
