"""What CloudZero's answers say. Pure functions of bytes that may come from anywhere: nothing in them is trusted.

Texts come back printable, on one line and short. A value is used only if it has the documented type.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from loader.errors import RetryableError
from loader.text import one_line

MAX_MESSAGE = 500  # characters
MAX_DROP_ID = 200
MAX_ERRORS = 1000  # of a validation
MAX_ROW = 1_000_000  # characters of one row, or of any other value beside the rows


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
    reader = _JsonReader(chunks)
    has_rows = False
    for _ in _members(reader, "{", "}"):
        name = reader.value()
        reader.expect(":")
        if name != "billing_drop":
            reader.value()
        elif has_rows:
            raise _invalid_month()
        else:
            has_rows = True
            for _row in _members(reader, "[", "]"):
                row = reader.value()
                if not isinstance(row, dict):
                    raise _invalid_month()
                yield row
    reader.expect("")
    if not has_rows:
        raise _invalid_month()


def _members(reader: _JsonReader, opening: str, closing: str) -> Iterator[None]:
    """Stops at each member of an object or a list, which is then read."""
    reader.expect(opening)
    if not reader.next_is(closing):
        yield
        while reader.next_is(","):
            reader.expect(",")
            yield
    reader.expect(closing)


class _JsonReader:
    """Reads JSON value by value from chunks of UTF-8. Holds one value and one chunk at a time."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._json = json.JSONDecoder(parse_float=Decimal, parse_constant=_not_a_number)
        self._text, self._at = "", 0

    def next_is(self, expected: str) -> bool:
        """Whether the next character other than white space is this one; empty for the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._read_more():
                return self._text[self._at : self._at + 1] == expected

    def expect(self, expected: str) -> None:
        """Read this character."""
        if not self.next_is(expected):
            raise _invalid_month()
        self._at += len(expected)

    def value(self) -> Any:
        """Read one value."""
        self.next_is("")
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise _invalid_month() from error
            except ValueError as error:  # it may not have arrived as a whole
                if len(self._text) - self._at > MAX_ROW or not self._read_more():
                    raise _invalid_month() from error
                continue
            if end < len(self._text) or not self._read_more():  # else, a number may go on
                self._at = end
                return value

    def _read_more(self) -> bool:
        for chunk in self._chunks:
            self._text, self._at = self._text[self._at :] + self._decoder.decode(chunk), 0
            return True
        return False


def _invalid_month() -> RetryableError:
    return RetryableError("CloudZero's response is not the list 'billing_drop' of a month's rows.")


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
