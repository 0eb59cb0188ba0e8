"""One run: dbt, then a push of what is pending. The same for `loader run` and for each run of `loader serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from loader.config.profiles import Target
from loader.config.settings import Credentials, read_all_credentials, read_streams
from loader.delivery.push import Push, PushCallbacks, PushOptions, Sender
from loader.delivery.retry import RetryPolicy, Sent
from loader.delivery.selection import Pending, Selection
from loader.errors import StoppedError
from loader.runs.dbt import build_models
from loader.runs.lock import require_readable, run_lock
from loader.stopping import StopSignal
from loader.warehouse import run_log, source
from loader.warehouse.base import open_for_push, open_warehouse


@dataclass(frozen=True)
class Job:
    """What all runs and exports of one process have in common.

    Attributes:
        target: the dbt target.
        say: receives messages for a person.
        target_name: --target, for dbt.
        profiles_dir: --profiles-dir, for dbt.
        since: nothing older (UTC) is pending.
        lock_timeout: seconds to wait for a DuckDB file that another process uses.
        policy: how long a push tries.
        variables: vars for every run of dbt.
    """

    target: Target
    say: Callable[[str], None]
    target_name: str | None = None
    profiles_dir: str | None = None
    since: datetime | None = None
    lock_timeout: float = 30.0
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    variables: Mapping[str, object] = field(default_factory=dict)

    def build(self, stop: StopSignal, load_until: str | None = None) -> None:
        """Run dbt with the job's vars, and report the settings that differ from those of the last run.

        Args:
            stop: ends dbt.
            load_until: the UTC hour from which on nothing is summed; None to sum everything.

        Raises:
            LoaderError: as `build_models`.
        """
        until = {"load_until": load_until} if load_until else {}
        build_models(self.target_name, self.profiles_dir, stop, variables={**self.variables, **until})
        with open_warehouse(self.target, self.lock_timeout, self.say) as warehouse:
            for change in run_log.last_changes(run_log.read_runs(warehouse)):
                self.say(f"Changed since the last run: {change}")

    def sender(
        self, configured: Sequence[Credentials], stop: StopSignal, callbacks: PushCallbacks | None = None
    ) -> Sender:
        """What sends to the streams of this warehouse; `callbacks.say` is replaced by the job's own."""
        options = PushOptions(
            self.policy.interrupted_by(stop), callbacks=replace(callbacks or PushCallbacks(), say=self.say)
        )
        return Sender(self.target, configured, options, self.lock_timeout)


def run(job: Job, stop: StopSignal, callbacks: PushCallbacks | None = None, sent: Sent | None = None) -> list[Push]:
    """Run dbt, then send what is pending. Each stream's push has what was sent and what was held back.

    Args:
        job: what to run on.
        stop: ends dbt, or the push after the body that is being sent.
        callbacks: what the push reports.
        sent: counts what is sent while it is sent.

    Raises:
        LockedError: another run, push or dbt is in progress.
        GuardError: settings differ from those of the last run, and the change was not accepted.
        ConfigurationError: dbt failed, or the credentials are missing.
        LoaderError: as `Push.run`.
    """
    with run_lock(job.target, job.say):
        require_readable(job.target, job.lock_timeout, job.say)
        _require_no_push(job)
        job.build(stop)
        if stop.is_set:
            raise StoppedError(f"Stopped by {stop.name} after dbt: nothing was sent.", stop.number)
        sender = job.sender(read_all_credentials(), stop, callbacks)
        return sender.push_all(Selection(Pending(job.since)), sent)


def require_no_rejected_file(job: Job) -> None:
    """Fail if the last run of dbt found a spend log file of which no request was accepted.

    To be called after the push: the other files are sent.

    Raises:
        ConfigurationError: there is one; with its name, the reason and what to do.
    """
    with open_warehouse(job.target, job.lock_timeout, job.say) as warehouse:
        source.require_no_rejected_file(source.read_source(warehouse))


def _require_no_push(job: Job) -> None:
    """Fail now rather than after dbt, which would wait for another push to release the views."""
    is_new = job.target.type == "duckdb" and not Path(str(job.target.options.get("path", ""))).exists()
    for stream in [] if is_new else read_streams():
        with open_for_push(job.target, stream, job.lock_timeout, 0, job.say):
            pass
