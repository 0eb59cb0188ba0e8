"""How each body is sent until its outcome is certain.

Every rule here follows from CloudZero's documentation (docs.cloudzero.com/docs/anycost-send-stream-data and
/reference/idempotency): one request at a time; after no response the same idempotency key, because the first try may
have been stored; after 429 or 5xx a new key, because CloudZero would repeat that response forever.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import uuid4

from loader.cloudzero.bad_rows import first_bad_row
from loader.cloudzero.bodies import Body, BodyGroup
from loader.delivery.push_log import REFUSED, UNKNOWN, WITHOUT_EFFECT
from loader.delivery.refusals import Problems, RefusedBodyError, hours_of, if_stored
from loader.errors import (
    DestinationError,
    GuardError,
    LoaderError,
    LockedError,
    RejectedError,
    RetryableError,
    StoppedError,
    UnknownOutcomeError,
)
from loader.hours import iso
from loader.lines import LinesAndCost
from loader.stopping import StopSignal

if TYPE_CHECKING:
    from loader.cloudzero.client import Receipt  # a module that is slow to import

FIRST_WAIT, MAX_WAIT = 1.0, 60.0  # seconds before the second try, and at most between two tries
MAX_MISCOUNTS = 3  # responses with a wrong row_count before giving up on a body
SETTLE_FOR = timedelta(seconds=60)
EARLIER_TRY = "An earlier try of it may have been stored."
Result = TypeVar("Result")


class Client(Protocol):
    """The part of the AnyCost client that sending uses."""

    def post(self, body: Body, key: str) -> Receipt:
        """Send one body once."""

    def validate(self, body: bytes) -> list[str]:
        """The errors of a body; nothing is stored."""

    def hours_of_month(self, month: str) -> dict[datetime, LinesAndCost]:
        """Lines and USD of each hour that CloudZero holds for a month."""


class Journal:
    """Is notified before and after each try. This base class records nothing."""

    def begins(self, group: BodyGroup) -> None:
        """Called before the bodies are sent. An exception raised here prevents it."""

    def accepted(self, group: BodyGroup, drop_id: str) -> None:
        """Called when CloudZero has accepted all bodies."""

    def failed(self, group: BodyGroup, outcome: str, detail: str) -> None:
        """Called when the try has failed; the outcome is `refused`, `unknown` or `without_effect`."""


@dataclass
class Sent:
    """What CloudZero has accepted so far. `cost` is USD; `drops` counts bodies."""

    hours: int = 0
    lines: int = 0
    bytes: int = 0
    cost: Decimal = Decimal(0)
    drops: int = 0
    last_hour: datetime | None = None

    def add(self, group: BodyGroup) -> None:
        """Count one body group. With `sum`, several groups can have the same hour."""
        self.hours += sum(hour != self.last_hour for hour in group.hours)
        self.last_hour = group.hours[-1]
        self.lines += group.row_count
        self.bytes += group.byte_count
        self.cost += group.cost
        self.drops += len(group.bodies)


@dataclass(frozen=True)
class RetryPolicy:
    """How long to keep trying after a failure, and by which clock.

    Attributes:
        give_up_after: how long to keep trying, counted from the first failure.
        settle_for: how long CloudZero may still be processing a request whose answer was lost. CloudZero takes one
            request at a time; how long it can take is not documented.
        clock: a monotonic clock, in seconds.
        sleep: waits for so many seconds.
        jitter: returns a random number from 0 to 1.
        stop: interrupts waits.
    """

    give_up_after: timedelta = timedelta(minutes=15)
    settle_for: timedelta = SETTLE_FOR
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)
    stop: StopSignal = field(default_factory=StopSignal)

    def interrupted_by(self, stop: StopSignal) -> RetryPolicy:
        """The same policy, with waits and retries that the signal interrupts."""
        return replace(self, sleep=stop.sleep, stop=stop)

    def wait(self, tries: int, error: UnknownOutcomeError) -> float:
        """Seconds before the next try: doubling, with jitter, and at least what `Retry-After` asks for."""
        retry_after = (error.retry_after if isinstance(error, RetryableError) else None) or 0.0
        settle = self.settle_for.total_seconds() if error.may_be_in_progress else 0.0
        return max(retry_after, settle, min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(tries, 10)) * (0.5 + self.jitter() / 2))

    def deadline(self) -> float:
        """When to give up, by `clock`, if the first failure is now."""
        return self.clock() + self.give_up_after.total_seconds()

    def retry(self, request: Callable[[], Result], say: Callable[[str], None]) -> Result:
        """Repeat a request that changes nothing, until it succeeds or it is time to give up.

        Raises:
            LoaderError: as `request`; its last error when it is time to give up.
            StoppedError: a stop was requested.
        """
        deadline, tries = None, 0
        while True:
            if self.stop.is_set:  # which also interrupts a sleep
                raise StoppedError(f"Stopped by {self.stop.name}: nothing was changed.", self.stop.number)
            try:
                return request()
            except UnknownOutcomeError as error:
                if self.stop.is_set:
                    continue
                deadline = self.deadline() if deadline is None else deadline
                wait = self.wait(tries, error)
                if self.clock() + wait > deadline:
                    raise
                tries += 1
                say(f"{error} Trying again in {wait:.0f} s.")
                self.sleep(wait)


def deliver(
    groups: Iterable[BodyGroup],
    client: Client,
    policy: RetryPolicy,
    say: Callable[[str], None],
    journal: Journal | None = None,
    planned: Sequence[datetime] = (),
    sent: Sent | None = None,
) -> Sent:
    """Send all body groups, one body at a time, oldest first.

    Args:
        groups: what to send.
        client: where to send it.
        policy: how long to try; its signal asks for an end after the body that is being sent.
        say: called with a message for each try that failed.
        journal: is notified of each try.
        planned: all hours (UTC) to be sent, for messages about those that are left.
        sent: is added to, so that a caller knows what was sent when this raises.

    Returns:
        What was sent. A body that CloudZero rejects, or that the journal prevents, does not stop those after it
        (`loader.delivery.refusals`). One whose outcome is still unknown when it is time to give up does.

    Raises:
        RejectedError: CloudZero rejected hours; the message names them and, if it can be found, the row. Everything
            else was sent, unless CloudZero rejects the key or the first body of a replace_drop.
        UnknownOutcomeError: no definite response in time; the message names the hours. Later ones were not sent.
        DestinationError: nothing can be sent with this URL, certificate or proxy.
        StoppedError: a stop was requested.
        GuardError: the journal prevented hours; everything else was sent.
        LockedError: the lock of the push was lost.
    """
    sent, journal = sent or Sent(), journal or Journal()
    problems, done = Problems(client), set[datetime]()
    for group in groups:
        problems.next_body()
        waiting = deque([group])
        while waiting:
            part = waiting.popleft()
            try:
                if policy.stop.is_set:
                    raise StoppedError(f"Stopped by {policy.stop.name}.", policy.stop.number)
                _send(part, client, policy, say, journal)
            except RefusedBodyError as error:
                waiting.extend(problems.refused(part, error))
                if problems.concern_all or part.operation == "replace_drop":
                    raise problems.error(sent, _left(done | problems.hours, planned)) from error
                continue
            except (UnknownOutcomeError, DestinationError) as error:
                raise type(error)(
                    f"{error} Stopped at {hours_of(part)}. {_consequence(part, error)}"
                    f"{_left(done | set(part.hours), planned)}"
                    f" Sent before it: {sent.hours} hours, {sent.lines} lines.{problems}"
                ) from error
            except StoppedError as error:
                raise StoppedError(
                    f"{error} Sent: {sent.hours} hours, {sent.lines} lines.{_left(done, planned)}{problems} Run the"
                    " same command again to continue.",
                    error.signal_number,
                ) from error
            except LockedError as error:
                raise LockedError(
                    f"{error} Sent before it: {sent.hours} hours, {sent.lines} lines.{problems}"
                ) from error
            except GuardError as error:
                problems.prevented(part, error)
                continue
            problems.accepted()
            sent.add(part)
            done.update(part.hours)
    if problems:
        raise problems.error(sent, "")
    return sent


def _send(group: BodyGroup, client: Client, policy: RetryPolicy, say: Callable[[str], None], journal: Journal) -> None:
    """Send the bodies of one group until all are accepted. After a failure, start again from the first body."""
    tries = miscounts = 0
    deadline: float | None = None  # counted from the first failure of these bodies, however long the push has taken
    doubt = False  # whether an earlier try may have been stored
    key = str(uuid4())
    while True:
        journal.begins(group)
        stored = 0  # bodies accepted in this try
        try:
            drop_id = ""
            for index, body in enumerate(group.bodies):
                receipt = client.post(body, key if index == 0 else str(uuid4()))
                if receipt.row_count != body.row_count:
                    miscounts += 1
                    raise RetryableError(
                        f"CloudZero reports that it stored {receipt.row_count} rows of a body of {body.row_count}."
                    )
                stored, drop_id = stored + 1, receipt.drop_id
            journal.accepted(group, drop_id)
            return
        except RejectedError as error:
            journal.failed(group, UNKNOWN if doubt or stored or error.may_be_stored else REFUSED, str(error))
            if doubt:
                row = first_bad_row(group.bodies[stored], client, error)
                message = f"{error} {row}".rstrip()
                raise UnknownOutcomeError(f"{message} {EARLIER_TRY}") from error
            raise RefusedBodyError(error, group.bodies[stored]) from error
        except DestinationError as error:
            journal.failed(group, UNKNOWN if doubt or stored else WITHOUT_EFFECT, str(error))
            raise DestinationError(f"{error} {EARLIER_TRY}" if doubt else str(error)) from error
        except UnknownOutcomeError as error:
            without_effect = error.did_nothing and not stored and not doubt
            journal.failed(group, WITHOUT_EFFECT if without_effect else UNKNOWN, str(error))
            # Adding twice is worse than not adding: a new key after a try that may have been stored adds again.
            answered = isinstance(error, RetryableError)
            if group.operation == "sum" and answered and (doubt or not error.did_nothing):
                raise
            doubt = doubt or not error.did_nothing
            if policy.stop.is_set:
                raise _stopped(policy.stop, group, doubt) from error
            deadline = policy.deadline() if deadline is None else deadline
            wait = policy.wait(tries, error)
            if miscounts >= MAX_MISCOUNTS or policy.clock() + wait > deadline:
                raise
            # With the same key, CloudZero repeats a response that was lost. For an hour of several bodies that is not
            # enough: the first body must take effect again, to replace what the following ones added.
            if answered or len(group.bodies) > 1:
                key = str(uuid4())
            tries += 1
            say(f"{error} Trying {hours_of(group)} again in {wait:.0f} s.")
            policy.sleep(wait)
            if policy.stop.is_set:
                raise _stopped(policy.stop, group, doubt) from error
        except KeyboardInterrupt as error:
            journal.failed(group, UNKNOWN, f"ended by {policy.stop.name}")
            raise StoppedError(
                f"Ended by {policy.stop.name} while {hours_of(group)} was being sent; it may be stored.",
                policy.stop.number,
            ) from error
        except LoaderError:
            raise  # of the journal itself
        except Exception as error:
            # A bug in the loader. The body may be stored, so that it must not be the last word that it was begun.
            journal.failed(group, UNKNOWN, f"internal error: {type(error).__name__}")
            raise


def _stopped(stop: StopSignal, group: BodyGroup, doubt: bool) -> StoppedError:
    """The error after a failed try of a group, if a stop was requested; `doubt` is whether a try may be stored."""
    state = "may be stored" if doubt else "was not stored"
    return StoppedError(f"Stopped by {stop.name} after a try of {hours_of(group)}, which {state}.", stop.number)


def _left(done: set[datetime], planned: Sequence[datetime]) -> str:
    left = [hour for hour in planned if hour not in done]
    return f" Left: {len(left)} hours from {iso(left[0])} on." if left else ""


def _consequence(group: BodyGroup, error: LoaderError) -> str:
    """What may be stored after an outcome that is unknown, and what to do about it."""
    if len(group.bodies) > 1:
        return "That hour may be stored in part; running the same command again replaces it."
    if isinstance(error, DestinationError):
        return "Run the same command again when that is corrected."
    return if_stored(group.operation)
