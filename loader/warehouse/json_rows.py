"""Lines that the engine itself encodes as JSON, which is faster than encoding them in Python.

For engines that have `concat_ws` and a `to_json()` that quotes and escapes a text: DuckDB and PostgreSQL.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from loader.hours import Window
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, Line
from loader.warehouse.base import Warehouse, quoted, utc


class JsonWarehouse(Warehouse):
    """A warehouse whose engine makes the JSON document of each line."""

    @abstractmethod
    def iso_text(self, column: str) -> str:
        """SQL for a timestamp column as text such as `2024-01-15T14:00:00Z`."""

    def selected_document(self, document: str) -> str:
        """SQL that selects a JSON document, given as an SQL expression for a text."""
        return document

    @staticmethod
    @abstractmethod
    def document_bytes(document: Any) -> bytes:
        """A document as the driver returns it, as UTF-8."""

    def _read_lines(self, window: Window | None, clauses: str = "") -> Iterator[Line]:
        """See `Warehouse._read_lines`."""
        names, where, parameters = self.line_selection(window)
        members = ", ".join(map(self._member, names))
        document = self.selected_document(f"'{{' || concat_ws(',', {members}) || '}}'")
        statement = (
            f"select {quoted(HOUR_COLUMN)}, {_decimal_as_text(COST_COLUMN)}, {document}"  # noqa: S608
            f" from {self.relation('cbf_lines')} {where} {clauses}"
        )
        hours = _UtcHours()
        make_line = partial(tuple.__new__, Line)  # what Line() calls, without a call of a Python function for each line
        for batch in self.batches(statement, parameters):
            starts, costs, documents = zip(*batch, strict=True)
            fields = zip(map(hours.__getitem__, starts), costs, map(self.document_bytes, documents), strict=True)
            yield from map(make_line, fields)

    def _member(self, name: str) -> str:
        """SQL for a column as a member of the JSON object; null when the column is null or empty.

        `concat_ws` skips nulls, so such a column is left out.
        """
        key = orjson.dumps(name).decode().replace("'", "''") + ":"
        if name == HOUR_COLUMN:
            return f"""'{key}"' || {self.iso_text(quoted(name))} || '"'"""
        if name == COST_COLUMN:
            return f"""'{key}"' || {_decimal_as_text(name)} || '"'"""
        if name == AMOUNT_COLUMN:
            return f"""'{key}"' || cast({quoted(name)} as varchar) || '"'"""
        return f"'{key}' || cast(to_json(nullif({quoted(name)}, '')) as varchar)"


class _UtcHours(dict[datetime, datetime]):
    """The engine's timestamps as aware UTC: the same object for all lines of an hour, in whatever order they come.

    A datetime caches its hash, so the lines of an hour are grouped faster when they share one object.
    """

    def __missing__(self, start: datetime) -> datetime:
        hour = self[start] = utc(start)
        return hour


def _decimal_as_text(name: str) -> str:
    """SQL for a column of USD as text, all digits without trailing zeros."""
    return f"rtrim(rtrim(cast({quoted(name)} as varchar), '0'), '.')"
