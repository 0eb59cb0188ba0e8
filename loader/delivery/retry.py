"""The delivery: how each body is sent until its outcome is certain.

Every rule here follows from CloudZero's documentation (docs.cloudzero.com/docs/anycost-send-stream-data and
/reference/idempotency): one request at a time; after no answer the same idempotency key, because the first try may
have been stored; after an answer of 429 or 5xx a new key, because that answer would be repeated for ever.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol, TypeVar
from uuid import uuid4

from loader.cloudzero.bad_rows import first_bad_row
from loader.cloudzero.bodies import Body, BodyGroup
from loader.delivery.push_log import REFUSED, UNKNOWN, WITHOUT_EFFECT
from loader.errors import GuardError, LoaderError, RejectedError, RetryableError, StoppedError, UnknownOutcomeError
from loader.hours import iso
from loader.stopping import StopSignal

FIRST_WAIT, MAX_WAIT = 1.0, 60.0  # seconds before the second try, and between two, however many went before
MAX_MISCOUNTS = 3  # the same wrong row_count so often is no accident
SETTLE_FOR = timedelta(seconds=60)
Answer = TypeVar("Answer")


class Client(Protocol):
    """What the delivery needs of AnyCost."""

    def post(self, body: Body, key: str) -> Receipt:
        """Send one body once."""

    def validate(self, body: bytes) -> list[str]:
        """What is wrong with a body; nothing is stored."""


class Receipt(Protocol):
    """What AnyCost says of a body that it took."""

    @property
    def drop_id(self) -> str:
        """Its name of it."""

    @property
    def row_count(self) -> int:
        """Rows that it stored."""


class Journal:
    """Is told of each try before it is made and after it has ended. This one forgets all."""

    def begins(self, delivery: BodyGroup) -> None:
        """The bodies are about to be sent. What this raises stops them."""

    def accepted(self, delivery: BodyGroup, drop_id: str) -> None:
        """CloudZero holds all of them."""

    def failed(self, delivery: BodyGroup, outcome: str, detail: str) -> None:
        """The try has ended otherwise: `refused`, `unknown` or `without_effect`."""


@dataclass
class Sent:
    """What CloudZero has certainly taken so far."""

    hours: int = 0
    lines: int = 0
    bytes: int = 0
    cost: Decimal = Decimal(0)
    drops: int = 0
    last_hour: datetime | None = None

    def add(self, delivery: BodyGroup) -> None:
        """Count one delivery. A sum can bring an hour in several."""
        self.hours += sum(hour != self.last_hour for hour in delivery.hours)
        self.last_hour = delivery.hours[-1]
        self.lines += delivery.row_count
        self.bytes += delivery.byte_count
        self.cost += delivery.cost
        self.drops += len(delivery.bodies)


@dataclass(frozen=True)
class Patience:
    """How long to go on after a failure, and with which clock. Tests bring their own.

    `settle_for` is how long a request whose answer was lost may still be at work at CloudZero, which takes one request
    at a time; how long that can be is not documented.
    """

    give_up_after: timedelta = timedelta(minutes=15)
    settle_for: timedelta = SETTLE_FOR
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)
    stop: StopSignal = field(default_factory=StopSignal)

    def until(self, stop: StopSignal) -> Patience:
        """The same, its sleep and its asking ended by a signal."""
        return replace(self, sleep=stop.sleep, stop=stop)

    def wait(self, tries: int, error: UnknownOutcomeError) -> float:
        """Seconds before the next try: doubling, jittered, at least what `Retry-After` asks for."""
        asked_for = (error.retry_after if isinstance(error, RetryableError) else None) or 0.0
        settle = self.settle_for.total_seconds() if error.under_way else 0.0
        return max(asked_for, settle, min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(tries, 10)) * (0.5 + self.jitter() / 2))

    def deadline(self) -> float:
        """When to give up, by `clock`, after a first failure that is now."""
        return self.clock() + self.give_up_after.total_seconds()

    def insist(self, ask: Callable[[], Answer], say: Callable[[str], None]) -> Answer:
        """Ask something that changes nothing, again and again until there is an answer or the time is over.

        Raises:
            LoaderError: as `ask`; the last one when the time is over.
            StoppedError: an end was asked for.
        """
        deadline, tries = None, 0
        while True:
            if self.stop.is_set:  # which also ends each sleep at once
                raise StoppedError(f"Stopped by {self.stop.name}: nothing was changed.", self.stop.number)
            try:
                return ask()
            except UnknownOutcomeError as error:
                deadline = self.deadline() if deadline is None else deadline
                wait = self.wait(tries, error)
                if self.clock() + wait > deadline:
                    raise
                tries += 1
                say(f"{error} Asking again in {wait:.0f} s.")
                self.sleep(wait)


def deliver(
    deliveries: Iterable[BodyGroup],
    client: Client,
    patience: Patience,
    say: Callable[[str], None],
    journal: Journal | None = None,
    stop: StopSignal | None = None,
    planned: Sequence[datetime] = (),
    sent: Sent | None = None,
) -> Sent:
    """Send all, one body at a time, oldest first.

    Args:
        deliveries: what to send.
        client: where to.
        patience: how long to try.
        say: where to tell of a try that failed.
        journal: is told of each try.
        stop: asks for an end after the body in flight.
        planned: all hours (UTC) that are to be sent, to say which are left.
        sent: is added to, so that a caller knows what was sent when this raises.

    Returns what was sent. Stops at the first body that CloudZero refuses, or whose outcome stays unknown until the
    patience ends; what went before is stored and stays, and what comes after was not begun.

    Raises:
        RejectedError: CloudZero will not take a body; the message names its hours and, if it can be found, the row.
        UnknownOutcomeError: no certain answer in time; the message names the hours.
        StoppedError: an end was asked for.
        GuardError: the journal stopped it.
    """
    sent, journal, stop = sent or Sent(), journal or Journal(), stop or StopSignal()
    for delivery in deliveries:
        try:
            if stop.is_set:
                raise StoppedError(f"Stopped by {stop.name}.", stop.number)
            _send(delivery, client, patience, say, journal, stop)
        except (RejectedError, UnknownOutcomeError) as error:
            raise type(error)(
                f"{error} Stopped at {_hours(delivery)}. {_mend(delivery, error)}{_left(sent, planned)}"
                f" Sent before it: {sent.hours} hours, {sent.lines} lines."
            ) from error
        except StoppedError as error:
            raise StoppedError(
                f"{error} Sent: {sent.hours} hours, {sent.lines} lines.{_left(sent, planned)} The same command, run"
                " again, goes on.",
                error.signal_number,
            ) from error
        except GuardError as error:
            raise type(error)(f"{error} Sent before it: {sent.hours} hours, {sent.lines} lines.") from error
        sent.add(delivery)
    return sent


def _send(
    delivery: BodyGroup,
    client: Client,
    patience: Patience,
    say: Callable[[str], None],
    journal: Journal,
    stop: StopSignal,
) -> None:
    """Send the bodies of one delivery until each has a certain outcome; begin again at the first on any doubt."""
    tries = miscounts = 0
    deadline: float | None = None  # counts from the first failure of these bodies, however long the push has taken
    doubt = False  # whether an earlier try may have been stored
    key = str(uuid4())
    while True:
        journal.begins(delivery)
        stored = 0  # bodies of this try that were
        try:
            drop_id = ""
            for index, body in enumerate(delivery.bodies):
                receipt = client.post(body, key if index == 0 else str(uuid4()))
                if receipt.row_count != body.row_count:
                    miscounts += 1
                    raise RetryableError(
                        f"CloudZero says that it stored {receipt.row_count} rows of a body of {body.row_count}."
                    )
                stored, drop_id = stored + 1, receipt.drop_id
            journal.accepted(delivery, drop_id)
            return
        except RejectedError as error:
            journal.failed(delivery, UNKNOWN if doubt or stored else REFUSED, str(error))
            row = first_bad_row(delivery.bodies[stored], client, str(error))
            message = f"{error} {row}".rstrip()
            if doubt:
                raise UnknownOutcomeError(f"{message} An earlier try of it may have been stored.") from error
            raise RejectedError(message) from error
        except UnknownOutcomeError as error:
            without_effect = error.did_nothing and not stored and not doubt
            journal.failed(delivery, WITHOUT_EFFECT if without_effect else UNKNOWN, str(error))
            # Added twice is worse than not added: a new key after a try that may have been stored adds again.
            answered = isinstance(error, RetryableError)
            if delivery.operation == "sum" and answered and (doubt or not error.did_nothing):
                raise
            doubt = doubt or not error.did_nothing
            deadline = patience.deadline() if deadline is None else deadline
            wait = patience.wait(tries, error)
            if miscounts >= MAX_MISCOUNTS or patience.clock() + wait > deadline:
                raise
            # The same key gets the stored answer of a try whose answer was lost. For an hour of several bodies that
            # answer is of no use: what was added after it must be replaced, so the first body must count anew.
            if answered or len(delivery.bodies) > 1:
                key = str(uuid4())
            tries += 1
            say(f"{error} Trying {_hours(delivery)} again in {wait:.0f} s.")
            patience.sleep(wait)
            if stop.is_set:
                state = "may be stored" if doubt else "was not stored"
                raise StoppedError(
                    f"Stopped by {stop.name} between two tries of {_hours(delivery)}, which {state}.", stop.number
                ) from error
        except KeyboardInterrupt as error:
            journal.failed(delivery, UNKNOWN, f"ended by {stop.name}")
            raise StoppedError(
                f"Ended by {stop.name} while {_hours(delivery)} was under way and may be stored.", stop.number
            ) from error


def _left(sent: Sent, planned: Sequence[datetime]) -> str:
    left = [hour for hour in planned if sent.last_hour is None or hour > sent.last_hour]
    return f" Left: {len(left)} hours from {iso(left[0])} on." if left else ""


def _mend(delivery: BodyGroup, error: LoaderError) -> str:
    """What the failure left behind, and what to do about it."""
    if len(delivery.bodies) > 1:
        return "That hour may be stored in part; the same command, run again, replaces it."
    if isinstance(error, RejectedError):
        return "Nothing of that was stored."
    if delivery.operation == "sum":
        return "It may have been added: look at CloudZero's rows of those hours before you send them again."
    return "The same command, run again, sends the whole hours anew and is safe."


def _hours(delivery: BodyGroup) -> str:
    first, last = delivery.hours[0], delivery.hours[-1]
    return f"the hour {iso(first)}" if first == last else f"the hours {iso(first)} to {iso(last)}"
