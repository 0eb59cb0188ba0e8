"""AnyCost Bucket drops: the lines of a month as gzipped CSV parts, and the manifest that activates them.

The layout is CloudZero's (its page on AnyCost custom connections): `<month>/<drop id>/<part>.csv.gz` and
`<month>/manifest.json`, which names the current drop. A drop has the whole month and replaces the previous one.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import IO

from loader.bucket.store import BucketStore
from loader.delivery.plan import Plan
from loader.delivery.plan_lines import changed, lines_of
from loader.errors import ConfigurationError, GuardError, StoppedError
from loader.hours import Window, iso
from loader.lines import COST_COLUMN, NO_LINES, HourSummary, LinesAndCost, sums_by_hour
from loader.money import decimal_text
from loader.progress import Bar
from loader.stopping import StopSignal
from loader.warehouse.base import Warehouse

VERSION = "1.3.0"
MAX_PART_ROWS = 1_000_000  # CloudZero's limit
ID_COLUMN = "resource/id"


@dataclass(frozen=True)
class BucketDrop:
    """A drop that was written: its id, the names of its parts, its lines and USD.

    `incomplete` is the number of hours that were left out because they are incomplete.
    """

    drop_id: str
    parts: tuple[str, ...]
    line_count: int
    cost: Decimal
    incomplete: int


@dataclass(frozen=True)
class DropDifference:
    """An hour (UTC) whose lines or USD differ between a drop and the view."""

    hour: datetime
    in_drop: LinesAndCost
    in_view: LinesAndCost


def billing_data_id(month: Window) -> str:
    """CloudZero's name of a month's folder: `20240801-20240901`."""
    return f"{month.start:%Y%m%d}-{month.end:%Y%m%d}"


def current_drop(store: BucketStore, month: Window) -> str | None:
    """The id of the month's current drop; None if the month has no manifest yet.

    Raises:
        ConfigurationError: the manifest cannot be read.
    """
    name = f"{billing_data_id(month)}/manifest.json"
    data = store.read(name)
    if data is None:
        return None
    try:
        drop_id = str(json.loads(data)["current_drop_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{name} is not a valid manifest of a bucket drop: check what wrote it.") from error
    if not re.fullmatch(r"[\w.-]+", drop_id):
        raise ConfigurationError(f"{name} has the drop id {drop_id!r}, which is not a valid folder name.")
    return drop_id


def drop_by_hour(store: BucketStore, month: Window, drop_id: str) -> dict[datetime, LinesAndCost]:
    """Read a drop: the number of lines and the USD of each of its hours (UTC).

    Raises:
        ConfigurationError: the drop has no parts, or a part cannot be read or has a time or cost that is not valid.
    """
    parts = [name for name in store.names(f"{billing_data_id(month)}/{drop_id}") if name.endswith(".csv.gz")]
    if not parts:
        raise ConfigurationError(f"The drop {drop_id} of {month.start:%Y-%m} has no parts, but is in the manifest.")
    held: dict[datetime, LinesAndCost] = {}
    for part in parts:
        try:
            with store.open(part) as packed, gzip.open(packed, "rt", encoding="utf-8", newline="") as text:
                of_part = sums_by_hour(csv.DictReader(text, strict=True))
        except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
            raise ConfigurationError(
                f"{part} cannot be read ({type(error).__name__}): write the drop of the month again."
            ) from error
        for hour, (more, more_cost) in of_part.items():
            count, cost = held.get(hour, NO_LINES)
            held[hour] = (count + more, cost + more_cost)
    return held


def compare(held: Mapping[datetime, LinesAndCost], hours: Sequence[HourSummary]) -> list[DropDifference]:
    """The hours in which a drop and the view differ, oldest first."""
    lines = {hour.start: (hour.line_count, hour.cost) for hour in hours if hour.line_count}
    return [
        DropDifference(hour, held.get(hour, NO_LINES), lines.get(hour, NO_LINES))
        for hour in sorted({*held, *lines})
        if held.get(hour, NO_LINES) != lines.get(hour, NO_LINES)
    ]


def complete_hours(
    warehouse: Warehouse, month: Window, include_incomplete: bool
) -> tuple[list[HourSummary], list[HourSummary]]:
    """The hours of the month that have lines: those to write, and those to leave out because they are incomplete."""
    complete_until = warehouse.complete_until()
    hours = [hour for hour in warehouse.hours(month) if hour.line_count]
    taken = [hour for hour in hours if include_incomplete or hour.start < complete_until]
    return taken, hours[len(taken) :]


def write_drop(
    warehouse: Warehouse,
    store: BucketStore,
    month: Window,
    now: datetime,
    stop: StopSignal,
    bar: Bar,
    include_incomplete: bool = False,
    allow_shrink: bool = False,
    part_rows: int = MAX_PART_ROWS,
) -> BucketDrop:
    """Write a drop of a month and make it the current one.

    Args:
        warehouse: where to read the lines.
        store: where to write the drop.
        month: one UTC month.
        now: the current time (UTC), which becomes the drop's id.
        stop: stops after the current hour; the manifest is then left unchanged.
        bar: a progress bar over the lines.
        include_incomplete: also write hours that had not ended when dbt last ran.
        allow_shrink: also write if an hour costs less than in the current drop.
        part_rows: maximum number of rows of a part.

    Raises:
        GuardError: there is nothing to write, an hour costs less than before, or the lines do not match cbf_hours.
        ConfigurationError: the warehouse cannot be read, or the store cannot be read or written.
        StoppedError: a stop was requested.
    """
    hours, incomplete = complete_hours(warehouse, month, include_incomplete)
    if not hours:
        raise GuardError(
            f"{month.start:%Y-%m} has no complete hour with lines, and a drop without rows would erase the month at"
            " CloudZero. Nothing was written."
        )
    _require_no_shrink(store, month, hours, allow_shrink)
    bar.start(sum(hour.line_count for hour in hours))
    drop_id = _new_id(store, month, now)
    columns, _, _ = warehouse.line_selection(month)
    parts: list[str] = []
    cost, count = Decimal(0), 0
    rows = _rows(warehouse, Plan(tuple(hours), (), warehouse.built_at(), (), tuple(h.start for h in incomplete)), stop)
    row = next(rows, None)
    while row is not None:
        name = f"{billing_data_id(month)}/{drop_id}/cbf-{len(parts):05d}.csv.gz"
        with store.part(name) as file:
            row, (part_count, part_cost) = _write_part(file, columns, row, rows, part_rows, bar)
        parts.append(name)
        count, cost = count + part_count, cost + part_cost
    manifest = {"version": VERSION, "current_drop_id": drop_id}
    store.replace(f"{billing_data_id(month)}/manifest.json", json.dumps(manifest).encode())
    return BucketDrop(drop_id, tuple(parts), count, cost, len(incomplete))


def _write_part(
    file: IO[bytes],
    columns: Sequence[str],
    first: dict[str, str],
    rows: Iterator[dict[str, str]],
    limit: int,
    bar: Bar,
) -> tuple[dict[str, str] | None, LinesAndCost]:
    """Write the first row and the next ones, at most `limit`. Returns the row after them, and what was written."""
    row: dict[str, str] | None = first
    count, cost = NO_LINES
    # Without file name and time in the header, the same lines give the same bytes.
    with (
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        io.TextIOWrapper(packed, "utf-8", newline="") as text,
    ):
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
        writer.writeheader()
        while row is not None and count < limit:
            writer.writerow(row)
            count, cost = count + 1, cost + Decimal(row[COST_COLUMN])
            bar.advance(1)
            row = next(rows, None)
    return row, (count, cost)


def _rows(warehouse: Warehouse, plan: Plan, stop: StopSignal) -> Iterator[dict[str, str]]:
    """The lines as CSV rows. The cost of each hour is checked against cbf_hours."""
    costs = {hour.start: hour.cost for hour in plan.hours}
    hour, cost, ids = plan.hours[0].start, Decimal(0), set[str]()
    for line in lines_of(warehouse, plan):
        if line.hour != hour:
            if cost != costs[hour]:
                raise changed(hour)
            if stop.is_set:
                raise StoppedError(f"Stopped by {stop.name}: the manifest was not changed.", stop.number)
            hour, cost = line.hour, Decimal(0)
            ids.clear()
        row = line.values
        cost += line.cost
        if row[ID_COLUMN] in ids:
            raise GuardError(
                f"Two lines of {iso(hour)} have the resource/id {row[ID_COLUMN]!r}: run `dbt test` to see where they"
                " come from. The manifest was not changed."
            )
        ids.add(row[ID_COLUMN])
        yield row
    if cost != costs[hour]:
        raise changed(hour)


def _require_no_shrink(store: BucketStore, month: Window, hours: Sequence[HourSummary], allow_shrink: bool) -> None:
    """Raise a GuardError if an hour costs less than in the current drop."""
    before = current_drop(store, month)
    if before is None or allow_shrink:
        return
    shrunk = [each for each in compare(drop_by_hour(store, month, before), hours) if each.in_view[1] < each.in_drop[1]]
    if shrunk:
        first = shrunk[0]
        raise GuardError(
            f"{len(shrunk)} hour(s) of {month.start:%Y-%m} cost less than in the current drop {before}. The first:"
            f" {iso(first.hour)}: ${decimal_text(first.in_view[1])}, before ${decimal_text(first.in_drop[1])}. Nothing"
            " was written. If the lower cost is right, use --allow-shrink."
        )


def _new_id(store: BucketStore, month: Window, now: datetime) -> str:
    """The id of a new drop: the first second from now on that has no drop yet."""
    while True:
        drop_id = f"{now:%Y%m%dT%H%M%SZ}"
        if not store.names(f"{billing_data_id(month)}/{drop_id}"):
            return drop_id
        now += timedelta(seconds=1)
