"""Lines, a client and a clock for unit tests of the delivery, without network or real time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from loader.cloudzero.bodies import Body
from loader.cloudzero.client import Receipt
from loader.delivery.retry import RetryPolicy
from loader.hours import iso
from loader.lines import COST_COLUMN, HOUR_COLUMN, Line, LinesAndCost

HOUR = datetime(2024, 1, 31, 22, tzinfo=timezone.utc)


def line(hours: int = 0, cost: str = "0.5", resource: str = "czrn:a", start: datetime = HOUR) -> Line:
    """A line `hours` after `start`."""
    moment = start + timedelta(hours=hours)
    return Line.from_values(
        moment, {HOUR_COLUMN: iso(moment), COST_COLUMN: cost, "usage/amount": "1", "resource/id": resource}
    )


@dataclass
class FakeClient:
    """A client that returns prepared answers, then success, and records what it was sent."""

    answers: list[Exception | int | None] = field(default_factory=list)
    bad: bytes = b"\0"  # validation fails for bodies that contain this
    validation: Exception | None = None
    sent: list[tuple[Body, str]] = field(default_factory=list)

    def post(self, body: Body, key: str) -> Receipt:
        """The next answer: an error to raise, a row count, or None for the actual row count."""
        self.sent.append((body, key))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return Receipt("drop", body.row_count if answer is None else answer)

    def validate(self, body: bytes) -> list[str]:
        """The validation errors of a body."""
        if self.validation:
            raise self.validation
        return ["it is odd"] if self.bad in body else []

    def hours_of_month(self, month: str) -> dict[datetime, LinesAndCost]:
        """No hours."""
        assert month
        return {}

    @property
    def operations(self) -> list[str]:
        """Operations in the order they were sent."""
        return [body.operation for body, _ in self.sent]

    @property
    def keys(self) -> list[str]:
        """Idempotency keys in the order they were sent."""
        return [key for _, key in self.sent]


@dataclass
class FakeTime:
    """A clock that only advances by sleeping."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, give_up_after: timedelta = timedelta(minutes=15)) -> RetryPolicy:
        """A policy on this clock, without jitter."""
        return RetryPolicy(give_up_after, clock=lambda: self.now, sleep=self.sleep, jitter=lambda: 1.0)


def costs(lines: Iterable[Line]) -> list[str]:
    """The costs of the lines."""
    return [each.values[COST_COLUMN] for each in lines]
