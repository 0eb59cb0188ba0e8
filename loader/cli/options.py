"""Options that several commands share. Each group of them is parsed into one object."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from loader.cli.option_groups import option_group
from loader.hours import PENDING, WINDOW_NAMES

if TYPE_CHECKING:
    from loader.config.profiles import Target
    from loader.config.settings import Stream
    from loader.delivery.other_senders import CheckOptions
    from loader.delivery.retry import RetryPolicy
    from loader.delivery.selection import HourFilter, InWindow, Pending
    from loader.hours import Window
    from loader.warehouse.base import Warehouse


@dataclass(frozen=True)
class TargetOptions:
    """Which warehouse to use. `lock_timeout` is a duration such as 30s."""

    target: str | None
    profiles_dir: str | None
    lock_timeout: str

    @property
    def lock_seconds(self) -> float:
        """--lock-timeout in seconds."""
        return seconds(self.lock_timeout)

    def read(self) -> Target:
        """The dbt target.

        Raises:
            ConfigurationError: as `read_target`.
        """
        from loader.config.profiles import read_target

        return read_target(self.profiles_dir, self.target)

    def open_to_read(self) -> AbstractContextManager[Warehouse]:
        """The warehouse, opened to read."""
        from loader.cli import output
        from loader.warehouse.base import open_warehouse

        return open_warehouse(self.read(), self.lock_seconds, output.say)


target_options = option_group(
    "target",
    TargetOptions,
    click.option(
        "-t",
        "--target",
        envvar="DBT_TARGET",
        show_envvar=True,
        metavar="NAME",
        help="dbt target to read from. Default: the profile's own.",
    ),
    click.option(
        "--profiles-dir",
        envvar="DBT_PROFILES_DIR",
        show_envvar=True,
        metavar="DIR",
        help="Folder of dbt's profiles.yml. Default: this folder, then ~/.dbt.",
    ),
    click.option(
        "--lock-timeout",
        default="30s",
        show_default=True,
        metavar="TIME",
        help="How long to wait for a DuckDB file that dbt is writing: 90s, 15m, 2h.",
    ),
)


@dataclass(frozen=True)
class HourOptions:
    """Which hours, as --window, --start, --end and --since select them."""

    window: str | None
    start: str | None
    end: str | None
    since: str | None

    def filter(self, default: str | None = None, cut: bool = True) -> HourFilter:
        """The hours that the options select; all when they select none and there is no default.

        Args:
            default: the name of a window to use when the options select none.
            cut: whether to remove the hours before --since from a window, and report it.

        Raises:
            click.UsageError: the options contradict each other.
            UsageError: a value is not valid, or nothing is left of the window.
        """
        from loader import hours
        from loader.config.settings import read_timezone
        from loader.delivery.selection import AllHours, Pending

        if self.window and (self.start or self.end):
            raise click.UsageError("Use --window, or --start and --end, not both.")
        if self.end and not self.start:
            raise click.UsageError("--end requires --start.")
        since = since_time(self.since)
        name = self.window or (None if self.start else default)
        if name == PENDING:
            return Pending(since)
        if name:
            return _cut(hours.by_name(name, now(), read_timezone()), True, since if cut else None)
        if self.start:
            return _cut(hours.between(self.start, self.end, now()), False, since if cut else None)
        return AllHours(since if cut else None)

    def required(self) -> InWindow | Pending:
        """The hours that the options select.

        Raises:
            click.UsageError: they select none, or contradict each other.
            UsageError: as `filter`.
        """
        from loader.delivery.selection import AllHours

        selected = self.filter()
        if isinstance(selected, AllHours):
            names = ", ".join((*WINDOW_NAMES, PENDING))
            raise click.UsageError(f"Which hours? Use --window ({names}), or --start and --end.")
        return selected


def _cut(window: Window, by_name: bool, since: datetime | None) -> InWindow:
    from loader.cli import output
    from loader.delivery.selection import InWindow
    from loader.errors import UsageError
    from loader.hours import iso

    if window.widened:
        output.say(f"Widened to whole hours: {window}.")
    if since is None or since <= window.start:
        return InWindow(window, by_name)
    left = window.cut_from(since)
    if left.is_empty:
        raise UsageError(
            f"Nothing is left of {window}: --since/LOADER_PUSH_SINCE leaves out hours before {iso(since)}."
        )
    output.say(f"Hours before {iso(since)} are left out: --since/LOADER_PUSH_SINCE.")
    return InWindow(left, by_name, is_cut=True)


since_option = click.option(
    "--since",
    envvar="LOADER_PUSH_SINCE",
    show_envvar=True,
    metavar="TIME",
    help="Hours before this belong to another exporter: they are not pending, not verified, and left out of every"
    " window except reconcile's.",
)

hour_options = option_group(
    "hours",
    HourOptions,
    click.option(
        "-w",
        "--window",
        type=click.Choice((*WINDOW_NAMES, PENDING)),
        help="Hours by name. Calendar words follow CLOUDZERO_TIMEZONE (default UTC). pending: all complete hours"
        " that are new or have changed since CloudZero accepted them.",
    ),
    click.option("--start", metavar="TIME", help="Start, ISO 8601; UTC unless it has an offset."),
    click.option("--end", metavar="TIME", help="End, not included. Default: now."),
    since_option,
)


def _policy(give_up_after: str, settle_for: str) -> RetryPolicy:
    from loader.config.settings import parse_duration
    from loader.delivery.retry import RetryPolicy

    return RetryPolicy(parse_duration(give_up_after), parse_duration(settle_for))


retry_options = option_group(
    "policy",
    _policy,
    click.option(
        "--give-up-after",
        default="15m",
        show_default=True,
        metavar="TIME",
        help="How long to keep trying when CloudZero does not answer or asks to wait: 90s, 15m, 2h.",
    ),
    click.option(
        "--settle-for",
        default="60s",
        show_default=True,
        metavar="TIME",
        help="How long CloudZero may still be processing a request whose answer was lost: nothing is sent meanwhile.",
    ),
)


def _check(enabled: bool, take_over: bool) -> CheckOptions:
    from loader.delivery.other_senders import CheckOptions

    return CheckOptions(enabled, take_over)


check_options = option_group(
    "check",
    _check,
    click.option(
        "--check-connection/--no-check-connection",
        "enabled",
        default=True,
        show_default=True,
        envvar="LOADER_CHECK_CONNECTION",
        show_envvar=True,
        help="Before the first push of a UTC day, read a month back, and stop if something else sends to the"
        " connection.",
    ),
    click.option(
        "--take-over",
        is_flag=True,
        help="Replace hours that something else has sent to the connection, which must have been stopped for good.",
    ),
)

wait_option = click.option(
    "--wait",
    is_flag=False,
    flag_value="1h",
    default="0s",
    metavar="[TIME]",
    callback=lambda *given: seconds(given[2]),
    help="Wait this long (1h without TIME) for another push to end, instead of exiting with code 6 at once.",
)

stream_option = click.option(
    "--stream",
    "only",
    metavar="NAME",
    help="Only this stream of var streams; `default` for lines that belong to no named stream.",
)

table_or_json = click.option(
    "--format", "style", default="table", show_default=True, type=click.Choice(("table", "json"))
)
text_or_json = click.option("--format", "style", default="text", show_default=True, type=click.Choice(("text", "json")))


def since_time(text: str | None) -> datetime | None:
    """--since as the start of a UTC hour.

    Raises:
        UsageError: it is not a valid time.
    """
    from loader.hours import ceil_hour, parse_time

    return ceil_hour(parse_time(text, "--since")) if text else None


def stream_name(only: str | None) -> str | None:
    """The stream of --stream as the models name it; None for all."""
    from loader.delivery.streams import DEFAULT

    return "" if only == DEFAULT else only


def stream_of_environment(only: str | None) -> Stream:
    """The stream that the environment names, or --stream where there are several; its key is not needed.

    Raises:
        ConfigurationError: the environment names none.
        UsageError: it names several, or none of this name.
    """
    from loader.config.settings import read_streams
    from loader.delivery.streams import select_streams
    from loader.errors import ConfigurationError, UsageError

    known = read_streams()
    if not known:
        raise ConfigurationError(
            "What is pending depends on the connection that it was sent to: set CLOUDZERO_CONNECTION_ID."
        )
    found = select_streams(known, only)
    if len(found) > 1:
        raise UsageError("What is pending depends on the stream: select one with --stream.")
    return found[0]


def seconds(text: str) -> float:
    """A duration such as 90s, 15m, 2h in seconds.

    Raises:
        UsageError: it is not a valid duration.
    """
    from loader.config.settings import parse_duration

    return parse_duration(text).total_seconds()


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(timezone.utc)
