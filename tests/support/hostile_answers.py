"""Answers of AnyCost that no client expects: odd bodies and status codes, for requests that took effect."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from loader.sandbox.faults import FaultInjector
from loader.sandbox.rules import Response

HOSTILE_BODIES = (
    b'{"message": "\\u0000 \\ud800", "connection": {"row_count": 1}}',
    b'{"message": "\\u001b[2Jgone", "connection": {"row_count": 1, "drop_id": "\\u0000\\ud800"}}',
    b'{"message": "", "connection": {"row_count": Infinity}}',
    b'{"message": "", "connection": {"row_count": 36.9}}',
    b'{"message": "", "connection": {"row_count": -1}}',
    b'{"message": "", "connection": 7}',
    b"[" * 200_000,
    b"\xff\xfe\x00" * 1_000,
    b"null",
    b"",
)
HOSTILE_STATUSES = (200, 200, 202, 204, 206, 299, 302, 418, 599)


class HostileFaults(FaultInjector):
    """Faults, and answers that no client expects, to requests that took effect."""

    def __init__(self, seed: int, max_latency: float, kinds: Iterable[str]) -> None:
        super().__init__(seed, 0.0, max_latency, kinds)
        self._chance = random.Random(f"hostile {seed}")  # noqa: S311
        self.hostile_answers = 0

    def apply(self, act: Callable[[], Response], is_read: bool = False) -> Response:
        """As `FaultInjector.apply`; a third of the rate is hostile."""
        response = super().apply(act, is_read)
        if is_read or response.status != 200 or self._chance.random() >= self.rate / 3:
            return response
        self.hostile_answers += 1
        status = self._chance.choice(HOSTILE_STATUSES)
        return replace(response, status=status, body=self._chance.choice(HOSTILE_BODIES), fault="hostile_answer")
