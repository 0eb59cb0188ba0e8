"""What CloudZero's answers say. Pure functions of bytes that may come from anywhere: nothing in them is trusted.

Texts come back printable, on one line and short. A value is used only if it has the documented type.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import ijson

from loader.errors import RetryableError, UnknownOutcomeError
from loader.lines import LinesAndCost, sums_by_hour
from loader.text import one_line

MAX_MESSAGE = 500  # characters
MAX_DROP_ID = 200
MAX_ERRORS = 1000  # of a validation
MAX_ROW = 1_000_000  # characters of one row, or of any other value beside the rows
MAX_CHUNK = 1_000_000  # bytes
MAX_DEPTH = 100  # objects and lists in each other


def content_of(content: bytes) -> Any:
    """The JSON of an answer, whatever its Unicode encoding.

    Raises:
        ValueError: it is not JSON (RFC 8259, which has no NaN and no Infinity), or nested too deeply.
    """
    text = content.decode(json.detect_encoding(content), "replace")
    try:
        return json.loads(text, parse_constant=_not_a_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def message_of(content: bytes, secret: str) -> str:
    """The message of an error response, of at most 500 characters, with the key masked: gateways quote it."""
    try:
        found = content_of(content)
        error = found.get("error", found) if isinstance(found, dict) else found
        text = error.get("message") if isinstance(error, dict) else error
        text = "" if text is None else _as_text(text)
    except ValueError:
        text = content.decode("utf-8", "replace")
    return clean(text or "no reason given", secret).rstrip(".")


def clean(text: str, secret: str, limit: int = MAX_MESSAGE) -> str:
    """A text of the server, to be shown: printable, on one line, with the key masked."""
    return one_line(text.replace(secret, "***"), limit)


def connection_of(found: Any) -> dict[str, Any]:
    """The object `connection` of an answer.

    Raises:
        RetryableError: there is none.
    """
    value = found.get("connection") if isinstance(found, dict) else None
    if not isinstance(value, dict):
        raise RetryableError("CloudZero's response has no valid 'connection', so the outcome is unknown.")
    return value


def _as_text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        return ""


def row_count(connection: dict[str, Any]) -> int:
    """The number of rows that were stored: a whole number.

    Raises:
        RetryableError: it is missing or anything else.
    """
    count = connection.get("row_count")
    if isinstance(count, float) and count.is_integer():  # JSON has one type of number
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool):
        raise RetryableError("CloudZero's response has no valid row_count, so it is unknown what was stored.")
    return count


def drop_id(connection: dict[str, Any], secret: str) -> str:
    """The id of the billing drop; empty if it is missing or not an id."""
    value = connection.get("drop_id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return clean(str(value), secret, MAX_DROP_ID)


def validation_errors(connection: dict[str, Any], secret: str) -> list[str]:
    """The errors that CloudZero's validation found, or that it gave no reason; empty if the body is valid."""
    given = connection.get("errors")
    listed = given if isinstance(given, list) else [given] if given else []
    errors = [clean(_as_text(each), secret) for each in listed[:MAX_ERRORS]]
    return errors or ([] if connection.get("is_valid") is True else ["it is not valid, but no reason was given"])


def retry_after(value: str | None) -> float | None:
    """The seconds to wait by a `Retry-After` header, which is a number or an HTTP date; None if it is neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (TypeError, ValueError, IndexError, OverflowError, OSError):
        return None


def month_rows(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of a month, `{"billing_drop": [...]}`, one by one while they arrive.

    Raises:
        RetryableError: it is not such an object, or a row is too large.
    """
    source = _Source(chunks)
    events = _events(source)
    try:
        _require(next(events)[0] == "start_map")
        has_rows = False
        for event, name in events:
            if event == "end_map":
                break
            if name != "billing_drop":
                _value(*next(events), events)
                continue
            _require(not has_rows and next(events)[0] == "start_array")
            has_rows = True
            for kind, value in events:
                if kind == "end_array":
                    break
                _require(kind == "start_map")
                yield _value(kind, value, events)
        _require(has_rows and next(events, None) is None)
    except (ijson.JSONError, UnicodeDecodeError, StopIteration) as error:
        raise _invalid_month() from error


def _require(is_valid: bool) -> None:
    if not is_valid:
        raise _invalid_month()


def _events(source: _Source) -> Iterator[tuple[str, Any]]:
    for event, value in ijson.basic_parse(source):
        source.unparsed = 0
        yield event, value


def _value(event: str, value: Any, events: Iterator[tuple[str, Any]]) -> Any:
    """The value that begins with this event."""
    builder, depth, size = ijson.ObjectBuilder(), 0, 0
    while True:
        builder.event(event, value)
        depth += event.startswith("start_") - event.startswith("end_")
        size += 1 + (len(value) if isinstance(value, str) else 0)
        _require(size <= MAX_ROW and depth <= MAX_DEPTH)
        if not depth:
            return builder.value
        event, value = next(events)


class _Source:
    """The file that ijson reads: chunks of UTF-8, with or without a byte order mark."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = (chunk for chunk in chunks if chunk)
        self._is_first = True
        self.unparsed = 0  # bytes since the last event, so that no text can be larger than a row

    def read(self, size: int = -1) -> bytes:
        """The next chunk, whatever its size. ijson asks for none first, to see that these are bytes."""
        if not size:
            return b""
        chunk = next(self._chunks, b"")
        if self._is_first:
            while chunk and len(chunk) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(chunk):
                more = next(self._chunks, b"")
                if not more:
                    break
                chunk += more
            chunk, self._is_first = chunk.removeprefix(codecs.BOM_UTF8), False
        self.unparsed += len(chunk)
        _require(self.unparsed <= MAX_ROW + MAX_CHUNK)
        return chunk


def rows_by_hour(rows: Iterable[Mapping[str, str]]) -> dict[datetime, LinesAndCost]:
    """The rows that AnyCost returned, summed by hour.

    Raises:
        UnknownOutcomeError: the time or the cost of a row is missing or not valid.
    """
    try:
        return sums_by_hour(rows)
    except ValueError as error:
        raise UnknownOutcomeError("CloudZero returned a row whose time or cost is not valid.") from error


def _invalid_month() -> RetryableError:
    return RetryableError("CloudZero's response is not the list 'billing_drop' of a month's rows.")


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
