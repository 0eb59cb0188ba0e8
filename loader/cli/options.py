"""Options that several commands have, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loader.hours import PENDING, WINDOW_NAMES

if TYPE_CHECKING:
    from loader.config.settings import Stream
    from loader.delivery.retry import Patience
    from loader.hours import Window
    from loader.stopping import StopSignal
    from loader.warehouse.base import Warehouse

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AskedFor:
    """The hours that a user asked for. `window` is None for what is pending, and for all when nothing was said.

    `by_name` when a word said which, so that the running hour is left out as a matter of course. `since`: nothing
    older is pending. `is_cut` when the window is only the part of what was asked for that is not older.
    """

    window: Window | None
    is_pending: bool = False
    by_name: bool = False
    since: datetime | None = None
    is_cut: bool = False


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


def stream_option(command: Command) -> Command:
    """The option that leaves other streams alone."""
    return click.option(
        "--stream", "only", metavar="NAME",
        help="This stream of var streams alone; `default` for the lines that no name takes.",
    )(command)  # fmt: skip


def patience_options(command: Command) -> Command:
    """The options that say how long to try."""
    for option in (
        click.option(
            "--settle-for", default="60s", show_default=True, metavar="TIME",
            help="How long CloudZero may be at work on a request whose answer was lost: nothing is sent meanwhile.",
        ),
        click.option(
            "--give-up-after", default="15m", show_default=True, metavar="TIME",
            help="How long to go on trying when CloudZero does not answer or asks to wait: 90s, 15m, 2h.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def lock_options(command: Command) -> Command:
    """The option that says how long to wait for another push."""
    return click.option(
        "--wait", is_flag=False, flag_value="1h", default="0s", metavar="[TIME]",
        help="Wait so long (without TIME an hour) for another push to end, instead of ending with exit code 6 at once.",
    )(command)  # fmt: skip


table_or_json = click.option(
    "--format", "style", default="table", show_default=True, type=click.Choice(("table", "json"))
)

since_option = click.option(
    "--since", envvar="LOADER_PUSH_SINCE", show_envvar=True, metavar="TIME",
    help="Older hours are another exporter's: they are not pending, not verified, and left out of any window but"
    " reconcile's.",
)  # fmt: skip


def window_options(command: Command) -> Command:
    """The options that say which hours."""
    for option in (
        since_option,
        click.option("--end", metavar="TIME", help="End, not included. Default: now."),
        click.option("--start", metavar="TIME", help="Start, ISO 8601; UTC unless it says otherwise."),
        click.option(
            "-w", "--window", type=click.Choice((*WINDOW_NAMES, PENDING)),
            help="Hours by name. Calendar words follow CLOUDZERO_TIMEZONE (default UTC). pending: all complete hours"
            " that are new or have changed since CloudZero accepted them.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def asked_for(
    name: str | None, start: str | None, end: str | None, since: str | None, required: bool, cut: bool = True
) -> AskedFor:
    """What --window, --start, --end and --since say.

    Args:
        name: --window.
        start: --start.
        end: --end.
        since: --since; with `cut` hours before it are left out of a window, and said so.
        required: whether something must be said.
        cut: see `since`.

    Raises:
        click.UsageError: they contradict each other, or nothing was said and something must be.
        UsageError: they cannot be read, or nothing is left of the window.
    """
    from loader import hours
    from loader.cli import output
    from loader.config.settings import read_timezone
    from loader.errors import UsageError

    if name and (start or end):
        raise click.UsageError("Give --window or --start and --end, not both.")
    if end and not start:
        raise click.UsageError("--end needs a --start.")
    first = since_when(since)
    if name == PENDING:
        return AskedFor(None, is_pending=True, by_name=True, since=first)
    if name:
        window = hours.by_name(name, now(), read_timezone())
    elif start:
        window = hours.between(start, end, now())
    elif required:
        names = ", ".join((*WINDOW_NAMES, PENDING))
        raise click.UsageError(f"Which hours? Give --window ({names}), or --start and --end.")
    else:
        return AskedFor(None)
    if window.widened:
        output.say(f"Widened to whole hours: {window}.")
    if not cut or first is None or first <= window.start:
        return AskedFor(window, by_name=bool(name))
    left = window.cut_from(first)
    if left.is_empty:
        raise UsageError(
            f"Nothing is left of {window}: hours before {hours.iso(first)} are left out, as"
            " --since/LOADER_PUSH_SINCE says."
        )
    output.say(f"Hours before {hours.iso(first)} are left out: --since/LOADER_PUSH_SINCE.")
    return AskedFor(left, by_name=bool(name), is_cut=True)


def since_when(text: str | None) -> datetime | None:
    """--since as the start of a UTC hour.

    Raises:
        UsageError: it cannot be read.
    """
    from loader.hours import ceil_hour, parse_time

    return ceil_hour(parse_time(text, "--since")) if text else None


def warehouse_to_read(
    target: str | None, profiles_dir: str | None, lock_timeout: str
) -> AbstractContextManager[Warehouse]:
    """The warehouse, opened to read."""
    from loader.cli import output
    from loader.config.profiles import read_target
    from loader.warehouse.base import open_warehouse

    return open_warehouse(read_target(profiles_dir, target), seconds(lock_timeout), output.say)


@contextmanager
def warehouse_to_push(
    target: str | None, profiles_dir: str | None, lock_timeout: str, wait: str, stream: Stream, stop: StopSignal
) -> Iterator[Warehouse]:
    """The warehouse, opened for a push to a stream that nobody else can push to meanwhile; a signal ends the wait."""
    from loader.cli import output
    from loader.config.profiles import read_target
    from loader.warehouse.base import open_for_push

    opened = open_for_push(read_target(profiles_dir, target), stream, seconds(lock_timeout), seconds(wait), output.say)
    with ExitStack() as stack:
        with stop.interrupting_wait():
            warehouse = stack.enter_context(opened)
        yield warehouse


def stream_name(only: str | None) -> str | None:
    """What --stream names, as the models have it; None for all."""
    from loader.delivery.streams import DEFAULT

    return "" if only == DEFAULT else only


def stream_of_environment(only: str | None) -> Stream:
    """The stream that the environment, and --stream where there are several, names; its key is not needed.

    Raises:
        ConfigurationError: it names none.
        UsageError: it names several, or none of this name.
    """
    from loader.config.settings import read_streams
    from loader.delivery.streams import chosen
    from loader.errors import ConfigurationError, UsageError

    known = read_streams()
    if not known:
        raise ConfigurationError(
            "What is pending depends on what was sent to which connection: set CLOUDZERO_CONNECTION_ID."
        )
    found = chosen(known, only)
    if len(found) > 1:
        raise UsageError("What is pending depends on the stream: name one with --stream.")
    return found[0]


def patience(give_up_after: str, settle_for: str) -> Patience:
    """How long to try, as --give-up-after and --settle-for say."""
    from loader.config.settings import parse_duration
    from loader.delivery.retry import Patience

    return Patience(parse_duration(give_up_after), parse_duration(settle_for))


def seconds(text: str) -> float:
    """A duration such as 90s, 15m, 2h in seconds."""
    from loader.config.settings import parse_duration

    return parse_duration(text).total_seconds()


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(timezone.utc)
