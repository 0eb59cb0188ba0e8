"""The sandbox's limits, responses, stored months and the validation of bodies. No shared state, no locks."""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from functools import cached_property, reduce
from hashlib import sha256
from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

# The default context rounds to 28 digits, which is not enough for a large sum with 18 decimal places.
EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact])


@dataclass(frozen=True)
class Limits:
    """What one stream may hold (docs.cloudzero.com/docs/anycost-send-stream-data).

    The size of a month is that of its rows as compact JSON. How CloudZero counts it is not documented.
    """

    body_bytes: int = 5_000_000
    month_rows: int = 1_000_000
    month_bytes: int = 70_000_000

    @classmethod
    def none(cls) -> Limits:
        """No limits, for benchmarks."""
        return cls(2**62, 2**62, 2**62)


@dataclass(frozen=True)
class Response:
    """An HTTP response, by default JSON.

    `rows` is the number of rows accepted, and `fault` the kind of injected fault, both for the request log. `is_cut`:
    the connection is closed without sending the response. `is_stored`: a repeated idempotency key gets it again.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    rows: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    is_stored: bool = True
    fault: str = ""


class RequestError(Exception):
    """A request that gets an error response."""

    def __init__(self, status: int, message: str, kind: str = "ValidationError") -> None:
        super().__init__(message)
        content: dict[str, object] = (
            {"error": {"message": message, "type": kind}} if status in (400, 404, 409) else {"message": message}
        )
        # A 409 is not repeated for the same idempotency key: the next attempt may find the stream free.
        self.response = Response(status, orjson.dumps(content), is_stored=status != 409)


@dataclass
class StoredHour:
    """The rows of one hour, each as JSON bytes, with their cost in USD and size in bytes."""

    rows: list[bytes] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    size: int = 0

    def add(self, row: dict[str, str]) -> None:
        """Append a row."""
        # Copied, because the result of orjson keeps its 4 kB buffer, which adds up for a million rows.
        content = bytes(memoryview(orjson.dumps(row)))
        self.rows.append(content)
        self.size += len(content)
        self.cost = EXACT.add(self.cost, Decimal(row["cost/cost"]))

    def and_then(self, later: StoredHour) -> StoredHour:
        """A new hour with the rows of both. A stored hour is never modified, so that it can be read concurrently."""
        return StoredHour(self.rows + later.rows, EXACT.add(self.cost, later.cost), self.size + later.size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the sorted rows, one per line. Cached, so only use it on a stored hour, which is not modified."""
        return sha256(b"\n".join(sorted(self.rows))).hexdigest()


@dataclass
class StoredMonth:
    """The rows that a stream has stored for one month."""

    hours: dict[datetime, StoredHour]
    changed_at: datetime
    drop_id: str = ""

    def row_count(self) -> int:
        """Number of rows."""
        return sum(len(hour.rows) for hour in self.hours.values())

    def size(self) -> int:
        """Size in bytes."""
        return sum(hour.size for hour in self.hours.values())

    def cost(self) -> Decimal:
        """Exact total in USD."""
        return exact_sum(hour.cost for hour in self.hours.values())

    def describe(self, limits: Limits) -> dict[str, Any]:
        """The month as JSON, for the sandbox's state."""
        rows, size = self.row_count(), self.size()
        return {
            "drop_id": self.drop_id,
            "rows": rows,
            "bytes": size,
            "cost": format(self.cost(), "f"),
            "rows_of_limit": round(rows / limits.month_rows, 4),
            "bytes_of_limit": round(size / limits.month_bytes, 4),
            "hours": {
                start.strftime("%Y-%m-%dT%H:%M:%SZ"): {
                    "rows": len(hour.rows),
                    "cost": format(hour.cost, "f"),
                    "digest": hour.digest,
                }
                for start, hour in sorted(self.hours.items())
            },
        }


@dataclass(frozen=True)
class ParsedBody:
    """A valid body: its month (`YYYY-MM`, and as it was sent), operation, and rows by hour."""

    month: str
    sent_month: str
    operation: str
    hours: dict[datetime, StoredHour]

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return sum(len(hour.rows) for hour in self.hours.values())


def check_body(content: bytes | None, body_bytes: int) -> ParsedBody:
    """Parse and validate a body.

    Args:
        content: the body; None if it was too large to be read.
        body_bytes: the maximum size.

    Raises:
        RequestError: the body is invalid (the message names the row and the column) or too large.
    """
    if content is None or len(content) > body_bytes:
        raise RequestError(413, "Request Entity Too Large")
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"The body is not JSON: {error}") from error
    for problem in VALIDATOR.iter_errors(body):
        raise RequestError(400, _where(problem.instance_path, problem.message))
    if "month" not in body:
        raise RequestError(400, "The body has no month")
    month = _utc(body["month"], "month").isoformat()[:7]
    hours: dict[datetime, StoredHour] = {}
    starts: dict[str, datetime] = {}
    for index, row in enumerate(body["data"]):
        text = row["time/usage_start"]
        start = starts.get(text)
        if start is None:
            start = starts[text] = _hour_of(text, month, index)
        hours.setdefault(start, StoredHour()).add(row)
    return ParsedBody(month, body["month"], body.get("operation", "replace_drop"), hours)


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of USD amounts, without rounding."""
    return reduce(EXACT.add, amounts, Decimal(0))


def _load_validator() -> Any:
    schema = orjson.loads(resources.files("loader").joinpath("billing_drop.schema.json").read_bytes())
    return jsonschema_rs.validator_for(schema)


VALIDATOR = _load_validator()


def _where(path: list[str | int], message: str) -> str:
    """A schema error in one line: the row, the column and the problem."""
    if len(path) >= 2 and path[0] == "data":
        column = f", {path[2]}" if len(path) > 2 else ""
        return f"row {path[1]}{column}: {message[:300]}"
    return f"{'/'.join(map(str, path)) or 'body'}: {message[:300]}"


def _utc(text: str, name: str) -> datetime:
    """The time in UTC. Of a fraction of a second, it keeps only whether it is zero: Python would cut it off."""
    try:
        moment = datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))
        moment = moment.replace(microsecond=1 if re.search(r"\.0*[1-9]", text) else 0)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise RequestError(400, f"{name}: {text!r} is not a valid time") from error


def _hour_of(text: str, month: str, index: int) -> datetime:
    start = _utc(text, f"row {index}, time/usage_start")
    if start.strftime("%Y-%m") != month:
        raise RequestError(400, f"row {index}, time/usage_start: {text} is not in the month of the body, {month}")
    if (start.minute, start.second, start.microsecond) != (0, 0, 0):
        raise RequestError(400, f"row {index}, time/usage_start: {text} is not on the hour")
    return start
