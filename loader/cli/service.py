"""The commands that run dbt and push on their own: once, or on a schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import TargetOptions, retry_options, since_option, target_options

if TYPE_CHECKING:
    from loader.delivery.other_senders import CheckOptions
    from loader.delivery.retry import RetryPolicy
    from loader.runs.run import Job

EXTRA = "`loader serve` needs packages that are not installed ({}): pip install '.[serve]'"


vars_option = click.option(
    "--vars",
    "variables",
    metavar="YAML",
    help="Vars for dbt, as its own --vars; before those of LOADER_VARS, which come before dbt_project.yml.",
)

accept_option = click.option(
    "--accept-changed",
    "accepted",
    multiple=True,
    metavar="NAME",
    help="A setting that differs from the last run and may be applied although it reads other spend logs, or sends"
    " providers or people that were left out. Repeat it for several.",
)


def _job(
    target: TargetOptions,
    since: str | None = None,
    policy: RetryPolicy | None = None,
    variables: str | None = None,
    accepted: tuple[str, ...] = (),
) -> Job:
    from loader.cli import output
    from loader.config.settings import read_dbt_vars
    from loader.delivery.retry import RetryPolicy
    from loader.runs.run import Job

    accept = {"accept_changed": list(accepted)} if accepted else {}

    return Job(
        target.read(),
        output.say,
        target.target,
        target.profiles_dir,
        options.since_time(since),
        target.lock_seconds,
        policy or RetryPolicy(),
        read_dbt_vars(variables) | accept,
    )


@click.command()
@target_options
@since_option
@retry_options
@options.check_options
@vars_option
@accept_option
@options.text_or_json
def run(
    target: TargetOptions,
    since: str | None,
    policy: RetryPolicy,
    check: CheckOptions,
    variables: str | None,
    accepted: tuple[str, ...],
    style: str,
) -> None:
    """Run dbt, then send what is pending: one command for cron.

    dbt runs in a separate process, in this folder, with models and seeds but without tests; the first run creates all
    tables and views. What follows is `loader push --window pending`, with the same exit codes; 3 when dbt fails, or
    when no request of a spend log file was accepted (everything else is sent), 6 when another run or push is in
    progress.

    \b
    10 * * * *  cd /opt/litellm-cbf && set -a && . ./settings.env && . ./secrets.env && .venv/bin/loader run
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.cli import output
    from loader.cli.push_report import report_pushes
    from loader.config.settings import read_credentials
    from loader.delivery.push import PushCallbacks
    from loader.delivery.retry import Sent
    from loader.delivery.selection import Pending
    from loader.runs import run as core
    from loader.stopping import StopSignal

    read_credentials()  # fails before dbt runs, not after it
    job, sent = replace(_job(target, since, policy, variables, accepted), check=check), Sent()
    with StopSignal() as stop, output.progress("Sending") as bar:
        callbacks = PushCallbacks(planned=lambda plan: bar.start(plan.line_count), progress=bar.advance)
        pushes = core.run(job, stop, callbacks, sent)
    report_pushes(pushes, sent, style, Pending(job.since))
    core.require_whole_source(job)


@click.command()
@target_options
@click.option(
    "--step",
    default="month",
    show_default=True,
    type=click.Choice(("day", "month")),
    help="How much of the history one run of dbt sums, which bounds its memory.",
)
@vars_option
@accept_option
def load(target: TargetOptions, step: str, variables: str | None, accepted: tuple[str, ...]) -> None:
    """Sum a long history for the first time, in steps; sends nothing.

    Each step is a separate run of dbt, from the oldest spend log on. If it is stopped or fails, run the same command
    again to continue. When everything is summed already, it is one ordinary run of dbt.
    """
    from loader.runs import history
    from loader.stopping import StopSignal

    with StopSignal() as stop:
        history.load(_job(target, variables=variables, accepted=accepted), step, stop, options.now())


@click.command()
@target_options
@since_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any other than loopback requires LOADER_MASTER_KEY.",
)
@click.option(
    "--port",
    default=4100,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 for any free port.",
)
@options.check_options
@vars_option
def serve(
    target: TargetOptions, since: str | None, host: str, port: int, check: CheckOptions, variables: str | None
) -> None:
    """Run dbt and send what is pending, on a schedule; with a page, LiteLLM's endpoints, and metrics.

    Once at the start, and then every CLOUDZERO_EXPORT_INTERVAL_MINUTES (default 60). Needs `pip install '.[serve]'`.
    With LOADER_MASTER_KEY, or LOADER_MASTER_KEY_FILE with the path of a file that contains it, requests need
    `Authorization: Bearer …`; without it, only this machine is served. See docs/service.md. SIGTERM and Ctrl-C end it
    after the body that is being sent, with exit code 0.

    \b
    loader serve --port 4100
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.errors import ConfigurationError
    from loader.service.settings import read_service_settings

    settings = read_service_settings(host, port)
    job = replace(_job(target, since, variables=variables), check=check)
    try:
        from loader.service.server import run_service
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "loader":
            raise
        raise ConfigurationError(EXTRA.format(error.name)) from error
    run_service(settings, job)
