"""A long history, taken step by step: each is a run of dbt that sums nothing at or after its end (var load_until)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from itertools import islice

from loader.errors import ConfigurationError, StoppedError
from loader.hours import Window, iso, month_start
from loader.runs.dbt import build_models
from loader.runs.lock import turn
from loader.runs.run import Job
from loader.stopping import StopSignal
from loader.warehouse.base import EPOCH, open_warehouse, utc

STEPS = ("day", "month")
# Makes all that is not there yet, and sums nothing.
NOTHING = "1970-01-01"


def step_ends(begin: datetime, now: datetime, step: str) -> Iterator[datetime]:
    """The first moments (UTC) of the days or months after `begin` and up to `now`, oldest first."""
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
    """Of `step_ends` those of the days or months that hold one of these days (UTC): others have nothing to sum.

    One spend log of 1970, which a clock that was never set writes, would else be 20,000 runs of dbt.
    """
    starts = (datetime.combine(day, time(), timezone.utc) for day in days)
    return sorted({end for start in starts for end in islice(step_ends(start, now, step), 1)})


def load(job: Job, step: str, stop: StopSignal, now: datetime, told: Callable[[str], None]) -> int:
    """Run dbt until all history is summed, and go on where an earlier call ended.

    A step reads from the source what is older than its end and not older than what is summed already, less
    `lookback_hours`: so its memory grows with the step and not with the history. Days or months without spend logs are
    no step.

    Args:
        job: what to run on.
        step: `day` or `month`.
        stop: ends dbt; the steps before stay.
        now: the loader's clock (UTC).
        told: hears of each step that is done.

    Returns:
        How many runs of dbt it took.

    Raises:
        ConfigurationError: dbt failed.
        LockedError: another run of the loader is at work.
        StoppedError: an end was asked for.
    """
    with turn(job.target, job.say):
        runs = 0
        begin = _built_at(job)
        if begin is None:
            told("Making tables and views.")
            _run(job, stop, NOTHING)
            begin, runs = EPOCH, 1
        ends = ends_with_logs(_days_with_logs(job, Window(begin, now)), now, step)
        for number, end in enumerate(ends, 1):
            _run(job, stop, end.strftime("%Y-%m-%d"))
            told(f"{number} of {len(ends) + 1}: all before {iso(end)} is summed.")
        _run(job, stop, None)
        told(f"{len(ends) + 1} of {len(ends) + 1}: all is summed.")
        return runs + len(ends) + 1


def _run(job: Job, stop: StopSignal, until: str | None) -> None:
    try:
        build_models(job.target_name, job.profiles_dir, stop, variables={"load_until": until} if until else {})
    except StoppedError as error:
        raise StoppedError(
            f"Stopped by {stop.name}: what was summed stays, and the same command goes on.", error.signal_number
        ) from error


def _built_at(job: Job) -> datetime | None:
    """Up to where it is summed; None when there is nothing yet."""
    try:
        with open_warehouse(job.target, job.lock_timeout, job.say) as warehouse:
            return warehouse.built_at()
    except ConfigurationError:
        return None  # a database that cannot be reached is dbt's to name


def _days_with_logs(job: Job, window: Window) -> list[date]:
    """The UTC days of the window that hold spend logs: one look at the source, whatever its length."""
    with open_warehouse(job.target, job.lock_timeout, job.say) as warehouse:
        where, parameters = warehouse.between("started_at", window)
        logs = warehouse.relation("base_litellm__spend_logs")
        statement = f"select distinct cast(started_at as date) from {logs} {where}"  # noqa: S608
        found = [day for (day,) in warehouse.rows(statement, parameters)]
    return [utc(day).date() if isinstance(day, datetime | str) else day for day in found]
