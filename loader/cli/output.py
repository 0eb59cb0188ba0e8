"""What people and programs see. Data goes to stdout, talk to stderr; rich only on a terminal."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, TextIO

import orjson

from loader.cloudzero.bodies import encode
from loader.hours import iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, Hour, Line

if TYPE_CHECKING:
    from loader.delivery.push import Push
    from loader.delivery.retry import Sent

FORMATS = ("table", "json", "csv", "ndjson")
# The columns that a person looks for first; the rest is the same in every line or long.
TABLE_COLUMNS = {
    HOUR_COLUMN: "hour (UTC)",
    COST_COLUMN: "cost (USD)",
    AMOUNT_COLUMN: "tokens",
    "resource/id": "resource/id",
}


def decimal_text(value: Decimal) -> str:
    """All digits, no exponent, no trailing zeros: what Python's own notation does not promise."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def say(message: str) -> None:
    """One line of talk."""
    print(message, file=sys.stderr)  # noqa: T201


def summary_of(hours: Sequence[Hour]) -> dict[str, object]:
    """The totals of whole hours, with the keys that LiteLLM's dry run has. The cost is exact."""
    return {
        "total_cost": orjson.Fragment(decimal_text(sum((hour.cost for hour in hours), Decimal(0)))),
        "total_tokens": sum(hour.tokens for hour in hours),
        "total_records": sum(hour.line_count for hour in hours),
    }


def print_dry_run(lines: Sequence[Line], hours: Sequence[Hour], style: str, out: TextIO) -> None:
    """Show lines as they would be sent, and the totals of the whole window in JSON and for people."""
    if style == "json":
        _print_json(dry_run_answer(lines, hours), out)
    elif style == "ndjson":
        for line in lines:
            out.write(encode(line).decode() + "\n")
    elif style == "csv":
        names = list(dict.fromkeys(name for line in lines for name in line.values))
        writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(line.values for line in lines)
    else:
        rows = [[line.values.get(name, "") for name in TABLE_COLUMNS] for line in lines]
        print_table(list(TABLE_COLUMNS.values()), rows, out, right={1, 2})
        total = summary_of(hours)
        cost = decimal_text(sum((hour.cost for hour in hours), Decimal(0)))
        say(
            f"{len(lines)} of {total['total_records']:,} lines in {len(hours):,} hours;"
            f" all of them: ${cost} and {total['total_tokens']:,} tokens. Nothing was sent."
        )


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, right: set[int] | None = None) -> None:
    """A table: with rich on a terminal, in plain columns elsewhere."""
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


def print_answer(answer: dict[str, object], out: TextIO) -> None:
    """One JSON object for a program."""
    _print_json(answer, out)


class Bar:
    """A progress bar over lines. This one shows nothing."""

    def start(self, total_lines: int) -> None:
        """Say how many lines there are."""

    def advance(self, lines: int) -> None:
        """Say that so many more are done."""


@contextmanager
def progress(label: str) -> Iterator[Bar]:
    """A progress bar on stderr, when that is a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None)

        class Shown(Bar):
            def start(self, total_lines: int) -> None:
                shown.update(task, total=total_lines)

            def advance(self, lines: int) -> None:
                shown.advance(task, lines)

        yield Shown()


def push_answer(push: Push) -> dict[str, object]:
    """The shape that LiteLLM's `POST /cloudzero/export` answers with, and what was sent."""
    return pushes_answer([push], push.sent)


def pushes_answer(pushes: Sequence[Push], sent: Sent) -> dict[str, object]:
    """The same for pushes to several streams, which together have sent `sent`."""
    plans = [push.plan for push in pushes if push.plan is not None]
    return {
        "message": "CloudZero export completed successfully" if any(p.hours for p in plans) else "Nothing to send",
        "status": "success",
        "summary": {
            "hours": sent.hours, "lines": sent.lines, "bytes": sent.bytes, "cost": decimal_text(sent.cost),
            "drops": sent.drops, "seconds": round(sum(push.seconds for push in pushes), 3),
        },
        "held_back": [
            {"hour": iso(each.hour), "kind": each.kind, "reason": each.reason}
            for plan in plans for each in plan.held_back
        ],
    }  # fmt: skip


def dry_run_answer(lines: Sequence[Line], hours: Sequence[Hour]) -> dict[str, object]:
    """The shape that LiteLLM's `POST /cloudzero/dry-run` answers with."""
    return {
        "message": "CloudZero dry run export completed successfully.",
        "status": "success",
        "dry_run_data": {
            "usage_data": [_usage(line) for line in lines],
            "cbf_data": [orjson.Fragment(encode(line)) for line in lines],
            "summary": summary_of(hours),
        },
    }


def _usage(line: Line) -> dict[str, object]:
    """A line in LiteLLM's words: its tags, and spend and tokens as numbers."""
    prefix = "resource/tag:"
    tags = {name[len(prefix) :]: value for name, value in line.values.items() if name.startswith(prefix)}
    counts = {name: int(tags.pop(name)) for name in ("prompt_tokens", "completion_tokens") if name in tags}
    return {
        "hour": line.values[HOUR_COLUMN],
        **tags,
        "spend": orjson.Fragment(line.values[COST_COLUMN]),
        **counts,
        "total_tokens": int(line.values.get(AMOUNT_COLUMN, "0")),
    }


def _print_json(answer: dict[str, object], out: TextIO) -> None:
    # orjson indents around a Fragment but not inside it: each line stays the bytes that are sent.
    out.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")
