"""CSV for people: no spreadsheet runs a cell, and numbers stay numbers."""

from __future__ import annotations

import csv
import gzip
import io

import pytest

from loader.bucket.drop import _write_part
from loader.cli.output import print_dry_run, spreadsheet_cell
from loader.lines import COST_COLUMN, HOUR_COLUMN, Line
from loader.progress import Bar
from tests.support.builders import HOUR

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+2",
    "-2+3",
    "-",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\u00a0=1",
    "\ufeff=1",
    "\uff1d1",
    "+49 30 1",
    "-1e5",
    "-\u0661",
    "-1\n",
)


@pytest.mark.parametrize("value", FORMULAS)
def test_a_formula_gets_an_apostrophe(value: str) -> None:
    assert spreadsheet_cell(value) == f"'{value}"


@pytest.mark.parametrize(
    "value", ["-0.5", "+1", "-12", "0.000000000000000001", "", "a=b", "a-b", "'=1", "gpt-4o", "  a"]
)
def test_everything_else_stays_as_it_is(value: str) -> None:
    assert spreadsheet_cell(value) == value


def test_csv_of_a_dry_run_is_quoted_and_a_bucket_drop_is_not() -> None:
    values = {HOUR_COLUMN: "2024-01-15T14:00:00Z", COST_COLUMN: "-0.5", "resource/tag:team": "=1+1"}
    out = io.StringIO()
    print_dry_run([Line.from_values(HOUR, values)], [], "csv", out)
    assert list(csv.DictReader(io.StringIO(out.getvalue()))) == [values | {"resource/tag:team": "'=1+1"}]

    drop = io.BytesIO()
    _write_part(drop, list(values), values, iter(()), 10, Bar())
    assert list(csv.DictReader(io.StringIO(gzip.decompress(drop.getvalue()).decode()))) == [values]
