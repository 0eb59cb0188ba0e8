"""Records each try of a push in the push log, and checks it against the plan and the limits of its month."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from loader.cloudzero.bodies import BodyGroup
from loader.delivery.limits import MonthMeter
from loader.delivery.plan import Plan
from loader.delivery.plan_lines import changed
from loader.delivery.push_log import ACCEPTED, BEGUN, Entry, HourRecord, PushLog, accepted_entries
from loader.delivery.retry import Journal
from loader.delivery.selection import Selection
from loader.hours import month_start
from loader.lines import EMPTY_FINGERPRINT


class PushJournal(Journal):
    """Writes each try to the push log, and prevents one that contradicts the plan or exceeds a month's limits."""

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

    def begins(self, group: BodyGroup) -> None:
        """See `Journal`.

        Raises:
            GuardError: the month has no room, or the cost of the lines is not that of cbf_hours.
        """
        # replace_drop was checked as a whole before it began: stopping halfway would lose what the month had.
        if not self._selection.allow_full_month and self._selection.operation != "replace_drop":
            self.meter.require_room(group)
        if group.operation != "sum":
            for share in group.shares:
                if share.cost != self._planned[share.hour].cost:
                    raise changed(share.hour)
        self._log.append(self._entries(group), group.operation, BEGUN)

    def accepted(self, group: BodyGroup, drop_id: str) -> None:
        """See `Journal`."""
        entries = self._entries(group)
        self._log.append(entries, group.operation, ACCEPTED, drop_id)
        self.meter.accepted(group)
        self._held |= {entry.hour for entry in entries}
        self._progress(group.row_count)

    def failed(self, group: BodyGroup, outcome: str, detail: str) -> None:
        """See `Journal`."""
        self._log.append(self._entries(group), group.operation, outcome, detail=detail)

    def _entries(self, group: BodyGroup) -> list[Entry]:
        """The log's entries for a body group: its hours, and those that it deletes."""
        entries = [
            Entry(
                share.hour,
                self._fingerprint(group, share.hour),
                share.row_count,
                share.cost,
                share.byte_count,
                self._planned[share.hour].cost_of_all,
            )
            for share in group.shares
        ]
        if group.operation == "replace_drop":
            month, hours = month_start(group.hours[0]), set(group.hours)
            deleted = sorted(hour for hour in self._held - hours if month_start(hour) == month)
            entries += [Entry(hour, EMPTY_FINGERPRINT, 0, group.cost * 0, 0) for hour in deleted]
        return entries

    def _fingerprint(self, group: BodyGroup, hour: datetime) -> str | None:
        """None after a sum: CloudZero then holds these lines in addition to what it held before."""
        return None if group.operation == "sum" else self._planned[hour].fingerprint
