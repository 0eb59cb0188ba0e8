"""A long history, taken step by step: each is a run of dbt that sums nothing at or after its end (var load_until)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from loader.errors import ConfigurationError, StoppedError
from loader.service.dbt import build_models
from loader.service.tick import Job
from loader.service.turn import turn
from loader.stopping import StopSignal
from loader.warehouse import EPOCH, open_warehouse, utc
from loader.windows import iso, month_start

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


def load(job: Job, step: str, stop: StopSignal, now: datetime, told: Callable[[str], None]) -> int:
    """Run dbt until all history is summed, and go on where an earlier call ended.

    A step reads from the source what is older than its end and not older than what is summed already, less
    `lookback_hours`: so its memory grows with the step and not with the history.

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
        oldest = _oldest_spend_log(job)
        begin = max(begin, oldest) if oldest else now
        ends = list(step_ends(begin, now, step))
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


def _oldest_spend_log(job: Job) -> datetime | None:
    with open_warehouse(job.target, job.lock_timeout, job.say) as warehouse:
        oldest = warehouse.moment("min(started_at)")
        statement = f"select {oldest} from {warehouse.relation('base_litellm__spend_logs')}"  # noqa: S608
        for (moment,) in warehouse.rows(statement):
            return utc(moment) if moment else None
    return None
