"""The command that writes AnyCost Bucket drops, and reads them back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import TargetOptions, target_options

if TYPE_CHECKING:
    from loader.bucket.store import BucketStore
    from loader.hours import Window
    from loader.warehouse.base import Warehouse


@click.command()
@target_options
@click.option("--month", required=True, metavar="YYYY-MM", help="The UTC month.")
@click.option("--out", required=True, metavar="PATH", help="A folder, or s3://bucket/prefix.")
@click.option("--check", is_flag=True, help="Read the current drop back and compare it; write nothing.")
@click.option(
    "--include-incomplete",
    is_flag=True,
    help="Include hours that are still in progress, or were summed before they ended.",
)
@click.option("--allow-shrink", is_flag=True, help="Write even if an hour costs less than in the current drop.")
@options.text_or_json
def drop(
    target: TargetOptions,
    month: str,
    out: str,
    check: bool,
    include_incomplete: bool,
    allow_shrink: bool,
    style: str,
) -> None:
    """Write a month as an AnyCost Bucket drop: for bills that exceed a stream's monthly limits.

    The manifest is written last, so that a drop is current only once it is complete; the previous drop is kept, so
    that you can return to it. Sends nothing to CloudZero and does not touch the push log. With --check, exits with code
    6 when an hour differs.

    \b
    loader drop --month 2024-01 --out s3://my-bucket/litellm
    loader drop --month 2024-01 --out s3://my-bucket/litellm --check
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.bucket import drop as bucket_drop
    from loader.bucket.store import open_store
    from loader.cli import output
    from loader.cli.options import now
    from loader.hours import month_named
    from loader.money import decimal_text
    from loader.stopping import StopSignal

    window = month_named(month)
    store = open_store(out)
    with target.open_to_read() as warehouse:
        if check:
            _check(warehouse, store, window, include_incomplete, style)
            return
        with StopSignal() as stop, output.progress("Writing") as bar:
            written = bucket_drop.write_drop(
                warehouse, store, window, now(), stop, bar, include_incomplete, allow_shrink
            )
    cost = decimal_text(written.cost)
    if style == "json":
        answer = {
            "drop_id": written.drop_id,
            "parts": list(written.parts),
            "lines": written.line_count,
            "cost": cost,
            "incomplete_hours_left_out": written.incomplete,
        }
        output.print_json(answer, sys.stdout)
    if written.incomplete:
        output.say(
            f"Left out: {written.incomplete} hour(s) that are not complete yet. --include-incomplete includes them."
        )
    output.say(
        f"Drop {written.drop_id} of {month}: {written.line_count:,} lines, ${cost}, {len(written.parts)} part(s)."
        f" It is now the current drop of {out}."
    )


def _check(warehouse: Warehouse, store: BucketStore, month: Window, include_incomplete: bool, style: str) -> None:
    from loader.bucket.drop import compare, complete_hours, current_drop, drop_by_hour
    from loader.cli import output
    from loader.errors import ConfigurationError, GuardError
    from loader.hours import iso
    from loader.money import decimal_text

    name = f"{month.start:%Y-%m}"
    drop_id = current_drop(store, month)
    if drop_id is None:
        raise ConfigurationError(f"There is no drop of {name}: write one without --check.")
    held = drop_by_hour(store, month, drop_id)
    differences = compare(held, complete_hours(warehouse, month, include_incomplete)[0])
    lines = sum(count for count, _ in held.values())
    if style == "json":
        found = [
            {
                "hour": iso(each.hour),
                **{
                    place: {"lines": count, "cost": decimal_text(cost)}
                    for place, (count, cost) in (("drop", each.in_drop), ("view", each.in_view))
                },
            }
            for each in differences
        ]
        output.print_json({"drop_id": drop_id, "lines": lines, "differences": found}, sys.stdout)
    elif differences:
        rows = [
            [iso(each.hour), *(f"{count:,} · ${decimal_text(cost)}" for count, cost in (each.in_drop, each.in_view))]
            for each in differences
        ]
        output.print_table(["hour (UTC)", "drop: lines · cost", "view"], rows, sys.stdout)
    if differences:
        raise GuardError(
            f"The drop {drop_id} of {name} differs from the view in {len(differences)} hour(s): write it again."
        )
    output.say(f"The drop {drop_id} of {name} has {lines:,} lines; every complete hour is equal to the view.")
