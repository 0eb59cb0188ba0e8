"""The schedule: a run at once, then one every interval, never two at a time, whatever the last one came to."""

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
from loader.errors import GuardError, LoaderError, LockedError, StoppedError
from loader.money import decimal_text
from loader.runs.run import Ears, Job, held_back, tick
from loader.service.metrics import FAILED, LOCKED, OK, Metrics
from loader.service.snapshot import Watch
from loader.service.warehouse_access import Access
from loader.stopping import StopSignal

WAIT_FOR_EXPORT = 900.0  # seconds; an export that was asked for by HTTP gives up long before
MAX_JITTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Ticker:
    """Makes one run, says in one line how it ended, and counts it."""

    job: Job
    access: Access
    metrics: Metrics
    watch: Watch
    stop: StopSignal

    def __call__(self) -> None:
        """Run; raises nothing."""
        if self.stop.is_set:
            return
        outcome = FAILED
        try:
            said = self._run()
            outcome = OK
        except StoppedError as error:
            self.job.say(f"Run stopped: {_line(error)}")
            return
        except LockedError as error:
            outcome, said = LOCKED, f"Run left to the next: {_line(error)}"
        except LoaderError as error:
            said = f"Run failed, the next one tries again: {_line(error)}"
        except Exception as error:
            # Not its text, of which nobody knows what is in it.
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = f"Run failed by a defect of ours: {type(error).__name__} in {place.filename}, line {place.lineno}."
        finally:
            self.watch.expire()
        self.metrics.ran(outcome, datetime.now(timezone.utc))
        self.job.say(said)

    def _run(self) -> str:
        with self.access.to_work(WAIT_FOR_EXPORT), self.metrics.sending() as sent:
            pushes = tick(self.job, self.stop, Ears(status=self.metrics.answered), sent)
        told = f"{sent.hours:,} hours, {sent.lines:,} lines, ${decimal_text(sent.cost)}"
        if left := held_back(pushes):
            raise GuardError(f"Sent {told}. {limits.explain(left)}")
        return f"Run ended well: sent {told}." if sent.hours else "Run ended well: nothing was pending."


class Ticks(IntervalTrigger):  # type: ignore[misc]  # apscheduler has no types
    """Every interval from its start on, whenever the run before was: the first one, which is at once, moves none.

    A jitter of apscheduler's own is added to each tick and counts for the next: an hour would be longer than one.
    """

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first tick after the run before."""
        after = previous_fire_time + timedelta(milliseconds=1) if previous_fire_time else now
        tick: datetime | None = super().get_next_fire_time(None, after)
        return tick


def make_schedule(run: Callable[[], None], interval: timedelta) -> BackgroundScheduler:
    """A schedule that is not started yet; it then runs at once.

    Args:
        run: one run; it raises nothing.
        interval: from the beginning of one run to the next. Several services spread, for the second run of each is
            later by up to a minute, or a tenth of it, and the others keep to the second; a run that would begin while
            another goes on is left out, and several that were missed become one.
    """
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a run that takes longer than the interval is no news
    now, later = datetime.now(timezone.utc), SystemRandom().random() * min(MAX_JITTER, interval / 10)
    schedule = BackgroundScheduler(executors={"default": ThreadPoolExecutor(1)}, timezone=timezone.utc)
    schedule.add_job(
        run, Ticks(seconds=int(interval.total_seconds()), start_date=now + interval + later, timezone=timezone.utc),
        next_run_time=now, max_instances=1, coalesce=True, misfire_grace_time=None,
    )  # fmt: skip
    return schedule


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
