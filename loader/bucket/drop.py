"""AnyCost Bucket drops: a month's lines as gzipped CSV parts, and the manifest that makes them the month.

The layout is CloudZero's (its page on AnyCost custom connections): `<month>/<drop id>/<part>.csv.gz` and
`<month>/manifest.json`, which names the drop that counts. A drop is the whole month and replaces the one before.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from loader.bucket.store import BucketStore
from loader.delivery.plan import Plan
from loader.delivery.plan_lines import changed, lines_of
from loader.errors import ConfigurationError, GuardError, StoppedError
from loader.hours import Window, iso
from loader.lines import COST_COLUMN, HOUR_COLUMN, HourSummary
from loader.progress import Bar
from loader.stopping import StopSignal
from loader.warehouse.base import Warehouse

VERSION = "1.3.0"
PART_ROWS = 1_000_000  # CloudZero's limit
ID_COLUMN = "resource/id"
Amount = tuple[int, Decimal]  # lines, USD
NOTHING: Amount = (0, Decimal(0))


@dataclass(frozen=True)
class BucketDrop:
    """What was written: its id, its parts' names, its lines and USD; and how many hours were left out as incomplete."""

    drop_id: str
    parts: tuple[str, ...]
    line_count: int
    cost: Decimal
    incomplete: int


@dataclass(frozen=True)
class Difference:
    """An hour (UTC) that a drop and the view do not agree on: lines and USD of each."""

    hour: datetime
    in_drop: Amount
    in_view: Amount


def billing_data_id(month: Window) -> str:
    """CloudZero's name of a month: `20240801-20240901`."""
    return f"{month.start:%Y%m%d}-{month.end:%Y%m%d}"


def current_drop(store: BucketStore, month: Window) -> str | None:
    """The id of the drop that counts; None when the month has no manifest yet.

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
        raise ConfigurationError(f"{name} is no manifest of a bucket drop: look what wrote it.") from error
    if not re.fullmatch(r"[\w.-]+", drop_id):
        raise ConfigurationError(f"{name} names the drop {drop_id!r}, which is no folder's name.")
    return drop_id


def held_by_hour(store: BucketStore, month: Window, drop_id: str) -> dict[datetime, Amount]:
    """Read a drop back: the lines and USD of each of its hours (UTC).

    Raises:
        ConfigurationError: it has no parts, or one that cannot be read.
    """
    parts = [name for name in store.names(f"{billing_data_id(month)}/{drop_id}") if name.endswith(".csv.gz")]
    if not parts:
        raise ConfigurationError(f"The drop {drop_id} of {month.start:%Y-%m} has no parts, but the manifest names it.")
    counts, costs = Counter[str](), defaultdict[str, Decimal](Decimal)
    for part in parts:
        try:
            with store.open(part) as packed, gzip.open(packed, "rt", encoding="utf-8", newline="") as text:
                for row in csv.DictReader(text, strict=True):
                    counts[row[HOUR_COLUMN]] += 1
                    costs[row[HOUR_COLUMN]] += Decimal(row[COST_COLUMN])
        except (OSError, EOFError, ValueError, KeyError, TypeError, csv.Error, InvalidOperation) as error:
            raise ConfigurationError(
                f"{part} cannot be read ({type(error).__name__}): write the month's drop again."
            ) from error
    try:
        return {datetime.fromisoformat(hour.replace("Z", "+00:00")): (counts[hour], costs[hour]) for hour in counts}
    except ValueError as error:
        raise ConfigurationError(f"The drop {drop_id} has an hour that is no time: write it again.") from error


def compare(held: Mapping[datetime, Amount], hours: Sequence[HourSummary]) -> list[Difference]:
    """The hours that a drop and the view do not agree on, oldest first."""
    lines = {hour.start: (hour.line_count, hour.cost) for hour in hours if hour.line_count}
    return [
        Difference(hour, held.get(hour, NOTHING), lines.get(hour, NOTHING))
        for hour in sorted({*held, *lines})
        if held.get(hour, NOTHING) != lines.get(hour, NOTHING)
    ]


def complete_hours(
    warehouse: Warehouse, month: Window, include_incomplete: bool
) -> tuple[list[HourSummary], list[HourSummary]]:
    """The hours of the month that have lines: those that a drop takes, and those that it leaves out as incomplete."""
    until = warehouse.complete_until()
    hours = [hour for hour in warehouse.hours(month) if hour.line_count]
    taken = [hour for hour in hours if include_incomplete or hour.start < until]
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
    part_rows: int = PART_ROWS,
) -> BucketDrop:
    """Write a month and make it count.

    Args:
        warehouse: where the lines are.
        store: where they go.
        month: one UTC month.
        now: the loader's clock, for the drop's id (UTC).
        stop: ends it after the hour that is being written; the manifest then stays as it was.
        bar: hears how many lines there are, and how many are written.
        include_incomplete: also hours that had not ended when dbt last ran.
        allow_shrink: also when an hour has less money than in the drop that counts now.
        part_rows: rows of a part at most.

    Raises:
        GuardError: there is nothing to write, or less money than before, or the lines are not those of cbf_hours.
        ConfigurationError: the warehouse or the store cannot be used.
        StoppedError: an end was asked for.
    """
    hours, incomplete = complete_hours(warehouse, month, include_incomplete)
    if not hours:
        raise GuardError(
            f"{month.start:%Y-%m} has no complete hour with lines: a drop without rows would erase the month at"
            " CloudZero. Nothing was written."
        )
    _require_no_less(store, month, hours, allow_shrink)
    bar.start(sum(hour.line_count for hour in hours))
    drop_id = _new_id(store, month, now)
    columns, _, _ = warehouse.line_selection(month)
    parts: list[str] = []
    cost, count = Decimal(0), 0
    rows = _rows(warehouse, Plan(tuple(hours), (), warehouse.built_at(), (), tuple(h.start for h in incomplete)), stop)
    row = next(rows, None)
    while row is not None:
        name = f"{billing_data_id(month)}/{drop_id}/cbf-{len(parts):05d}.csv.gz"
        with ExitStack() as files:
            file = files.enter_context(store.part(name))
            # No name and no time within, so that the same lines make the same bytes.
            packed = files.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
            text = files.enter_context(io.TextIOWrapper(packed, "utf-8", newline=""))
            writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
            writer.writeheader()
            written = 0
            while row is not None and written < part_rows:
                writer.writerow(row)
                cost += Decimal(row[COST_COLUMN])
                written += 1
                bar.advance(1)
                row = next(rows, None)
        parts.append(name)
        count += written
    manifest = {"version": VERSION, "current_drop_id": drop_id}
    store.replace(f"{billing_data_id(month)}/manifest.json", json.dumps(manifest).encode())
    return BucketDrop(drop_id, tuple(parts), count, cost, len(incomplete))


def _rows(warehouse: Warehouse, plan: Plan, stop: StopSignal) -> Iterator[dict[str, str]]:
    """The lines as CSV rows, each hour's checked against cbf_hours."""
    costs = {hour.start: hour.cost for hour in plan.hours}
    hour, cost, ids = plan.hours[0].start, Decimal(0), set[str]()
    for line in lines_of(warehouse, plan):
        if line.hour != hour:
            if cost != costs[hour]:
                raise changed(hour)
            if stop.is_set:
                raise StoppedError(f"Stopped by {stop.name}: the manifest was not touched.", stop.number)
            hour, cost = line.hour, Decimal(0)
            ids.clear()
        row = line.values
        cost += line.cost
        if row[ID_COLUMN] in ids:
            raise GuardError(
                f"Two lines of {iso(hour)} have the resource/id {row[ID_COLUMN]!r}: run `dbt test`, which says where."
                " The manifest was not touched."
            )
        ids.add(row[ID_COLUMN])
        yield row
    if cost != costs[hour]:
        raise changed(hour)


def _require_no_less(store: BucketStore, month: Window, hours: Sequence[HourSummary], allow_shrink: bool) -> None:
    before = current_drop(store, month)
    if before is None or allow_shrink:
        return
    less = [each for each in compare(held_by_hour(store, month, before), hours) if each.in_view[1] < each.in_drop[1]]
    if less:
        first = less[0]
        raise GuardError(
            f"{len(less)} hour(s) of {month.start:%Y-%m} cost less than in the drop {before} that counts now; the first"
            f" is {iso(first.hour)}: ${first.in_view[1]:f} after ${first.in_drop[1]:f}. Nothing was written. If that is"
            " right: --allow-shrink."
        )


def _new_id(store: BucketStore, month: Window, now: datetime) -> str:
    """The first second from now on that has no drop yet."""
    while True:
        drop_id = f"{now:%Y%m%dT%H%M%SZ}"
        if not store.names(f"{billing_data_id(month)}/{drop_id}"):
            return drop_id
        now += timedelta(seconds=1)
