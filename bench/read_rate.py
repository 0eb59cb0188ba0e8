"""How fast a push reads and encodes lines, compared with the fastest simple way on the same engine; and its memory.

Run as `python -m bench.read_rate push|plain`, this reads all lines of the target and prints count, bytes and seconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping

import orjson

from bench.measure import BIN, report, run, run_and_report
from loader.config.profiles import Target, read_target
from loader.config.settings import Stream
from loader.delivery.plan import Plan
from loader.delivery.plan_lines import lines_of
from loader.warehouse.base import open_for_push, quoted

ROUNDS = 5
MIN_RATIO, MAX_MB = 0.6, 250


def as_pushed(target: Target) -> Iterator[bytes]:
    """Each line as `loader push` reads and encodes it."""
    with open_for_push(target, Stream("bench", "bench"), 0, 0, print) as warehouse:
        hours = tuple(warehouse.hours())
        for line in lines_of(warehouse, Plan(hours, (), hours[0].start)):
            yield line.data


def plain(target: Target) -> Iterator[bytes]:
    """Each line in the simplest way: DuckDB's JSON, or a plain PostgreSQL cursor with orjson."""
    relation = f"{quoted(target.schema)}.cbf_lines"
    if target.type == "duckdb":
        import duckdb

        cursor = duckdb.connect(str(target.options["path"]), read_only=True)
        cursor.execute(f"select to_json(line) from {relation} as line")  # noqa: S608
        while rows := cursor.fetchmany(10_000):
            for (document,) in rows:
                yield document.encode()
        return
    import psycopg2

    options = target.options
    connection = psycopg2.connect(host=options["host"], user=options["user"], dbname=options["dbname"])
    with connection.cursor() as columns:
        columns.execute(f"select * from {relation} limit 0")  # noqa: S608
        names = [column.name for column in columns.description or ()]
    texts = ", ".join(f"cast({quoted(name)} as text)" for name in names)
    with connection.cursor(name="plain") as lines:
        lines.itersize = 10_000
        lines.execute(f"select {texts} from {relation}")  # noqa: S608
        for row in lines:
            yield orjson.dumps(dict(zip(names, row, strict=True)))


def compare(engine: str, environment: Mapping[str, str]) -> float:
    """The ratio of the two rates: medians of alternating rounds, each in a process of its own."""
    rates: dict[str, list[float]] = {"push": [], "plain": []}
    size = 0
    for number in range(ROUNDS):
        for method in ("push", "plain") if number % 2 else ("plain", "push"):
            result = json.loads(run([sys.executable, "-m", "bench.read_rate", method], environment).last_line)
            rates[method].append(result["lines"] / result["seconds"])
            if method == "push":
                size = result["bytes"] / result["lines"]
    push, plain = (statistics.median(rates[method]) for method in ("push", "plain"))
    report(
        f"{engine}: lines read and encoded, compared with the plain path",
        f"{push:,.0f}/s / {plain:,.0f}/s: {push / plain:.2f} times, expected at least {MIN_RATIO}",
    )
    report(f"{engine}: bytes per line", f"{size:,.0f}")
    return push / plain


def push_all(engine: str, environment: Mapping[str, str]) -> None:
    """Push 1,000,000 lines, then all lines, and print the peak memory of the loader."""
    push = [str(BIN / "loader"), "push", "--start", "2000-01-01", "--end", "2100-01-01", "--allow-full-month"]
    name = f"{engine}: loader push of at most 1,000,000 lines, limit {MAX_MB} MB"
    run_and_report(name, [*push, "--limit", "1000000"], environment)
    run_and_report(f"{engine}: loader push of all lines", push, environment)


def main() -> None:
    """One round, in the process that `compare` starts."""
    read = {"push": as_pushed, "plain": plain}[sys.argv[1]]
    began, count, size = time.perf_counter(), 0, 0
    for data in read(read_target(None, None)):
        count += 1
        size += len(data)
    print(json.dumps({"lines": count, "bytes": size, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
