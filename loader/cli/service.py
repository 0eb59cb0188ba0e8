"""The commands that run dbt and push on their own: once, or on a schedule."""

from __future__ import annotations

import click

from loader.cli import options
from loader.cli.options import AskedFor, patience_options, since_option, target_options

EXTRA = "`loader serve` needs packages that are not installed ({}): pip install '.[serve]'"


@click.command()
@target_options
@since_option
@patience_options
@click.option("--format", "style", default="text", show_default=True, type=click.Choice(("text", "json")))
def run(
    target: str | None, profiles_dir: str | None, lock_timeout: str, since: str | None, give_up_after: str,
    settle_for: str, style: str,
) -> None:  # fmt: skip
    """Run dbt, then send what is pending: one command for cron.

    dbt runs as a process of its own, in this folder, with models and seeds and without tests; the first time it makes
    all that is not there. Then as `loader push --window pending`, with the same exit codes; 3 when dbt fails, 6
    when another run or push is at work.

    \b
    10 * * * *  cd /opt/litellm-cbf && .venv/bin/loader run
    """  # noqa: D301 (Click: lines as they stand)
    from loader.cli import output
    from loader.cli.delivery import report_pushes
    from loader.config.profiles import read_target
    from loader.config.settings import read_credentials
    from loader.delivery.plan import Plan
    from loader.delivery.retry import Sent
    from loader.runs.run import Ears, Job, tick
    from loader.stopping import StopSignal

    read_credentials()  # before dbt is run for nothing
    job = Job(
        read_target(profiles_dir, target), output.say, target, profiles_dir, options.since_when(since),
        options.seconds(lock_timeout), options.patience(give_up_after, settle_for),
    )  # fmt: skip
    with StopSignal() as stop, output.progress("Sending") as bar:

        def start(plan: Plan) -> None:
            bar.start(plan.line_count)

        sent = Sent()
        pushes = tick(job, stop, Ears(start, bar.advance), sent)
    report_pushes(pushes, sent, style, AskedFor(None, is_pending=True, by_name=True, since=job.since))


@click.command()
@target_options
@click.option(
    "--step", default="month", show_default=True, type=click.Choice(("day", "month")),
    help="How much of the history one run of dbt takes, which bounds its memory.",
)  # fmt: skip
def load(target: str | None, profiles_dir: str | None, lock_timeout: str, step: str) -> None:
    """Take a long history for the first time, in steps; sends nothing.

    Each step is a run of dbt of its own, from the oldest spend log on. Stopped or failed, the same command goes on
    where it was. When all is summed it is one plain run of dbt.
    """
    from loader.cli import output
    from loader.config.profiles import read_target
    from loader.runs import history
    from loader.runs.run import Job
    from loader.stopping import StopSignal

    job = Job(
        read_target(profiles_dir, target),
        output.say,
        target,
        profiles_dir,
        lock_timeout=options.seconds(lock_timeout),
    )
    with StopSignal() as stop:
        history.load(job, step, stop, options.now(), output.say)


@click.command()
@target_options
@since_option
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on; another than loopback needs LOADER_MASTER_KEY.",
)  # fmt: skip
@click.option("--port", default=4100, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
def serve(
    target: str | None, profiles_dir: str | None, lock_timeout: str, since: str | None, host: str, port: int
) -> None:
    """Run dbt and send what is pending, again and again; with a page, LiteLLM's endpoints, and metrics.

    At once, and then every CLOUDZERO_EXPORT_INTERVAL_MINUTES (default 60). Needs `pip install '.[serve]'`. With
    LOADER_MASTER_KEY, or LOADER_MASTER_KEY_FILE which names a file with it, requests need `Authorization: Bearer …`;
    without, it serves this machine alone. docs/service.md has the rest. SIGTERM and Ctrl-C end it after the body in
    flight, with exit code 0.

    \b
    loader serve --port 4100
    """  # noqa: D301 (Click: lines as they stand)
    from loader.cli import output
    from loader.config.profiles import read_target
    from loader.errors import ConfigurationError
    from loader.runs.run import Job
    from loader.service.settings import read_service_settings

    settings = read_service_settings(host, port)
    job = Job(
        read_target(profiles_dir, target), output.say, target, profiles_dir, options.since_when(since),
        options.seconds(lock_timeout),
    )  # fmt: skip
    try:
        from loader.service.server import run_service
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "loader":
            raise
        raise ConfigurationError(EXTRA.format(error.name)) from error
    run_service(settings, job)
