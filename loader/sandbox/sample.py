"""Generates realistic LiteLLM spend logs up to the current hour from a seed.

The rows have those columns of "LiteLLM_SpendLogs" (LiteLLM's schema.prisma) that a bill needs, or the keys of
LiteLLM's StandardLoggingPayload (its logging specification); never a prompt or a response. Every value is derived
from the MD5 of seed, purpose and row number, so a plan gives the same rows in every format. Each request id
starts with `sample-`, so that generated rows can be distinguished from real ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal
from importlib import resources
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import ConfigurationError, UsageError
from loader.sandbox.sample_world import MODELS, keys_of

if TYPE_CHECKING:
    import duckdb

FORMATS = ("jsonl", "parquet", "csv", "payload")
MAX_DAYS = 3_660

# How busy each hour of a working day is, UTC, in relative units.
_WORKDAY = (4, 3, 3, 3, 4, 6, 12, 25, 44, 58, 62, 58, 46, 55, 62, 60, 54, 42, 28, 20, 15, 11, 8, 6)


@dataclass(frozen=True)
class SamplePlan:
    """What to generate: `rows` requests that start in the `days` times 24 hours before the hour of `until`.

    `until` is an aware time; it is floored to the hour, so that the sample ends with a complete hour.
    """

    rows: int = 20_000
    days: int = 3
    until: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    seed: int = 1
    format: str = "jsonl"

    def window(self) -> tuple[datetime, datetime]:
        """The start and end of the sample, UTC, half-open.

        Raises:
            UsageError: the plan is invalid.
        """
        if self.rows < 1:
            raise UsageError(f"rows is {self.rows}: it must be at least 1")
        if not 1 <= self.days <= MAX_DAYS:
            raise UsageError(f"days is {self.days}: it must be from 1 to {MAX_DAYS}")
        if self.format not in FORMATS:
            raise UsageError(f"format is {self.format!r}: it must be one of {', '.join(FORMATS)}")
        if self.until.tzinfo is None:
            raise UsageError(f"until is {self.until.isoformat()}: add a UTC offset")
        end = self.until.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
        return end - timedelta(days=self.days), end


@dataclass(frozen=True)
class SampleReport:
    """What was written. `spend` (USD) is the exact sum of each double's shortest decimal text.

    `first` and `last` are the earliest and latest start of a request, UTC.
    """

    files: tuple[Path, ...]
    rows: int
    spend: Decimal
    first: datetime
    last: datetime


def write_sample(plan: SamplePlan, folder: Path) -> SampleReport:
    """Write one file for each UTC day that has requests; earlier samples in `folder` are replaced.

    As in LiteLLM, a request counts by its start: it may end, and its row land, after the window.

    Raises:
        UsageError: the plan is invalid.
        ConfigurationError: `folder` cannot be written, or contains files that are not a sample.
    """
    # Imported here, so that other commands do not wait for it.
    import duckdb

    start, end = plan.window()
    folder = folder.absolute()
    try:
        _prepare_folder(folder)
        with duckdb.connect() as database:
            return _write(database, plan, folder, start, end)
    except (OSError, duckdb.IOException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        message = f"The sample cannot be written to {folder}: {reason}. Use a writable folder."
        raise ConfigurationError(message) from error


def _prepare_folder(folder: Path) -> None:
    """Create the folder and delete earlier samples in it. Other files are an error, before anything is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    # Hidden files such as .gitkeep and .DS_Store are not spend logs, so they do not matter.
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if not _is_sample(entry):
            raise ConfigurationError(
                f"{folder} contains {entry.name}, which is not a sample. Generated rows are not written next to other"
                " files: use another folder."
            )
    for entry in entries:
        entry.unlink()


def _is_sample(path: Path) -> bool:
    """Whether a file is a sample, by name and content, because an export of real logs may have the same name."""
    name = r"(spend_logs-\d{4}-\d\d-\d\d\.(jsonl|parquet|csv)|payload-\d{4}-\d\d-\d\d\.jsonl)"
    if not re.fullmatch(name, path.name) or not path.is_file():
        return False
    with path.open("rb") as file:
        if path.suffix != ".parquet":
            return bool(re.match(rb'(\{"(request_)?id":"|request_id,[^\n]*\n)sample-', file.read(4096)))
        # Parquet stores key-value metadata at the end of the file.
        file.seek(max(0, path.stat().st_size - 4096))
        return b"loader sample" in file.read()


def _hours(plan: SamplePlan, start: datetime) -> Iterator[tuple[datetime, int, int]]:
    """Distribute the row numbers over the hours: each hour with its first row and the one after its last.

    The bounds are integers from one running total, so no row is lost or duplicated.
    """
    hours = [start + timedelta(hours=number) for number in range(24 * plan.days)]
    weights = [_WORKDAY[hour.hour] if hour.weekday() < 5 else 2 + _WORKDAY[hour.hour] // 5 for hour in hours]
    totals = list(accumulate(weights, initial=0))
    bounds = [plan.rows * total // totals[-1] for total in totals]
    for hour, first, stop in zip(hours, bounds[:-1], bounds[1:], strict=True):
        if first < stop:
            yield hour, first, stop


def _load(database: duckdb.DuckDBPyConnection, table: str, names: Sequence[str], rows: Sequence[Any]) -> None:
    """Create a table of a few rows in one statement, because an INSERT for each row would be slow."""
    select = ", ".join(f"unnest(${name}) as {name}" for name in names)
    columns = [list(column) for column in zip(*rows, strict=True)]
    database.execute(f"create or replace temp table {table} as select {select}", dict(zip(names, columns, strict=True)))


def _write(
    database: duckdb.DuckDBPyConnection, plan: SamplePlan, folder: Path, start: datetime, end: datetime
) -> SampleReport:
    keys = keys_of(plan.seed)
    _load(database, "api_key", ("weight", *keys[0][1]), [(weight, *key.values()) for weight, key in keys])
    names, *models = (line.split() for line in MODELS.strip().splitlines())
    _load(database, "model", names, [["" if cell == "-" else cell for cell in model] for model in models])
    database.execute("set variable seed = $1", [str(plan.seed)])
    database.execute("set variable end_ms = $1", [_milliseconds(end)])
    database.execute(resources.files("loader.sandbox").joinpath("sample.sql").read_text(encoding="utf-8"))
    stem, suffix = ("payload", "jsonl") if plan.format == "payload" else ("spend_logs", plan.format)
    files, rows, spend, first_ms, last_ms = [], 0, Decimal(0), _milliseconds(end), 0
    for day, hours in groupby(_hours(plan, start), key=lambda hour: hour[0].date()):
        spans = [(_milliseconds(hour), first_row, stop_row) for hour, first_row, stop_row in hours]
        _load(database, "span", ("hour_ms", "first_row", "stop_row"), spans)
        database.execute(_NUMBERS)
        files.append(folder / f"{stem}-{day}.{suffix}")
        database.execute(_COPY[plan.format], [str(files[-1])])
        count, usd, earliest, latest = database.execute(_TOTALS).fetchall()[0]
        rows += count
        # 38 digits, as in DuckDB; the default context would round the sum to 28.
        spend = Context(prec=38).add(spend, usd)
        first_ms, last_ms = min(first_ms, earliest), max(last_ms, latest)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    first, last = (epoch + timedelta(milliseconds=number) for number in (first_ms, last_ms))
    return SampleReport(tuple(files), rows, spend, first, last)


def _milliseconds(hour: datetime) -> int:
    """The milliseconds since 1970 of a whole hour."""
    return int(hour.timestamp()) * 1000


# A table rather than range() itself, because DuckDB reads a table with all threads.
_NUMBERS = "create or replace temp table number as select hour_ms, unnest(range(first_row, stop_row)) as n from span"

# 28 places hold all 17 digits of a double down to 1e-9.
_TOTALS = "select count(*), sum(spend::varchar::decimal(38, 28)), min(start_ms), max(start_ms) from request"

_COPY = {
    "jsonl": "copy (from spend_log) to $1 (format json, timestampformat '%Y-%m-%dT%H:%M:%S.%g')",
    "parquet": "copy (from flat_spend_log) to $1 (format parquet, kv_metadata {made_by: 'loader sample'})",
    "csv": "copy (from flat_spend_log) to $1 (format csv, header true)",
    "payload": "copy (from payload) to $1 (format json)",
}
