"""A local AnyCost that keeps the limits CloudZero documents: for the demo, the tests and users' rehearsals.

The rules are of docs.cloudzero.com/docs/anycost-send-stream-data, /reference/authorization, /reference/idempotency and
the published API description, shipped as billing_drop.schema.json. What the real service does beyond them is not
known. Two choices are ours: a second request for a stream while one is under way, which CloudZero says it does not
support, is answered 409 and counted; and a body without a month is refused.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

ROOT = "/v2/connections/billing/anycost"
TEST_NAMESPACE_LIFE = timedelta(hours=1)
KEPT_ANSWERS, KEPT_REQUESTS = 10_000, 200


@dataclass(frozen=True)
class Limits:
    """What one stream may hold. Bytes of a month are those of its rows as compact JSON."""

    body_bytes: int = 5_000_000
    month_rows: int = 1_000_000
    month_bytes: int = 70_000_000

    @classmethod
    def none(cls) -> Limits:
        """No limit at all, for benchmarks."""
        return cls(2**62, 2**62, 2**62)


@dataclass(frozen=True)
class Answer:
    """One answer: JSON unless it says otherwise."""

    status: int
    body: bytes
    content_type: str = "application/json"


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
    """The rows of one hour, each as the bytes of its JSON."""

    rows: list[bytes] = field(default_factory=list)
    cost: Decimal = Decimal(0)

    def size(self) -> int:
        """Bytes of all rows."""
        return sum(map(len, self.rows))


@dataclass
class Month:
    """What one stream holds of one month (`YYYY-MM`)."""

    drop_id: str = ""
    hours: dict[datetime, Hour] = field(default_factory=dict)

    def row_count(self) -> int:
        """Rows over all hours."""
        return sum(len(hour.rows) for hour in self.hours.values())

    def size(self) -> int:
        """Bytes over all hours."""
        return sum(hour.size() for hour in self.hours.values())

    def cost(self) -> Decimal:
        """USD over all hours, exact."""
        return sum((hour.cost for hour in self.hours.values()), Decimal(0))


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


Namespace = dict[str, dict[str, Month]]  # connection id → month → what it holds


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
        self._busy: set[str] = set()
        self._answers: OrderedDict[tuple[str, str, str], Answer] = OrderedDict()
        self._namespaces: dict[str, tuple[datetime, Namespace]] = {}
        self._streams: Namespace = {}
        self._requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self._drops = 0

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Answer one request. `body` is None when it was too large to be read at all."""
        headers = {name.lower(): value for name, value in headers.items()}
        if method == "GET" and path in ("/", "/state"):
            return self._look(path)
        key = (method, path, headers.get("cloudzero-idempotency-key", ""))
        # A repeated key gets the first answer again, errors included, before anything else is looked at.
        with self._lock:
            answer = self._answers.get(key) if key[2] else None
        if answer is None:
            try:
                answer = self._route(method, path, headers, body)
            except Refusal as refusal:
                answer = refusal.answer
            if key[2]:
                with self._lock:
                    self._answers[key] = answer
                    if len(self._answers) > KEPT_ANSWERS:
                        self._answers.popitem(last=False)
        self._note(method, path, answer, len(body or b""))
        return answer

    def state(self) -> dict[str, Any]:
        """All that is held, with exact sums as text; never a key."""
        with self._lock:
            streams = {
                connection: {name: self._describe(month) for name, month in sorted(months.items())}
                for connection, months in sorted(self._streams.items())
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

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._api_key.encode()):
            raise Refusal(403, "User is not authorized to access this resource")
        if method == "POST" and path == f"{ROOT}/validate_billing_drop":
            return self._validate(body)
        match = re.fullmatch(rf"{ROOT}/([^/]+)/billing_drops(?:/(\d{{4}}-\d\d))?", path)
        if not match:
            raise Refusal(404, f"There is no {method} {path}", "NotFound")
        connection, month = match.groups()
        if method == "POST" and month is None:
            return self._store(connection, headers, body)
        if method == "GET":
            return self._read(self._namespace(headers), connection, month)
        raise Refusal(404, f"There is no {method} {path}", "NotFound")

    def _store(self, connection: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        stream = connection + "\n" + headers.get("cloudzero-test-key", "")
        with self._lock:
            if stream in self._busy:
                self.concurrent_requests_seen += 1
                raise Refusal(409, "Another request for this stream is under way", "Conflict")
            self._busy.add(stream)
        try:
            body = self._checked(content)
            months = self._namespace(headers).setdefault(connection, {})
            return self._apply(body, months)
        finally:
            with self._lock:
                self._busy.discard(stream)

    def _apply(self, body: Body, months: dict[str, Month]) -> Answer:
        held = months.get(body.month) or Month()
        kept = {} if body.operation == "replace_drop" else dict(held.hours)
        for start, hour in body.hours.items():
            before = kept.get(start) if body.operation == "sum" else None
            kept[start] = Hour(before.rows + hour.rows, before.cost + hour.cost) if before else hour
        after = Month(hours=kept)
        if after.row_count() > self.limits.month_rows:
            raise Refusal(400, f"{body.month} would hold more than {self.limits.month_rows:,} rows")
        if after.size() > self.limits.month_bytes:
            raise Refusal(400, f"{body.month} would hold more than {self.limits.month_bytes:,} bytes")
        with self._lock:
            self._drops += 1
            after.drop_id = f"drop-{self._drops:08d}"
            months[body.month] = after
        said = {"drop_id": after.drop_id, "month": body.sent_month, "row_count": body.row_count}
        return Answer(200, orjson.dumps({"connection": said}))

    def _validate(self, content: bytes | None) -> Answer:
        errors: list[str] = []
        try:
            self._checked(content)
        except Refusal as refusal:
            if refusal.answer.status != 400:
                raise
            errors = [str(refusal)]
        return Answer(200, orjson.dumps({"connection": {"is_valid": not errors, "errors": errors}}))

    def _read(self, namespace: Namespace, connection: str, name: str | None) -> Answer:
        months = namespace.get(connection, {})
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
        month = _utc(body["month"], "month").strftime("%Y-%m")
        hours: dict[datetime, Hour] = {}
        starts: dict[str, datetime] = {}
        for index, row in enumerate(body["data"]):
            text = row["time/usage_start"]
            start = starts.get(text)
            if start is None:
                start = starts[text] = _hour_of(text, month, index)
            hour = hours.setdefault(start, Hour())
            hour.rows.append(orjson.dumps(row))
            hour.cost += Decimal(row["cost/cost"])
        return Body(month, body["month"], body.get("operation", "replace_drop"), hours)

    def _namespace(self, headers: Mapping[str, str]) -> Namespace:
        """The streams, or the private copy that a `cloudzero-test-key` names; what it changes lasts one hour."""
        name = headers.get("cloudzero-test-key", "")
        if not name:
            return self._streams
        now = self._clock()
        with self._lock:
            born, namespace = self._namespaces.get(name, (now, {}))
            if now - born >= TEST_NAMESPACE_LIFE:
                born, namespace = now, {}
            self._namespaces[name] = (born, namespace)
        return namespace

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

    def _note(self, method: str, path: str, answer: Answer, size: int) -> None:
        with self._lock:
            self._requests.append(
                {
                    "at": self._clock().isoformat(timespec="seconds"),
                    "method": method,
                    "path": path,
                    "bytes": size,
                    "status": answer.status,
                }
            )


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
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
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
