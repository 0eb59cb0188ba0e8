"""The two commands that everybody uses: dry-run and push."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import lock_options, patience_options, target_options, window_options
from loader.money import decimal_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loader.cli.options import AskedFor
    from loader.config.settings import Credentials, Stream
    from loader.delivery.plan import Plan
    from loader.delivery.push import Push
    from loader.delivery.retry import Sent
    from loader.progress import Bar
    from loader.warehouse.base import Warehouse


@click.command("dry-run")
@target_options
@window_options
@click.option(
    "--limit",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="Lines to show, newest hour first.",
)
@options.stream_option
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(("table", "json", "csv", "ndjson")),
)
def dry_run(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    window: str | None, start: str | None, end: str | None, since: str | None,
    limit: int, only: str | None, style: str,
) -> None:  # fmt: skip
    """Show lines as a push would send them, and send nothing.

    Without a window, of all hours. JSON has the shape of LiteLLM's own dry run; its summary is over the whole window
    and not only over the lines shown. csv and ndjson are the lines alone.

    \b
    loader dry-run --limit 10
    loader dry-run --window yesterday --limit 100000 --format csv > yesterday.csv
    """  # noqa: D301 (Click: lines as they stand)
    from loader.cli import output
    from loader.config.settings import read_streams
    from loader.delivery import limits
    from loader.delivery.streams import require_known

    asked = options.asked_for(window, start, end, since, required=False)
    stream = options.stream_of_environment(only) if asked.is_pending else None
    name = stream.name if stream else options.stream_name(only)
    with (
        options.warehouse_to_read(target, profiles_dir, lock_timeout) as warehouse,
        warehouse.of_stream(name),
    ):
        if only is not None:
            require_known(warehouse, read_streams(), only)
        if stream is not None:
            from loader.delivery.plan_lines import newest_lines

            chosen = _pending(warehouse, stream, asked.since)
            if chosen.held_back:
                output.say(limits.explain(chosen.held_back))
            hours, lines = list(chosen.hours), newest_lines(warehouse, chosen, limit)
        else:
            hours = warehouse.hours(asked.window)
            lines = list(warehouse.newest_lines(hours, limit))
    output.print_dry_run(lines, [hour for hour in hours if hour.line_count], style, sys.stdout)


@click.command()
@target_options
@window_options
@click.option(
    "--operation", default="replace_hourly", show_default=True,
    type=click.Choice(("replace_hourly", "replace_drop", "sum")),
    help="replace_drop replaces a whole month; sum adds to what is there, twice if it is run twice.",
)  # fmt: skip
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the newest hours that fit into N lines (of what is pending the oldest); never a part of an hour.",
)
@click.option(
    "--include-incomplete",
    is_flag=True,
    help="Also send hours that are still running, or were summed before they ended.",
)
@click.option(
    "--allow-shrink",
    is_flag=True,
    help="Also send hours that cost less than when CloudZero accepted them, or have lost all their lines.",
)
@click.option("--allow-full-month", is_flag=True, help="Also send what a month has no room for by CloudZero's limits.")
@click.option(
    "--max-body-mb", default=5.0, show_default=True, metavar="X",
    type=click.FloatRange(0, 5, min_open=True),
    help="Million bytes of a body at most, for a proxy that takes less than CloudZero's 5.",
)  # fmt: skip
@options.stream_option
@patience_options
@lock_options
@click.option("--format", "style", default="text", show_default=True, type=click.Choice(("text", "json")))
def push(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    window: str | None, start: str | None, end: str | None, since: str | None,
    operation: str, limit: int | None, include_incomplete: bool, allow_shrink: bool, allow_full_month: bool,
    max_body_mb: float, give_up_after: str, settle_for: str, wait: str, only: str | None, style: str,
) -> None:  # fmt: skip
    """Send the whole hours of a window, one body at a time, and write each into the push log.

    Needs CLOUDZERO_API_KEY, or CLOUDZERO_API_KEY_FILE which names a file with it, and CLOUDZERO_CONNECTION_ID;
    CLOUDZERO_API_URL for another place than CloudZero. `pending` is what a schedule sends: run twice, it sends nothing
    the second time. Any other window sends its hours again, which replaces them.

    \b
    loader push --window pending
    loader push --start 2024-01-15T00:00:00Z --end 2024-01-15T23:59:59Z
    """  # noqa: D301 (Click: lines as they stand)
    from loader.cli import output
    from loader.config.settings import read_all_credentials
    from loader.delivery import answers, streams
    from loader.delivery.plan import Selection
    from loader.errors import UsageError
    from loader.stopping import StopSignal

    everyone = read_all_credentials()
    chosen = streams.chosen(everyone, only)
    patience = options.patience(give_up_after, settle_for)
    options.seconds(wait)
    asked = options.asked_for(window, start, end, since, required=True)
    if asked.is_cut and operation == "replace_drop":
        raise UsageError(
            "--operation replace_drop replaces a whole month of CloudZero's, also the hours of it that"
            " --since/LOADER_PUSH_SINCE leaves to another exporter: send the others with replace_hourly."
        )
    selection = Selection(
        asked.window, operation, include_incomplete, limit, allow_shrink, allow_full_month, since=asked.since
    )

    def one_stream(credentials: Credentials) -> Push:
        with options.warehouse_to_push(target, profiles_dir, lock_timeout, wait, credentials.stream, stop) as warehouse:
            from loader.cloudzero.bodies import MAX_BODY_BYTES
            from loader.cloudzero.client import AnyCost
            from loader.delivery.push import Push
            from loader.delivery.push_log import PushLog

            streams.require_ids(warehouse, everyone)
            with AnyCost(credentials) as client, output.progress("Sending") as bar:
                one = Push(
                    warehouse, PushLog(warehouse, credentials.stream), client, selection,
                    patience.until(stop), output.say,
                    lambda plan: _look_at(plan, asked, include_incomplete, bar), bar.advance, stop,
                    min(MAX_BODY_BYTES, int(max_body_mb * 1_000_000)), named={each.connection_id for each in everyone},
                )  # fmt: skip
                one.run()
        if len(chosen) > 1:
            told.append((credentials.name, one))
        report_push(one, "none" if len(chosen) > 1 and style == "json" else style, asked, credentials.name)
        return one

    told: list[tuple[str, Push]] = []
    try:
        with StopSignal() as stop:
            streams.for_each(chosen, one_stream, output.say, stop)
    finally:
        if told and style == "json":
            output.print_answer(
                {"streams": {streams.title(name): answers.push_answer(one) for name, one in told}}, sys.stdout
            )


def _pending(warehouse: Warehouse, stream: Stream, since: datetime | None) -> Plan:
    from loader.delivery.plan import Selection, plan
    from loader.delivery.push_log import PushLog

    return plan(warehouse, Selection(None, since=since), PushLog(warehouse, stream).records())


def _look_at(plan: Plan, asked: AskedFor, include_incomplete: bool, bar: Bar) -> None:
    """Stop, or say what is left out, before anything is sent."""
    from loader.cli import output
    from loader.delivery.plan import require_complete
    from loader.hours import floor_hour, iso

    now = options.now()
    if asked.window is None:
        if plan.built_at < floor_hour(now):
            output.say(
                f"The models were last built at {iso(plan.built_at)}, so hours from {iso(floor_hour(plan.built_at))} on"
                " are not looked at: run `dbt run` first."
            )
    elif not include_incomplete:
        require_complete(plan, asked.window, now, named=asked.by_name)
    if plan.incomplete:
        output.say(
            f"Left out: {len(plan.incomplete)} hour(s) from {iso(plan.incomplete[0])} on that are not complete yet."
            " --include-incomplete sends them all the same."
        )
    bar.start(plan.line_count)


def report_push(push: Push, style: str, asked: AskedFor, name: str = "") -> None:
    """Say what was sent, and to which stream when it has a name; what a guard held back ends with its exit code."""
    report_pushes([push], push.sent, style, asked, name)


def report_pushes(pushes: Sequence[Push], sent: Sent, style: str, asked: AskedFor, name: str = "") -> None:
    """The same for pushes to several streams, which together have sent `sent`."""
    from loader.cli import output
    from loader.delivery import answers, limits
    from loader.errors import GuardError

    held_back = [each for push in pushes if push.plan for each in push.plan.held_back]
    of_stream = f"{name}: " if name else ""
    if style == "json":
        output.print_answer(answers.pushes_answer(pushes, sent), sys.stdout)
    elif style == "none":
        pass
    elif any(push.plan and push.plan.hours for push in pushes):
        click.echo(
            f"{of_stream}Sent {sent.hours:,} hours, {sent.lines:,} lines, {sent.bytes:,} bytes,"
            f" ${decimal_text(sent.cost)} in {sum(push.seconds for push in pushes):.1f} s."
        )
    elif not held_back:
        what = "CloudZero holds every complete hour as it is" if asked.is_pending else f"no lines in {asked.window}"
        output.say(f"{of_stream}Nothing to send: {what}.")
    if held_back:
        raise GuardError(limits.explain(held_back))
