"""The JSON of a line is the same for a dry run and a push, and has the values of the columns of cbf_lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.config.profiles import read_target
from loader.hours import HOUR, iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, Line
from loader.money import decimal_text
from loader.warehouse.base import Warehouse, open_warehouse, quoted, utc
from tests.support.warehouse import START, BuiltWarehouse, Usage

AWKWARD = (
    "",
    'say "no"',
    "it's",
    "back\\slash \\u0041 \\n",
    "a/b </script> & < >",
    "tab\tline\nreturn\rfeed\fback\b\x01\x1f\x7f",
    "Grüße 北京 🤖 e\u0301 \u2028\u2029 \ufeff \U0010ffff",
    "{} [1, 2] null true 1e5 %s $1 ?",
    " spaces ",
    "1970-01-01",
)


class Expected(NamedTuple):
    """The expected hour, USD, and members of the JSON object in order."""

    hour: datetime
    cost: Decimal
    members: list[tuple[str, str]]


class Read(NamedTuple):
    """All lines, read from the columns and by each method of Warehouse."""

    columns: list[Expected]
    ordered: list[Line]
    unordered: list[Line]
    newest: list[Line]


def from_columns(warehouse: Warehouse) -> list[Expected]:
    """The lines from the columns of cbf_lines, without JSON, ordered by hour and resource/id."""
    names, _, _ = warehouse.line_selection(None)
    relation, order = warehouse.relation("cbf_lines"), f"{quoted(HOUR_COLUMN)}, {quoted('resource/id')}"
    lines = []
    for row in warehouse.rows(f"select {', '.join(map(quoted, names))} from {relation} order by {order}"):
        columns = dict(zip(names, row, strict=True))
        hour = utc(columns[HOUR_COLUMN])
        columns[HOUR_COLUMN] = iso(hour)
        columns[COST_COLUMN] = decimal_text(columns[COST_COLUMN])
        columns[AMOUNT_COLUMN] = str(columns[AMOUNT_COLUMN])
        members = [(name, value) for name, value in columns.items() if value is not None and value != ""]
        lines.append(Expected(hour, Decimal(columns[COST_COLUMN]), members))
    return lines


def read(built: BuiltWarehouse, aliases: Sequence[str]) -> Read:
    """Store two hours of lines with these team aliases, and read them in each way."""
    hour = [Usage(f"t{n}", f"{n}.10", alias.replace("'", "''")) for n, alias in enumerate(aliases)]
    built.put({0: hour, 1: hour[:2]})
    with open_warehouse(read_target(None, None, built.project.environment()), 30, print) as warehouse:
        return Read(
            from_columns(warehouse),
            list(warehouse.lines()),
            list(warehouse.unordered_lines()),
            list(warehouse.newest_lines(warehouse.hours(), 10_000)),
        )


def parsed(lines: Sequence[Line]) -> list[Expected]:
    """The lines, parsed from their JSON."""
    return [Expected(line.hour, line.cost, list(json.loads(line.data).items())) for line in lines]


def assert_one_encoding(found: Read) -> None:
    """Assert that each method returns the same bytes, with the values of the columns."""
    assert sorted(found.unordered) == sorted(found.ordered)
    newest_first = [line for line in found.ordered if line.hour != START]
    assert found.newest == newest_first + [line for line in found.ordered if line.hour == START]
    assert parsed(found.ordered) == found.columns
    assert [list(line.values.items()) for line in found.ordered] == [each.members for each in found.columns]


def test_awkward_text_is_encoded_once_for_dry_run_and_push(warehouse: BuiltWarehouse) -> None:
    found = read(warehouse, AWKWARD)
    assert_one_encoding(found)
    assert [line.hour for line in found.ordered] == [START] * len(AWKWARD) + [START + HOUR] * 2
    aliases = {line.values.get("resource/tag:team_alias", "") for line in found.ordered}
    assert len(aliases) == len(AWKWARD)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), min_size=20, max_size=60))
def test_any_text_is_encoded_once_for_dry_run_and_push(warehouse: BuiltWarehouse, aliases: list[str]) -> None:
    assert_one_encoding(read(warehouse, aliases))


def test_the_newest_lines_are_those_of_the_newest_hours(warehouse: BuiltWarehouse) -> None:
    warehouse.put({hour: [Usage("a", "1"), Usage("b", "2")] for hour in range(4)} | {2: []})
    with open_warehouse(read_target(None, None, warehouse.project.environment()), 30, print) as opened:
        lines, hours = list(opened.lines()), opened.hours()
        for limit, expected in (
            (0, []),
            (1, lines[4:5]),
            (3, lines[4:6] + lines[2:3]),
            (9, lines[4:] + lines[2:4] + lines[:2]),
        ):
            assert list(opened.newest_lines(hours, limit)) == expected
        assert list(opened.newest_lines([], 9)) == []
        assert list(opened.newest_lines(hours[:1], 9)) == lines[:2]
