"""The commands. Click only: options in, exit code out; what is slow to import is imported where it is used."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loader import __version__
from loader.errors import LoaderError
from loader.windows import WINDOW_NAMES

if TYPE_CHECKING:
    from loader.windows import Window

Command = TypeVar("Command", bound=Callable[..., Any])
EPILOG = """Exit codes: 0 done or nothing to do, 2 usage, 3 configuration, 4 refused by CloudZero, 5 outcome unknown or
not reachable, 6 stopped by a guard."""


class LoaderGroup(click.Group):
    """Turns our own errors into one line on stderr and their exit code, whichever command raised them."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except LoaderError as error:
            click.echo(f"Error: {' '.join(str(error).split())}", err=True)
            context.exit(int(error.exit_code))


def target_options(command: Command) -> Command:
    """The options that say which warehouse to read, the same as dbt's."""
    for option in (
        click.option(
            "--lock-timeout", default="30s", show_default=True, metavar="TIME",
            help="How long to wait for a DuckDB file that dbt is writing: 90s, 15m, 2h.",
        ),
        click.option(
            "--profiles-dir", envvar="DBT_PROFILES_DIR", show_envvar=True, metavar="DIR",
            help="Folder of dbt's profiles.yml. Default: this folder, then ~/.dbt.",
        ),
        click.option(
            "-t", "--target", envvar="DBT_TARGET", show_envvar=True, metavar="NAME",
            help="dbt target to read from. Default: the profile's own.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def window_options(command: Command) -> Command:
    """The options that say which hours."""
    for option in (
        click.option("--end", metavar="TIME", help="End, not included. Default: now."),
        click.option("--start", metavar="TIME", help="Start, ISO 8601; UTC unless it says otherwise."),
        click.option(
            "-w", "--window", type=click.Choice(WINDOW_NAMES),
            help="Hours by name. Calendar words follow CLOUDZERO_TIMEZONE (default UTC).",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(
    cls=LoaderGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="loader")
def main() -> None:
    """Read cbf_lines from the dbt target and deliver them to CloudZero's AnyCost Stream API."""


@main.command("dry-run")
@target_options
@window_options
@click.option(
    "--limit",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="Lines to show, newest hour first.",
)
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(("table", "json", "csv", "ndjson")),
)
def dry_run(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    window: str | None, start: str | None, end: str | None,
    limit: int, style: str,
) -> None:  # fmt: skip
    r"""Show lines as a push would send them, and send nothing.

    Without a window, of all hours. JSON has the shape of LiteLLM's own dry run; its summary is over the whole window
    and not only over the lines shown. csv and ndjson are the lines alone.

    \b
    loader dry-run --limit 10
    loader dry-run --window yesterday --limit 100000 --format csv > yesterday.csv
    """
    from loader import report

    hours_asked_for = _window(window, start, end, required=False)
    with _warehouse(target, profiles_dir, lock_timeout) as warehouse:
        hours = warehouse.hours(hours_asked_for) if style in ("table", "json") else []
        lines = list(warehouse.lines(hours_asked_for, newest=limit))
    report.print_dry_run(lines, hours, style, sys.stdout)


@main.command()
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
    help="Only the newest hours that fit into N lines; never a part of an hour.",
)
@click.option(
    "--include-incomplete",
    is_flag=True,
    help="Also send hours that are still running, or were summed before they ended.",
)
@click.option(
    "--give-up-after", default="15m", show_default=True, metavar="TIME",
    help="How long to go on trying when CloudZero does not answer or asks to wait: 90s, 15m, 2h.",
)  # fmt: skip
@click.option("--format", "style", default="text", show_default=True, type=click.Choice(("text", "json")))
def push(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    window: str | None, start: str | None, end: str | None,
    operation: str, limit: int | None, include_incomplete: bool, give_up_after: str, style: str,
) -> None:  # fmt: skip
    r"""Send the whole hours of a window, one body at a time.

    Needs CLOUDZERO_API_KEY and CLOUDZERO_CONNECTION_ID; CLOUDZERO_API_URL for another place than CloudZero. Run twice,
    it sends the same hours again, which replaces them.

    \b
    loader push --window last_hour
    loader push --start 2024-01-15T00:00:00Z --end 2024-01-15T23:59:59Z
    """
    from loader.settings import parse_duration, read_credentials

    credentials = read_credentials()
    patience_time = parse_duration(give_up_after)
    asked_for = _window(window, start, end, required=True)
    assert asked_for is not None  # noqa: S101
    with _warehouse(target, profiles_dir, lock_timeout) as warehouse:
        from loader import report
        from loader.anycost import AnyCost
        from loader.drops import deliveries
        from loader.push import Patience, deliver, lines_of, plan, require_complete
        from loader.windows import iso

        chosen = plan(warehouse, asked_for, operation, include_incomplete, limit)
        if not include_incomplete:
            require_complete(chosen, _now(), named=start is None)
        if chosen.incomplete:
            report.say(
                f"Left out: {len(chosen.incomplete)} hour(s) from {iso(chosen.incomplete[0])} on that are not"
                " complete yet. --include-incomplete sends them all the same."
            )
        if not chosen.hours:
            report.say(f"Nothing to send: no lines in {asked_for}.")
            if style == "json":
                report.print_answer({"message": "Nothing to send", "status": "success"}, sys.stdout)
            return
        began = time.monotonic()
        with AnyCost(credentials) as client, report.progress(chosen.line_count, "Sending") as advance:
            sent = deliver(
                deliveries(lines_of(warehouse, chosen), operation), client, Patience(patience_time), report.say,
                lambda delivery: advance(delivery.row_count),
            )  # fmt: skip
    seconds = time.monotonic() - began
    if style == "json":
        report.print_answer(
            {
                "message": "CloudZero export completed successfully",
                "status": "success",
                "summary": {
                    "hours": sent.hours, "lines": sent.lines, "bytes": sent.bytes,
                    "cost": report.decimal_text(sent.cost), "drops": sent.drops, "seconds": round(seconds, 3),
                },
            },
            sys.stdout,
        )  # fmt: skip
    else:
        click.echo(
            f"Sent {sent.hours:,} hours, {sent.lines:,} lines, {sent.bytes:,} bytes,"
            f" ${report.decimal_text(sent.cost)} in {seconds:.1f} s."
        )


@main.command()
@target_options
@click.option("--format", "style", default="table", show_default=True, type=click.Choice(("table", "json")))
def check(target: str | None, profiles_dir: str | None, lock_timeout: str, style: str) -> None:
    """Check profile, views, key and connection, and let CloudZero validate one line; nothing is stored.

    Ends with the exit code of the first thing that is wrong.
    """
    from loader import checks, report

    results = checks.run(target, profiles_dir, _seconds(lock_timeout), report.say)
    if style == "json":
        report.print_answer(
            {"checks": [{"check": r.name, "ok": r.error is None, "detail": r.detail} for r in results]},
            sys.stdout,
        )
    else:
        report.print_table(
            ["check", "", "detail"],
            [[r.name, "ok" if r.error is None else "FAILED", r.detail] for r in results],
            sys.stdout,
        )
    for result in results:
        if result.error is not None:
            raise result.error


@main.command()
@click.option(
    "--out",
    default="data/spend_logs",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--rows", default=20_000, show_default=True, type=int, help="Requests in all.")
@click.option("--days", default=3, show_default=True, type=int, help="Days up to the present hour.")
@click.option("--until", metavar="TIME", help="Another end than the present hour, ISO 8601.")
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed gives the same rows.")
@click.option(
    "--format",
    "style",
    default="jsonl",
    show_default=True,
    type=click.Choice(("jsonl", "parquet", "csv", "payload")),
    help="payload: LiteLLM's StandardLoggingPayload objects.",
)
def sample(out: Path, rows: int, days: int, until: str | None, seed: int, style: str) -> None:
    """Write made-up but lifelike spend logs, up to the present hour, to try everything on."""
    from loader.sample import SamplePlan, write_sample
    from loader.windows import parse_time

    end = parse_time(until, "--until") if until else _now()
    report = write_sample(SamplePlan(rows=rows, days=days, until=end, seed=seed, format=style), out)
    click.echo(f"Wrote {report.rows:,} spend logs worth ${report.spend:,.2f} to {len(report.files)} files in {out}.")


@main.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Anyone who reaches it can read what it holds.",
)
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--lift-limits", is_flag=True, help="Take any amount: for benchmarks.")
def sandbox(host: str, port: int, lift_limits: bool) -> None:
    """Run a local AnyCost that keeps CloudZero's documented limits, for rehearsals.

    Its key is CLOUDZERO_API_KEY, or `sandbox` when that is not set; any connection id will do. Point the loader at it
    with CLOUDZERO_API_URL. Its state is a page at / and JSON at /state; it is gone when it ends.
    """
    from loader import report
    from loader.sandbox import Limits
    from loader.sandbox_server import run_sandbox

    api_key = os.environ.get("CLOUDZERO_API_KEY", "").strip() or "sandbox"
    run_sandbox(host, port, api_key, Limits.none() if lift_limits else Limits(), report.say)


def _warehouse(target: str | None, profiles_dir: str | None, lock_timeout: str) -> Any:
    from loader import report
    from loader.settings import read_target
    from loader.warehouse import open_warehouse

    return open_warehouse(read_target(profiles_dir, target), _seconds(lock_timeout), report.say)


def _window(name: str | None, start: str | None, end: str | None, required: bool) -> Window | None:
    from loader import report, windows
    from loader.settings import read_timezone

    if name and (start or end):
        raise click.UsageError("Give --window or --start and --end, not both.")
    if end and not start:
        raise click.UsageError("--end needs a --start.")
    if name:
        window = windows.by_name(name, _now(), read_timezone())
    elif start:
        window = windows.between(start, end, _now())
    elif required:
        raise click.UsageError(f"Which hours? Give --window ({', '.join(WINDOW_NAMES)}), or --start and --end.")
    else:
        return None
    if window.widened:
        report.say(f"Widened to whole hours: {window}.")
    return window


def _seconds(text: str) -> float:
    from loader.settings import parse_duration

    return parse_duration(text).total_seconds()


def _now() -> datetime:
    return datetime.now(timezone.utc)
