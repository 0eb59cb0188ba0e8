"""The commands that look whether all that was sent is there: status, verify, reconcile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import lock_options, patience_options, target_options, window_options
from loader.money import decimal_text

if TYPE_CHECKING:
    from datetime import datetime

    from loader.audit.verify import Difference
    from loader.config.settings import Credentials
    from loader.delivery.retry import Patience
    from loader.hours import Window
    from loader.stopping import StopSignal
    from loader.warehouse.base import Warehouse


@click.command()
@target_options
@click.option(
    "--fail-if-behind",
    metavar="TIME",
    help="End with exit code 6 when an hour that ended longer ago than this (3h) is not at CloudZero as it is now.",
)
@options.since_option
@options.stream_option
@options.table_or_json
def status(
    target: str | None, profiles_dir: str | None, lock_timeout: str, fail_if_behind: str | None, since: str | None,
    only: str | None, style: str,
) -> None:  # fmt: skip
    """Show what was sent and what is pending, by month and stream, from the warehouse alone.

    The stream of CLOUDZERO_CONNECTION_ID, when that is set, and every other that was ever sent to. Needs no key.
    """
    from loader.audit import status as core
    from loader.cli import output
    from loader.config.settings import read_streams
    from loader.delivery.push_log import streams
    from loader.delivery.streams import chosen as one_or_all
    from loader.errors import GuardError
    from loader.hours import iso

    limit = options.seconds(fail_if_behind) if fail_if_behind else None
    mine, start = read_streams(), options.since_when(since)
    if only is not None:
        mine = one_or_all(mine, only)
    with options.warehouse_to_read(target, profiles_dir, lock_timeout) as warehouse:
        known = streams(warehouse) if only is None else []
        chosen = mine + [stream for stream in known if stream not in mine]
        built_at = warehouse.built_at()
        statuses = core.look(warehouse, chosen, options.now(), start)
    if style == "json":
        output.print_answer(core.answer(statuses, built_at), sys.stdout)
    else:
        output.print_table(core.HEAD, core.table(statuses), sys.stdout, right={2, 3, 4, 5, 7, 8, 9})
        output.say(f"Models built {iso(built_at)}.")
        for each in statuses:
            last = f"last push {iso(each.last.recorded_at)}, {each.last.outcome}" if each.last else "never sent to"
            output.say(f"{each.stream}: {last}.")
        if not statuses:
            output.say("Nothing was ever sent, and CLOUDZERO_CONNECTION_ID is not set.")
    late = [each for each in statuses[: len(mine) or None] if each.behind.total_seconds() > (limit or 0)]
    if limit is not None and late:
        first = late[0]
        since = f"the hour {iso(first.oldest_pending)} waits" if first.oldest_pending else "dbt has not run"
        raise GuardError(
            f"{first.stream} is {first.behind.total_seconds() / 3600:.1f} h behind, more than {fail_if_behind}:"
            f" {since}; the models were last built at {iso(built_at)}. `loader push --window pending` says what is in"
            " the way."
        )


@click.command()
@target_options
@click.option("--month", required=True, metavar="YYYY-MM", help="The UTC month.")
@click.option("--repair", is_flag=True, help="Send the hours that differ again, where that is the mend.")
@click.option("--allow-shrink", is_flag=True, help="With --repair: also hours that the view has less of, or nothing.")
@options.since_option
@options.stream_option
@patience_options
@lock_options
@options.table_or_json
def verify(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    month: str, repair: bool, allow_shrink: bool, since: str | None,
    give_up_after: str, settle_for: str, wait: str, only: str | None, style: str,
) -> None:  # fmt: skip
    """Read a month back from CloudZero and compare it, hour by hour, with the view and with the push log.

    Ends with exit code 6 when an hour differs and was not repaired. Needs a key with the scope to read billing drops.

    \b
    loader verify --month 2024-01
    loader verify --month 2024-01 --repair
    """  # noqa: D301 (Click: lines as they stand)
    from loader.cli import output
    from loader.config.settings import read_all_credentials
    from loader.delivery import streams
    from loader.hours import month_named
    from loader.stopping import StopSignal

    window, first = month_named(month), options.since_when(since)
    everyone = read_all_credentials()
    chosen = streams.chosen(everyone, only)
    patience = options.patience(give_up_after, settle_for)

    def one_stream(credentials: Credentials) -> None:
        with options.warehouse_to_push(target, profiles_dir, lock_timeout, wait, credentials.stream, stop) as warehouse:
            _verify(warehouse, credentials, window, first, patience, stop, repair, allow_shrink, style)

    with StopSignal() as stop:
        streams.for_each(chosen, one_stream, output.say, stop)


def _verify(
    warehouse: Warehouse, credentials: Credentials, window: Window, first: datetime | None, patience: Patience,
    stop: StopSignal, repair: bool, allow_shrink: bool, style: str,
) -> None:  # fmt: skip
    from loader.audit.verify import compare, held_by_hour
    from loader.cli import output
    from loader.cloudzero.client import AnyCost
    from loader.delivery.plan import Selection
    from loader.delivery.push import Push
    from loader.delivery.push_log import PushLog
    from loader.errors import GuardError
    from loader.hours import floor_hour

    log, month = PushLog(warehouse, credentials.stream), f"{window.start:%Y-%m}"
    with AnyCost(credentials) as client:
        until_stop = patience.until(stop)
        rows = until_stop.insist(lambda: client.read_month(month), output.say)
        records, hours = log.records(window), warehouse.hours(window)
        differences = compare(held_by_hour(rows), hours, records, floor_hour(warehouse.built_at()))
        differences = [each for each in differences if first is None or each.hour >= first]
        _show(differences, month, len(rows), style, credentials.name)
        mendable = [each for each in differences if each.mends or allow_shrink]
        if repair and mendable:
            starts = frozenset(each.hour for each in mendable)
            selection = Selection(window, allow_shrink=allow_shrink, only=starts)
            one = Push(warehouse, log, client, selection, until_stop, output.say, stop=stop)
            sent = one.run()
            output.say(f"Repaired {sent.hours} of {len(differences)} hours: {sent.lines} lines sent again.")
            differences = [each for each in differences if each not in mendable]
            if one.plan and one.plan.held_back:
                from loader.delivery import limits

                raise GuardError(limits.explain(one.plan.held_back))
    if differences:
        hint = "" if repair else " `loader verify --repair` sends those again for which that is the mend."
        raise GuardError(f"{len(differences)} hour(s) of {month} differ.{hint} docs/operating.md says what to do.")


@click.command()
@target_options
@window_options
@options.table_or_json
def reconcile(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    window: str | None, start: str | None, end: str | None, since: str | None, style: str,
) -> None:  # fmt: skip
    """Compare raw logs, LiteLLM's own daily tables, hours, lines and the push log, per UTC day, in dollars.

    Without a window, of this month. Shows where money went missing, whoever lost it. Sends nothing, needs no key;
    CLOUDZERO_CONNECTION_ID says whose push log.
    """
    from loader.audit import reconcile as core
    from loader.cli import output
    from loader.config.settings import read_streams
    from loader.delivery.push_log import PushLog
    from loader.errors import UsageError

    name = window or (None if start else "month_to_date")
    asked = options.asked_for(name, start, end, since, required=True, cut=False)
    if asked.window is None:
        raise UsageError("`reconcile` looks at days: give another --window than pending, or --start and --end.")
    days, streams = core.whole_days(asked.window), read_streams()
    with options.warehouse_to_read(target, profiles_dir, lock_timeout) as warehouse:
        sent = [record for each in streams for record in PushLog(warehouse, each).records(days).values()]
        found = core.days(warehouse, days, sent if streams else None)
    if style == "json":
        output.print_answer(core.answer(found), sys.stdout)
        return
    output.print_table(core.HEAD, core.table(found) if found else [], sys.stdout, right=set(range(1, 7)))
    if not core.has_daily_tables(found):
        output.say("LiteLLM's daily tables are not there, or empty: nothing independent to compare with.")
    if not streams:
        output.say("CLOUDZERO_CONNECTION_ID is not set: what was sent is not shown.")


def _show(differences: list[Difference], month: str, rows: int, style: str, name: str) -> None:
    from loader.cli import output
    from loader.hours import iso

    def amount(pair: tuple[int, object] | None) -> str:
        return f"{pair[0]} · ${pair[1]:f}" if pair else ""

    if style == "json":
        found = [
            {
                "hour": iso(each.hour), "verdict": each.verdict, "mended_by_sending_again": each.mends,
                **{
                    name: None if pair is None else {"lines": pair[0], "cost": decimal_text(pair[1])}
                    for name, pair in (("cloudzero", each.held), ("view", each.lines), ("push_log", each.sent))
                },
            }
            for each in differences
        ]  # fmt: skip
        of_stream: dict[str, object] = {"stream": name} if name else {}
        answer = of_stream | {"month": month, "lines_at_cloudzero": rows, "differences": found}
        output.print_answer(answer, sys.stdout)
        return
    if differences:
        output.print_table(
            ["hour (UTC)", "CloudZero: lines · cost", "view", "push log", "why"],
            [[iso(e.hour), amount(e.held), amount(e.lines), amount(e.sent), e.verdict] for e in differences],
            sys.stdout,
        )
    else:
        read = f"{name} {month}".strip()
        output.say(f"{read}: {rows:,} lines read back from CloudZero; every complete hour is equal to the view.")
