"""The commands that compare what was sent with what should be there: status, verify, reconcile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import HourOptions, TargetOptions, hour_options, retry_options, target_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from loader.audit.status import StreamStatus
    from loader.audit.verify import HourDifference
    from loader.config.settings import Credentials
    from loader.delivery.push import OpenStream
    from loader.delivery.retry import RetryPolicy
    from loader.hours import Window


@click.command()
@target_options
@click.option(
    "--fail-if-behind",
    metavar="TIME",
    help="Exit with code 6 if CloudZero lacks the current lines of an hour that ended longer ago than this (3h).",
)
@options.since_option
@options.stream_option
@options.table_or_json
def status(target: TargetOptions, fail_if_behind: str | None, since: str | None, only: str | None, style: str) -> None:
    """Show what was sent and what is pending, by month and stream. Needs no key, and sends nothing.

    Shows the stream of CLOUDZERO_CONNECTION_ID, if that is set, and every other stream that a push ever sent to. Exits
    with code 6 if spend logs, hours and lines disagree within the lookback window.
    """
    from loader.audit import consistency
    from loader.audit import status as core
    from loader.cli import output
    from loader.config.settings import read_streams
    from loader.delivery.push_log import streams
    from loader.delivery.streams import select_streams
    from loader.errors import GuardError
    from loader.hours import iso
    from loader.warehouse import source as sources

    limit = options.seconds(fail_if_behind) if fail_if_behind else None
    mine, start = read_streams(), options.since_time(since)
    if only is not None:
        mine = select_streams(mine, only)
    with target.open_to_read() as warehouse:
        known = streams(warehouse) if only is None else []
        chosen = mine + [stream for stream in known if stream not in mine]
        built_at = warehouse.built_at()
        statuses, source = core.read_status(warehouse, chosen, options.now(), start), sources.read_source(warehouse)
        compared = consistency.read_consistency(warehouse)
    if style == "json":
        more = {"source": sources.answer(source), "disagreements": consistency.answer(compared)}
        output.print_json(core.answer(statuses, built_at) | more, sys.stdout)
    else:
        output.print_table(core.HEAD, core.table(statuses), sys.stdout, right={2, 3, 4, 5, 7, 8, 9})
        output.say(f"Models built {iso(built_at)}.")
        for each in statuses:
            last = f"last push {iso(each.last.recorded_at)}, {each.last.outcome}" if each.last else "nothing sent yet"
            output.say(f"{each.stream}: {last}.")
            if each.refused:
                count = f"{len(each.refused):,} hour(s), the first: {iso(each.refused[0])}"
                output.say(
                    f"{each.stream}: CloudZero refused {count}. They are pending, and the next push tries again."
                )
        if not statuses:
            output.say("Nothing was sent yet, and CLOUDZERO_CONNECTION_ID is not set.")
    for message in [*sources.messages(source), *consistency.messages(compared)]:
        output.say(message)
    consistency.require_consistent(compared)
    if limit is not None and source.mixed_models:
        raise GuardError(source.mixed_models)
    if limit is not None:
        _require_current(statuses[: len(mine) or None], limit, str(fail_if_behind), built_at)


def _require_current(statuses: Sequence[StreamStatus], limit: float, limit_text: str, built_at: datetime) -> None:
    """Fail when a stream is more than `limit` seconds behind, or when that cannot be known."""
    from loader.errors import GuardError
    from loader.hours import HOUR, iso

    if built_at > options.now() + HOUR:
        raise GuardError(
            f"The models were last built at {iso(built_at)}, which is in the future: the clock of the machine that ran"
            " dbt, or of this one, is wrong. Correct it, then run `dbt run`."
        )
    late = [each for each in statuses if each.behind.total_seconds() > limit]
    if late:
        first = late[0]
        reason = f"the hour {iso(first.oldest_pending)} is waiting" if first.oldest_pending else "dbt has not run"
        raise GuardError(
            f"{first.stream} is {first.behind.total_seconds() / 3600:.1f} h behind, more than {limit_text}:"
            f" {reason}; the models were last built at {iso(built_at)}. Run `loader push --window pending` to see what"
            " prevents it."
        )


@click.command()
@target_options
@click.option("--month", required=True, metavar="YYYY-MM", help="The UTC month.")
@click.option("--repair", is_flag=True, help="Send the hours that differ again, where resending fixes them.")
@click.option(
    "--allow-shrink", is_flag=True, help="With --repair: also send hours of which the view has less, or nothing."
)
@options.since_option
@options.stream_option
@retry_options
@options.wait_option
@options.table_or_json
def verify(
    target: TargetOptions,
    month: str,
    repair: bool,
    allow_shrink: bool,
    since: str | None,
    only: str | None,
    policy: RetryPolicy,
    wait: float,
    style: str,
) -> None:
    """Read a month back from CloudZero and compare it, hour by hour, with the view and with the push log.

    Exits with code 6 when an hour differs and was not repaired, or when spend logs, hours and lines of the month
    disagree. Needs a key with the scope to read billing drops.

    \b
    loader verify --month 2024-01
    loader verify --month 2024-01 --repair
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.audit import consistency
    from loader.cli import output
    from loader.config.settings import read_all_credentials
    from loader.delivery import streams
    from loader.delivery.push import PushCallbacks, PushOptions, Sender
    from loader.hours import month_named
    from loader.stopping import StopSignal

    window, first = month_named(month), options.since_time(since)
    configured = read_all_credentials()
    chosen = streams.select_streams(configured, only)

    def one_stream(credentials: Credentials) -> None:
        with sender.open(credentials) as stream:
            compared = consistency.read_consistency(stream.warehouse, window)
            for message in consistency.messages(compared):
                output.say(message)
            differences = _compare(stream, window, first, style, credentials.name)
            consistency.require_consistent(compared)
            if repair:
                differences = _repair(stream, window, differences, allow_shrink)
        _require_equal(differences, window, repair)

    with StopSignal() as stop:
        push_options = PushOptions(policy.interrupted_by(stop), callbacks=PushCallbacks(output.say))
        sender = Sender(target.read(), configured, push_options, target.lock_seconds, wait)
        streams.for_each(chosen, one_stream, output.say, stop)


def _compare(stream: OpenStream, month: Window, first: datetime | None, style: str, name: str) -> list[HourDifference]:
    """Read a stream's month back, show the hours that differ, and return them."""
    from loader.audit.verify import compare
    from loader.cli import output

    month_name = f"{month.start:%Y-%m}"
    held = stream.options.policy.retry(lambda: stream.client.hours_of_month(month_name), output.say)
    records, hours = stream.log.records(month), stream.warehouse.hours(month)
    differences = compare(held, hours, records, stream.warehouse.complete_until())
    differences = [each for each in differences if first is None or each.hour >= first]
    _show(differences, month_name, sum(lines for lines, _ in held.values()), style, name)
    return differences


def _repair(
    stream: OpenStream, month: Window, differences: list[HourDifference], allow_shrink: bool
) -> list[HourDifference]:
    """Send hours again where that fixes them, and return the differences that remain."""
    from loader.cli import output
    from loader.delivery import limits
    from loader.delivery.selection import Selection
    from loader.errors import GuardError

    fixable = [each for each in differences if each.fixed_by_resending or allow_shrink]
    if not fixable:
        return differences
    hours = frozenset(each.hour for each in fixable)
    push = stream.push(Selection(month, allow_shrink=allow_shrink, only=hours))
    output.say(f"Repaired {push.sent.hours} of {len(differences)} hours: {push.sent.lines} lines sent again.")
    if push.plan and push.plan.held_back:
        raise GuardError(limits.explain(push.plan.held_back))
    return [each for each in differences if each not in fixable]


def _require_equal(differences: list[HourDifference], month: Window, repaired: bool) -> None:
    from loader.errors import GuardError

    if differences:
        hint = "" if repaired else " `loader verify --repair` fixes those that can be fixed by sending them again."
        raise GuardError(
            f"{len(differences)} hour(s) of {month.start:%Y-%m} differ.{hint} See docs/operating.md for what to do."
        )


@click.command()
@target_options
@hour_options
@options.table_or_json
def reconcile(target: TargetOptions, hours: HourOptions, style: str) -> None:
    """Compare spend logs, LiteLLM's daily tables, hours, lines and the push log, per UTC day, in dollars.

    Without a window, compares this month. Shows where cost went missing, in LiteLLM or here. Sends nothing and needs
    no key; CLOUDZERO_CONNECTION_ID selects the push log.
    """
    from loader.audit import reconcile as core
    from loader.cli import output
    from loader.config.settings import read_streams
    from loader.delivery.push_log import PushLog
    from loader.delivery.selection import InWindow
    from loader.errors import UsageError
    from loader.warehouse import source as sources

    selected = hours.filter(default="month_to_date", cut=False)
    if not isinstance(selected, InWindow):
        raise UsageError("`reconcile` compares whole days: use another --window than pending, or --start and --end.")
    days, streams = core.whole_days(selected.window), read_streams()
    with target.open_to_read() as warehouse:
        sent = [record for each in streams for record in PushLog(warehouse, each).records(days).values()]
        found, source = core.days(warehouse, days, sent if streams else None), sources.read_source(warehouse)
    if style == "json":
        output.print_json(core.answer(found) | {"source": sources.answer(source)}, sys.stdout)
        return
    output.print_table(core.HEAD, core.table(found) if found else [], sys.stdout, right=set(range(1, 7)))
    if not core.has_daily_tables(found):
        output.say("LiteLLM's daily tables do not exist or are empty: there is no independent total to compare with.")
    if not streams:
        output.say("CLOUDZERO_CONNECTION_ID is not set: what was sent is not shown.")
    for message in sources.messages(source):  # of all days, and of requests that have none
        output.say(message)


def _show(differences: list[HourDifference], month: str, rows: int, style: str, name: str) -> None:
    from loader.cli import output
    from loader.hours import iso
    from loader.money import decimal_text

    def amount(pair: tuple[int, Decimal] | None) -> str:
        return f"{pair[0]} · ${decimal_text(pair[1])}" if pair else ""

    if style == "json":
        of_stream: dict[str, object] = {"stream": name} if name else {}
        found = [_as_json(each) for each in differences]
        output.print_json(of_stream | {"month": month, "lines_at_cloudzero": rows, "differences": found}, sys.stdout)
    elif differences:
        output.print_table(
            ["hour (UTC)", "CloudZero: lines · cost", "view", "push log", "reason"],
            [[iso(e.hour), amount(e.at_cloudzero), amount(e.in_view), amount(e.sent), e.verdict] for e in differences],
            sys.stdout,
        )
    else:
        read = f"{name} {month}".strip()
        output.say(f"{read}: {rows:,} lines read back from CloudZero; every complete hour is equal to the view.")


def _as_json(difference: HourDifference) -> dict[str, object]:
    from loader.hours import iso
    from loader.money import decimal_text

    amounts = (("cloudzero", difference.at_cloudzero), ("view", difference.in_view), ("push_log", difference.sent))
    return {
        "hour": iso(difference.hour),
        "verdict": difference.verdict,
        "fixed_by_resending": difference.fixed_by_resending,
        **{name: None if pair is None else {"lines": pair[0], "cost": decimal_text(pair[1])} for name, pair in amounts},
    }
