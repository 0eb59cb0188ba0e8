"""A local AnyCost Stream API with CloudZero's documented limits, for the demo, tests and rehearsals.

The rules are from docs.cloudzero.com/docs/anycost-send-stream-data, /reference/authorization, /reference/idempotency
and the published API description, shipped as billing_drop.schema.json. The real service may behave differently where
they say nothing. Two rules are the sandbox's own: a second request for a stream while one is in progress, which
CloudZero does not support, gets a 409 and is counted; and a body without a month is rejected.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

from loader.sandbox.faults import FaultInjector
from loader.sandbox.rules import Limits, ParsedBody, RequestError, Response, StoredMonth, check_body

__all__ = ["ROOT", "AnyCostSandbox", "FaultInjector", "Limits", "ParsedBody", "RequestKey", "Response", "StreamKey"]
ROOT = "/v2/connections/billing/anycost"
TEST_NAMESPACE_LIFE = timedelta(hours=1)
MAX_RESPONSES, MAX_REQUESTS = 10_000, 200
StreamKey = tuple[str, str]  # the value of `cloudzero-test-key`, empty outside of tests, and the connection id
RequestKey = tuple[str, str, str]  # method, path, value of `cloudzero-idempotency-key`


class AnyCostSandbox:
    """The API's rules and state, without sockets: `handle` takes a request and returns the response. Thread-safe."""

    def __init__(
        self,
        api_key: str,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        faults: FaultInjector | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.faults = faults
        self.concurrent_requests_seen = 0
        self._api_key = api_key
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: set[StreamKey] = set()
        self._in_progress: set[RequestKey] = set()
        self._responses: OrderedDict[RequestKey, Response] = OrderedDict()
        self._streams: dict[StreamKey, dict[str, StoredMonth]] = {}
        self._requests: deque[dict[str, Any]] = deque(maxlen=MAX_REQUESTS)
        self._drops = 0

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        """Respond to one request. `body` is None if it was too large to be read.

        A request with a repeated `cloudzero-idempotency-key` gets the first response to the same method and path
        again, including errors, before the API key, the size or anything else is checked
        (docs.cloudzero.com/reference/idempotency). While the first request is in progress, a repeated one counts as
        concurrent. A 409 is not stored, nor is a request whose connection was closed before it took effect.
        """
        headers = {name.lower(): value for name, value in headers.items()}
        if method == "GET" and path in ("/", "/state"):
            return self._show_state(path)
        key = (method, path, headers.get("cloudzero-idempotency-key", ""))
        response = repeated = self._repeated(key)
        if response is None:
            response = self._first(key, headers, body)
        self._log_request(method, path, response, len(body or b""), 0 if repeated else response.rows)
        return response

    def state(self) -> dict[str, Any]:
        """Everything that is stored, with exact sums as text, and the counts of injected faults. Contains no key."""
        with self._lock:
            stored = {
                connection: sorted(months.items())
                for (test_key, connection), months in sorted(self._streams.items())
                if not test_key
            }
            seen, requests = self.concurrent_requests_seen, list(self._requests)
        # Outside of the lock: the digests of a full month take a second, and requests should not wait for them.
        return {
            "streams": {
                connection: {name: month.describe(self.limits) for name, month in months}
                for connection, months in stored.items()
            },
            "limits": {
                "body_bytes": self.limits.body_bytes,
                "month_rows": self.limits.month_rows,
                "month_bytes": self.limits.month_bytes,
            },
            "concurrent_requests_seen": seen,
            "trouble": dict(self.faults.counts) if self.faults else {},
            "requests": requests,
        }

    def _repeated(self, key: RequestKey) -> Response | None:
        """The response to a repeated request; None for a first one, which is marked as in progress."""
        if not key[2]:
            return None
        with self._lock:
            if key in self._responses:
                return self._responses[key]
            if key in self._in_progress:
                self.concurrent_requests_seen += 1
                return _conflict().response
            self._in_progress.add(key)
            return None

    def _first(self, key: RequestKey, headers: Mapping[str, str], body: bytes | None) -> Response:
        try:
            try:
                response = self._route(key[0], key[1], headers, body)
            except RequestError as error:
                response = error.response
            if key[2] and response.is_stored:
                with self._lock:
                    # The service does not know that its response was lost on the way.
                    self._responses[key] = replace(response, is_cut=False, fault="")
                    if len(self._responses) > MAX_RESPONSES:
                        self._responses.popitem(last=False)
            return response
        finally:
            with self._lock:
                self._in_progress.discard(key)

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._api_key.encode()):
            raise RequestError(403, "User is not authorized to access this resource")
        if method == "POST" and path == f"{ROOT}/validate_billing_drop":
            return self._validate(body)
        match = re.fullmatch(rf"{ROOT}/([^/]+)/billing_drops(?:/(\d{{4}}-\d\d))?", path)
        if not match:
            raise RequestError(404, f"There is no {method} {path}", "NotFound")
        stream, month = (headers.get("cloudzero-test-key", ""), match[1]), match[2]
        if method == "POST" and month is None:
            return self._store(stream, body)
        if method == "GET":
            return self._with_faults(lambda: self._read(stream, month), is_read=True)
        raise RequestError(404, f"There is no {method} {path}", "NotFound")

    def _store(self, stream: StreamKey, content: bytes | None) -> Response:
        with self._lock:
            if stream in self._busy:
                self.concurrent_requests_seen += 1
                raise _conflict()
            self._busy.add(stream)
        try:
            return self._with_faults(lambda: self._apply(self._checked(content), stream))
        finally:
            with self._lock:
                self._busy.discard(stream)

    def _with_faults(self, act: Callable[[], Response], is_read: bool = False) -> Response:
        def respond() -> Response:
            try:
                return act()
            except RequestError as error:
                return error.response

        return self.faults.apply(respond, is_read) if self.faults else respond()

    def _checked(self, content: bytes | None) -> ParsedBody:
        return check_body(content, self.limits.body_bytes)

    def _apply(self, body: ParsedBody, stream: StreamKey) -> Response:
        stored = self._months_of(stream).get(body.month)
        hours = {} if stored is None or body.operation == "replace_drop" else dict(stored.hours)
        for start, hour in body.hours.items():
            hours[start] = hours[start].and_then(hour) if body.operation == "sum" and start in hours else hour
        after = StoredMonth(hours, self._clock())
        if after.row_count() > self.limits.month_rows:
            raise RequestError(400, f"{body.month} would hold more than {self.limits.month_rows:,} rows")
        if after.size() > self.limits.month_bytes:
            raise RequestError(400, f"{body.month} would hold more than {self.limits.month_bytes:,} bytes")
        with self._lock:
            self._drops += 1
            after.drop_id = f"drop-{self._drops:08d}"
            self._streams.setdefault(stream, {})[body.month] = after
        connection = {"drop_id": after.drop_id, "month": body.sent_month, "row_count": body.row_count}
        return Response(200, orjson.dumps({"connection": connection}), rows=body.row_count)

    def _validate(self, content: bytes | None) -> Response:
        errors: list[str] = []
        try:
            self._checked(content)
        except RequestError as error:
            if error.response.status != 400:
                raise
            errors = [str(error)]
        return Response(200, orjson.dumps({"connection": {"is_valid": not errors, "errors": errors}}))

    def _read(self, stream: StreamKey, name: str | None) -> Response:
        months = self._months_of(stream)
        if name is None:
            drops = [
                {"drop_id": month.drop_id, "month": each, "row_count": month.row_count()}
                for each, month in sorted(months.items())
            ]
            return Response(200, orjson.dumps({"billing_drops": drops}))
        if name not in months:
            raise RequestError(404, f"There is no billing drop for {name}", "NotFound")
        rows = [row for _, hour in sorted(months[name].hours.items()) for row in hour.rows]
        return Response(200, b'{"billing_drop":[' + b",".join(rows) + b"]}")

    def _months_of(self, stream: StreamKey) -> dict[str, StoredMonth]:
        """The months of a stream. With a test key, they are separate and expire one hour after their last change."""
        with self._lock:
            ended = self._clock() - TEST_NAMESPACE_LIFE
            for each in [each for each in self._streams if each[0]]:
                fresh = {name: month for name, month in self._streams[each].items() if month.changed_at > ended}
                if fresh:
                    self._streams[each] = fresh
                else:
                    del self._streams[each]
            return dict(self._streams.get(stream, {}))

    def _show_state(self, path: str) -> Response:
        state = self.state()
        if path == "/state":
            return Response(200, orjson.dumps(state, option=orjson.OPT_INDENT_2))
        from loader.sandbox.page import page

        return Response(200, page(state).encode(), "text/html; charset=utf-8")

    def _log_request(self, method: str, path: str, response: Response, size: int, rows: int) -> None:
        with self._lock:
            self._requests.append(
                {
                    "at": self._clock().isoformat(timespec="seconds"),
                    "method": method,
                    "path": path,
                    "bytes": size,
                    "rows": rows,
                    "status": response.status,
                    "trouble": response.fault,
                }
            )


def _conflict() -> RequestError:
    return RequestError(409, "Another request for this stream is in progress", "Conflict")
