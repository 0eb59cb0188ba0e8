"""What networks and services do to a request, made on purpose: the sandbox's trouble.

Which request meets what follows from the seed and from how many came before it, and from nothing else: the same
requests in the same order meet the same trouble again.
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

# Named by what happens, and whether before or after the drop took effect.
LATENCY_BEFORE, LATENCY_AFTER = "latency_before", "latency_after"
CUT_BEFORE, CUT_AFTER = "cut_before", "cut_after"
TOO_MANY_REQUESTS = "too_many_requests"  # 429
SERVER_ERROR_BEFORE, SERVER_ERROR_AFTER = "server_error_before", "server_error_after"  # 500, 502, 503; 500
WRONG_ROW_COUNT, NOT_JSON = "wrong_row_count", "not_json"

KINDS = (
    LATENCY_BEFORE, LATENCY_AFTER, CUT_BEFORE, CUT_AFTER, TOO_MANY_REQUESTS, SERVER_ERROR_BEFORE, SERVER_ERROR_AFTER,
    WRONG_ROW_COUNT, NOT_JSON,
)  # fmt: skip
NOT_FOR_READS = (SERVER_ERROR_AFTER, WRONG_ROW_COUNT)  # a read has no effect, and its answer no row_count
ONLY_OF_SUCCESS = (SERVER_ERROR_AFTER, WRONG_ROW_COUNT, NOT_JSON)  # a refused drop took no effect to hide
LONGEST_RETRY_AFTER = 2  # seconds


@dataclass(frozen=True)
class Fault:
    """What one request meets, drawn before it is looked at."""

    kind: str
    seconds: float  # of latency
    status: int  # of an error without effect
    retry_after: int | None  # seconds
    as_date: bool  # whether `retry_after` is written as an HTTP date
    miscount: int  # added to the row count

    def error(self) -> Response:
        """The answer of an error, 429 or 5xx, without effect."""
        if self.kind != TOO_MANY_REQUESTS:
            return _message(self.status, "The service has a problem", self.kind)
        answer = _message(429, "Too many requests", self.kind)
        if self.retry_after is None:
            return answer
        value = formatdate(time.time() + self.retry_after, usegmt=True) if self.as_date else str(self.retry_after)
        return replace(answer, headers={"Retry-After": value})

    def spoil(self, answer: Response) -> Response:
        """What becomes of the answer to a request that took effect."""
        if self.kind == CUT_AFTER:
            return replace(answer, cut=True, fault=self.kind)
        if self.kind == SERVER_ERROR_AFTER:
            return replace(_message(500, "The service has a problem", self.kind), rows=answer.rows)
        if self.kind == WRONG_ROW_COUNT:
            content = orjson.loads(answer.body)
            content["connection"]["row_count"] += self.miscount
            return replace(answer, body=orjson.dumps(content), fault=self.kind)
        if self.kind == NOT_JSON:
            page = b"<html><body>It works!</body></html>"
            return replace(answer, body=page, content_type="text/html", fault=self.kind)
        return replace(answer, fault=self.kind)


class FaultInjector:
    """Makes trouble for a share of the drops. `rate` may be changed at any time; 0.0 switches it off.

    Requests that get an answer from memory, a 409 or a 403 meet none and are not counted in the order: how many of
    them there are depends on the trouble itself.
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
        """Make no trouble yet.

        Args:
            seed: what the draws follow from.
            rate: share of the requests, 0 to 1.
            max_latency: seconds that latency lasts at most.
            kinds: of `KINDS`, those to choose from, each as likely as the others.
            reads: whether GETs of billing_drops meet it too. Drops meet the same either way.
            sleep: how latency passes. Tests bring their own.

        Raises:
            ValueError: rate, latency or kinds make no sense.
        """
        self._kinds = tuple(kinds)
        if not 0 <= rate <= 1 or max_latency < 0 or not self._kinds or not set(self._kinds) <= set(KINDS):
            raise ValueError(f"trouble of rate {rate}, latency {max_latency} s, kinds {self._kinds}")
        self.rate = rate
        self.reads = reads
        self.counts = dict.fromkeys(self._kinds, 0)  # what was made so far, by kind
        self._seed = seed
        self._max_latency = max_latency
        self._sleep = sleep
        self._lock = threading.Lock()
        self._asked = {False: 0, True: 0}  # requests so far: drops and reads

    def around(self, act: Callable[[], Response], is_read: bool = False) -> Response:
        """Answer a request that `act` would answer, with or without trouble, and with or without acting.

        Latency passes within: the caller keeps the stream busy meanwhile, and acts whether or not the sender waits.
        """
        fault = self._draw(is_read)
        if fault is None:
            return act()
        if fault.kind == CUT_BEFORE:
            self._count(fault)
            return Response(0, cut=True, kept=False, fault=fault.kind)
        if fault.kind in (TOO_MANY_REQUESTS, SERVER_ERROR_BEFORE):
            self._count(fault)
            return fault.error()
        if fault.kind == LATENCY_BEFORE:
            self._count(fault)
            self._sleep(fault.seconds)
        answer = act()
        if fault.kind in ONLY_OF_SUCCESS and answer.status != 200:
            return answer
        if fault.kind != LATENCY_BEFORE:
            self._count(fault)
        if fault.kind == LATENCY_AFTER:
            self._sleep(fault.seconds)
        return fault.spoil(answer)

    def _draw(self, is_read: bool) -> Fault | None:
        """What the next request meets. Each has its own generator, so that a change of rate moves no other draw."""
        if is_read and not self.reads:
            return None
        with self._lock:
            self._asked[is_read] += 1
            number = self._asked[is_read]
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
            retry_after=draw.choice((None, *range(LONGEST_RETRY_AFTER + 1))),
            as_date=draw.random() < 0.5,
            miscount=draw.choice((-1, 1)),
        )

    def _count(self, fault: Fault) -> None:
        with self._lock:
            # A new dictionary: whoever reads the old one is not disturbed.
            self.counts = {**self.counts, fault.kind: self.counts[fault.kind] + 1}


def _message(status: int, text: str, kind: str) -> Response:
    return Response(status, orjson.dumps({"message": text}), fault=kind)
