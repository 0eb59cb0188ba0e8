"""Fault injection of the sandbox: latency, lost connections, errors and wrong responses.

The fault of a request depends only on the seed and the number of requests before it, so the same requests in the same
order meet the same faults again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from email.utils import formatdate

import orjson

from loader.sandbox.rules import Response

# Kinds of faults. "before" and "after" say whether it happens before or after the request took effect.
LATENCY_BEFORE, LATENCY_AFTER = "latency_before", "latency_after"
CUT_BEFORE, CUT_AFTER = "cut_before", "cut_after"
TOO_MANY_REQUESTS = "too_many_requests"  # 429
SERVER_ERROR_BEFORE, SERVER_ERROR_AFTER = "server_error_before", "server_error_after"  # 500, 502, 503; 500
WRONG_ROW_COUNT, NOT_JSON = "wrong_row_count", "not_json"

KINDS = (
    LATENCY_BEFORE,
    LATENCY_AFTER,
    CUT_BEFORE,
    CUT_AFTER,
    TOO_MANY_REQUESTS,
    SERVER_ERROR_BEFORE,
    SERVER_ERROR_AFTER,
    WRONG_ROW_COUNT,
    NOT_JSON,
)
NOT_FOR_READS = (SERVER_ERROR_AFTER, WRONG_ROW_COUNT)  # a read has no effect, and its response no row_count
ONLY_OF_SUCCESS = (SERVER_ERROR_AFTER, WRONG_ROW_COUNT, NOT_JSON)  # a rejected request has no effect to hide
MAX_RETRY_AFTER = 2  # seconds


@dataclass(frozen=True)
class Fault:
    """The fault of one request, drawn before the request is processed."""

    kind: str
    seconds: float  # of latency
    status: int  # of an error without effect
    retry_after: int | None  # seconds
    as_date: bool  # whether `retry_after` is written as an HTTP date
    miscount: int  # added to the row count

    def error(self) -> Response:
        """The error response, 429 or 5xx, to a request that had no effect."""
        if self.kind != TOO_MANY_REQUESTS:
            return _message(self.status, "The service has a problem", self.kind)
        response = _message(429, "Too many requests", self.kind)
        if self.retry_after is None:
            return response
        value = formatdate(time.time() + self.retry_after, usegmt=True) if self.as_date else str(self.retry_after)
        return replace(response, headers={"Retry-After": value})

    def distort(self, response: Response) -> Response:
        """The response as the client gets it, for a request that took effect."""
        if self.kind == CUT_AFTER:
            return replace(response, is_cut=True, fault=self.kind)
        if self.kind == SERVER_ERROR_AFTER:
            return replace(_message(500, "The service has a problem", self.kind), rows=response.rows)
        if self.kind == WRONG_ROW_COUNT:
            content = orjson.loads(response.body)
            content["connection"]["row_count"] += self.miscount
            return replace(response, body=orjson.dumps(content), fault=self.kind)
        if self.kind == NOT_JSON:
            page = b"<html><body>It works!</body></html>"
            return replace(response, body=page, content_type="text/html", fault=self.kind)
        return replace(response, fault=self.kind)


class FaultInjector:
    """Injects faults into a share of the requests. `rate` can be changed at any time; 0.0 switches them off.

    Requests that get a repeated response, a 409 or a 403 have no faults and are not numbered, because how many of them
    there are depends on the faults themselves.
    """

    def __init__(
        self,
        seed: int,
        rate: float,
        max_latency: float = 2.0,
        kinds: Iterable[str] = KINDS,
        reads: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create an injector.

        Args:
            seed: the seed of all draws.
            rate: the share of requests that have a fault, 0 to 1.
            max_latency: maximum latency in seconds.
            kinds: which of `KINDS` to inject, all with the same probability.
            reads: whether GET requests have faults too. It does not change the faults of POST requests.
            sleep: waits for the latency; for tests.

        Raises:
            ValueError: the rate, latency or kinds are invalid.
        """
        self._kinds = tuple(kinds)
        if not 0 <= rate <= 1 or max_latency < 0 or not self._kinds or not set(self._kinds) <= set(KINDS):
            raise ValueError(f"invalid faults: rate {rate}, latency {max_latency} s, kinds {self._kinds}")
        self.rate = rate
        self.reads = reads
        self.counts = dict.fromkeys(self._kinds, 0)  # faults injected so far, by kind
        self._seed = seed
        self._max_latency = max_latency
        self._sleep = sleep
        self._lock = threading.Lock()
        self._request_counts = {False: 0, True: 0}  # so far: POSTs and reads

    def apply(self, act: Callable[[], Response], is_read: bool = False) -> Response:
        """Process a request with `act`, or inject a fault before, instead or after.

        Latency is waited for here: the stream stays busy meanwhile, whether or not the client still waits.
        """
        fault = self._draw(is_read)
        if fault is None:
            return act()
        if fault.kind == CUT_BEFORE:
            self._count(fault)
            return Response(0, is_cut=True, is_stored=False, fault=fault.kind)
        if fault.kind in (TOO_MANY_REQUESTS, SERVER_ERROR_BEFORE):
            self._count(fault)
            return fault.error()
        if fault.kind == LATENCY_BEFORE:
            self._count(fault)
            self._sleep(fault.seconds)
        response = act()
        if fault.kind in ONLY_OF_SUCCESS and response.status != 200:
            return response
        if fault.kind != LATENCY_BEFORE:
            self._count(fault)
        if fault.kind == LATENCY_AFTER:
            self._sleep(fault.seconds)
        return fault.distort(response)

    def _draw(self, is_read: bool) -> Fault | None:
        """The fault of the next request, if any.

        Each request has its own random generator, so a change of the rate does not affect the draws of others.
        """
        if is_read and not self.reads:
            return None
        with self._lock:
            self._request_counts[is_read] += 1
            number = self._request_counts[is_read]
        draw = random.Random(f"{self._seed}/{'read' if is_read else 'drop'}/{number}")  # noqa: S311
        if draw.random() >= self.rate:
            return None
        kinds = [kind for kind in self._kinds if not (is_read and kind in NOT_FOR_READS)]
        if not kinds:
            return None
        return Fault(
            kind=draw.choice(kinds),
            seconds=draw.uniform(0, self._max_latency),
            status=draw.choice((500, 502, 503)),
            retry_after=draw.choice((None, *range(MAX_RETRY_AFTER + 1))),
            as_date=draw.random() < 0.5,
            miscount=draw.choice((-1, 1)),
        )

    def _count(self, fault: Fault) -> None:
        with self._lock:
            # A new dictionary, because another thread may be reading the old one.
            self.counts = {**self.counts, fault.kind: self.counts[fault.kind] + 1}


def _message(status: int, text: str, kind: str) -> Response:
    return Response(status, orjson.dumps({"message": text}), fault=kind)
