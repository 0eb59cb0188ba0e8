"""The delivery: which hours may go, and how each body is sent until its outcome is certain.

Every rule here follows from CloudZero's documentation (docs.cloudzero.com/docs/anycost-send-stream-data and
/reference/idempotency): one request at a time; after no answer the same idempotency key, because the first try may
have been stored; after an answer of 429 or 5xx a new key, because that answer would be repeated for ever.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol
from uuid import uuid4

from loader.drops import Delivery, Drop
from loader.errors import (
    GuardError,
    LoaderError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
    UsageError,
)
from loader.warehouse import Hour, Line, Warehouse
from loader.windows import HOUR, Window, floor_hour, iso

MAX_WAIT = 60.0  # seconds between two tries, however many went before
MAX_MISCOUNTS = 3  # the same wrong row_count so often is no accident
SLICE_LINES = 50_000  # lines read from the warehouse at a time; bounds the engine's own buffer


class Client(Protocol):
    """What the delivery needs of AnyCost."""

    def post(self, drop: Drop, key: str) -> Receipt:
        """Send one body once."""


class Receipt(Protocol):
    """What AnyCost says of a body that it took."""

    @property
    def row_count(self) -> int:
        """Rows that it stored."""


@dataclass(frozen=True)
class Plan:
    """What a push will send: whole hours, oldest first. `incomplete` are the window's hours that it leaves out."""

    window: Window
    hours: tuple[Hour, ...]
    incomplete: tuple[datetime, ...]
    built_at: datetime

    @property
    def line_count(self) -> int:
        """Lines over all hours."""
        return sum(hour.line_count for hour in self.hours)


@dataclass
class Sent:
    """What CloudZero has certainly taken so far."""

    hours: int = 0
    lines: int = 0
    bytes: int = 0
    cost: Decimal = Decimal(0)
    drops: int = 0

    def add(self, delivery: Delivery) -> None:
        """Count one delivery."""
        self.hours += len(delivery.hours)
        self.lines += delivery.row_count
        self.bytes += delivery.byte_count
        self.cost += delivery.cost
        self.drops += len(delivery.drops)


@dataclass(frozen=True)
class Patience:
    """How long to go on after a failure, and with which clock. Tests bring their own."""

    give_up_after: timedelta = timedelta(minutes=15)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)

    def wait(self, tries: int, asked_for: float | None) -> float:
        """Seconds before the next try: doubling, jittered, at least what `Retry-After` asks for."""
        return max(asked_for or 0.0, min(MAX_WAIT, 2.0**tries) * (0.5 + self.jitter() / 2))


def plan(
    warehouse: Warehouse,
    window: Window,
    operation: str,
    include_incomplete: bool = False,
    limit: int | None = None,
) -> Plan:
    """Choose the hours.

    An hour is complete when it had ended before the models were last built: then its sum was read after its end.
    With `limit`, the newest hours that fit into so many lines; never a part of an hour.

    Raises:
        UsageError: `replace_drop` for a window that is not one whole month, or together with `limit`.
        GuardError: the models were not built since the window's hours ended, so they may be half; a whole month is
            not complete; or the newest hour alone has more lines than `limit`.
    """
    if operation == "replace_drop" and (not window.is_whole_month() or limit is not None):
        raise UsageError(
            "--operation replace_drop replaces a whole month of CloudZero's: it takes exactly one UTC month, such as"
            f" --start {window.start:%Y-%m}-01 --end (the first of the next month), and no --limit;"
            f" the window is {window}."
        )
    built_at = warehouse.built_at()
    hours = warehouse.hours(window)
    complete_until = floor_hour(built_at)
    incomplete = tuple(hour.start for hour in hours if hour.start >= complete_until)
    if include_incomplete:
        chosen = hours
    else:
        chosen = [hour for hour in hours if hour.start < complete_until]
        if operation == "replace_drop" and window.end > complete_until:
            raise GuardError(
                f"The month is not complete: the models were last built at {iso(built_at)}. Send its hours with"
                " replace_hourly, or all the same with --include-incomplete."
            )
    if limit is not None:
        chosen = _newest_within(chosen, limit)
    return Plan(window, tuple(chosen), () if include_incomplete else incomplete, built_at)


def require_complete(plan: Plan, now: datetime, named: bool) -> None:
    """Stop rather than leave out what the user believes to be sent.

    Args:
        plan: what will be sent.
        now: the loader's clock.
        named: whether the window came from a word such as `today`, of which the running hour is left out as a matter
            of course, or from times.

    Raises:
        GuardError: hours of the window have ended but dbt has not run since, so what the models hold of them may be
            half; or nothing is left but an hour that is still running.
    """
    ended = min(plan.window.end, floor_hour(now))
    if plan.built_at < ended and plan.window.start < ended:
        raise GuardError(
            f"The models were last built at {iso(plan.built_at)}, before the hour {iso(ended - HOUR)} had ended: run"
            " `dbt run` first, or send what is there with --include-incomplete."
        )
    if plan.incomplete and not plan.hours and not named:
        raise GuardError(
            f"The hour {iso(plan.incomplete[0])} is not complete: wait until it has ended and run `dbt run`, or send"
            " what is there with --include-incomplete."
        )


def lines_of(warehouse: Warehouse, plan: Plan) -> Iterator[Line]:
    """The lines of the plan's hours, oldest hour first, read in slices of whole hours."""
    wanted = {hour.start for hour in plan.hours}
    start, count = 0, 0
    for index, hour in enumerate(plan.hours):
        count += hour.line_count
        is_last = index + 1 == len(plan.hours)
        if is_last or count + plan.hours[index + 1].line_count > SLICE_LINES:
            lines = warehouse.lines(Window(plan.hours[start].start, hour.start + HOUR))
            yield from (line for line in lines if line.hour in wanted)
            start, count = index + 1, 0


def deliver(
    deliveries: Iterable[Delivery],
    client: Client,
    patience: Patience,
    say: Callable[[str], None],
    on_sent: Callable[[Delivery], None] = lambda _: None,
) -> Sent:
    """Send all, one body at a time, oldest first.

    Returns what was sent. Stops at the first body that CloudZero refuses, or whose outcome stays unknown until the
    patience ends; what went before is stored and stays, and what comes after was not begun.

    Raises:
        RejectedError: CloudZero will not take a body; the message names its hours.
        UnknownOutcomeError: no certain answer in time; the message names the hours.
    """
    sent = Sent()
    deadline = patience.clock() + patience.give_up_after.total_seconds()
    for delivery in deliveries:
        try:
            _send(delivery, client, patience, deadline, say)
        except (RejectedError, UnknownOutcomeError) as error:
            raise type(error)(
                f"{error} Stopped at {_hours(delivery)}. {_mend(delivery, error)}"
                f" Sent before it: {sent.hours} hours, {sent.lines} lines."
            ) from error
        sent.add(delivery)
        on_sent(delivery)
    return sent


def _send(delivery: Delivery, client: Client, patience: Patience, deadline: float, say: Callable[[str], None]) -> None:
    """Send the bodies of one delivery until each has a certain outcome; begin again at the first on any doubt."""
    tries = miscounts = 0
    doubt = False  # whether an earlier try may have been stored
    key = str(uuid4())
    while True:
        try:
            for index, drop in enumerate(delivery.drops):
                receipt = client.post(drop, key if index == 0 else str(uuid4()))
                if receipt.row_count != drop.row_count:
                    miscounts += 1
                    raise RetryableError(
                        f"CloudZero says that it stored {receipt.row_count} rows of a body of {drop.row_count}."
                    )
            return
        except RejectedError as error:
            if doubt:
                raise UnknownOutcomeError(f"{error} An earlier try of it may have been stored.") from error
            raise
        except UnknownOutcomeError as error:
            answer = error if isinstance(error, RetryableError) else None
            # Added twice is worse than not added: a new key after a try that may have been stored adds again.
            if delivery.drops[0].operation == "sum" and answer and (doubt or not answer.did_nothing):
                raise
            doubt = doubt or not (answer and answer.did_nothing)
            wait = patience.wait(tries, answer.retry_after if answer else None)
            if miscounts >= MAX_MISCOUNTS or patience.clock() + wait > deadline:
                raise
            # The same key gets the stored answer of a try whose answer was lost. For an hour of several bodies that
            # answer is of no use: what was added after it must be replaced, so the first body must count anew.
            if answer or len(delivery.drops) > 1:
                key = str(uuid4())
            tries += 1
            say(f"{error} Trying {_hours(delivery)} again in {wait:.0f} s.")
            patience.sleep(wait)


def _mend(delivery: Delivery, error: LoaderError) -> str:
    """What the failure left behind, and what to do about it."""
    if len(delivery.drops) > 1:
        return "That hour may be stored in part; the same command, run again, replaces it."
    if isinstance(error, RejectedError):
        return "Nothing of that was stored."
    if delivery.drops[0].operation == "sum":
        return "It may have been added: look at CloudZero's rows of those hours before you send them again."
    return "The same command, run again, sends the whole hours anew and is safe."


def _hours(delivery: Delivery) -> str:
    first, last = delivery.hours[0], delivery.hours[-1]
    return f"the hour {iso(first)}" if first == last else f"the hours {iso(first)} to {iso(last)}"


def _newest_within(hours: list[Hour], limit: int) -> list[Hour]:
    chosen: list[Hour] = []
    count = 0
    for hour in reversed(hours):
        count += hour.line_count
        if count > limit:
            break
        chosen.append(hour)
    if hours and not chosen:
        raise GuardError(
            f"The newest complete hour, {iso(hours[-1].start)}, has {hours[-1].line_count} lines, more than --limit"
            f" {limit}: an hour is sent whole or not at all."
        )
    return chosen[::-1]
