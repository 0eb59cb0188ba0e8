"""The schedule: a run at startup, then one every interval, never two at a time, whether or not the last succeeded."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from random import SystemRandom

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from loader.delivery import limits
from loader.delivery.push import PushCallbacks, held_back
from loader.errors import ConfigurationError, GuardError, LoaderError, LockedError, StoppedError
from loader.money import decimal_text
from loader.runs.run import Job, require_whole_source, run
from loader.service.metrics import FAILED, LOCKED, OK, Metrics
from loader.service.snapshot import SnapshotCache
from loader.service.warehouse_access import WarehouseAccess
from loader.stopping import StopSignal

WAIT_FOR_EXPORT = 900.0  # seconds; an export requested over HTTP gives up long before that
MAX_JITTER = timedelta(minutes=1)


@dataclass(frozen=True)
class ScheduledRun:
    """One run of the schedule: logs its outcome in one line and counts it."""

    job: Job
    access: WarehouseAccess
    metrics: Metrics
    snapshots: SnapshotCache
    stop: StopSignal

    def __call__(self) -> None:
        """Run; never raises."""
        if self.stop.is_set:
            return
        outcome = FAILED
        try:
            message = self._run()
            outcome = OK
        except StoppedError as error:
            self.job.say(f"Run stopped: {_line(error)}")
            return
        except LockedError as error:
            outcome, message = LOCKED, f"Run skipped; the next one retries: {_line(error)}"
        except LoaderError as error:
            message = f"Run failed; the next one retries: {_line(error)}"
        except Exception as error:
            # Without the exception's text, which could hold a secret.
            place = traceback.extract_tb(error.__traceback__)[-1]
            message = f"Run failed: internal error, {type(error).__name__} in {place.filename}, line {place.lineno}."
        finally:
            self.snapshots.invalidate()
        self.metrics.record_run(outcome, datetime.now(timezone.utc))
        self.job.say(message)

    def _run(self) -> str:
        with self.access.exclusive(WAIT_FOR_EXPORT), self.metrics.sending() as sent:
            pushes = run(self.job, self.stop, PushCallbacks(responded=self.metrics.answered), sent)
            total = f"{sent.hours:,} hours, {sent.lines:,} lines, ${decimal_text(sent.cost)}"
            if left := held_back(pushes):
                raise GuardError(f"Sent {total}. {limits.explain(left)}")
            try:
                require_whole_source(self.job)
            except ConfigurationError as error:
                raise ConfigurationError(f"Sent {total}. {error}") from error
        return f"Run succeeded: sent {total}." if sent.hours else "Run succeeded: nothing was pending."


class FixedIntervalTrigger(IntervalTrigger):  # type: ignore[misc]  # apscheduler has no types
    """Fires at fixed times, `start_date` plus whole intervals, whenever the previous run started.

    APScheduler's own jitter moves each fire time and counts from the moved one, so that intervals would grow.
    """

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first fixed time after the previous run."""
        after = previous_fire_time + timedelta(milliseconds=1) if previous_fire_time else now
        if self.start_date - after > 2 * self.interval:  # the clock has been set back since the start
            earlier: datetime = self.start_date - (self.start_date - after) // self.interval * self.interval
            return earlier
        next_time: datetime | None = super().get_next_fire_time(None, after)
        return next_time


class SteadyScheduler(BackgroundScheduler):  # type: ignore[misc]  # apscheduler has no types
    """Starts the run that is due although the clock was set back, instead of waiting until the clock is there again."""

    def _process_jobs(self) -> float | None:
        """Called when a run is due by the time that has passed, or earlier."""
        now = datetime.now(timezone.utc)
        for job in self.get_jobs():
            if job.next_run_time and job.next_run_time - now > 2 * job.trigger.interval:
                job.modify(next_run_time=now)
        wait: float | None = super()._process_jobs()
        return wait


def make_schedule(run: Callable[[], None], interval: timedelta) -> BackgroundScheduler:
    """Make a schedule; call its `start()`, which starts the first run immediately.

    The second run starts later by a random delay, up to a minute or a tenth of the interval, so that several services
    do not all run at the same moment; the runs after it keep that offset. A run that is due while another is in
    progress is skipped, and several missed runs become one.

    Args:
        run: one run; must not raise.
        interval: from the start of one run to the start of the next.
    """
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # no warning for a run longer than the interval
    now, delay = datetime.now(timezone.utc), SystemRandom().random() * min(MAX_JITTER, interval / 10)
    schedule = SteadyScheduler(executors={"default": ThreadPoolExecutor(1)}, timezone=timezone.utc)
    schedule.add_job(
        run,
        FixedIntervalTrigger(
            seconds=int(interval.total_seconds()), start_date=now + interval + delay, timezone=timezone.utc
        ),
        next_run_time=now,
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )
    return schedule


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
