"""`loader push`, `status`, `verify`, `validate` and `dry-run` on each engine, with the sandbox as destination."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from loader.hours import HOUR, iso
from loader.sandbox.anycost import AnyCostSandbox, Limits
from loader.sandbox.rules import ParsedBody, RequestError
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.anycost import CONNECTION, KEY, BlockingSandbox, credentials, read_back, stored_months
from tests.support.project import BIN, ROOT, Outcome
from tests.support.warehouse import START, BuiltWarehouse, Usage

PENDING = ("push", "--window", "pending", "--settle-for", "0s")
A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")


@pytest.fixture
def ready(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """A warehouse with six hours across the end of a month, with the sandbox as destination."""
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [A, B] for number in range(6)})
    return warehouse


def push(warehouse: BuiltWarehouse, *arguments: str, code: int = 0) -> Outcome:
    """Push what is pending; the command must end with this exit code."""
    outcome = warehouse.project.loader(*PENDING, *arguments)
    assert outcome.code == code, outcome.err
    assert KEY not in outcome.out + outcome.err
    assert "Traceback" not in outcome.err
    return outcome


def hours_held(anycost: SandboxServer) -> dict[int, tuple[int, str]]:
    """Rows and cost in the sandbox by hour, counted from START."""
    found = {hour: each for month in stored_months(anycost).values() for hour, each in month["hours"].items()}
    names = {iso(START + number * HOUR): number for number in range(-50, 50)}
    return {names[hour]: (each["rows"], each["cost"]) for hour, each in found.items()}


def sent(outcome: Outcome) -> int:
    """The number of hours that a push reports as sent."""
    return int(outcome.out.split()[1]) if outcome.out else 0


TWO = (2, "0.100000000000000002")


def test_pending_hours_are_those_that_are_new_or_changed(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    assert sent(push(ready)) == 6
    assert hours_held(anycost) == dict.fromkeys(range(6), TWO)
    bodies = len(anycost.sandbox.state()["requests"])
    again = push(ready)
    assert (again.out, "Nothing to send" in again.err) == ("", True)
    assert len(anycost.sandbox.state()["requests"]) == bodies

    # A late row, a renamed team in an hour of the previous month, and a new hour. Hours in between are not sent.
    ready.put({1: [A, B, Usage("c", "7")], 3: [Usage("a", "0.1", "Renamed"), B], 6: [A]})
    assert sent(push(ready)) == 3
    assert hours_held(anycost) == dict.fromkeys(range(6), TWO) | {1: (3, "7.100000000000000002"), 6: (1, "0.1")}
    assert {row.get("resource/tag:team_alias") for row in read_back(anycost)} == {"Team", "Renamed"}
    assert push(ready).out == ""

    # The log has every attempt, and not the key.
    log = ready.log("usage_hour, outcome, operation, line_count, fingerprint, drop_id, connection_id, api_url")
    assert [row[1] for row in log[:12]] == ["begun"] * 4 + ["accepted"] * 4 + ["begun"] * 2 + ["accepted"] * 2
    assert len(log) == 18
    assert {row[2] for row in log} == {"replace_hourly"}
    assert {row[-2:] for row in log} == {(CONNECTION, anycost.url)}
    assert KEY[:8] not in str(ready.project.rows("select * from cbf.push_log"))
    sequences = [row[0] for row in ready.log("sequence")]
    assert sequences == list(range(1, 19))


def test_window_sends_its_hours_which_are_then_not_pending(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    window = ("--start", iso(START + HOUR), "--end", iso(START + 3 * HOUR))
    for _ in range(2):
        assert sent(ready.project.loader("push", *window)) == 2
    assert sent(push(ready)) == 4
    assert hours_held(anycost) == dict.fromkeys(range(6), TWO)


def test_hour_is_pending_after_a_sum(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    push(ready)
    ready.project.loader("push", "--start", iso(START), "--end", iso(START + HOUR), "--operation", "sum")
    assert hours_held(anycost)[0] == (4, "0.200000000000000004")
    assert sent(push(ready)) == 1
    assert hours_held(anycost)[0] == TWO


def test_since_excludes_older_hours(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    ready.project.settings["LOADER_PUSH_SINCE"] = iso(START + 3 * HOUR - HOUR / 2)
    assert sent(push(ready)) == 3
    assert sorted(hours_held(anycost)) == [3, 4, 5]
    status = json.loads(ready.project.loader("status", "--format", "json").out)["streams"][0]
    assert status["oldest_pending"] is None
    assert push(ready).out == ""
    assert ready.project.loader("verify", "--month", "2026-10").code == 0
    wrong = ready.project.loader(*PENDING, "--since", "soon")
    assert (wrong.code, "--since 'soon'" in wrong.err) == (2, True)


def test_since_shortens_a_window_with_a_notice(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    window = ("--start", "2026-10-01", "--end", "2026-11-01")
    notice = "Hours before 2026-10-31T23:00:00Z are left out: --since/LOADER_PUSH_SINCE."
    ready.project.settings["LOADER_PUSH_SINCE"] = "2026-10-31T22:30"
    shown = ready.project.loader("dry-run", *window)
    assert (shown.code, notice in shown.err, "2 lines in 1 hour" in shown.err) == (0, True, True), shown.err
    checked = ready.project.loader("validate", *window, "--format", "json")
    assert [each["first_hour"] for each in json.loads(checked.out)["bodies"]] == ["2026-10-31T23:00:00Z"]
    whole = ready.project.loader("push", *window, "--operation", "replace_drop")
    assert (whole.code, "leaves to another exporter" in whole.err.splitlines()[-1]) == (2, True), whole.err
    before = ready.project.loader("push", "--start", "2026-10-30", "--end", "2026-10-31T23:00")
    assert (before.code, "Nothing is left of 2026-10-30T00:00:00Z to" in before.err) == (2, True), before.err
    assert hours_held(anycost) == {}
    pushed = ready.project.loader("push", *window)
    assert (pushed.code, notice in pushed.err) == (0, True), pushed.err
    assert sorted(hours_held(anycost)) == [3]
    # No notice without older hours, or for reconcile, which covers all hours.
    november = ready.project.loader(
        "push", "--start", "2026-11-01", "--end", "2026-11-02", "--operation", "replace_drop"
    )
    assert "left out" not in november.err
    assert "left out" not in ready.project.loader("reconcile", *window).err
    for command in (("push", *window), ("dry-run",), ("dry-run", *window), ("reconcile", *window)):
        wrong = ready.project.loader(*command, "--since", "soon")
        assert (wrong.code, "--since 'soon'" in wrong.err) == (2, True), command


def test_connection_and_host_identify_a_stream(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    push(ready)
    ready.project.settings["CLOUDZERO_CONNECTION_ID"] = "other"
    assert sent(push(ready)) == 6
    with serve_sandbox(AnyCostSandbox(KEY)) as elsewhere:
        ready.project.settings |= credentials(elsewhere)
        assert sent(push(ready)) == 6
    ready.project.settings |= credentials(anycost)
    assert sent(push(ready)) == 0


def test_cheaper_or_empty_hours_are_held_back_until_allowed(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    push(ready)
    # As after retention or a lost table; the new hour is sent nevertheless.
    ready.put({1: [B], 2: [], 6: [A]})
    stopped = push(ready, code=6)
    assert sent(stopped) == 1
    assert (
        f"Held back 2 hour(s) that cost less than when CloudZero accepted them, the first: {iso(START + HOUR)} cost"
        in stopped.err
    )
    assert hours_held(anycost) == dict.fromkeys(range(6), TWO) | {6: (1, "0.1")}
    assert sent(push(ready, "--allow-shrink")) == 2
    assert hours_held(anycost)[1] == (1, "0.000000000000000002")
    assert hours_held(anycost)[2] == (1, "0")
    (left,) = [row for row in read_back(anycost) if row["time/usage_start"] == iso(START + 2 * HOUR)]
    assert left["lineitem/type"] == "Adjustment"
    assert push(ready).out == ""
    ready.put({2: [A]})
    assert sent(push(ready)) == 1
    assert hours_held(anycost)[2] == (1, "0.1")


def test_lost_hourly_table_does_not_remove_money_from_cloudzero(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    push(ready)
    # dbt ran on an empty warehouse after retention, so only the newest hours are back.
    ready.project.write("delete from cbf.int_usage__hourly")
    ready.put({5: [A], 6: [A]})
    stopped = push(ready, code=6)
    assert sent(stopped) == 1
    assert "Held back 6 hour(s)" in stopped.err
    month = ("--start", "2026-10-01", "--end", "2026-11-01", "--operation", "replace_drop")
    ready.put({0: [A]}, built_hours=30)
    refused = ready.project.loader("push", *month)
    assert refused.code == 6
    assert "would remove cost from 2026-10: 3 hour(s)" in refused.err
    assert {hours_held(anycost)[number] for number in range(6)} == {TWO}


def test_replace_drop_is_recorded_for_every_hour_that_it_removes(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    push(ready)
    ready.project.write(f"delete from cbf.int_usage__hourly where usage_hour = timestamp '{START:%Y-%m-%d %H:%M:%S}'")
    ready.put({1: [A], 2: [A, B], 3: [A, B]}, built_hours=30)
    month = ("--start", "2026-10-01", "--end", "2026-11-01", "--operation", "replace_drop", "--allow-shrink")
    assert sent(ready.project.loader("push", *month)) == 3
    assert sorted(hours_held(anycost)) == [1, 2, 3, 4, 5]
    # The removed hour returns: it is pending, although it was accepted before.
    ready.put({0: [A, B]}, built_hours=30)
    assert sent(push(ready)) == 1
    assert hours_held(anycost)[0] == TWO


def test_lines_that_do_not_match_cbf_hours_are_not_sent(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    ready.project.write("update cbf.int_usage__hourly set cost_usd = 5 where team_id = 'a'")
    stopped = push(ready, code=6)
    assert "cbf_lines and cbf_hours disagree on the hour" in stopped.err
    assert stored_months(anycost) == {}
    ready.put({})
    assert sent(push(ready)) == 6


def test_full_month_holds_hours_back(ready: BuiltWarehouse) -> None:
    # According to the log the month is nearly full: two more hours of 1,140 bytes each would be too much.
    ready.project.write(
        "insert into cbf.push_log (connection_id, api_url, sequence, usage_hour, operation, outcome, fingerprint,"
        f" line_count, cost_usd, byte_count, recorded_at) values ('{CONNECTION}',"
        f" '{ready.project.settings['CLOUDZERO_API_URL']}', 1, timestamp '2026-11-20 00:00:00', 'replace_hourly',"
        " 'accepted', 'x', 122804, 0, 69998280, timestamp '2026-11-20 01:00:00')"
    )
    ready.put({}, built_hours=30)
    stopped = push(ready, code=6)
    assert sent(stopped) == 4 + 1  # October has room; November has room for one more hour
    assert "for which the month has no room" in stopped.err
    assert "would hold" in stopped.err
    assert "bytes a line" in stopped.err
    assert "Warning: 2026-11 now holds" in stopped.err
    assert sent(push(ready, "--allow-full-month")) == 1


def test_push_after_a_killed_push_sends_everything(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    # The state after a process was killed between a body being stored by CloudZero and the entry in the log.
    push(ready, "--limit", "2")
    ready.project.write(
        "delete from cbf.push_log where outcome = 'accepted';"
        # Recent, however long the test takes to get here.
        " update cbf.push_log set recorded_at = recorded_at + interval '1 hour'"
    )
    ready.put({0: [A, B, Usage("c", "1")]})
    outcome = ready.project.loader("push", "--window", "pending", "--settle-for", "1s")
    assert "The last push ended without an answer at" in outcome.err
    assert sent(outcome) == 6
    assert hours_held(anycost) == dict.fromkeys(range(6), TWO) | {0: (3, "1.100000000000000002")}


def start(warehouse: BuiltWarehouse, *arguments: str) -> subprocess.Popen[str]:
    """Start a push in the background."""
    return subprocess.Popen(
        [str(BIN / "loader"), *PENDING, *arguments],
        cwd=ROOT,
        env=warehouse.project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_idle_transaction_timeout_does_not_interrupt_a_push(warehouse: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        database = warehouse.project.database
        assert database
        database.run(f'alter database "{database.name}" set idle_in_transaction_session_timeout = 100')  # milliseconds
        waiting = start(warehouse)
        assert sandbox.entered.wait(60)
        idle = "select min(now() - state_change) from pg_stat_activity where state = 'idle in transaction' and pid <> pg_backend_pid()"
        while not database.run(f"select 1 where ({idle}) > interval '300 milliseconds'"):
            assert waiting.poll() is None
            time.sleep(0.05)
        sandbox.release.set()
        _, err = waiting.communicate(timeout=60)
        assert (waiting.returncode, "server closed" in err) == (0, False), err


def test_only_one_push_at_a_time(warehouse: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        first = start(warehouse)
        assert sandbox.entered.wait(60)
        second = warehouse.project.loader(*PENDING, "--lock-timeout", "0s")
        assert second.code == 6
        assert ("another push" in second.err.lower()) or ("in use by another process" in second.err)
        # A push with --wait then has nothing to send.
        third = start(warehouse, "--wait")
        assert third.stderr is not None
        assert "Waiting for" in third.stderr.readline()
        sandbox.release.set()
        assert first.wait(60) == 0
        out, err = third.communicate(timeout=60)
        assert (third.returncode, out, "Nothing to send" in err) == (0, "", True)
        assert hours_held(server) == dict.fromkeys(range(6), TWO)
        assert sandbox.concurrent_requests_seen == 0


def test_first_signal_ends_the_wait_for_another_push(warehouse: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({0: [A]})
        first = start(warehouse)
        assert sandbox.entered.wait(60)
        waiting = start(warehouse, "--wait")
        assert waiting.stderr is not None
        assert "Waiting for" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=60)
        assert (waiting.returncode, err) == (130, "Error: Stopped by Ctrl-C before anything was started.\n")
        sandbox.release.set()
        assert first.wait(60) == 0


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_signal_finishes_the_request_in_progress_and_reports_the_rest(
    warehouse: BuiltWarehouse, number: int, name: str
) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        one = start(warehouse)
        assert sandbox.entered.wait(60)
        one.send_signal(number)
        sandbox.release.set()
        out, err = one.communicate(timeout=60)
        assert (one.returncode, out) == (128 + number, "")
        assert f"Stopped by {name}. Sent: 4 hours, 8 lines. Left: 2 hours from 2026-11-01T00:00:00Z on." in err
        assert sorted(hours_held(server)) == [0, 1, 2, 3]
        assert sent(push(warehouse)) == 2
        assert hours_held(server) == dict.fromkeys(range(6), TWO)


def test_large_hour_is_sent_in_parts_and_recorded_as_a_whole(warehouse: BuiltWarehouse) -> None:
    with serve_sandbox(AnyCostSandbox(KEY, Limits(body_bytes=4000))) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({0: [A], 1: [Usage(f"t{n:02}", "1") for n in range(40)], 2: [B]})
        outcome = push(warehouse, "--max-body-mb", "0.004")
        assert sent(outcome) == 3
        assert hours_held(server)[1] == (40, "40")
        assert [row[0] for row in warehouse.log("line_count")] == [1, 1, 40, 40, 1, 1]
        assert push(warehouse).out == ""


class RejectingSandbox(AnyCostSandbox):
    """Rejects bodies with a line of the team `odd`, without naming the line."""

    def _checked(self, content: bytes | None) -> ParsedBody:
        if b":odd:" in (content or b""):
            raise RequestError(400, "Bad Request")
        return super()._checked(content)


@pytest.fixture
def rejecting_sandbox(ready: BuiltWarehouse) -> Iterator[SandboxServer]:
    """A sandbox that rejects some lines, as destination of the warehouse."""
    with serve_sandbox(RejectingSandbox(KEY)) as server:
        ready.project.settings |= credentials(server)
        yield server


def test_rejection_names_the_hour_and_the_first_invalid_row(
    ready: BuiltWarehouse, rejecting_sandbox: SandboxServer
) -> None:
    ready.put({2: [A, Usage("odd", "1")]})
    outcome = push(ready, code=4)
    last = outcome.err.strip().splitlines()[-1]
    assert "CloudZero answered 400" in last
    assert (
        f"The first invalid row is number 2 of 2, of {iso(START + 2 * HOUR)}, czrn:litellm:openai:cross-region:odd:"
        in last
    )
    assert "CloudZero refused 1 hour: the hour 2026-10-31T22:00:00Z (CloudZero answered 400" in last
    # The other hours of its body, and of the other month, were sent.
    assert hours_held(rejecting_sandbox) == dict.fromkeys((0, 1, 3, 4, 5), TWO)
    refused = [row for row in ready.log("usage_hour, outcome, detail") if row[1] == "refused"][-1]
    assert (f"{refused[0]:%H}", "400" in str(refused[2])) == ("22", True)

    shown = ready.project.loader("status").err
    assert f"CloudZero refused 1 hour(s), the first: {iso(START + 2 * HOUR)}" in shown
    # It stays pending, comes after what is new, and one try of it is enough.
    ready.put({6: [A]})
    requests = len(rejecting_sandbox.sandbox.state()["requests"])
    again = push(ready, "--limit", "1", code=0)
    assert sent(again) == 1
    assert hours_held(rejecting_sandbox)[6] == (1, "0.1")
    assert len(rejecting_sandbox.sandbox.state()["requests"]) == requests + 1
    push(ready, code=4)
    ready.put({2: [A, B]})
    assert sent(push(ready)) == 1
    assert hours_held(rejecting_sandbox)[2] == TWO


def test_status_of_sent_pending_and_held_back_hours(ready: BuiltWarehouse) -> None:
    def status(*arguments: str, code: int = 0) -> Any:
        outcome = ready.project.loader("status", "--format", "json", *arguments)
        assert outcome.code == code, outcome.err
        return json.loads(outcome.out)["streams"][0]

    before = status()
    assert before["last_push"] is None
    assert [(m["month"], m["hours_pending"], m["hours_sent"]) for m in before["months"]] == [
        ("2026-10", 4, 0),
        ("2026-11", 2, 0),
    ]
    assert before["oldest_pending"] == iso(START)
    push(ready)
    ready.put({1: [B], 4: [A, B, A, B], 6: [A]})
    after = status()
    assert after["last_push"]["outcome"] == "accepted"
    october, november = after["months"]
    assert (october["hours_sent"], october["hours_shrunk"], october["hours_pending"], october["lines"]) == (4, 1, 0, 8)
    assert (november["hours_sent"], november["hours_pending"], november["lines"]) == (2, 2, 4)
    assert Decimal(october["cost_sent"]) == 4 * Decimal("0.100000000000000002")
    assert october["bytes"] > 8 * 300
    assert after["oldest_pending"] == iso(START + HOUR)
    shown = ready.project.loader("status")
    assert shown.code == 0
    assert f"{CONNECTION} at http://127.0.0.1:" in shown.out
    assert "2026-10" in shown.out
    assert "last push" in shown.err
    late = ready.project.loader("status", "--fail-if-behind", "3h")
    assert late.code == 6
    assert f"the hour {iso(START + HOUR)} is waiting" in late.err
    assert status("--fail-if-behind", "999999h")["behind_seconds"] > 0
    ready.project.settings["CLOUDZERO_API_KEY"] = ""
    assert ready.project.loader("status").code == 0


def test_verify_names_each_difference_and_repairs_it(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    def verify(*arguments: str, code: int) -> tuple[dict[int, str], Outcome]:
        outcome = ready.project.loader("verify", "--month", "2026-10", "--format", "json", *arguments)
        assert outcome.code == code, outcome.err
        found = json.loads(outcome.out)["differences"]
        names = {iso(START + number * HOUR): number for number in range(-50, 50)}
        return {names[each["hour"]]: each["verdict"] for each in found}, outcome

    assert set(verify(code=6)[0].values()) == {"never sent"}
    push(ready)
    assert verify(code=0)[0] == {}

    (row, *_) = [row for row in read_back(anycost) if row["time/usage_start"] == iso(START + HOUR)]
    path = f"/v2/connections/billing/anycost/{CONNECTION}/billing_drops"

    def tamper(operation: str, data: list[dict[str, str]]) -> None:
        body = {"month": "2026-10-01T00:00:00Z", "operation": operation, "data": data}
        answer = anycost.sandbox.handle("POST", path, {"Authorization": KEY}, json.dumps(body).encode())
        assert answer.status == 200

    tamper("sum", [row])  # rows were added to this hour
    tamper("replace_hourly", [row | {"time/usage_start": iso(START - 20 * HOUR)}])  # another exporter's
    ready.put({2: [A, B, Usage("c", "1")], 3: [B]})
    found, outcome = verify(code=6)
    assert {number: verdict.split(":")[0] for number, verdict in found.items()} == {
        -20: "only CloudZero has this hour; from another exporter?",
        1: "changed at CloudZero since it was accepted",
        2: "changed since it was sent",
        3: "the view has less than was sent",
    }
    assert "4 hour(s) of 2026-10 differ" in outcome.err
    table = ready.project.loader("verify", "--month", "2026-10")
    assert table.code == 6
    assert iso(START + HOUR) in table.out

    # Repairs that reduce the cost need --allow-shrink.
    _, repaired = verify("--repair", code=6)
    assert "Repaired 2 of 4 hours" in repaired.err
    assert sorted(verify(code=6)[0]) == [-20, 3]
    verify("--repair", "--allow-shrink", code=0)
    assert verify(code=0)[0] == {}
    assert hours_held(anycost)[-20] == (1, "0")
    assert hours_held(anycost)[3] == (1, "0.000000000000000002")


def test_verify_of_a_month_that_cloudzero_lost(ready: BuiltWarehouse) -> None:
    push(ready)
    with serve_sandbox(AnyCostSandbox(KEY)) as server:
        # According to the log this server has the month, but it is empty.
        ready.project.write(f"update cbf.push_log set api_url = '{server.url}'")
        ready.project.settings |= credentials(server)
        lost = ready.project.loader("verify", "--month", "2026-11")
        assert lost.code == 6
        assert "missing at CloudZero" in lost.out
        assert ready.project.loader("verify", "--month", "2026-11", "--repair").code == 0
        assert ready.project.loader("verify", "--month", "2026-11").code == 0


@pytest.mark.parametrize("month", ["2026", "2026-13", "2026-1", "soon", "0000-01"])
def test_invalid_month(ready: BuiltWarehouse, month: str) -> None:
    outcome = ready.project.loader("verify", "--month", month)
    assert (outcome.code, outcome.out) == (2, "")
    assert month in outcome.err


def test_validate_reports_errors_and_stores_nothing(ready: BuiltWarehouse, rejecting_sandbox: SandboxServer) -> None:
    good = ready.project.loader("validate", "--window", "pending")
    assert good.code == 0, good.err
    assert good.out.count(" ok") == 2
    ready.put({2: [Usage("odd", "1")]})
    bad = ready.project.loader("validate", "--start", "2026-10-01", "--end", "2026-12-01", "--format", "json")
    assert bad.code == 4
    assert "finds errors in 1 of 2 bodies" in bad.err
    assert [bool(body["errors"]) for body in json.loads(bad.out)["bodies"]] == [True, False]
    assert stored_months(rejecting_sandbox) == {}
    assert ready.log() == []


def test_dry_run_of_pending_hours_shows_what_a_push_sends(ready: BuiltWarehouse, anycost: SandboxServer) -> None:
    dry = ("dry-run", "--window", "pending", "--limit", "1000", "--format", "ndjson")
    push(ready)
    ready.put({1: [A, B, Usage("c", "7")], 3: [Usage("free", "0")], 6: [A]})
    push(ready, "--allow-shrink")
    ready.put({1: [A], 3: [], 5: [A, B, B]})
    shown = ready.project.loader(*dry)
    assert shown.code == 0
    assert "Held back 1 hour(s)" in shown.err
    push(ready, code=6)
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["time/usage_start"] for row in rows] == [iso(START + 5 * HOUR)] * 3 + [iso(START + 3 * HOUR)]
    last_hours = {row["time/usage_start"] for row in rows}
    back = [row for row in read_back(anycost) if row["time/usage_start"] in last_hours]
    assert sorted(map(str, back)) == sorted(map(str, rows))
    ready.project.settings["CLOUDZERO_CONNECTION_ID"] = ""
    missing = ready.project.loader(*dry)
    assert missing.code == 3
    assert "CLOUDZERO_CONNECTION_ID" in missing.err
