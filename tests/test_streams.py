"""Var streams: lines go to several AnyCost streams, each to one, and each stream is pushed, watched and verified."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from loader.errors import ConfigurationError, UsageError
from loader.sandbox_server import SandboxServer, serve_sandbox
from loader.settings import Stream, read_streams
from loader.streams import chosen
from tests.anycost import CONNECTION, KEY, Held, credentials
from tests.project import BIN, ROOT
from tests.warehouse import BuiltWarehouse, Template, Usage

BY_TEAM = {"by": "team", "names": {"research": ["a"], "product": ["b", "it's \\ odd"]}}
IDS = {"CLOUDZERO_CONNECTION_ID_RESEARCH": "conn-r", "CLOUDZERO_CONNECTION_ID_PRODUCT": "conn-p"}
TEAMS = ("a", "b", "it's \\ odd", "c")


def split(warehouse: BuiltWarehouse, streams: Any) -> None:
    """Run dbt with the var."""
    warehouse.project.dbt(
        "run", "--select", "cbf_lines", "cbf_hours", variables={"streams": streams} if streams else None
    )


def by_stream(warehouse: BuiltWarehouse) -> dict[str, tuple[int, Decimal]]:
    """Stream → lines, USD, as cbf_hours has them, which must be what cbf_lines has."""
    hours = warehouse.project.rows(
        "select stream, sum(line_count), sum(cost_usd) from cbf.cbf_hours where line_count > 0 group by 1"
    )
    lines = warehouse.project.rows('select stream, count(*), sum("cost/cost") from cbf.cbf_lines group by 1')
    assert sorted(hours) == sorted(lines)
    return {name: (int(count), cost) for name, count, cost in hours}


def held(server: SandboxServer) -> dict[str, int]:
    """Connection → rows that the sandbox holds."""
    return {
        connection: sum(month["rows"] for month in months.values())
        for connection, months in server.sandbox.state()["streams"].items()
    }


def rows_of(server: SandboxServer, connection: str) -> list[dict[str, str]]:
    """What the sandbox holds of the month for one connection."""
    path = f"/v2/connections/billing/anycost/{connection}/billing_drops/2026-10"
    return list(json.loads(server.sandbox.handle("GET", path, {"Authorization": KEY}, None).body)["billing_drop"])


def costs(server: SandboxServer) -> dict[str, Decimal]:
    """Connection → USD that the sandbox holds of the month."""
    return {
        connection: sum((Decimal(row["cost/cost"]) for row in rows_of(server, connection)), Decimal(0))
        for connection in (CONNECTION, "conn-r", "conn-p")
    }


@pytest.fixture
def teams(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """Two hours with a line for each of four teams; c belongs to no name."""
    warehouse.project.settings = credentials(anycost) | IDS
    warehouse.put({n: [Usage(team.replace("'", "''"), f"{n + 1}.5") for team in TEAMS] for n in range(2)})
    split(warehouse, BY_TEAM)
    return warehouse


def test_a_line_goes_to_the_stream_of_its_team_and_is_sent_there_alone(
    teams: BuiltWarehouse, anycost: SandboxServer
) -> None:
    assert by_stream(teams) == {
        "": (2, Decimal("4")), "product": (4, Decimal("8")), "research": (2, Decimal("4")),
    }  # fmt: skip
    sent = teams.project.loader("push", "--window", "pending")
    assert sent.code == 0, sent.err
    assert [line.split(" in ")[0] for line in sent.out.splitlines()][1:] == [
        next(line.split(" in ")[0] for line in sent.out.splitlines() if line.startswith(name))
        for name in ("product", "research")
    ]
    assert held(anycost) == {CONNECTION: 2, "conn-p": 4, "conn-r": 2}
    for connection, team in ((CONNECTION, "c"), ("conn-r", "a")):
        rows = rows_of(anycost, connection)
        assert {row["resource/tag:team_id"] for row in rows} == {team}
        assert not any("stream" in row for row in rows)
    again = teams.project.loader("push", "--window", "pending", "--format", "json")
    assert again.code == 0
    assert {name: each["message"] for name, each in json.loads(again.out)["streams"].items()} == dict.fromkeys(
        ("default", "product", "research"), "Nothing to send"
    )
    status = json.loads(teams.project.loader("status", "--format", "json").out)
    assert [each["connection_id"] for each in status["streams"]] == [CONNECTION, "conn-p", "conn-r"]
    assert not any(month["hours_pending"] for each in status["streams"] for month in each["months"])
    verified = teams.project.loader("verify", "--month", "2026-10")
    assert verified.code == 0, verified.err
    assert "research 2026-10: 2 lines" in verified.err
    # The whole view is what a dry run shows, unless one is named.
    assert "8 lines in 2 hours" in teams.project.loader("dry-run").err
    assert "4 lines in 2 hours" in teams.project.loader("dry-run", "--stream", "product").err


def test_one_stream_is_pushed_alone(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    unknown = teams.project.loader("push", "--window", "pending", "--stream", "sales")
    assert (unknown.code, "is none of: default, product, research" in unknown.err) == (2, True)
    several = teams.project.loader("dry-run", "--window", "pending")
    assert (several.code, "name one with --stream" in several.err) == (2, True)
    assert held(anycost) == {}
    assert teams.project.loader("push", "--window", "pending", "--stream", "research").code == 0
    assert held(anycost) == {"conn-r": 2}
    assert teams.project.loader("push", "--window", "pending", "--stream", "default").code == 0
    assert held(anycost) == {"conn-r": 2, CONNECTION: 2}


def test_a_dry_run_of_an_unknown_stream_is_refused_and_one_without_lines_shows_none(teams: BuiltWarehouse) -> None:
    unknown = teams.project.loader("dry-run", "--stream", "prodct")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (2, "", 1)
    assert "--stream 'prodct' is none of: default, product, research." in unknown.err
    for name in (*IDS, "CLOUDZERO_CONNECTION_ID"):
        del teams.project.settings[name]
    unknown = teams.project.loader("dry-run", "--stream", "prodct")
    assert (unknown.code, "is none of: default, product, research." in unknown.err) == (2, True)
    assert "4 lines in 2 hours" in teams.project.loader("dry-run", "--stream", "product").err
    # Without the var the default stream has all lines, and another that the environment names has none.
    split(teams, None)
    assert "8 lines in 2 hours" in teams.project.loader("dry-run", "--stream", "default").err
    named = teams.project.loader("dry-run", "--stream", "later", CLOUDZERO_CONNECTION_ID_LATER="conn-l")
    assert (named.code, "0 lines in 0 hours" in named.err) == (0, True), named.err
    assert "gpt-4o" not in named.out


def test_check_and_validate_ask_for_every_stream(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    checked = json.loads(teams.project.loader("check", "--format", "json").out)["checks"]
    assert [(each["check"], each["ok"]) for each in checked] == [
        ("profile", True), ("credentials", True), ("views", True),
        ("cloudzero (default)", True), ("cloudzero (product)", True), ("cloudzero (research)", True),
    ]  # fmt: skip
    validated = teams.project.loader("validate", "--window", "pending", "--format", "json")
    assert validated.code == 0, validated.err
    bodies = json.loads(validated.out)["bodies"]
    assert [(each["stream"], each["rows"], each["errors"]) for each in bodies] == [
        ("default", 2, []), ("product", 4, []), ("research", 2, []),
    ]  # fmt: skip
    one = teams.project.loader("validate", "--window", "pending", "--stream", "research", "--format", "json")
    assert [each["stream"] for each in json.loads(one.out)["bodies"]] == ["research"]
    del teams.project.settings["CLOUDZERO_CONNECTION_ID_PRODUCT"]
    found = teams.project.loader("check")
    assert (found.code, "CLOUDZERO_CONNECTION_ID_PRODUCT is not set" in found.err) == (3, True)
    assert held(anycost) == {}


def test_a_stream_without_an_id_stops_everything_before_it_begins(
    teams: BuiltWarehouse, anycost: SandboxServer
) -> None:
    del teams.project.settings["CLOUDZERO_CONNECTION_ID_PRODUCT"]
    for command in (("push", "--window", "pending"), ("push", "--window", "pending", "--stream", "research")):
        found = teams.project.loader(*command)
        assert (found.code, found.out, found.err.count("\n")) == (3, "", 1)
        assert "The stream product has lines, but CLOUDZERO_CONNECTION_ID_PRODUCT is not set" in found.err
    teams.project.settings |= IDS
    del teams.project.settings["CLOUDZERO_CONNECTION_ID"]
    found = teams.project.loader("push", "--window", "pending")
    assert (found.code, "The stream default has lines, but CLOUDZERO_CONNECTION_ID is not set" in found.err) == (
        3,
        True,
    )
    assert held(anycost) == {}


def test_one_stream_that_is_refused_does_not_keep_the_others(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    teams.project.settings["CLOUDZERO_CONNECTION_ID_PRODUCT"] = "sandbox-refuses"
    teams.project.write(
        "update cbf.int_usage__hourly set cost_usd = cost_usd + 1 where team_id = 'b'"
    )  # product's lines are no longer those that cbf_hours speaks of
    found = teams.project.loader("push", "--window", "pending")
    assert found.code == 6
    assert "1 of 3 streams failed: product" in found.err.splitlines()[-1]
    assert "Stream product: cbf_lines and cbf_hours disagree" in found.err
    assert held(anycost) == {CONNECTION: 2, "conn-r": 2}


@pytest.mark.parametrize("command", [("push", "--window", "pending"), ("verify", "--month", "2026-10", "--repair")])
def test_a_signal_in_the_last_body_of_a_stream_leaves_the_others(
    command: tuple[str, ...], teams: BuiltWarehouse
) -> None:
    sandbox = Held()
    with serve_sandbox(sandbox) as server:
        teams.project.settings |= credentials(server)
        process = subprocess.Popen(
            [BIN / "loader", *command], cwd=ROOT, env=teams.project.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert sandbox.entered.wait(60)
        process.send_signal(signal.SIGTERM)
        sandbox.go.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143, err
        assert "Stopped by SIGTERM. Not begun: product, research." in err.splitlines()[-1]
        assert held(server) == {CONNECTION: 2}


def test_a_team_that_moves_leaves_its_old_stream(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    assert teams.project.loader("push", "--window", "pending").code == 0
    split(teams, {"by": "team", "names": {"research": ["a", "c"], "product": ["b", "it's \\ odd"]}})
    assert set(by_stream(teams)) == {"product", "research"}
    # The default stream has lost its hours, but the two together have lost nothing.
    assert teams.project.loader("push", "--window", "pending").code == 0
    assert costs(anycost) == {CONNECTION: 0, "conn-r": Decimal(8), "conn-p": Decimal(8)}
    # Back to one stream, and a push that ends between the two: the default has all, the others theirs as well.
    split(teams, None)
    assert teams.project.loader("push", "--window", "pending", "--stream", "default").code == 0
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": Decimal(8), "conn-p": Decimal(8)}
    status = json.loads(teams.project.loader("status", "--format", "json").out)
    assert [sum(month["hours_pending"] for month in each["months"]) for each in status["streams"]] == [0, 2, 2]
    assert teams.project.loader("push", "--window", "pending").code == 0
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": 0, "conn-p": 0}


def test_money_that_is_in_no_stream_any_more_is_not_taken_for_moved(
    teams: BuiltWarehouse, anycost: SandboxServer
) -> None:
    assert teams.project.loader("push", "--window", "pending").code == 0
    teams.project.write("delete from cbf.int_usage__hourly where team_id = 'c' and cost_usd = 1.5")
    teams.project.dbt("run", "--full-refresh", "--select", "cbf_lines", "cbf_hours", variables={
        "streams": {"by": "team", "names": {"research": ["a", "c"], "product": ["b", "it's \\ odd"]}}
    })  # fmt: skip
    kept = teams.project.loader("push", "--window", "pending")
    # Of the first hour c's line is gone, of the second it has moved.
    assert (kept.code, "Held back 1 hour(s) that cost less" in kept.err) == (6, True)
    assert costs(anycost) == {CONNECTION: Decimal("1.5"), "conn-r": Decimal("6.5"), "conn-p": Decimal(8)}
    assert teams.project.loader("push", "--window", "pending", "--allow-shrink").code == 0
    assert costs(anycost) == {CONNECTION: 0, "conn-r": Decimal("6.5"), "conn-p": Decimal(8)}


def test_hours_that_a_connection_without_a_name_holds_as_well_are_told(
    teams: BuiltWarehouse, anycost: SandboxServer
) -> None:
    assert teams.project.loader("push", "--window", "pending").code == 0
    split(teams, None)
    for name in IDS:
        del teams.project.settings[name]
    told = teams.project.loader("push", "--window", "pending")
    assert (told.code, told.err.count("Warning:")) == (0, 2)
    assert "Warning: the connection conn-r holds 2 of these hours as well, $4.0" in told.err
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": Decimal(4), "conn-p": Decimal(8)}
    teams.project.settings |= {"CLOUDZERO_CONNECTION_ID_OLD": "conn-r", "CLOUDZERO_CONNECTION_ID_OLD_2": "conn-p"}
    emptied = teams.project.loader("push", "--window", "pending")
    assert (emptied.code, "Warning" in emptied.err) == (0, False)
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": 0, "conn-p": 0}


def test_by_provider_and_by_hash(tmp_path: Path, template_of: Callable[[str], Template]) -> None:
    found = {}
    for engine in ("duckdb", "postgres"):
        warehouse = template_of(engine).copy(tmp_path / engine)
        warehouse.put({0: [Usage(f"t{n}", "0.5") for n in range(60)]})
        split(warehouse, {"by": "provider", "names": {"oa": ["OpenAI"], "other": ["aws"]}})
        assert by_stream(warehouse) == {"oa": (60, Decimal("30.0"))}
        split(warehouse, {"by": "hash", "names": ["one", "two", "three"]})
        counts = by_stream(warehouse)
        assert set(counts) == {"one", "two", "three"}
        assert all(10 <= count <= 30 for count, _ in counts.values())
        found[engine] = sorted(warehouse.project.rows('select "resource/id", stream from cbf.cbf_lines'))
        split(warehouse, {"by": "hash", "names": ["all"]})
        assert by_stream(warehouse) == {"all": (60, Decimal("30.0"))}
    assert found["duckdb"] == found["postgres"]


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        ([1], "It must have `by` and `names`"),
        ({"by": "month", "names": ["a"]}, "It must have `by` and `names`"),
        ({"by": "hash", "names": {"a": ["b"]}}, "By hash, it must be a list, such as"),
        ({"by": "team", "names": ["a"]}, "By team, it must be a mapping of lists, such as"),
        ({"by": "team", "names": {"A 1": ["b"]}}, "is not a valid name"),
        ({"by": "team", "names": {"default": ["b"]}}, "is not a valid name"),
        ({"by": "team", "names": {"a": "b"}}, "a must be a list of teams, such as [b]"),
        ({"by": "provider", "names": {"a": ["x"], "c": ["x"]}}, "the provider 'x' is in two streams"),
        ({"by": "hash", "names": ["a", "a"]}, "must be unique"),
    ],
)
def test_a_var_that_makes_no_sense_is_told(
    streams: Any, words: str, tmp_path: Path, template_of: Callable[[str], Template]
) -> None:
    warehouse = template_of("duckdb").copy(tmp_path)
    found = warehouse.project.dbt("compile", "--select", "cbf_lines", variables={"streams": streams}, ok=False)
    assert found.code != 0
    assert words in " ".join(found.out.split())


def test_the_environment_names_streams() -> None:
    url = "https://api.cloudzero.com"
    assert read_streams({}) == []
    found = read_streams({"CLOUDZERO_CONNECTION_ID_B_2": "y", "CLOUDZERO_CONNECTION_ID": "x", "CLOUDZERO_API_KEY": "k"})
    assert [(each, each.name) for each in found] == [(Stream("x", url), ""), (Stream("y", url), "b_2")]
    with pytest.raises(ConfigurationError, match="connection id of another stream as well"):
        read_streams({"CLOUDZERO_CONNECTION_ID_A": "x", "CLOUDZERO_CONNECTION_ID": "x"})
    with pytest.raises(ConfigurationError, match="CLOUDZERO_CONNECTION_ID_A holds characters"):
        read_streams({"CLOUDZERO_CONNECTION_ID_A": "x/y"})
    with pytest.raises(UsageError, match="is none of: default, b_2"):
        chosen(found, "c")
