"""What a dry run and an export that are asked for by HTTP do: bodies in, our own commands' work, answers out."""

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
from loader.delivery.plan import Selection
from loader.errors import GuardError, LockedError, UsageError
from loader.hours import HOUR, Window, floor_hour, iso
from loader.lines import HourSummary
from loader.runs.run import Ears, Job, held_back, send
from loader.service.access import Access
from loader.service.metrics import Metrics
from loader.service.refusals import FieldError
from loader.service.watch import Watch
from loader.stopping import StopSignal

MAX_DRY_RUN_LINES = 10_000
DRY_RUNS_AT_A_TIME, DRY_RUN_WAIT = 2, 10.0
# Whoever waits for an answer waits for so long: the next run goes on where an export gave up.
GIVE_UP_AFTER, LOCK_TIMEOUT = timedelta(minutes=2), 5.0


def _is_text(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or "-" not in value):
        raise ValueError("it is no ISO 8601 time: write 2024-01-15T14:00:00Z")
    return value


def _is_whole(value: Any) -> Any:
    # JSON has one kind of number: 10.0 is 10. A text or a truth is none.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Time = Annotated[datetime, BeforeValidator(_is_text)]


class Times(BaseModel):
    """From when to when; UTC unless they say otherwise."""

    model_config = ConfigDict(extra="forbid")

    start_time_utc: Time | None = Field(default=None, description="Start; not on the hour: widened to whole hours")
    end_time_utc: Time | None = Field(default=None, description="End, not included; needs a start. Default: now")

    def window(self, now: datetime) -> Window | None:
        """The hours; None when no time was said.

        Raises:
            FieldError: an end without a start, a start in the future, or after the end.
        """
        if self.start_time_utc is None:
            if self.end_time_utc is not None:
                raise FieldError("end_time_utc", "it needs a start_time_utc.")
            return None
        start, end = self.start_time_utc.isoformat(), self.end_time_utc.isoformat() if self.end_time_utc else None
        try:
            return hours.between(start, end, now)
        except UsageError as error:
            said = str(error).replace("--start", "start_time_utc").replace("--end", "end_time_utc")
            raise FieldError("end_time_utc" if said.startswith("end_time_utc") else "start_time_utc", said) from error
        except OverflowError as error:
            raise FieldError("start_time_utc", "it is beyond the hours that can be told.") from error


class DryRunRequest(Times):
    """What to show."""

    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_DRY_RUN_LINES), BeforeValidator(_is_whole)] = Field(
        default=10, description="Lines to show, newest hour first"
    )


class ExportRequest(Times):
    """What to send. Nothing said: every complete hour that CloudZero does not hold as it is now."""

    limit: Annotated[int, Field(strict=True, ge=1), BeforeValidator(_is_whole)] | None = Field(
        default=None,
        description="Only the newest hours with so many lines together; whole hours, and at least one",
    )
    operation: Literal["replace_hourly", "replace_drop", "sum"] = Field(
        default="replace_hourly",
        description="replace_drop replaces a whole month; sum adds to what is there, twice if it is asked twice",
    )


class DryRunData(BaseModel):
    """Lines in LiteLLM's words and as they are sent; totals over all hours that were asked for."""

    usage_data: list[dict[str, Any]]
    cbf_data: list[dict[str, str]]
    summary: dict[str, float]


class DryRunAnswer(BaseModel):
    """As LiteLLM answers."""

    message: str
    status: Literal["success"]
    dry_run_data: DryRunData


class LeftOut(BaseModel):
    """What was asked for and not sent, for it is not complete: all hours from this one on."""

    start: str = Field(serialization_alias="from", description="The first hour that was not sent, UTC")
    why: str


class ExportAnswer(BaseModel):
    """As LiteLLM answers, and what was sent. `cost` is USD, as text with every digit."""

    message: str
    status: Literal["success"]
    summary: dict[str, float | str]
    held_back: list[dict[str, str]]
    left_out: LeftOut | None


@dataclass(frozen=True)
class Exports:
    """The two endpoints' work."""

    job: Job
    access: Access
    metrics: Metrics
    watch: Watch
    stop: StopSignal
    dry_runs: BoundedSemaphore

    def dry_run(self, asked: DryRunRequest) -> dict[str, object]:
        """The newest lines, and the totals over the whole window.

        Raises:
            LoaderError: the body makes no sense, or the warehouse cannot be read.
        """
        window = asked.window(_now())
        with self._one_of_few(), self.access.to_read(DRY_RUN_WAIT) as warehouse:
            hours = [hour for hour in warehouse.hours(window) if hour.line_count]
            return dry_run_answer(list(warehouse.newest_lines(hours, asked.limit)), hours)

    def export(self, asked: ExportRequest) -> dict[str, object]:
        """Send, and say what was sent.

        Raises:
            LoaderError: the credentials are missing, the body makes no sense, another push is under way, nothing that
                was asked for is complete, a guard held hours back, or as `Push.run`.
        """
        everyone = read_all_credentials()
        window = asked.window(_now())
        if window is None and asked.operation != "replace_hourly":
            raise FieldError("operation", f"{asked.operation} needs a start_time_utc.")
        if asked.operation == "replace_drop" and (asked.limit is not None or not (window and window.is_whole_month())):
            raise FieldError(
                "operation",
                "replace_drop replaces a whole month of CloudZero's: give exactly one UTC month, such as start_time_utc"
                " 2024-01-01 and end_time_utc 2024-02-01, and no limit.",
            )
        since, left_out = self.job.since, None
        if window is not None and since is not None and window.start < since:
            raise FieldError(
                "start_time_utc", f"hours before {iso(since)} are another exporter's (LOADER_PUSH_SINCE): begin there."
            )
        if window is not None:
            window, left_out = self._complete_part(window, asked.operation)
        chosen = window if asked.limit is None else self._newest(window, asked.limit)
        job = replace(
            self.job, lock_timeout=LOCK_TIMEOUT, patience=replace(self.job.patience, give_up_after=GIVE_UP_AFTER)
        )
        selection = Selection(chosen, asked.operation, since=since)
        try:
            with self.access.to_work(), self.metrics.sending() as sent:
                pushes = send(job, everyone, selection, self.stop, Ears(status=self.metrics.answered), sent)
        finally:
            self.watch.expire()
        if left := held_back(pushes):
            also = f" {left_out.why}" if left_out else ""
            raise GuardError(f"{limits.explain(left)} Sent beside them: {sent.hours} hour(s).{also}")
        return pushes_answer(pushes, sent) | {"left_out": left_out.model_dump(by_alias=True) if left_out else None}

    def _complete_part(self, window: Window, operation: str) -> tuple[Window, LeftOut | None]:
        """The hours of the window that had ended when dbt last ran, and what is left out with the others."""
        with self.access.to_read(LOCK_TIMEOUT) as warehouse:
            built_at = warehouse.built_at()
        complete = window.cut_to(built_at)
        if complete.end == window.end:
            return window, None
        built = f"the models were last built at {iso(built_at)}"
        if operation == "replace_drop":
            raise GuardError(
                f"The month is not complete: {built}. Send what there is of it with replace_hourly, or ask for"
                " replace_drop when it is over."
            )
        if operation == "sum":
            raise GuardError(
                f"Hours from {iso(complete.end)} on are not complete: {built}. What is asked for twice is added twice,"
                " so nothing was sent: ask for a sum that ends before them."
            )
        if complete.is_empty:
            raise GuardError(f"Nothing from {window} is complete yet: {built}. The next run sends it.")
        why = f"Hours from {iso(complete.end)} on are not complete: {built}. The next run sends them."
        return complete, LeftOut(start=iso(complete.end), why=why)

    def _newest(self, window: Window | None, limit: int) -> Window:
        with self.access.to_read(LOCK_TIMEOUT) as warehouse:
            complete_until = floor_hour(warehouse.built_at())
            hours = [hour for hour in warehouse.hours(window) if hour.start < complete_until]
        if window is None and self.job.since is not None:
            hours = [hour for hour in hours if hour.start >= self.job.since]
        return newest_hours(hours, limit) or Window(complete_until, complete_until)

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        if not self.dry_runs.acquire(timeout=DRY_RUN_WAIT):
            raise LockedError(f"{DRY_RUNS_AT_A_TIME} dry runs are under way: try again when one has ended.")
        try:
            yield
        finally:
            self.dry_runs.release()


def newest_hours(hours: Sequence[HourSummary], limit: int) -> Window | None:
    """The newest hours with at most so many lines together, and at least one: an hour is sent whole or not at all.

    Args:
        hours: oldest first.
        limit: lines.
    """
    with_lines = [hour for hour in hours if hour.line_count]
    if not with_lines:
        return None
    start, count = with_lines[-1].start, with_lines[-1].line_count
    for hour in reversed(with_lines[:-1]):
        count += hour.line_count
        if count > limit:
            break
        start = hour.start
    return Window(start, with_lines[-1].start + HOUR)


def _now() -> datetime:
    return datetime.now(timezone.utc)
