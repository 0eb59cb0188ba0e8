"""One run: dbt, then a push of what is pending. The same for `loader run` and for each tick of `loader serve`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from loader.cloudzero.client import AnyCost
from loader.config.profiles import Target
from loader.config.settings import Credentials, read_all_credentials, read_streams
from loader.delivery import streams
from loader.delivery.limits import HeldBack
from loader.delivery.plan import Plan, Selection
from loader.delivery.push import Push
from loader.delivery.push_log import PushLog
from loader.delivery.retry import Patience, Sent
from loader.errors import StoppedError
from loader.runs.dbt import build_models
from loader.runs.lock import turn
from loader.stopping import StopSignal
from loader.warehouse.base import open_for_push


def _nothing(*_: object) -> None:
    """For whoever is not told."""


@dataclass(frozen=True)
class Job:
    """What every run and every export of one process have in common.

    `target_name` and `profiles_dir` are what dbt is told, `target` is what they mean. Nothing before `since` (UTC) is
    pending. `lock_timeout` is how many seconds to wait for a DuckDB file that another process uses.
    """

    target: Target
    say: Callable[[str], None]
    target_name: str | None = None
    profiles_dir: str | None = None
    since: datetime | None = None
    lock_timeout: float = 30.0
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Ears:
    """Who is told of a push while it is under way: of its plan, of lines that were accepted, of answers' statuses."""

    plan: Callable[[Plan], None] = _nothing
    progress: Callable[[int], None] = _nothing
    status: Callable[[str], None] = _nothing


def tick(job: Job, stop: StopSignal, ears: Ears | None = None, sent: Sent | None = None) -> list[Push]:
    """Run dbt, then send what is pending; a push for each stream then says what was sent and what a guard held back.

    Args:
        job: what to run on.
        stop: ends dbt, or the push after the body in flight.
        ears: who is told.
        sent: counts what is sent while it is.

    Raises:
        LockedError: another run, push or dbt is at work.
        ConfigurationError: dbt failed, or the credentials are missing.
        LoaderError: as `Push.run`.
    """
    with turn(job.target, job.say):
        _require_no_push(job)
        build_models(job.target_name, job.profiles_dir, stop)
        if stop.is_set:
            raise StoppedError(f"Stopped by {stop.name} after dbt: nothing was sent.", stop.number)
        return send(job, read_all_credentials(), Selection(None, since=job.since), stop, ears, sent)


def _require_no_push(job: Job) -> None:
    """End now rather than after dbt, which would wait for the other push to let go of the views."""
    is_new = job.target.type == "duckdb" and not Path(str(job.target.options.get("path", ""))).exists()
    for stream in [] if is_new else read_streams():
        with open_for_push(job.target, stream, job.lock_timeout, 0, job.say):
            pass


def send(
    job: Job,
    everyone: Sequence[Credentials],
    selection: Selection,
    stop: StopSignal,
    ears: Ears | None = None,
    sent: Sent | None = None,
) -> list[Push]:
    """One push to each stream, under its lock.

    Raises:
        LoaderError: as `open_for_push`, `Push.run`, `streams.require_ids` and `streams.for_each`.
    """
    ears, sent = ears or Ears(), sent or Sent()

    def one_stream(credentials: Credentials) -> Push:
        with (
            open_for_push(job.target, credentials.stream, job.lock_timeout, 0, job.say) as warehouse,
            AnyCost(credentials, on_status=ears.status) as client,
        ):
            streams.require_ids(warehouse, everyone)
            push = Push(
                warehouse, PushLog(warehouse, credentials.stream), client, selection, job.patience.until(stop), job.say,
                ears.plan, ears.progress, stop, sent=sent, named={each.connection_id for each in everyone},
            )  # fmt: skip
            push.run()
        if len(everyone) > 1 and push.plan and push.plan.hours:
            job.say(f"Stream {streams.title(credentials.name)}: sent {len(push.plan.hours):,} hours.")
        return push

    return streams.for_each(everyone, one_stream, job.say, stop)


def held_back(pushes: Sequence[Push]) -> list[HeldBack]:
    """The hours that guards held back, of all streams."""
    return [each for push in pushes if push.plan for each in push.plan.held_back]
