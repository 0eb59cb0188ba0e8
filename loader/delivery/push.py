"""A push from end to end: lock, log, plan, delivery, record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from loader.cloudzero.bodies import MAX_BODY_BYTES, BodyGroup, body_groups
from loader.delivery.limits import MonthMeter
from loader.delivery.moves import held_elsewhere
from loader.delivery.plan import Plan, Selection, plan
from loader.delivery.plan_lines import changed, lines_of
from loader.delivery.push_log import ACCEPTED, BEGUN, UNKNOWN, Entry, HourRecord, PushLog, accepted_entries
from loader.delivery.retry import Client, Journal, Patience, Sent, deliver
from loader.errors import StoppedError
from loader.hours import HOUR, Window, iso, month_start, next_month
from loader.lines import EMPTY_FINGERPRINT
from loader.stopping import StopSignal
from loader.warehouse.base import Warehouse


@dataclass
class Push:
    """One push on an opened warehouse, to one stream.

    `check` looks at the plan before anything is sent, and raises to stop it. `progress` is told of lines that were
    accepted. `named` are the connections that the environment names: what others hold of these hours is told.
    `max_body_bytes` is CloudZero's limit but in tests.
    """

    warehouse: Warehouse
    log: PushLog
    client: Client
    selection: Selection
    patience: Patience
    say: Callable[[str], None]
    check: Callable[[Plan], None] = lambda _: None
    progress: Callable[[int], None] = lambda _: None
    stop: StopSignal = field(default_factory=StopSignal)
    max_body_bytes: int = MAX_BODY_BYTES
    plan: Plan | None = None
    sent: Sent = field(default_factory=Sent)
    seconds: float = 0.0
    named: Collection[str] = ()

    def run(self) -> Sent:
        """Send what is asked for; `plan` then says what was held back.

        Raises:
            LoaderError: as `plan` and `deliver`; `sent` says what was sent before.
        """
        records = self.log.records(months_of(self.selection.window))
        self.plan = plan(self.warehouse, self.selection, records)
        self.check(self.plan)
        if not self.plan.hours:
            return self.sent
        if self.named:
            hours = {hour.start for hour in self.plan.hours if hour.line_count}
            for each in held_elsewhere(self.warehouse, self.log.stream.api_url, self.named, hours):
                self.say(f"Warning: {each}")
        self._wait_for_what_may_be_under_way()
        journal = PushJournal(self.log, self.plan, self.selection, records, self.progress)
        lines = lines_of(self.warehouse, self.plan)
        began = monotonic()
        try:
            deliver(
                body_groups(lines, self.selection.operation, self.max_body_bytes), self.client, self.patience, self.say,
                journal, self.stop, [hour.start for hour in self.plan.hours], self.sent,
            )  # fmt: skip
        finally:
            self.seconds = monotonic() - began
            for warning in journal.meter.warnings():
                self.say(f"Warning: {warning}")
        return self.sent

    def _wait_for_what_may_be_under_way(self) -> None:
        """A push that was killed, or gave up without an answer, may have left a request at CloudZero."""
        last = self.log.begin()
        if last is None or last.outcome not in (BEGUN, UNKNOWN):
            return
        age = (self.warehouse.now() - last.recorded_at).total_seconds()
        seconds = min(self.patience.settle_for.total_seconds(), self.patience.settle_for.total_seconds() - age)
        if seconds > 0:
            self.say(
                f"The last push ended without an answer at {iso(last.recorded_at)}: waiting {seconds:.0f} s for what"
                " may still be under way."
            )
            self.patience.sleep(seconds)
        if self.stop.is_set:
            raise StoppedError(f"Stopped by {self.stop.name}: nothing was sent.", self.stop.number)


class PushJournal(Journal):
    """Writes each try to the push log, and stops one that the log or the plan speak against."""

    def __init__(
        self,
        log: PushLog,
        plan: Plan,
        selection: Selection,
        records: Mapping[datetime, HourRecord],
        progress: Callable[[int], None],
    ) -> None:
        self.meter = MonthMeter(records)
        self._log = log
        self._selection = selection
        self._progress = progress
        self._planned = {hour.start: hour for hour in plan.hours}
        self._held = {entry.hour for entry in accepted_entries(records)}

    def begins(self, delivery: BodyGroup) -> None:
        """See `Journal`.

        Raises:
            GuardError: the month has no room, or the lines do not cost what cbf_hours says.
        """
        # A month that is replaced was weighed as a whole: to stop in its middle would lose what it had.
        if not self._selection.allow_full_month and self._selection.operation != "replace_drop":
            self.meter.require_room(delivery)
        if delivery.operation != "sum":
            for share in delivery.shares:
                if share.cost != self._planned[share.hour].cost:
                    raise changed(share.hour)
        self._log.append(self._entries(delivery), delivery.operation, BEGUN)

    def accepted(self, delivery: BodyGroup, drop_id: str) -> None:
        """See `Journal`."""
        entries = self._entries(delivery)
        self._log.append(entries, delivery.operation, ACCEPTED, drop_id)
        self.meter.took(delivery)
        self._held |= {entry.hour for entry in entries}
        self._progress(delivery.row_count)

    def failed(self, delivery: BodyGroup, outcome: str, detail: str) -> None:
        """See `Journal`."""
        self._log.append(self._entries(delivery), delivery.operation, outcome, detail=detail)

    def _entries(self, delivery: BodyGroup) -> list[Entry]:
        """What the log says of a delivery: its hours, and those that it wipes."""
        entries = [
            Entry(
                share.hour,
                self._fingerprint(delivery, share.hour),
                share.row_count,
                share.cost,
                share.byte_count,
                self._planned[share.hour].cost_of_all,
            )
            for share in delivery.shares
        ]
        if delivery.operation == "replace_drop":
            month, hours = month_start(delivery.hours[0]), set(delivery.hours)
            wiped = sorted(hour for hour in self._held - hours if month_start(hour) == month)
            entries += [Entry(hour, EMPTY_FINGERPRINT, 0, delivery.cost * 0, 0) for hour in wiped]
        return entries

    def _fingerprint(self, delivery: BodyGroup, hour: datetime) -> str | None:
        """After a sum, what CloudZero holds of an hour is what was there and this."""
        return None if delivery.operation == "sum" else self._planned[hour].fingerprint


def months_of(window: Window | None) -> Window | None:
    """The whole UTC months that a window touches; None for None, which is all."""
    if window is None:
        return None
    return Window(month_start(window.start), next_month(max(window.start, window.end - HOUR)))
