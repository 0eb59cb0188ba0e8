"""Bodies for AnyCost: within the size limit, of whole hours, with exact costs."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib import resources

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.cloudzero.bodies import MAX_BODY_BYTES, body_groups
from loader.errors import GuardError
from loader.lines import COST_COLUMN
from tests.support.builders import line

SCHEMA = jsonschema_rs.validator_for(
    orjson.loads(resources.files("loader").joinpath("billing_drop.schema.json").read_bytes())
)


def test_a_line_larger_than_a_body_is_an_error() -> None:
    with pytest.raises(GuardError, match="2024-01-31T22:00:00Z"):
        list(body_groups([line(resource="x" * 500)], "replace_hourly", max_bytes=400))


def test_no_lines_give_no_body() -> None:
    assert list(body_groups([], "replace_hourly")) == []


@pytest.mark.parametrize(("spare", "bodies"), [(0, 1), (-1, 2)])
def test_a_body_ends_before_the_hour_that_would_exceed_the_limit(spare: int, bodies: int) -> None:
    lines = [line(0), line(1)]
    (whole,) = body_groups(lines, "replace_hourly")
    limit = whole.byte_count + 1 + spare  # each row is counted with a comma, including the last one
    found = list(body_groups(lines, "replace_hourly", max_bytes=limit))
    assert len(found) == bodies
    assert all(group.byte_count <= limit for group in found)


def test_a_split_hour_shares_no_body_with_other_hours() -> None:
    lines = [line(0), *(line(1, resource=f"czrn:{n:03}") for n in range(10)), line(2)]
    before, split, after = body_groups(lines, "replace_hourly", max_bytes=600)
    assert {body.hours for body in split.bodies} == {(line(1).hour,)}
    assert [body.operation for body in split.bodies] == ["replace_hourly", *["sum"] * (len(split.bodies) - 1)]
    assert len(split.bodies) > 1
    assert (before.hours, after.hours) == ((line(0).hour,), (line(2).hour,))


def test_replace_drop_with_a_split_first_hour_replaces_the_month_once() -> None:
    lines = [*(line(0, resource=f"czrn:{n:03}") for n in range(10)), line(1)]
    found = list(body_groups(lines, "replace_drop", max_bytes=600))
    operations = [body.operation for group in found for body in group.bodies]
    assert operations == ["replace_drop", *["sum"] * (len(operations) - 2), "replace_hourly"]


def test_a_body_has_operation_and_month() -> None:
    (group,) = body_groups([line(), line(1)], "replace_hourly")
    (body,) = group.bodies
    assert json.loads(body.content) == {
        "month": "2024-01-01T00:00:00Z",
        "operation": "replace_hourly",
        "data": [line().values, line(1).values],
    }
    assert (body.row_count, body.cost, len(body.hours)) == (2, Decimal("1.0"), 2)


def test_a_body_has_one_month_only() -> None:
    found = list(body_groups([line(0), line(1), line(2)], "replace_hourly"))
    assert [(group.bodies[0].month.month, group.row_count) for group in found] == [(1, 2), (2, 1)]


def test_the_following_bodies_of_a_split_hour_are_sums() -> None:
    lines = [line(0), *(line(1, resource=f"czrn:{n:03}") for n in range(10)), line(2)]
    found = list(body_groups(lines, "replace_hourly", max_bytes=600))
    assert [[body.operation for body in group.bodies] for group in found][1][:2] == ["replace_hourly", "sum"]
    assert [len(group.hours) for group in found] == [1, 1, 1]
    assert found[1].row_count == 10


def test_each_body_of_a_split_sum_is_its_own_group() -> None:
    lines = [line(0, resource=f"czrn:{n:03}") for n in range(10)]
    found = list(body_groups(lines, "sum", max_bytes=600))
    assert len(found) > 2
    assert [[body.operation for body in group.bodies] for group in found] == [["sum"]] * len(found)
    assert sum(group.row_count for group in found) == 10


def test_replace_drop_is_sent_once() -> None:
    lines = [line(-n, resource=f"czrn:{n:03}") for n in range(9, -1, -1)]
    found = list(body_groups(lines, "replace_drop", max_bytes=600))
    operations = [body.operation for group in found for body in group.bodies]
    assert len(operations) > 2
    assert operations == ["replace_drop"] + ["replace_hourly"] * (len(operations) - 1)


@pytest.mark.parametrize("cost", ["0.000000000001", "12345.678901234567", "0", "100", "-2.5"])
def test_costs_are_sent_unchanged(cost: str) -> None:
    (group,) = body_groups([line(cost=cost)], "replace_hourly")
    assert json.loads(group.bodies[0].content)["data"][0][COST_COLUMN] == cost
    assert group.cost == Decimal(cost)


def test_the_limit_is_below_five_megabytes() -> None:
    assert MAX_BODY_BYTES < 5_000_000


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(1, 120), st.decimals(0, 1000, places=18)), min_size=1, max_size=60
    ),
    st.sampled_from(["replace_hourly", "replace_drop", "sum"]),
)
def test_every_line_is_sent_once_in_valid_bodies_of_whole_hours(
    rows: list[tuple[int, int, Decimal]], operation: str
) -> None:
    if operation == "replace_drop":
        rows = [(hour % 2, size, cost) for hour, size, cost in rows]  # one month
    lines = [
        line(h, format(c, "f"), f"czrn:{n}" + "x" * s) for n, (h, s, c) in enumerate(sorted(rows, key=lambda r: r[0]))
    ]
    found = list(body_groups(iter(lines), operation, max_bytes=700))
    bodies = [json.loads(body.content) for group in found for body in group.bodies]
    assert [row for body in bodies for row in body["data"]] == [each.values for each in lines]
    assert sum((group.cost for group in found), Decimal(0)) == sum((c for _, _, c in rows), Decimal(0))
    assert all(
        len(body.content) <= 700 and not list(SCHEMA.iter_errors(json.loads(body.content)))
        for group in found
        for body in group.bodies
    )
    replacing = [hour for group in found for body in group.bodies if body.operation != "sum" for hour in body.hours]
    assert len(replacing) == len(set(replacing))
    for body in bodies:
        assert {row["time/usage_start"][:7] for row in body["data"]} == {body["month"][:7]}
