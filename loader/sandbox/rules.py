"""What the sandbox takes and holds: limits, answers, months of rows, and the check of a body. No state, no lock."""

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

# The usual context rounds to 28 digits, which a large sum with 18 decimals needs more than.
EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact])


@dataclass(frozen=True)
class Limits:
    """What one stream may hold (docs.cloudzero.com/docs/anycost-send-stream-data).

    Bytes of a month are those of its rows as compact JSON; how CloudZero counts them is not documented.
    """

    body_bytes: int = 5_000_000
    month_rows: int = 1_000_000
    month_bytes: int = 70_000_000

    @classmethod
    def none(cls) -> Limits:
        """No limit at all, for benchmarks."""
        return cls(2**62, 2**62, 2**62)


@dataclass(frozen=True)
class Response:
    """One answer: JSON unless it says otherwise. `rows` is how many rows were taken, for the request log.

    `cut`: the connection ends without an answer. `kept`: a repeated idempotency key gets it again. `fault` is the
    kind that was made of it, for the request log.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    rows: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    kept: bool = True
    fault: str = ""


class RequestError(Exception):
    """A request that gets an error answer."""

    def __init__(self, status: int, message: str, kind: str = "ValidationError") -> None:
        super().__init__(message)
        content: dict[str, object] = (
            {"error": {"message": message, "type": kind}} if status in (400, 404, 409) else {"message": message}
        )
        # Whether another request is under way says nothing of the next try, so that answer is not repeated to it.
        self.answer = Response(status, orjson.dumps(content), kept=status != 409)


@dataclass
class StoredHour:
    """The rows of one hour, each as the bytes of its JSON; their cost in USD and their size in bytes."""

    rows: list[bytes] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    size: int = 0

    def add(self, row: dict[str, str]) -> None:
        """Append a row."""
        # A copy: what orjson returns keeps the 4 kB it was written in, which a million rows would hold on to.
        content = bytes(memoryview(orjson.dumps(row)))
        self.rows.append(content)
        self.size += len(content)
        self.cost = EXACT.add(self.cost, Decimal(row["cost/cost"]))

    def and_then(self, later: StoredHour) -> StoredHour:
        """The rows of both, in a new hour: one that is held is never changed, so that it can be read meanwhile."""
        return StoredHour(self.rows + later.rows, EXACT.add(self.cost, later.cost), self.size + later.size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows in whatever order they came, one in each line. Only of an hour that is held."""
        return sha256(b"\n".join(sorted(self.rows))).hexdigest()


@dataclass
class StoredMonth:
    """What one stream holds of one month (`YYYY-MM`)."""

    hours: dict[datetime, StoredHour]
    changed_at: datetime
    drop_id: str = ""

    def row_count(self) -> int:
        """Rows over all hours."""
        return sum(len(hour.rows) for hour in self.hours.values())

    def size(self) -> int:
        """Bytes over all hours."""
        return sum(hour.size for hour in self.hours.values())

    def cost(self) -> Decimal:
        """USD over all hours, exact."""
        return exact_sum(hour.cost for hour in self.hours.values())

    def describe(self, limits: Limits) -> dict[str, Any]:
        """What the state says of it."""
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
                    "rows": len(hour.rows), "cost": format(hour.cost, "f"), "digest": hour.digest,
                }
                for start, hour in sorted(self.hours.items())
            },
        }  # fmt: skip


@dataclass(frozen=True)
class ParsedBody:
    """A checked body: its month, operation and rows by hour."""

    month: str
    sent_month: str
    operation: str
    hours: dict[datetime, StoredHour]

    @property
    def row_count(self) -> int:
        """Rows over all hours."""
        return sum(len(hour.rows) for hour in self.hours.values())


def check_body(content: bytes | None, body_bytes: int) -> ParsedBody:
    """The body, or a refusal that names the row and the column.

    Raises:
        RequestError: it breaks a rule, or is larger than `body_bytes`; None is larger than anything.
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
        raise RequestError(400, "The body names no month")
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
    """Sum of USD amounts without any rounding."""
    return reduce(EXACT.add, amounts, Decimal(0))


def _load_validator() -> Any:
    schema = orjson.loads(resources.files("loader").joinpath("billing_drop.schema.json").read_bytes())
    return jsonschema_rs.validator_for(schema)


VALIDATOR = _load_validator()


def _where(path: list[str | int], message: str) -> str:
    """A schema error in one line: which row, which column, what is wrong."""
    if len(path) >= 2 and path[0] == "data":
        column = f", {path[2]}" if len(path) > 2 else ""
        return f"row {path[1]}{column}: {message[:300]}"
    return f"{'/'.join(map(str, path)) or 'body'}: {message[:300]}"


def _utc(text: str, name: str) -> datetime:
    """The moment in UTC, its fraction of a second no more than told from zero: Pythons differ in what they read."""
    try:
        moment = datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))
        moment = moment.replace(microsecond=1 if re.search(r"\.0*[1-9]", text) else 0)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise RequestError(400, f"{name}: {text!r} is no time") from error


def _hour_of(text: str, month: str, index: int) -> datetime:
    start = _utc(text, f"row {index}, time/usage_start")
    if start.strftime("%Y-%m") != month:
        raise RequestError(400, f"row {index}, time/usage_start: {text} does not lie in the body's month, {month}")
    if (start.minute, start.second, start.microsecond) != (0, 0, 0):
        raise RequestError(400, f"row {index}, time/usage_start: {text} is not on the hour")
    return start
