"""A local AnyCost that keeps the limits CloudZero documents: for the demo, the tests and users' rehearsals.

The rules are of docs.cloudzero.com/docs/anycost-send-stream-data, /reference/authorization, /reference/idempotency and
the published API description, shipped as billing_drop.schema.json. What the real service does beyond them is not
known. Two choices are ours: a second request for a stream while one is under way, which CloudZero says it does not
support, is answered 409 and counted; and a body without a month is refused.
"""

from __future__ import annotations

import decimal
import hmac
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import reduce
from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

ROOT = "/v2/connections/billing/anycost"
TEST_NAMESPACE_LIFE = timedelta(hours=1)
KEPT_ANSWERS, KEPT_REQUESTS = 10_000, 200
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
class Answer:
    """One answer: JSON unless it says otherwise. `rows` is how many rows were taken, for the request log."""

    status: int
    body: bytes
    content_type: str = "application/json"
    rows: int = 0


class Refusal(Exception):  # noqa: N818
    """A request that gets an error answer."""

    def __init__(self, status: int, message: str, kind: str = "ValidationError") -> None:
        super().__init__(message)
        content: dict[str, object] = (
            {"error": {"message": message, "type": kind}} if status in (400, 404, 409) else {"message": message}
        )
        self.answer = Answer(status, orjson.dumps(content))


@dataclass
class Hour:
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

    def and_then(self, later: Hour) -> Hour:
        """The rows of both, in a new hour: one that is held is never changed, so that it can be read meanwhile."""
        return Hour(self.rows + later.rows, EXACT.add(self.cost, later.cost), self.size + later.size)


@dataclass
class Month:
    """What one stream holds of one month (`YYYY-MM`)."""

    hours: dict[datetime, Hour]
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


@dataclass(frozen=True)
class Body:
    """A checked body: its month, operation and rows by hour."""

    month: str
    sent_month: str
    operation: str
    hours: dict[datetime, Hour]

    @property
    def row_count(self) -> int:
        """Rows over all hours."""
        return sum(len(hour.rows) for hour in self.hours.values())


Stream = tuple[str, str]  # the value of `cloudzero-test-key`, empty outside of tests, and the connection id
RequestKey = tuple[str, str, str]  # method, path, value of `cloudzero-idempotency-key`


class AnyCostSandbox:
    """The rules and the state; no sockets. `handle` is the only entrance."""

    def __init__(
        self,
        api_key: str,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.limits = limits or Limits()
        self.concurrent_requests_seen = 0
        self._api_key = api_key
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: set[Stream] = set()
        self._under_way: set[RequestKey] = set()
        self._answers: OrderedDict[RequestKey, Answer] = OrderedDict()
        self._streams: dict[Stream, dict[str, Month]] = {}
        self._requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self._drops = 0

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Answer one request. `body` is None when it was too large to be read at all.

        A repeated `cloudzero-idempotency-key` gets the first answer to this method and path again, errors included,
        before key, size or anything else is looked at (docs.cloudzero.com/reference/idempotency). While the first is
        still under way there is no answer to repeat: that is a concurrent request, and its 409 is not kept.
        """
        headers = {name.lower(): value for name, value in headers.items()}
        if method == "GET" and path in ("/", "/state"):
            return self._look(path)
        key = (method, path, headers.get("cloudzero-idempotency-key", ""))
        answer = repeated = self._repeated(key)
        if answer is None:
            answer = self._first(key, headers, body)
        self._note(method, path, answer, len(body or b""), 0 if repeated else answer.rows)
        return answer

    def state(self) -> dict[str, Any]:
        """All that is held, with exact sums as text; never a key."""
        with self._lock:
            streams = {
                connection: {name: self._describe(month) for name, month in sorted(months.items())}
                for (test_key, connection), months in sorted(self._streams.items())
                if not test_key
            }
            return {
                "streams": streams,
                "limits": {
                    "body_bytes": self.limits.body_bytes, "month_rows": self.limits.month_rows,
                    "month_bytes": self.limits.month_bytes,
                },
                "concurrent_requests_seen": self.concurrent_requests_seen,
                "requests": list(self._requests),
            }  # fmt: skip

    def _repeated(self, key: RequestKey) -> Answer | None:
        """What a repeated request gets; None for a first one, which is under way from here on."""
        if not key[2]:
            return None
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            if key in self._under_way:
                self.concurrent_requests_seen += 1
                return _conflict().answer
            self._under_way.add(key)
            return None

    def _first(self, key: RequestKey, headers: Mapping[str, str], body: bytes | None) -> Answer:
        try:
            try:
                answer = self._route(key[0], key[1], headers, body)
            except Refusal as refusal:
                answer = refusal.answer
            if key[2]:
                with self._lock:
                    self._answers[key] = answer
                    if len(self._answers) > KEPT_ANSWERS:
                        self._answers.popitem(last=False)
            return answer
        finally:
            with self._lock:
                self._under_way.discard(key)

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._api_key.encode()):
            raise Refusal(403, "User is not authorized to access this resource")
        if method == "POST" and path == f"{ROOT}/validate_billing_drop":
            return self._validate(body)
        match = re.fullmatch(rf"{ROOT}/([^/]+)/billing_drops(?:/(\d{{4}}-\d\d))?", path)
        if not match:
            raise Refusal(404, f"There is no {method} {path}", "NotFound")
        stream, month = (headers.get("cloudzero-test-key", ""), match[1]), match[2]
        if method == "POST" and month is None:
            return self._store(stream, body)
        if method == "GET":
            return self._read(stream, month)
        raise Refusal(404, f"There is no {method} {path}", "NotFound")

    def _store(self, stream: Stream, content: bytes | None) -> Answer:
        with self._lock:
            if stream in self._busy:
                self.concurrent_requests_seen += 1
                raise _conflict()
            self._busy.add(stream)
        try:
            return self._apply(self._checked(content), stream)
        finally:
            with self._lock:
                self._busy.discard(stream)

    def _apply(self, body: Body, stream: Stream) -> Answer:
        held = self._held(stream).get(body.month)
        kept = {} if held is None or body.operation == "replace_drop" else dict(held.hours)
        for start, hour in body.hours.items():
            kept[start] = kept[start].and_then(hour) if body.operation == "sum" and start in kept else hour
        after = Month(kept, self._clock())
        if after.row_count() > self.limits.month_rows:
            raise Refusal(400, f"{body.month} would hold more than {self.limits.month_rows:,} rows")
        if after.size() > self.limits.month_bytes:
            raise Refusal(400, f"{body.month} would hold more than {self.limits.month_bytes:,} bytes")
        with self._lock:
            self._drops += 1
            after.drop_id = f"drop-{self._drops:08d}"
            self._streams.setdefault(stream, {})[body.month] = after
        said = {"drop_id": after.drop_id, "month": body.sent_month, "row_count": body.row_count}
        return Answer(200, orjson.dumps({"connection": said}), rows=body.row_count)

    def _validate(self, content: bytes | None) -> Answer:
        errors: list[str] = []
        try:
            self._checked(content)
        except Refusal as refusal:
            if refusal.answer.status != 400:
                raise
            errors = [str(refusal)]
        return Answer(200, orjson.dumps({"connection": {"is_valid": not errors, "errors": errors}}))

    def _read(self, stream: Stream, name: str | None) -> Answer:
        months = self._held(stream)
        if name is None:
            drops = [
                {"drop_id": month.drop_id, "month": each, "row_count": month.row_count()}
                for each, month in sorted(months.items())
            ]
            return Answer(200, orjson.dumps({"billing_drops": drops}))
        if name not in months:
            raise Refusal(404, f"There is no billing drop for {name}", "NotFound")
        rows = [row for _, hour in sorted(months[name].hours.items()) for row in hour.rows]
        return Answer(200, b'{"billing_drop":[' + b",".join(rows) + b"]}")

    def _checked(self, content: bytes | None) -> Body:
        """The body, or a refusal that names the row and the column."""
        if content is None or len(content) > self.limits.body_bytes:
            raise Refusal(413, "Request Entity Too Large")
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise Refusal(400, f"The body is not JSON: {error}") from error
        for problem in VALIDATOR.iter_errors(body):
            raise Refusal(400, _where(problem.instance_path, problem.message))
        if "month" not in body:
            raise Refusal(400, "The body names no month")
        month = _utc(body["month"], "month").isoformat()[:7]
        hours: dict[datetime, Hour] = {}
        starts: dict[str, datetime] = {}
        for index, row in enumerate(body["data"]):
            text = row["time/usage_start"]
            start = starts.get(text)
            if start is None:
                start = starts[text] = _hour_of(text, month, index)
            hours.setdefault(start, Hour()).add(row)
        return Body(month, body["month"], body.get("operation", "replace_drop"), hours)

    def _held(self, stream: Stream) -> dict[str, Month]:
        """The months of a stream. A test key's are its own, and each lasts one hour from its last change."""
        with self._lock:
            ended = self._clock() - TEST_NAMESPACE_LIFE
            for each in [each for each in self._streams if each[0]]:
                fresh = {name: month for name, month in self._streams[each].items() if month.changed_at > ended}
                if fresh:
                    self._streams[each] = fresh
                else:
                    del self._streams[each]
            return dict(self._streams.get(stream, {}))

    def _look(self, path: str) -> Answer:
        state = self.state()
        if path == "/state":
            return Answer(200, orjson.dumps(state, option=orjson.OPT_INDENT_2))
        from loader.sandbox_page import page

        return Answer(200, page(state).encode(), "text/html; charset=utf-8")

    def _describe(self, month: Month) -> dict[str, Any]:
        rows, size = month.row_count(), month.size()
        return {
            "drop_id": month.drop_id,
            "rows": rows,
            "bytes": size,
            "cost": format(month.cost(), "f"),
            "rows_of_limit": round(rows / self.limits.month_rows, 4),
            "bytes_of_limit": round(size / self.limits.month_bytes, 4),
            "hours": {
                start.strftime("%Y-%m-%dT%H:%M:%SZ"): {"rows": len(hour.rows), "cost": format(hour.cost, "f")}
                for start, hour in sorted(month.hours.items())
            },
        }

    def _note(self, method: str, path: str, answer: Answer, size: int, rows: int) -> None:
        with self._lock:
            self._requests.append(
                {
                    "at": self._clock().isoformat(timespec="seconds"),
                    "method": method,
                    "path": path,
                    "bytes": size,
                    "rows": rows,
                    "status": answer.status,
                }
            )


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Sum of USD amounts without any rounding."""
    return reduce(EXACT.add, amounts, Decimal(0))


def _conflict() -> Refusal:
    return Refusal(409, "Another request for this stream is under way", "Conflict")


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
        raise Refusal(400, f"{name}: {text!r} is no time") from error


def _hour_of(text: str, month: str, index: int) -> datetime:
    start = _utc(text, f"row {index}, time/usage_start")
    if start.strftime("%Y-%m") != month:
        raise Refusal(400, f"row {index}, time/usage_start: {text} does not lie in the body's month, {month}")
    if (start.minute, start.second, start.microsecond) != (0, 0, 0):
        raise Refusal(400, f"row {index}, time/usage_start: {text} is not on the hour")
    return start
