"""Dry run and export over HTTP: request bodies, the same work as the commands do, response bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from loader import hours
from loader.config.settings import read_all_credentials
from loader.delivery import limits
from loader.delivery.answers import dry_run_answer, pushes_answer
from loader.delivery.plan import within_limit
from loader.delivery.push import PushCallbacks, held_back
from loader.delivery.selection import Pending, Selection
from loader.errors import GuardError, LockedError, UsageError
from loader.hours import HOUR, Window, iso
from loader.lines import HourSummary
from loader.runs.run import Job
from loader.service.error_responses import FieldError
from loader.service.metrics import Metrics
from loader.service.snapshot import SnapshotCache
from loader.service.warehouse_access import WarehouseAccess
from loader.stopping import StopSignal

MAX_DRY_RUN_LINES = 10_000
MAX_CONCURRENT_DRY_RUNS, DRY_RUN_WAIT = 2, 10.0
# A client waits for the response; the next run sends what an export did not send in this time.
GIVE_UP_AFTER, LOCK_TIMEOUT = timedelta(minutes=2), 5.0


def _require_iso_text(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or "-" not in value):
        raise ValueError("must be an ISO 8601 time such as 2024-01-15T14:00:00Z")
    return value


def _integral_float_to_int(value: Any) -> Any:
    # JSON has a single number type, so 10.0 is valid. Strings and booleans are not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Time = Annotated[datetime, BeforeValidator(_require_iso_text)]


class TimeRange(BaseModel):
    """A range of time; times without an offset are UTC."""

    model_config = ConfigDict(extra="forbid")

    start_time_utc: Time | None = Field(default=None, description="Start; rounded down to a full hour")
    end_time_utc: Time | None = Field(default=None, description="End, exclusive; requires a start. Default: now")

    def window(self, now: datetime) -> Window | None:
        """The hours of the range, or None when no times are given.

        Raises:
            FieldError: there is an end without a start, or the start is in the future or not before the end.
        """
        if self.start_time_utc is None:
            if self.end_time_utc is not None:
                raise FieldError("end_time_utc", "requires a start_time_utc.")
            return None
        start, end = self.start_time_utc.isoformat(), self.end_time_utc.isoformat() if self.end_time_utc else None
        try:
            return hours.between(start, end, now)
        except UsageError as error:
            message = str(error).replace("--start", "start_time_utc").replace("--end", "end_time_utc")
            field = "end_time_utc" if message.startswith("end_time_utc") else "start_time_utc"
            raise FieldError(field, message) from error


class DryRunRequest(TimeRange):
    """Which lines to show. Without times: of all hours."""

    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_DRY_RUN_LINES), BeforeValidator(_integral_float_to_int)] = (
        Field(default=10, description="Number of lines to show, newest hour first")
    )


class ExportRequest(TimeRange):
    """What to send. Without times and limit: every complete hour whose current lines CloudZero does not have."""

    limit: Annotated[int, Field(strict=True, ge=1), BeforeValidator(_integral_float_to_int)] | None = Field(
        default=None,
        description="Only the newest whole hours that together have at most this many lines; at least one hour",
    )
    operation: Literal["replace_hourly", "replace_drop", "sum"] = Field(
        default="replace_hourly",
        description="replace_drop replaces a whole month; sum adds to what CloudZero has, again with each request",
    )


class DryRunData(BaseModel):
    """Lines with LiteLLM's field names and as they are sent; totals over all requested hours."""

    usage_data: list[dict[str, Any]]
    cbf_data: list[dict[str, str]]
    summary: dict[str, float]


class DryRunResponse(BaseModel):
    """The same shape as LiteLLM's response."""

    message: str
    status: Literal["success"]
    dry_run_data: DryRunData


class LeftOut(BaseModel):
    """Requested hours that were not sent because they are not complete: all hours from `from` on."""

    start: str = Field(serialization_alias="from", description="The first hour that was not sent, UTC")
    why: str


class ExportResponse(BaseModel):
    """The same shape as LiteLLM's response, with what was sent. `cost` is in USD, as text with all digits."""

    message: str
    status: Literal["success"]
    summary: dict[str, float | str]
    held_back: list[dict[str, str]]
    left_out: LeftOut | None


@dataclass(frozen=True)
class Exports:
    """Carries out the requests of the two endpoints."""

    job: Job
    access: WarehouseAccess
    metrics: Metrics
    snapshots: SnapshotCache
    stop: StopSignal
    dry_runs: BoundedSemaphore

    def dry_run(self, request: DryRunRequest) -> dict[str, object]:
        """The newest lines, and the totals over the whole window.

        Raises:
            LoaderError: the times are not valid, or the warehouse cannot be read.
        """
        window = request.window(_now())
        with self._dry_run_slot(), self.access.open_for_reading(DRY_RUN_WAIT) as warehouse:
            hours = [hour for hour in warehouse.hours(window) if hour.line_count]
            return dry_run_answer(list(warehouse.newest_lines(hours, request.limit)), hours)

    def export(self, request: ExportRequest) -> dict[str, object]:
        """Send the requested hours, and return what was sent.

        Raises:
            LoaderError: credentials are missing, the request is not valid, another push is in progress, none of the
                requested hours is complete, a guard held hours back, or as `Push.run`.
        """
        configured = read_all_credentials()
        window = request.window(_now())
        if window is None and request.operation != "replace_hourly":
            raise FieldError("operation", f"{request.operation} requires a start_time_utc.")
        is_month = window is not None and window.is_whole_month()
        if request.operation == "replace_drop" and (request.limit is not None or not is_month):
            raise FieldError(
                "operation",
                "replace_drop replaces a whole month at CloudZero: give exactly one UTC month, such as start_time_utc"
                " 2024-01-01 and end_time_utc 2024-02-01, and no limit.",
            )
        since, left_out = self.job.since, None
        if window is not None and since is not None and window.start < since:
            raise FieldError(
                "start_time_utc",
                f"hours before {iso(since)} belong to another exporter (LOADER_PUSH_SINCE): start there.",
            )
        if window is not None:
            window, left_out = self._complete_part(window, request.operation)
        chosen = window if request.limit is None else self._newest(window, request.limit)
        job = replace(self.job, lock_timeout=LOCK_TIMEOUT, policy=replace(self.job.policy, give_up_after=GIVE_UP_AFTER))
        selection = Selection(Pending(since) if chosen is None else chosen, request.operation)
        try:
            with self.access.exclusive(), self.metrics.sending() as sent:
                callbacks = PushCallbacks(responded=self.metrics.answered)
                pushes = job.sender(configured, self.stop, callbacks).push_all(selection, sent)
        finally:
            self.snapshots.invalidate()
        if left := held_back(pushes):
            also = f" {left_out.why}" if left_out else ""
            raise GuardError(f"{limits.explain(left)} All other hours were sent: {sent.hours} hour(s).{also}")
        return pushes_answer(pushes, sent) | {"left_out": left_out.model_dump(by_alias=True) if left_out else None}

    def _complete_part(self, window: Window, operation: str) -> tuple[Window, LeftOut | None]:
        """The hours of the window that had ended when dbt last ran, and the rest, which is left out."""
        with self.access.open_for_reading(LOCK_TIMEOUT) as warehouse:
            built_at = warehouse.built_at()
        complete = window.cut_to(built_at)
        if complete.end == window.end:
            return window, None
        built = f"the models were last built at {iso(built_at)}"
        if operation == "replace_drop":
            raise GuardError(
                f"The month is not complete: {built}. Send its complete hours with replace_hourly, or use replace_drop"
                " after the end of the month."
            )
        if operation == "sum":
            raise GuardError(
                f"Hours from {iso(complete.end)} on are not complete: {built}. Nothing was sent, because sending them"
                " again later with sum would count them twice: choose an end_time_utc before them."
            )
        if complete.is_empty:
            raise GuardError(f"Nothing from {window} is complete yet: {built}. The next run sends it.")
        why = f"Hours from {iso(complete.end)} on are not complete: {built}. The next run sends them."
        return complete, LeftOut(start=iso(complete.end), why=why)

    def _newest(self, window: Window | None, limit: int) -> Window:
        with self.access.open_for_reading(LOCK_TIMEOUT) as warehouse:
            complete_until = warehouse.complete_until()
            hours = [hour for hour in warehouse.hours(window) if hour.start < complete_until]
        if window is None and self.job.since is not None:
            hours = [hour for hour in hours if hour.start >= self.job.since]
        return newest_hours(hours, limit) or Window(complete_until, complete_until)

    @contextmanager
    def _dry_run_slot(self) -> Iterator[None]:
        if not self.dry_runs.acquire(timeout=DRY_RUN_WAIT):
            raise LockedError(f"{MAX_CONCURRENT_DRY_RUNS} dry runs are in progress: try again when one has finished.")
        try:
            yield
        finally:
            self.dry_runs.release()


def newest_hours(hours: Sequence[HourSummary], limit: int) -> Window | None:
    """The newest hours that together have at most `limit` lines, but at least one hour: hours are never split.

    Args:
        hours: the hours to choose from, oldest first.
        limit: the number of lines.

    Returns:
        A window over the chosen hours; None when no hour has lines.
    """
    with_lines = [hour for hour in hours if hour.line_count]
    chosen = within_limit(with_lines, limit, oldest_first=False, at_least_one=True)
    return Window(chosen[0].start, chosen[-1].start + HOUR) if chosen else None


def _now() -> datetime:
    return datetime.now(timezone.utc)
