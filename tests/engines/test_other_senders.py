"""Two warehouses that send to one connection: the second one stops before it replaces what the first one has sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.hours import HOUR, iso
from loader.sandbox.server import SandboxServer
from tests.support.anycost import CONNECTION, credentials, stored_months
from tests.support.project import Outcome
from tests.support.warehouse import START, BuiltWarehouse, Template, Usage

US, EU = Usage("us", "1.5"), Usage("eu", "2.5")


@pytest.fixture(params=["duckdb", "postgres"])
def regions(
    request: pytest.FixtureRequest, tmp_path: Path, anycost: SandboxServer
) -> tuple[BuiltWarehouse, BuiltWarehouse]:
    """Two warehouses with the same connection, each with its own usage of the same hour."""
    template: Template = request.getfixturevalue("template_of")(request.param)
    us, eu = template.copy(tmp_path / "us"), template.copy(tmp_path / "eu")
    us.put({0: [US]})
    eu.put({0: [EU]})
    for each in (us, eu):
        each.project.settings = credentials(anycost)
    return us, eu


def push(warehouse: BuiltWarehouse, *arguments: str, code: int = 0) -> Outcome:
    """Push what is pending; the command must end with this exit code."""
    outcome = warehouse.project.loader("push", "--window", "pending", "--settle-for", "0s", *arguments)
    assert outcome.code == code, outcome.err
    return outcome


def cost(server: SandboxServer) -> str:
    """What the sandbox holds of the hour."""
    (month,) = stored_months(server).values()
    return str(month["hours"][iso(START)]["cost"])


def reads(server: SandboxServer) -> int:
    """How often a month was read back."""
    return sum(request["method"] == "GET" for request in server.sandbox.state()["requests"])


def test_a_second_sender_stops_until_it_takes_over(
    regions: tuple[BuiltWarehouse, BuiltWarehouse], anycost: SandboxServer
) -> None:
    us, eu = regions
    push(us)
    stopped = push(eu, code=6).err.strip().splitlines()[-1]
    assert (
        f"Another sender writes to the same connection: the connection {CONNECTION} holds 1 hour(s) ($1.5)" in stopped
    )
    assert f"the first: {iso(START)} with 1 line(s), $1.5" in stopped
    assert "--take-over" in stopped
    assert cost(anycost) == "1.5"
    # The first one goes on, and reads no more than one month a day.
    us.put({1: [US]})
    push(us)
    assert reads(anycost) == 2

    push(eu, "--take-over")
    assert cost(anycost) == "2.5"
    # On the next day, the first one finds that its hour was replaced.
    us.project.write("update cbf.push_log set recorded_at = recorded_at - interval '1 day'")
    us.put({2: [US]})
    assert "$2.5" in push(us, code=6).err
    push(us, "--no-check-connection")
    assert cost(anycost) == "2.5"
    push(us, "--take-over")  # nothing is pending, so nothing is looked at
    us.put({3: [US]})
    push(us, "--take-over")
    assert cost(anycost) == "1.5"
    us.put({4: [US]})
    push(us)


def test_own_lines_are_not_another_sender(regions: tuple[BuiltWarehouse, BuiltWarehouse]) -> None:
    us, _ = regions
    push(us)
    # The log was lost: CloudZero still holds the same lines.
    us.project.write("delete from cbf.push_log")
    assert push(us).out.startswith("Sent 1 hours")
    us.put({0: [US, EU], 1: [US]})
    us.project.write("update cbf.push_log set recorded_at = recorded_at - interval '1 day'")
    assert push(us).out.startswith("Sent 2 hours")
    # Hours before --since belong to another exporter.
    us.project.write("delete from cbf.push_log")
    us.put({0: [US], 2: [US]})
    assert push(us, code=6).out == ""
    assert push(us, "--since", iso(START + HOUR)).out.startswith("Sent 2 hours")


@pytest.mark.parametrize("outcome", ["begun", "unknown"])
def test_a_part_of_an_hour_whose_push_was_cut_off_is_not_another_sender(
    regions: tuple[BuiltWarehouse, BuiltWarehouse], outcome: str
) -> None:
    us, _ = regions
    us.put({0: [US, EU]})
    push(us)
    # As if only a part of the hour had been stored when the push ended, yesterday, and the hour has grown since.
    us.project.write(
        "delete from cbf.push_log where outcome = 'accepted'; update cbf.push_log set line_count = 3, cost_usd = 9,"
        f" outcome = '{outcome}', recorded_at = recorded_at - interval '1 day'"
    )
    us.put({0: [US, EU, Usage("late", "1")]})
    assert "another sender" not in push(us).err.lower()


def test_a_key_without_the_scope_to_read_is_no_obstacle(
    regions: tuple[BuiltWarehouse, BuiltWarehouse], anycost: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    us, _ = regions
    monkeypatch.setattr(anycost.sandbox, "_read", lambda *_: anycost.sandbox.handle("GET", "/nothing", {}, None))
    outcome = push(us)
    assert outcome.out.startswith("Sent 1 hours")
    assert (
        "Warning: whether another sender writes to this connection is not known (CloudZero answered 403" in outcome.err
    )
