"""A long history in steps: each step is a run of dbt that sums nothing at or after its end (var `load_until`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from itertools import islice

from loader.errors import ConfigurationError, StoppedError
from loader.hours import Window, iso, month_start
from loader.runs.lock import require_readable, run_lock
from loader.runs.run import Job, require_whole_source
from loader.stopping import StopSignal
from loader.warehouse.base import EPOCH, open_warehouse, utc

# The first step: it creates the tables and views, and sums nothing.
BEFORE_ALL = "1970-01-01"


def step_ends(begin: datetime, now: datetime, step: str) -> Iterator[datetime]:
    """The starts (UTC) of the days or months after `begin` and up to `now`, oldest first."""
    end = begin
    while True:
        if step == "month":
            end = month_start(month_start(end) + timedelta(days=32))
        else:
            end = end.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        if end > now:
            return
        yield end


def ends_with_logs(days: Iterable[date], now: datetime, step: str) -> list[datetime]:
    """The `step_ends` of the days or months that contain one of these days (UTC): the others have nothing to sum.

    Otherwise one spend log of 1970, from a clock that was never set, would mean 20,000 runs of dbt.
    """
    starts = (datetime.combine(day, time(), timezone.utc) for day in days)
    return sorted({end for start in starts for end in islice(step_ends(start, now, step), 1)})


def load(job: Job, step: str, stop: StopSignal, now: datetime) -> None:
    """Run dbt until all history is summed, continuing where an earlier call ended.

    A step reads spend logs that are older than its end, and no more than `lookback_hours` older than what is already
    summed, so its memory grows with the step and not with the history. Days or months without spend logs are skipped.

    Args:
        job: what to run on.
        step: `day` or `month`.
        stop: ends dbt; the steps before it remain done.
        now: the loader's clock (UTC).

    Raises:
        ConfigurationError: dbt failed.
        GuardError: settings differ from those of the last run, and the change was not accepted.
        LockedError: another run of the loader is in progress.
        StoppedError: a stop was requested.
    """
    with run_lock(job.target, job.say):
        require_readable(job.target, job.lock_timeout, job.say)
        begin = _built_at(job)
        if begin is None:
            job.say("Creating tables and views.")
            _run(job, stop, BEFORE_ALL)
            begin = EPOCH
        ends = ends_with_logs(_days_with_logs(job, Window(begin, now)), now, step)
        for number, end in enumerate(ends, 1):
            _run(job, stop, end.strftime("%Y-%m-%d"))
            job.say(f"{number} of {len(ends) + 1}: everything before {iso(end)} is summed.")
        _run(job, stop, None)
        job.say(f"{len(ends) + 1} of {len(ends) + 1}: everything is summed.")
    require_whole_source(job)


def _run(job: Job, stop: StopSignal, until: str | None) -> None:
    try:
        job.build(stop, until)
    except StoppedError as error:
        raise StoppedError(
            f"Stopped by {stop.name}: what was summed stays. Run the same command again to continue.",
            error.signal_number,
        ) from error


def _built_at(job: Job) -> datetime | None:
    """The moment (UTC) up to which usage is summed; None when nothing is built yet."""
    try:
        with open_warehouse(job.target, job.lock_timeout, job.say) as warehouse:
            return warehouse.built_at()
    except ConfigurationError:
        return None  # dbt reports a database that cannot be reached


def _days_with_logs(job: Job, window: Window) -> list[date]:
    """The UTC days of the window that have spend logs; one query, however long the window is."""
    with open_warehouse(job.target, job.lock_timeout, job.say) as warehouse:
        where, parameters = warehouse.between("started_at", window)
        logs = warehouse.relation("base_litellm__spend_logs")
        statement = f"select distinct cast(started_at as date) from {logs} {where}"  # noqa: S608
        found = [day for (day,) in warehouse.rows(statement, parameters)]
    return [utc(day).date() if isinstance(day, datetime | str) else day for day in found]
