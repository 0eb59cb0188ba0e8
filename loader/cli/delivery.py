"""The two main commands: dry-run and push."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.option_groups import option_group
from loader.cli.options import HourOptions, TargetOptions, hour_options, retry_options, target_options

if TYPE_CHECKING:
    from loader.config.settings import Credentials, Stream
    from loader.delivery.other_senders import CheckOptions
    from loader.delivery.plan import Plan
    from loader.delivery.push import Push
    from loader.delivery.retry import RetryPolicy
    from loader.delivery.selection import InWindow, Pending, Selection
    from loader.lines import HourSummary, Line
    from loader.progress import Bar
    from loader.warehouse.base import Warehouse


ALL_LINES = sys.maxsize


@click.command("dry-run")
@target_options
@hour_options
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help="Lines to show, newest hour first. Default: 10 of a table or JSON, all of csv and ndjson.",
)
@options.stream_option
@click.option(
    "--format", "style", default="table", show_default=True, type=click.Choice(("table", "json", "csv", "ndjson"))
)
def dry_run(target: TargetOptions, hours: HourOptions, limit: int | None, only: str | None, style: str) -> None:
    """Show lines as a push would send them, and send nothing.

    Without a window, lines of all hours. JSON has the shape of LiteLLM's own dry run; its summary covers the whole
    window and not only the lines shown. csv and ndjson are the lines alone, all of them unless --limit is given.
    In csv, an apostrophe precedes text that a spreadsheet would run as a formula.

    \b
    loader dry-run --limit 10
    loader dry-run --window yesterday --format csv > yesterday.csv
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.cli import output
    from loader.config.settings import read_streams
    from loader.delivery.selection import AllHours, Pending
    from loader.delivery.streams import require_known
    from loader.hours import iso
    from loader.warehouse.source import messages, read_source

    shown = limit if limit is not None else ALL_LINES if style in ("csv", "ndjson") else 10
    selected = hours.filter()
    stream = options.stream_of_environment(only) if isinstance(selected, Pending) else None
    name = stream.name if stream else options.stream_name(only)
    with target.open_to_read() as warehouse, warehouse.of_stream(name):
        if only is not None:
            require_known(warehouse, read_streams(), only)
        if isinstance(selected, Pending):
            assert stream is not None  # noqa: S101
            summaries, lines = _pending(warehouse, stream, selected, shown)
        else:
            if isinstance(selected, AllHours) and selected.since:
                output.say(f"Hours before {iso(selected.since)} are left out: --since/LOADER_PUSH_SINCE.")
            summaries = [hour for hour in warehouse.hours(selected.window) if hour.line_count]
            lines = list(warehouse.newest_lines(summaries, shown))
        for message in messages(read_source(warehouse)):
            output.say(message)
    output.print_dry_run(lines, summaries, style, sys.stdout)
    total = sum(hour.line_count for hour in summaries)
    if style in ("csv", "ndjson") and len(lines) < total:
        output.say(f"{len(lines):,} of {total:,} lines: --limit leaves out the rest.")


def _pending(
    warehouse: Warehouse, stream: Stream, selected: Pending, limit: int
) -> tuple[list[HourSummary], list[Line]]:
    """The hours that a push of what is pending would send, and its newest lines."""
    from loader.cli import output
    from loader.delivery import limits
    from loader.delivery.plan import plan
    from loader.delivery.plan_lines import newest_lines
    from loader.delivery.push_log import PushLog
    from loader.delivery.selection import Selection

    chosen = plan(warehouse, Selection(selected), PushLog(warehouse, stream).records())
    if chosen.held_back:
        output.say(limits.explain(chosen.held_back))
    return [hour for hour in chosen.hours if hour.line_count], newest_lines(warehouse, chosen, limit)


@dataclass(frozen=True)
class SelectionOptions:
    """How to send the selected hours. See `loader.delivery.selection.Selection`."""

    operation: str
    limit: int | None
    include_incomplete: bool
    allow_shrink: bool
    allow_full_month: bool

    def of(self, selected: InWindow | Pending) -> Selection:
        """The selection of these hours.

        Raises:
            UsageError: these options do not go with these hours.
        """
        from loader.delivery.selection import InWindow, Selection
        from loader.errors import UsageError

        if isinstance(selected, InWindow) and selected.is_cut and self.operation == "replace_drop":
            raise UsageError(
                "--operation replace_drop replaces a whole month at CloudZero, including the hours that"
                " --since/LOADER_PUSH_SINCE leaves to another exporter: send the others with replace_hourly."
            )
        return Selection(
            selected.window if isinstance(selected, InWindow) else selected,
            self.operation,
            self.include_incomplete,
            self.limit,
            self.allow_shrink,
            self.allow_full_month,
        )


selection_options = option_group(
    "selection",
    SelectionOptions,
    click.option(
        "--operation",
        default="replace_hourly",
        show_default=True,
        type=click.Choice(("replace_hourly", "replace_drop", "sum")),
        help="replace_drop replaces a whole month; sum adds to what is there, twice if it is run twice.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Only the newest hours that fit into N lines (the oldest, of what is pending); never part of an hour.",
    ),
    click.option(
        "--include-incomplete",
        is_flag=True,
        help="Also send hours that are still in progress, or were summed before they ended.",
    ),
    click.option(
        "--allow-shrink",
        is_flag=True,
        help="Also send hours that cost less than when CloudZero accepted them, or have lost all their lines.",
    ),
    click.option(
        "--allow-full-month", is_flag=True, help="Also send hours that their month has no room for at CloudZero."
    ),
)


@click.command()
@target_options
@hour_options
@selection_options
@click.option(
    "--max-body-mb",
    default=5.0,
    show_default=True,
    metavar="X",
    type=click.FloatRange(0, 5, min_open=True),
    help="Maximum size of a body in million bytes, for a proxy that accepts less than CloudZero's 5.",
)
@options.stream_option
@retry_options
@options.check_options
@options.wait_option
@options.text_or_json
def push(
    target: TargetOptions,
    hours: HourOptions,
    selection: SelectionOptions,
    max_body_mb: float,
    only: str | None,
    policy: RetryPolicy,
    check: CheckOptions,
    wait: float,
    style: str,
) -> None:
    """Send the whole hours of a window, one body at a time, and record each in the push log.

    Needs CLOUDZERO_API_KEY, or CLOUDZERO_API_KEY_FILE with the path of a file that contains it, and
    CLOUDZERO_CONNECTION_ID. CLOUDZERO_API_URL sends to another host than CloudZero. `pending` is for a schedule: run
    twice, it sends nothing the second time. Any other window sends its hours again, which replaces them.

    \b
    loader push --window pending
    loader push --start 2024-01-15T00:00:00Z --end 2024-01-15T23:59:59Z
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.cli import output
    from loader.cli.push_report import report_pushes
    from loader.cloudzero.bodies import MAX_BODY_BYTES
    from loader.config.settings import read_all_credentials
    from loader.delivery import answers, streams
    from loader.delivery.push import PushCallbacks, PushOptions, Sender
    from loader.stopping import StopSignal

    configured = read_all_credentials()
    chosen = streams.select_streams(configured, only)
    selected = hours.required()
    to_send = selection.of(selected)
    several = len(chosen) > 1
    done: list[tuple[str, Push]] = []

    def one_stream(credentials: Credentials) -> Push:
        with output.progress("Sending") as bar:
            callbacks = PushCallbacks(
                output.say,
                lambda plan: _review(plan, selected, selection.include_incomplete, bar),
                bar.advance,
            )
            finished = sender.push(credentials, to_send, options=replace(push_options, callbacks=callbacks))
        if several:
            done.append((credentials.name, finished))
        report_style = "none" if several and style == "json" else style
        report_pushes([finished], finished.sent, report_style, selected, credentials.name)
        return finished

    try:
        with StopSignal() as stop:
            max_body_bytes = min(MAX_BODY_BYTES, int(max_body_mb * 1_000_000))
            push_options = PushOptions(policy.interrupted_by(stop), max_body_bytes, PushCallbacks(output.say), check)
            sender = Sender(target.read(), configured, push_options, target.lock_seconds, wait)
            streams.for_each(chosen, one_stream, output.say, stop)
    finally:
        if done and style == "json":
            by_stream = {streams.display_name(name): answers.push_answer(push) for name, push in done}
            output.print_json({"streams": by_stream}, sys.stdout)


def _review(plan: Plan, selected: InWindow | Pending, include_incomplete: bool, bar: Bar) -> None:
    """Stop, or report what is left out, before anything is sent."""
    from loader.cli import output
    from loader.delivery.plan import require_complete
    from loader.delivery.selection import Pending
    from loader.hours import floor_hour, iso

    now = options.now()
    if isinstance(selected, Pending):
        if plan.built_at < floor_hour(now):
            output.say(
                f"The models were last built at {iso(plan.built_at)}, so hours from {iso(plan.complete_until)} on are"
                " not included: run `dbt run` first."
            )
    elif not include_incomplete:
        require_complete(plan, selected.window, now, selected.by_name)
    if plan.incomplete:
        output.say(
            f"Left out: {len(plan.incomplete)} hour(s) from {iso(plan.incomplete[0])} on that are not complete yet."
            " --include-incomplete sends them anyway."
        )
    bar.start(plan.line_count)
