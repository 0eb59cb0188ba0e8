"""The commands that try before anything is sent: validate, check. CloudZero stores nothing of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import patience_options, target_options, window_options

if TYPE_CHECKING:
    from loader.cloudzero.bodies import Body
    from loader.cloudzero.client import AnyCost
    from loader.delivery.retry import Patience


@click.command()
@target_options
@window_options
@options.stream_option
@patience_options
@options.table_or_json
def validate(
    target: str | None, profiles_dir: str | None, lock_timeout: str,
    window: str | None, start: str | None, end: str | None, since: str | None, only: str | None,
    give_up_after: str, settle_for: str, style: str,
) -> None:  # fmt: skip
    """Let CloudZero validate the bodies that a push of the window would send; nothing is stored.

    Needs a key with the scope to validate billing drops. Ends with exit code 4 when CloudZero finds something wrong.
    """
    from loader.cli import output
    from loader.config.settings import read_all_credentials
    from loader.delivery import streams
    from loader.delivery.plan import NO_RECORDS, Selection, plan
    from loader.delivery.plan_lines import lines_of
    from loader.delivery.push_log import PushLog
    from loader.errors import RejectedError

    everyone = read_all_credentials()
    asked_of = streams.chosen(everyone, only)
    patience = options.patience(give_up_after, settle_for)
    asked = options.asked_for(window, start, end, since, required=True)
    results: list[tuple[str, Body, list[str]]] = []
    with options.warehouse_to_read(target, profiles_dir, lock_timeout) as warehouse:
        from loader.cloudzero.bodies import body_groups
        from loader.cloudzero.client import AnyCost
        from loader.hours import iso

        streams.require_ids(warehouse, everyone)
        for credentials in asked_of:
            with warehouse.of_stream(credentials.name), AnyCost(credentials) as client:
                records = PushLog(warehouse, credentials.stream).records() if asked.is_pending else NO_RECORDS
                chosen = plan(warehouse, Selection(asked.window, allow_full_month=True, since=asked.since), records)
                for delivery in body_groups(lines_of(warehouse, chosen), "replace_hourly"):
                    results += [
                        (streams.title(credentials.name), drop, _validated(client, drop, patience))
                        for drop in delivery.bodies
                    ]
    several = len(everyone) > 1
    if style == "json":
        bodies = [
            {"first_hour": iso(drop.hours[0]), "last_hour": iso(drop.hours[-1]), "rows": drop.row_count,
             "bytes": len(drop.content), "errors": errors} | ({"stream": name} if several else {})
            for name, drop, errors in results
        ]  # fmt: skip
        output.print_answer({"bodies": bodies}, sys.stdout)
    else:
        table = [
            [
                *([name] if several else []),
                iso(drop.hours[0]),
                iso(drop.hours[-1]),
                f"{drop.row_count:,}",
                f"{len(drop.content):,}",
                "; ".join(errors) or "ok",
            ]
            for name, drop, errors in results
        ]
        head = [*(["stream"] if several else []), "first hour", "last hour", "lines", "bytes", "CloudZero says"]
        output.print_table(head, table, sys.stdout, right={len(head) - 3, len(head) - 2})
    output.say("Nothing was stored.")
    wrong = [errors for _, _, errors in results if errors]
    if wrong:
        raise RejectedError(
            f"CloudZero finds {len(wrong)} of {len(results)} bodies wrong, the first: {wrong[0][0][:300]}."
        )


@click.command()
@target_options
@options.table_or_json
def check(target: str | None, profiles_dir: str | None, lock_timeout: str, style: str) -> None:
    """Check profile, views, key and connection, and let CloudZero validate one line; nothing is stored.

    Ends with the exit code of the first thing that is wrong.
    """
    from loader.audit import checks
    from loader.cli import output

    results = checks.run(target, profiles_dir, options.seconds(lock_timeout), output.say)
    if style == "json":
        output.print_answer(
            {"checks": [{"check": r.name, "ok": r.error is None, "detail": r.detail} for r in results]},
            sys.stdout,
        )
    else:
        output.print_table(
            ["check", "", "detail"],
            [[r.name, "ok" if r.error is None else "FAILED", r.detail] for r in results],
            sys.stdout,
        )
    for result in results:
        if result.error is not None:
            raise result.error


def _validated(client: AnyCost, drop: Body, patience: Patience) -> list[str]:
    from loader.cli import output

    return patience.insist(lambda: client.validate(drop.content), output.say)
