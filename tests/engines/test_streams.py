"""The var `streams`: each line goes to one of several AnyCost streams, which are pushed and verified separately."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from loader.config.settings import Stream, read_streams
from loader.delivery.streams import select_streams
from loader.errors import ConfigurationError, UsageError
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.anycost import CONNECTION, KEY, BlockingSandbox, credentials
from tests.support.project import BIN, ROOT
from tests.support.warehouse import BuiltWarehouse, Template, Usage

BY_TEAM = {"by": "team", "names": {"research": ["a"], "product": ["b", "it's \\ odd"]}}
IDS = {"CLOUDZERO_CONNECTION_ID_RESEARCH": "conn-r", "CLOUDZERO_CONNECTION_ID_PRODUCT": "conn-p"}
TEAMS = ("a", "b", "it's \\ odd", "c")


def build_with_streams(warehouse: BuiltWarehouse, streams: Any) -> None:
    """Run dbt with this value of the var."""
    warehouse.project.dbt(
        "run", "--select", "cbf_lines", "cbf_hours", variables={"streams": streams} if streams else None
    )


def by_stream(warehouse: BuiltWarehouse) -> dict[str, tuple[int, Decimal]]:
    """Lines and USD by stream, from cbf_hours; cbf_lines must agree."""
    hours = warehouse.project.rows(
        "select stream, sum(line_count), sum(cost_usd) from cbf.cbf_hours where line_count > 0 group by 1"
    )
    lines = warehouse.project.rows('select stream, count(*), sum("cost/cost") from cbf.cbf_lines group by 1')
    assert sorted(hours) == sorted(lines)
    return {name: (int(count), cost) for name, count, cost in hours}


def stored_rows(server: SandboxServer) -> dict[str, int]:
    """Number of rows in the sandbox by connection."""
    return {
        connection: sum(month["rows"] for month in months.values())
        for connection, months in server.sandbox.state()["streams"].items()
    }


def rows_of(server: SandboxServer, connection: str) -> list[dict[str, str]]:
    """The rows of a connection in the sandbox for the month."""
    path = f"/v2/connections/billing/anycost/{connection}/billing_drops/2026-10"
    return list(json.loads(server.sandbox.handle("GET", path, {"Authorization": KEY}, None).body)["billing_drop"])


def costs(server: SandboxServer) -> dict[str, Decimal]:
    """USD in the sandbox for the month by connection."""
    return {
        connection: sum((Decimal(row["cost/cost"]) for row in rows_of(server, connection)), Decimal(0))
        for connection in (CONNECTION, "conn-r", "conn-p")
    }


@pytest.fixture
def teams(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """Two hours with a line for each of four teams; team c is in no named stream."""
    warehouse.project.settings = credentials(anycost) | IDS
    warehouse.put({n: [Usage(team.replace("'", "''"), f"{n + 1}.5") for team in TEAMS] for n in range(2)})
    build_with_streams(warehouse, BY_TEAM)
    return warehouse


def test_lines_are_sent_only_to_the_stream_of_their_team(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    assert by_stream(teams) == {
        "": (2, Decimal("4")),
        "product": (4, Decimal("8")),
        "research": (2, Decimal("4")),
    }
    sent = teams.project.loader("push", "--window", "pending")
    assert sent.code == 0, sent.err
    assert [line.split(" in ")[0] for line in sent.out.splitlines()][1:] == [
        next(line.split(" in ")[0] for line in sent.out.splitlines() if line.startswith(name))
        for name in ("product", "research")
    ]
    assert stored_rows(anycost) == {CONNECTION: 2, "conn-p": 4, "conn-r": 2}
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
    # A dry run shows the whole view unless a stream is named.
    assert "8 lines in 2 hours" in teams.project.loader("dry-run").err
    assert "4 lines in 2 hours" in teams.project.loader("dry-run", "--stream", "product").err


def test_option_stream_pushes_one_stream(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    unknown = teams.project.loader("push", "--window", "pending", "--stream", "sales")
    assert (unknown.code, "must be one of: default, product, research" in unknown.err) == (2, True)
    several = teams.project.loader("dry-run", "--window", "pending")
    assert (several.code, "select one with --stream" in several.err) == (2, True)
    assert stored_rows(anycost) == {}
    assert teams.project.loader("push", "--window", "pending", "--stream", "research").code == 0
    assert stored_rows(anycost) == {"conn-r": 2}
    assert teams.project.loader("push", "--window", "pending", "--stream", "default").code == 0
    assert stored_rows(anycost) == {"conn-r": 2, CONNECTION: 2}


def test_dry_run_of_unknown_and_empty_streams(teams: BuiltWarehouse) -> None:
    unknown = teams.project.loader("dry-run", "--stream", "prodct")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (2, "", 1)
    assert "--stream 'prodct' must be one of: default, product, research." in unknown.err
    for name in (*IDS, "CLOUDZERO_CONNECTION_ID"):
        del teams.project.settings[name]
    unknown = teams.project.loader("dry-run", "--stream", "prodct")
    assert (unknown.code, "must be one of: default, product, research." in unknown.err) == (2, True)
    assert "4 lines in 2 hours" in teams.project.loader("dry-run", "--stream", "product").err
    # Without the var the default stream has all lines; other streams of the environment have none.
    build_with_streams(teams, None)
    assert "8 lines in 2 hours" in teams.project.loader("dry-run", "--stream", "default").err
    named = teams.project.loader("dry-run", "--stream", "later", CLOUDZERO_CONNECTION_ID_LATER="conn-l")
    assert (named.code, "0 lines in 0 hours" in named.err) == (0, True), named.err
    assert "gpt-4o" not in named.out


def test_check_and_validate_cover_every_stream(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    checked = json.loads(teams.project.loader("check", "--format", "json").out)["checks"]
    assert [(each["check"], each["ok"]) for each in checked] == [
        ("profile", True),
        ("credentials", True),
        ("views", True),
        ("source", True),
        ("cloudzero (default)", True),
        ("cloudzero (product)", True),
        ("cloudzero (research)", True),
    ]
    validated = teams.project.loader("validate", "--window", "pending", "--format", "json")
    assert validated.code == 0, validated.err
    bodies = json.loads(validated.out)["bodies"]
    assert [(each["stream"], each["rows"], each["errors"]) for each in bodies] == [
        ("default", 2, []),
        ("product", 4, []),
        ("research", 2, []),
    ]
    one = teams.project.loader("validate", "--window", "pending", "--stream", "research", "--format", "json")
    assert [each["stream"] for each in json.loads(one.out)["bodies"]] == ["research"]
    del teams.project.settings["CLOUDZERO_CONNECTION_ID_PRODUCT"]
    found = teams.project.loader("check")
    assert (found.code, "CLOUDZERO_CONNECTION_ID_PRODUCT is not set" in found.err) == (3, True)
    assert stored_rows(anycost) == {}


def test_missing_connection_id_stops_before_anything_is_sent(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
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
    assert stored_rows(anycost) == {}


def test_failure_of_one_stream_does_not_stop_the_others(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    teams.project.settings["CLOUDZERO_CONNECTION_ID_PRODUCT"] = "sandbox-refuses"
    teams.project.write(
        "update cbf.int_usage__hourly set cost_usd = cost_usd + 1 where team_id = 'b'"
    )  # the lines of product no longer match cbf_hours
    found = teams.project.loader("push", "--window", "pending")
    assert found.code == 6
    assert "1 of 3 streams failed: product" in found.err.splitlines()[-1]
    assert "Stream product: Not sent: the hours " in found.err
    assert "cbf_lines and cbf_hours disagree" in found.err
    assert stored_rows(anycost) == {CONNECTION: 2, "conn-r": 2}


@pytest.mark.parametrize("command", [("push", "--window", "pending"), ("verify", "--month", "2026-10", "--repair")])
def test_signal_during_one_stream_leaves_the_others_unsent(command: tuple[str, ...], teams: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        teams.project.settings |= credentials(server)
        process = subprocess.Popen(
            [BIN / "loader", *command],
            cwd=ROOT,
            env=teams.project.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert sandbox.entered.wait(60)
        process.send_signal(signal.SIGTERM)
        sandbox.release.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143, err
        assert "Stopped by SIGTERM. Not started: product, research." in err.splitlines()[-1]
        assert stored_rows(server) == {CONNECTION: 2}


def test_moved_team_is_removed_from_its_old_stream(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    assert teams.project.loader("push", "--window", "pending").code == 0
    build_with_streams(teams, {"by": "team", "names": {"research": ["a", "c"], "product": ["b", "it's \\ odd"]}})
    assert set(by_stream(teams)) == {"product", "research"}
    # The default stream has lost its hours, but the streams together have lost nothing.
    assert teams.project.loader("push", "--window", "pending").code == 0
    assert costs(anycost) == {CONNECTION: 0, "conn-r": Decimal(8), "conn-p": Decimal(8)}
    # Back to one stream: after the push of the default stream, lines are in two streams until the others are pushed.
    build_with_streams(teams, None)
    assert teams.project.loader("push", "--window", "pending", "--stream", "default").code == 0
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": Decimal(8), "conn-p": Decimal(8)}
    status = json.loads(teams.project.loader("status", "--format", "json").out)
    assert [sum(month["hours_pending"] for month in each["months"]) for each in status["streams"]] == [0, 2, 2]
    assert teams.project.loader("push", "--window", "pending").code == 0
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": 0, "conn-p": 0}


def test_lost_lines_are_not_mistaken_for_moved_ones(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    assert teams.project.loader("push", "--window", "pending").code == 0
    teams.project.write("delete from cbf.int_usage__hourly where team_id = 'c' and cost_usd = 1.5")
    teams.project.dbt(
        "run",
        "--full-refresh",
        "--select",
        "cbf_lines",
        "cbf_hours",
        variables={"streams": {"by": "team", "names": {"research": ["a", "c"], "product": ["b", "it's \\ odd"]}}},
    )
    pushed = teams.project.loader("push", "--window", "pending")
    # The line of team c is gone from the first hour, and has moved in the second.
    assert (pushed.code, "Held back 1 hour(s) that cost less" in pushed.err) == (6, True)
    assert costs(anycost) == {CONNECTION: Decimal("1.5"), "conn-r": Decimal("6.5"), "conn-p": Decimal(8)}
    assert teams.project.loader("push", "--window", "pending", "--allow-shrink").code == 0
    assert costs(anycost) == {CONNECTION: 0, "conn-r": Decimal("6.5"), "conn-p": Decimal(8)}


def test_warns_of_hours_that_an_unconfigured_connection_also_has(teams: BuiltWarehouse, anycost: SandboxServer) -> None:
    assert teams.project.loader("push", "--window", "pending").code == 0
    build_with_streams(teams, None)
    for name in IDS:
        del teams.project.settings[name]
    pushed = teams.project.loader("push", "--window", "pending")
    assert (pushed.code, pushed.err.count("Warning: the connection")) == (0, 2)
    assert "Warning: the connection conn-r also holds 2 of these hours ($4)" in pushed.err
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": Decimal(4), "conn-p": Decimal(8)}
    teams.project.settings |= {"CLOUDZERO_CONNECTION_ID_OLD": "conn-r", "CLOUDZERO_CONNECTION_ID_OLD_2": "conn-p"}
    emptied = teams.project.loader("push", "--window", "pending")
    assert (emptied.code, "Warning: the connection" in emptied.err) == (0, False)
    assert costs(anycost) == {CONNECTION: Decimal(16), "conn-r": 0, "conn-p": 0}


def test_streams_by_provider_and_by_hash(tmp_path: Path, template_of: Callable[[str], Template]) -> None:
    found = {}
    for engine in ("duckdb", "postgres"):
        warehouse = template_of(engine).copy(tmp_path / engine)
        warehouse.put({0: [Usage(f"t{n}", "0.5") for n in range(60)]})
        build_with_streams(warehouse, {"by": "provider", "names": {"oa": ["OpenAI"], "other": ["aws"]}})
        assert by_stream(warehouse) == {"oa": (60, Decimal("30.0"))}
        build_with_streams(warehouse, {"by": "hash", "names": ["one", "two", "three"]})
        counts = by_stream(warehouse)
        assert set(counts) == {"one", "two", "three"}
        assert all(10 <= count <= 30 for count, _ in counts.values())
        found[engine] = sorted(warehouse.project.rows('select "resource/id", stream from cbf.cbf_lines'))
        build_with_streams(warehouse, {"by": "hash", "names": ["all"]})
        assert by_stream(warehouse) == {"all": (60, Decimal("30.0"))}
    assert found["duckdb"] == found["postgres"]


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([1], "It must be null or a mapping with `by` and `names`"),
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
def test_invalid_var_is_reported(
    streams: Any, message: str, tmp_path: Path, template_of: Callable[[str], Template]
) -> None:
    warehouse = template_of("duckdb").copy(tmp_path)
    found = warehouse.project.dbt("compile", "--select", "cbf_lines", variables={"streams": streams}, ok=False)
    assert found.code != 0
    assert message in " ".join(found.out.split())


def test_streams_from_the_environment() -> None:
    url = "https://api.cloudzero.com"
    assert read_streams({}) == []
    found = read_streams({"CLOUDZERO_CONNECTION_ID_B_2": "y", "CLOUDZERO_CONNECTION_ID": "x", "CLOUDZERO_API_KEY": "k"})
    assert [(each, each.name) for each in found] == [(Stream("x", url), ""), (Stream("y", url), "b_2")]
    with pytest.raises(ConfigurationError, match="also the connection id of another stream"):
        read_streams({"CLOUDZERO_CONNECTION_ID_A": "x", "CLOUDZERO_CONNECTION_ID": "x"})
    with pytest.raises(ConfigurationError, match="CLOUDZERO_CONNECTION_ID_A is not a valid connection id"):
        read_streams({"CLOUDZERO_CONNECTION_ID_A": "x/y"})
    with pytest.raises(UsageError, match="must be one of: default, b_2"):
        select_streams(found, "c")
