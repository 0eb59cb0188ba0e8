"""Output for people and programs: data to stdout, messages to stderr; rich only on a terminal."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import orjson

from loader.delivery.answers import dry_run_answer
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, HourSummary, Line
from loader.money import decimal_text, total_usd
from loader.progress import Bar
from loader.text import printable

# The columns that a person looks for first; the others are long, or the same in every line.
TABLE_COLUMNS = {
    HOUR_COLUMN: "hour (UTC)",
    COST_COLUMN: "cost (USD)",
    AMOUNT_COLUMN: "tokens",
    "resource/id": "resource/id",
}
# What a spreadsheet would run, or strip and then run (owasp.org/www-community/attacks/CSV_Injection); a number is not a
# formula.
FORMULA = re.compile(r"[\t\r\n]|[\s\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def say(message: str) -> None:
    """Print a message to stderr; what a terminal would act on is replaced."""
    print(printable(message, keep="\n\t"), file=sys.stderr)  # noqa: T201


def print_dry_run(lines: Sequence[Line], hours: Sequence[HourSummary], style: str, out: TextIO) -> None:
    """Print lines as they would be sent; as JSON or a table, with the totals of all hours."""
    if style == "json":
        print_json(dry_run_answer(lines, hours), out)
    elif style == "ndjson":
        for line in lines:
            out.write(line.data.decode() + "\n")
    elif style == "csv":
        names = list(dict.fromkeys(name for line in lines for name in line.values))
        writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow({name: spreadsheet_cell(value) for name, value in line.values.items()})
    else:
        rows = [[values.get(name, "") for name in TABLE_COLUMNS] for values in (line.values for line in lines)]
        print_table(list(TABLE_COLUMNS.values()), rows, out, right={1, 2})
        cost = decimal_text(total_usd(hour.cost for hour in hours))
        say(
            f"{len(lines)} of {sum(hour.line_count for hour in hours):,} lines in {len(hours):,} hours;"
            f" in total ${cost} and {sum(hour.tokens for hour in hours):,} tokens. Nothing was sent."
        )


def spreadsheet_cell(value: str) -> str:
    """A value for a CSV that people open: with an apostrophe in front if a spreadsheet would run it as a formula.

    Names, tags and ids come from whoever sends requests to LiteLLM. What CloudZero receives is never changed.
    """
    return f"'{value}" if FORMULA.match(value) and not NUMBER.fullmatch(value) else value


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, right: set[int] | None = None) -> None:
    """Print a table: with rich on a terminal, in plain columns elsewhere.

    Args:
        head: the column titles.
        rows: the cells.
        out: where to print it.
        right: the indexes of right-aligned columns.
    """
    right = right or set()
    if out.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for index, name in enumerate(head):
            table.add_column(name, justify="right" if index in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(cell.replace("[", "\\[") for cell in row))
        Console(file=out).print(table)
        return
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    for row in [head, *rows]:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        out.write("  ".join(cells).rstrip() + "\n")


def print_json(answer: dict[str, object], out: TextIO) -> None:
    """Print one JSON object.

    orjson indents around a Fragment but not inside it, so that each line has the bytes that are sent.
    """
    out.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")


@contextmanager
def progress(label: str) -> Iterator[Bar]:
    """A progress bar on stderr if that is a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None)

        class TerminalBar(Bar):
            def start(self, total_lines: int) -> None:
                shown.update(task, total=total_lines)

            def advance(self, lines: int) -> None:
                shown.advance(task, lines)

        yield TerminalBar()
