"""The commands that check before anything is sent: validate and check. CloudZero stores nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from loader.cli import options
from loader.cli.options import HourOptions, TargetOptions, hour_options, retry_options, target_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loader.cloudzero.bodies import Body
    from loader.config.settings import Credentials
    from loader.delivery.retry import RetryPolicy
    from loader.delivery.selection import InWindow, Pending
    from loader.warehouse.base import Warehouse


class Validated(NamedTuple):
    """A body of a stream, and what CloudZero finds wrong with it."""

    stream: str
    body: Body
    errors: list[str]


@click.command()
@target_options
@hour_options
@options.stream_option
@retry_options
@options.table_or_json
def validate(target: TargetOptions, hours: HourOptions, only: str | None, policy: RetryPolicy, style: str) -> None:
    """Let CloudZero validate the bodies that a push of the window would send; nothing is stored.

    Needs a key with the scope to validate billing drops. Exits with code 4 when CloudZero finds an error.
    """
    from loader.cli import output
    from loader.config.settings import read_all_credentials
    from loader.delivery import streams
    from loader.errors import RejectedError

    configured = read_all_credentials()
    chosen = streams.select_streams(configured, only)
    selected = hours.required()
    results: list[Validated] = []
    with target.open_to_read() as warehouse:
        streams.require_connection_ids(warehouse, configured)
        for credentials in chosen:
            results += _validate(warehouse, credentials, selected, policy)
    _show(results, len(configured) > 1, style)
    output.say("Nothing was stored.")
    wrong = [each.errors for each in results if each.errors]
    if wrong:
        raise RejectedError(
            f"CloudZero finds errors in {len(wrong)} of {len(results)} bodies, the first: {wrong[0][0][:300]}."
        )


def _validate(
    warehouse: Warehouse, credentials: Credentials, selected: InWindow | Pending, policy: RetryPolicy
) -> list[Validated]:
    """Validate what a push of these hours would send to one stream."""
    from loader.cli import output
    from loader.cloudzero.bodies import body_groups
    from loader.cloudzero.client import AnyCost
    from loader.delivery.plan import NO_RECORDS, plan
    from loader.delivery.plan_lines import lines_of
    from loader.delivery.push_log import PushLog
    from loader.delivery.selection import Pending, Selection
    from loader.delivery.streams import display_name

    is_pending = isinstance(selected, Pending)
    selection = Selection(selected if isinstance(selected, Pending) else selected.window, allow_full_month=True)
    found = []
    with warehouse.of_stream(credentials.name), AnyCost(credentials) as client:

        def errors(content: bytes) -> list[str]:
            return policy.retry(lambda: client.validate(content), output.say)

        records = PushLog(warehouse, credentials.stream).records() if is_pending else NO_RECORDS
        for group in body_groups(lines_of(warehouse, plan(warehouse, selection, records)), "replace_hourly"):
            for body in group.bodies:
                found.append(Validated(display_name(credentials.name), body, errors(body.content)))
    return found


def _show(results: Sequence[Validated], with_stream: bool, style: str) -> None:
    from loader.cli import output
    from loader.hours import iso

    if style == "json":
        bodies = [
            {
                "first_hour": iso(each.body.hours[0]),
                "last_hour": iso(each.body.hours[-1]),
                "rows": each.body.row_count,
                "bytes": len(each.body.content),
                "errors": each.errors,
            }
            | ({"stream": each.stream} if with_stream else {})
            for each in results
        ]
        output.print_json({"bodies": bodies}, sys.stdout)
        return
    table = [
        [
            *([each.stream] if with_stream else []),
            iso(each.body.hours[0]),
            iso(each.body.hours[-1]),
            f"{each.body.row_count:,}",
            f"{len(each.body.content):,}",
            "; ".join(each.errors) or "ok",
        ]
        for each in results
    ]
    head = [*(["stream"] if with_stream else []), "first hour", "last hour", "lines", "bytes", "result"]
    output.print_table(head, table, sys.stdout, right={len(head) - 3, len(head) - 2})


@click.command()
@target_options
@click.option(
    "--deep", is_flag=True, help="Also read every table and all spend logs in full, and compare hours, lines and log."
)
@options.table_or_json
def check(target: TargetOptions, deep: bool, style: str) -> None:
    """Check profile, views, key and connection, and let CloudZero validate one line; nothing is stored.

    Exits with the exit code of the first check that fails.
    """
    from loader.audit import checks
    from loader.cli import output

    results = checks.run(target.target, target.profiles_dir, target.lock_seconds, output.say, deep)
    if style == "json":
        found = [
            {"check": each.name, "ok": each.error is None, "warning": each.warning, "detail": each.detail}
            for each in results
        ]
        output.print_json({"checks": found}, sys.stdout)
    else:
        rows = [[each.name, each.state, each.detail] for each in results]
        output.print_table(["check", "", "detail"], rows, sys.stdout)
    for result in results:
        if result.error is not None:
            raise result.error
