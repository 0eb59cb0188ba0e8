"""A push from end to end: lock, log, plan, delivery, record. The one place where a push is put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from time import monotonic

from loader.cloudzero.bodies import MAX_BODY_BYTES, body_groups
from loader.cloudzero.client import AnyCost
from loader.config.profiles import Target
from loader.config.settings import Credentials
from loader.delivery import streams
from loader.delivery.journal import PushJournal
from loader.delivery.limits import HeldBack
from loader.delivery.other_connections import held_elsewhere
from loader.delivery.other_senders import CheckOptions, describe_failure, foreign_hours, is_due, require_none
from loader.delivery.plan import Plan, plan
from loader.delivery.plan_lines import lines_of
from loader.delivery.push_log import BEGUN, UNKNOWN, HourRecord, LastEvent, PushLog
from loader.delivery.retry import Client, RetryPolicy, Sent, deliver
from loader.delivery.selection import Selection
from loader.errors import DestinationError, GuardError, LoaderError, StoppedError
from loader.hours import iso, whole_months
from loader.warehouse.base import Warehouse, open_for_push
from loader.warehouse.run_log import mixed_models, read_runs
from loader.warehouse.source import messages, read_source, warnings


def _ignore(*_: object) -> None:
    """The callback of a caller that needs none."""


@dataclass(frozen=True)
class PushCallbacks:
    """What a push reports while it is in progress.

    Attributes:
        say: receives messages for a person.
        planned: receives the plan before anything is sent, and raises to prevent it.
        progress: receives the number of lines of each body that was accepted.
        responded: receives the status of each HTTP response, or `none`. See `AnyCost`.
    """

    say: Callable[[str], None] = _ignore
    planned: Callable[[Plan], None] = _ignore
    progress: Callable[[int], None] = _ignore
    responded: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class PushOptions:
    """How a push sends.

    Attributes:
        policy: how long to try; its stop signal ends the push after the body that is being sent.
        max_body_bytes: the maximum size of a body: CloudZero's limit, or less for a proxy that accepts less.
        callbacks: receive what is reported.
        check: whether to look for other senders on the same connection.
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    max_body_bytes: int = MAX_BODY_BYTES
    callbacks: PushCallbacks = field(default_factory=PushCallbacks)
    check: CheckOptions = field(default_factory=CheckOptions)


@dataclass
class Push:
    """One push to one stream, on a warehouse that is open for a push.

    Attributes:
        warehouse: opened for a push to the stream of `log`.
        log: the stream's push log.
        client: the AnyCost client.
        selection: what to send.
        options: how to send it.
        connection_ids: the connections that the environment names. A warning reports cost that others hold.
        sent: what CloudZero has accepted so far.
        plan: what is sent and what is held back, once it is known.
        seconds: how long sending took.
        source_is_whole: whether dbt found nothing in the source that is missing or rejected.
    """

    warehouse: Warehouse
    log: PushLog
    client: Client
    selection: Selection
    options: PushOptions
    connection_ids: Collection[str] = ()
    sent: Sent = field(default_factory=Sent)
    plan: Plan | None = None
    seconds: float = 0.0
    source_is_whole: bool = False

    def run(self) -> Sent:
        """Send what is selected. Afterwards, `plan` has what was held back.

        Raises:
            LoaderError: as `plan` and `deliver`; `sent` has what was sent before.
        """
        callbacks = self.options.callbacks
        records = self.log.records(whole_months(self.selection.window))
        self.plan = plan(self.warehouse, self.selection, records)
        last = self.log.begin()
        if self.plan.hours and (found := self._foreign_hours(self.plan, records, last)):
            # As hours whose content is not certain, they are sent again.
            taken = {hour: HourRecord(UNKNOWN, records[hour].accepted) for hour in found if hour in records}
            records |= taken
            self.plan = plan(self.warehouse, self.selection, records)
        callbacks.planned(self.plan)
        if not self.plan.hours:
            return self.sent
        if self.connection_ids:
            hours = {hour.start for hour in self.plan.hours if hour.line_count}
            for each in held_elsewhere(self.warehouse, self.log.stream.api_url, self.connection_ids, hours):
                callbacks.say(f"Warning: {each}")
        self._wait_for_lost_answers(last)
        journal = PushJournal(self.log, self.plan, self.selection, records, callbacks.progress)
        operation = self.selection.operation
        # Hours that could not be sent last time come last, so that they cannot keep the others from being sent.
        parts = [self.plan] if operation == "replace_drop" else self.plan.in_order(records)
        groups = chain.from_iterable(
            body_groups(lines_of(self.warehouse, part), operation, self.options.max_body_bytes) for part in parts
        )
        planned = [hour.start for hour in self.plan.hours]
        began = monotonic()
        try:
            deliver(groups, self.client, self.options.policy, callbacks.say, journal, planned, self.sent)
        finally:
            self.seconds = monotonic() - began
            for warning in journal.meter.warnings():
                callbacks.say(f"Warning: {warning}")
        return self.sent

    def _foreign_hours(
        self, chosen: Plan, records: Mapping[datetime, HourRecord], last: LastEvent | None
    ) -> Collection[datetime]:
        """The hours of another sender on the same connection, for --take-over; looked for once a day.

        Raises:
            GuardError: there are some, without --take-over.
        """
        check, selection = self.options.check, self.selection
        # verify --repair has just compared; a sum adds to what others have sent.
        if not check.enabled or selection.only is not None or selection.operation == "sum":
            return ()
        if not check.take_over and not is_due(last, self.warehouse.now()):
            return ()
        try:
            found = foreign_hours(self.log, self.client, chosen, records, selection.may_send)
        except DestinationError:
            raise  # nothing can be sent either
        except LoaderError as error:
            self.options.callbacks.say(describe_failure(error))
            return ()
        if not check.take_over:
            require_none(found)
        elif found.hours:
            self.options.callbacks.say(f"Taking over: {found}.")
        return found.hours.keys()

    def _wait_for_lost_answers(self, last: LastEvent | None) -> None:
        """Wait while CloudZero may still be processing a request of a push that was killed or gave up."""
        policy = self.options.policy
        if last is None or last.outcome not in (BEGUN, UNKNOWN):
            return
        age = (self.warehouse.now() - last.recorded_at).total_seconds()
        seconds = min(policy.settle_for.total_seconds(), policy.settle_for.total_seconds() - age)
        if seconds > 0:
            self.options.callbacks.say(
                f"The last push ended without an answer at {iso(last.recorded_at)}: waiting {seconds:.0f} s, because"
                " CloudZero may still be processing its request."
            )
            policy.sleep(seconds)
        if policy.stop.is_set:
            raise StoppedError(f"Stopped by {policy.stop.name}: nothing was sent.", policy.stop.number)


def require_one_run(warehouse: Warehouse) -> None:
    """Stop when a run of dbt failed half-way or built only a part of what a push reads.

    Raises:
        GuardError: it did.
    """
    if reason := mixed_models(read_runs(warehouse)):
        raise GuardError(f"{reason} Nothing was sent.")


@dataclass(frozen=True)
class OpenStream:
    """A stream that is locked for a push: its warehouse, log and client."""

    warehouse: Warehouse
    log: PushLog
    client: AnyCost
    options: PushOptions
    connection_ids: Collection[str]

    def push(self, selection: Selection, sent: Sent | None = None) -> Push:
        """Send what is selected, and return the push, which has the plan and what was sent.

        Raises:
            GuardError: the models are not of one run of dbt.
            LoaderError: as `Push.run`.
        """
        require_one_run(self.warehouse)
        push = Push(self.warehouse, self.log, self.client, selection, self.options, self.connection_ids, sent or Sent())
        push.run()
        return push


@dataclass(frozen=True)
class Sender:
    """Sends to the streams of one warehouse.

    Attributes:
        target: the dbt target.
        configured: the credentials of every stream that the environment names.
        options: how to send.
        lock_timeout: seconds to wait for a DuckDB file that another process uses.
        wait: seconds to wait for another push to the same stream.
        reported: warnings about the source that were already reported, so that several streams do not repeat them.
    """

    target: Target
    configured: Sequence[Credentials]
    options: PushOptions
    lock_timeout: float = 30.0
    wait: float = 0.0
    reported: set[str] = field(default_factory=set, compare=False)

    @contextmanager
    def open(self, credentials: Credentials, options: PushOptions | None = None) -> Iterator[OpenStream]:
        """Lock a stream for a push; a signal ends the wait for the lock.

        Raises:
            LoaderError: as `open_for_push`.
        """
        options = options or self.options
        stop, callbacks = options.policy.stop, options.callbacks
        opened = open_for_push(self.target, credentials.stream, self.lock_timeout, self.wait, callbacks.say)
        with ExitStack() as stack:
            with stop.interrupting_wait():
                warehouse = stack.enter_context(opened)
            client = stack.enter_context(AnyCost(credentials, on_status=callbacks.responded, stop=stop))
            ids = {each.connection_id for each in self.configured}
            yield OpenStream(warehouse, PushLog(warehouse, credentials.stream), client, options, ids)

    def push(
        self,
        credentials: Credentials,
        selection: Selection,
        sent: Sent | None = None,
        options: PushOptions | None = None,
    ) -> Push:
        """One push to one stream, under its lock.

        Raises:
            GuardError: the models are not of one run of dbt.
            LoaderError: as `open`, `streams.require_connection_ids` and `Push.run`.
        """
        with self.open(credentials, options) as stream:
            streams.require_connection_ids(stream.warehouse, self.configured)
            require_one_run(stream.warehouse)
            source = read_source(stream.warehouse)
            for message in messages(source):
                if message not in self.reported:
                    self.reported.add(message)
                    stream.options.callbacks.say(message)
            push = stream.push(selection, sent)
            push.source_is_whole = not warnings(source)
            return push

    def push_all(self, selection: Selection, sent: Sent | None = None) -> list[Push]:
        """One push to each stream, one after the other; together they add to `sent`.

        Raises:
            LoaderError: as `push` and `streams.for_each`.
        """
        sent, say = sent or Sent(), self.options.callbacks.say

        def one_stream(credentials: Credentials) -> Push:
            push = self.push(credentials, selection, sent)
            if len(self.configured) > 1 and push.plan and push.plan.hours:
                say(f"Stream {streams.display_name(credentials.name)}: sent {len(push.plan.hours):,} hours.")
            return push

        return streams.for_each(self.configured, one_stream, say, self.options.policy.stop)


def held_back(pushes: Sequence[Push]) -> list[HeldBack]:
    """The hours that guards held back, over all streams."""
    return [each for push in pushes if push.plan for each in push.plan.held_back]
