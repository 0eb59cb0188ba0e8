"""LiteLLM's two endpoints on a real server, on each engine, with a local AnyCost behind them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from loader.config.settings import MISSING_CREDENTIALS
from loader.errors import UsageError
from loader.hours import HOUR, iso
from loader.sandbox.server import SandboxServer, serve_sandbox
from loader.service import exports
from tests.service.running import BEARER, MASTER_KEY, Here, serving, shows_no_secret, start
from tests.support.anycost import Held, credentials, held, read_back
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")
# As they stand in LiteLLM's documentation, which says http://localhost:4000 and sk-1234.
DRY_RUN = r"""curl -X POST "http://localhost:4000/cloudzero/dry-run" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer sk-1234" \
-d '{
"limit": 10
}' | jq"""
EXPORT = r"""curl -X POST "http://localhost:4000/cloudzero/export" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer sk-1234" \
-d '{
"limit": 10
}' | jq"""
EXPORT_RANGE = r"""curl -X POST "http://localhost:4000/cloudzero/export" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer sk-1234" \
-d '{
"start_time_utc": "2024-01-15T00:00:00Z",
"end_time_utc": "2024-01-15T23:59:59Z",
"operation": "replace_hourly"
}' | jq"""


@pytest.fixture
def built(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """Six hours of two lines, over the end of a month, and an AnyCost to send them to."""
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [A, B] for number in range(6)})
    return warehouse


@pytest.fixture
def here(built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A service on it, and a look that nothing secret was said."""
    with serving(built.project, monkeypatch) as running:
        yield running
        assert shows_no_secret(running.said)


def hours(anycost: SandboxServer) -> list[int]:
    """The hours that AnyCost holds, from START."""
    names = {iso(START + number * HOUR): number for number in range(-50, 50)}
    return sorted(names[hour] for month in held(anycost).values() for hour in month["hours"])


def shell(command: str, here: Here, **changes: str) -> Any:
    """What a line of the page says, with another port and our key."""
    for old, new in ({"http://localhost:4000": here.url, "sk-1234": MASTER_KEY} | changes).items():
        assert old in command
        command = command.replace(old, new)
    line = command.removesuffix(" | jq")  # jq only makes it pretty
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_the_lines_of_litellms_page_work_as_they_stand(
    here: Here, built: BuiltWarehouse, anycost: SandboxServer
) -> None:
    shown = shell(DRY_RUN, here)
    assert list(shown) == ["message", "status", "dry_run_data"]
    assert shown["message"] == "CloudZero dry run export completed successfully."
    assert shown["status"] == "success"
    assert list(shown["dry_run_data"]) == ["usage_data", "cbf_data", "summary"]
    assert list(shown["dry_run_data"]["summary"]) == ["total_cost", "total_tokens", "total_records"]
    assert len(shown["dry_run_data"]["cbf_data"]) == 10
    assert held(anycost) == {}
    # The same as the command shows, to the last digit.
    assert json.loads(built.project.loader("dry-run", "--format", "json").out) == shown

    sent = shell(EXPORT, here)
    assert (sent["message"], sent["status"]) == ("CloudZero export completed successfully", "success")
    assert hours(anycost) == [1, 2, 3, 4, 5]  # the newest hours that have ten lines
    assert sorted(map(str, shown["dry_run_data"]["cbf_data"])) == sorted(map(str, read_back(anycost)))

    # There is nothing of that day here; of another day there is.
    assert shell(EXPORT_RANGE, here)["status"] == "success"
    sent = shell(EXPORT_RANGE, here, **{"2024-01-15T00": "2026-10-31T00", "2024-01-15T23": "2026-10-31T23"})
    assert sent["summary"]["hours"] == 4
    assert hours(anycost) == [0, 1, 2, 3, 4, 5]
    assert built.cost() == sum(exact["cost"] for exact in _costs(anycost))


def _costs(anycost: SandboxServer) -> list[dict[str, Any]]:
    from decimal import Decimal

    return [{"cost": Decimal(row["cost/cost"])} for row in read_back(anycost)]


def test_nothing_said_is_what_is_pending_and_twice_is_once(here: Here, anycost: SandboxServer) -> None:
    first = here.ask("POST", "/cloudzero/export", {}).json()
    assert (first["summary"]["hours"], first["summary"]["cost"]) == (6, "0.600000000000000012")
    again = here.ask("POST", "/cloudzero/export", {}).json()
    assert (again["message"], again["status"], again["summary"]["hours"]) == ("Nothing to send", "success", 0)
    assert hours(anycost) == list(range(6))


def test_a_limit_below_an_hours_lines_still_sends_one_whole_hour(here: Here, anycost: SandboxServer) -> None:
    assert here.ask("POST", "/cloudzero/export", {"limit": 1}).json()["summary"]["lines"] == 2
    assert hours(anycost) == [5]
    window = {"start_time_utc": iso(START), "end_time_utc": iso(START + 3 * HOUR)}
    assert here.ask("POST", "/cloudzero/export", window | {"limit": 3}).json()["summary"]["hours"] == 1
    assert hours(anycost) == [2, 5]


def test_since_holds_for_exports_too(
    built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch, anycost: SandboxServer
) -> None:
    from dataclasses import replace

    with serving(built.project, monkeypatch) as here:
        ticker = here.service.ticker
        endpoint = exports.Exports(
            replace(ticker.job, since=START + 4 * HOUR), ticker.access, ticker.metrics, ticker.watch, here.stop,
            threading.BoundedSemaphore(1),
        )  # fmt: skip
        endpoint.export(exports.ExportRequest(limit=100))
        assert hours(anycost) == [4, 5]
        with pytest.raises(
            UsageError, match=r"start_time_utc: hours before 2026-11-01T00:00:00Z are another exporter's"
        ):
            endpoint.export(
                exports.ExportRequest.model_validate(
                    {"start_time_utc": iso(START), "end_time_utc": iso(START + 6 * HOUR)}
                )
            )
        endpoint.export(
            exports.ExportRequest.model_validate(
                {"start_time_utc": iso(START + 4 * HOUR), "end_time_utc": iso(START + 6 * HOUR)}
            )
        )
        assert hours(anycost) == [4, 5]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("export", {"limit": 0}, 422, "limit"),
        ("export", {"limit": "10"}, 422, "limit"),
        ("export", {"limit": True}, 422, "limit"),
        ("export", {"operation": "replace"}, 422, "operation"),
        ("export", {"operation": "sum"}, 422, "operation"),
        ("export", {"operation": "replace_drop", "start_time_utc": "2026-10-02", "end_time_utc": "2026-11-01"}, 422, "operation"),
        ("export", {"start_time": "2026-10-31T20:00:00Z"}, 422, "start_time"),
        ("export", {"start_time_utc": "soon"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": 1700000000}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "1700000000"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "2999-01-01T00:00:00Z"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "0001-01-01T00:00:00+14:00"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "2026-10-31T20:00:00Z", "end_time_utc": "2026-10-31T20:00:00Z"}, 422, "start_time_utc"),
        ("export", {"end_time_utc": "2026-10-31T20:00:00Z"}, 422, "end_time_utc"),
        ("export", {"start_time_utc": "2026-10-31", "end_time_utc": "9999-12-31T23:59:59Z"}, 422, "end_time_utc"),
        ("dry-run", {"limit": 10_001}, 422, "limit"),
        ("dry-run", {"limit": None}, 422, "limit"),
        ("dry-run", [], 422, None),
    ],
)  # fmt: skip
def test_a_bad_body_says_which_field(path: str, body: Any, status: int, field: str | None, one: Here) -> None:
    answer = one.ask("POST", f"/cloudzero/{path}", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"], error["code"]) == (status, field, status), answer.text
    assert field is None or error["message"].startswith(field)
    assert "--" not in error["message"]


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    """monkeypatch for a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def one(template_of: Any, tmp_path_factory: pytest.TempPathFactory, module_patch: pytest.MonkeyPatch) -> Iterator[Here]:
    """One DuckDB service for all questions that change nothing; no AnyCost behind it."""
    warehouse = template_of("duckdb").copy(tmp_path_factory.mktemp("one"))
    warehouse.put({number: [A, B] for number in range(6)})
    warehouse.project.settings = {
        "CLOUDZERO_API_KEY": "a-key-that-must-not-show-4711", "CLOUDZERO_CONNECTION_ID": "c",
        "CLOUDZERO_API_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    with serving(warehouse.project, module_patch) as running:
        yield running


def test_what_is_no_json_or_too_large_is_not_looked_at(one: Here) -> None:
    for data, content_type, status in (
        (b'{"limit": ', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"", "application/json", 422),
        (b'{"limit": 10}', "text/plain", 422),  # what a form of another site can send
        (b'{"limit": 10}', None, 422),
        (b" " * 65_537, "application/json", 413),
        ((b" " * 1000 for _ in range(70)), "application/json", 413),  # in chunks, its length not said
    ):
        headers = BEARER | ({"Content-Type": content_type} if content_type else {})
        answer = one.ask("POST", "/cloudzero/dry-run", data=data, headers=headers)
        assert answer.status_code == status, (data, answer.text)
        assert answer.json()["error"]["message"]
    assert one.ask(
        "POST", "/cloudzero/dry-run", data=b"{}" + b" " * 65_000, headers=BEARER | {"Content-Type": "application/json"}
    ).ok
    assert one.ask("GET", "/cloudzero/export").status_code == 405
    assert one.ask("GET", "/nothing").json()["error"]["code"] == 404


def test_missing_credentials_say_what_litellm_says(one: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDZERO_API_KEY")
    answer = one.ask("POST", "/cloudzero/export", {"limit": 10})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, MISSING_CREDENTIALS)
    # A dry run needs none.
    assert one.ask("POST", "/cloudzero/dry-run", {"limit": 10}).status_code == 200


def test_no_answer_and_a_refusal_have_their_own_status(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "GIVE_UP_AFTER", HOUR * 0)
    monkeypatch.setenv("CLOUDZERO_API_KEY", "another-key-which-is-wrong")
    refused = here.ask("POST", "/cloudzero/export", {})
    assert refused.status_code == 502
    assert "CloudZero answered 403" in refused.json()["error"]["message"]
    monkeypatch.setenv("CLOUDZERO_API_URL", "http://127.0.0.1:9")
    lost = here.ask("POST", "/cloudzero/export", {})
    assert lost.status_code == 504
    assert "No response from http://127.0.0.1:9" in lost.json()["error"]["message"]
    assert "another-key" not in refused.text + lost.text
    counted = here.metrics()
    assert counted['litellm_cbf_anycost_requests_total{status="403"}'] >= 1
    assert counted['litellm_cbf_anycost_requests_total{status="none"}'] == 1


def test_a_guard_says_why_and_what_went_all_the_same(here: Here, built: BuiltWarehouse, anycost: SandboxServer) -> None:
    here.ask("POST", "/cloudzero/export", {})
    built.put({1: [B], 6: [A]})
    answer = here.ask("POST", "/cloudzero/export", {})
    assert answer.status_code == 412
    message = answer.json()["error"]["message"]
    assert "Held back 1 hour(s) that cost less" in message
    assert "Sent beside them: 1 hour(s)." in message
    assert hours(anycost) == list(range(7))


def test_hours_that_are_not_complete_are_left_out_and_told(
    here: Here, built: BuiltWarehouse, anycost: SandboxServer
) -> None:
    # dbt ran in the middle of hour 7: of that, and of all later ones, the models hold a half or nothing.
    in_hour_7 = f"update cbf.cbf_as_of set built_at = timestamp '{START + 7.5 * HOUR:%Y-%m-%d %H:%M:%S}'"
    built.put({6: [A], 7: [A]})
    built.project.write(in_hour_7)
    last = {"from": iso(START + 7 * HOUR)}
    first_and_more: dict[str, Any] = {"start_time_utc": iso(START + 5 * HOUR), "end_time_utc": iso(START + 9 * HOUR)}

    def export(**asked: Any) -> Any:
        return here.ask("POST", "/cloudzero/export", asked)

    for asked, sent in (
        (first_and_more, [5, 6]),
        (first_and_more | {"limit": 1}, [6]),
        ({"start_time_utc": iso(START + 5 * HOUR)}, [5, 6]),  # to now, that is
    ):
        answer = export(**asked).json()
        assert answer["summary"]["hours"] == len(sent)
        assert answer["left_out"] == last | {
            "why": f"Hours from {last['from']} on are not complete: the models were last built at"
            " 2026-11-01T03:30:00Z. The next run sends them."
        }
        assert hours(anycost) == [5, 6]
    # What ends with the last complete hour, and what is pending, leaves nothing out.
    whole = export(start_time_utc=iso(START + 5 * HOUR), end_time_utc=iso(START + 7 * HOUR)).json()
    assert (whole["summary"]["hours"], whole["left_out"]) == (2, None)

    nothing = export(start_time_utc=iso(START + 7 * HOUR), end_time_utc=iso(START + 9 * HOUR))
    month = export(start_time_utc="2026-11-01", end_time_utc="2026-12-01", operation="replace_drop")
    for refused, words in (
        (nothing, f"Nothing from {last['from']} to {iso(START + 9 * HOUR)} is complete yet"),
        (month, "The month is not complete: the models were last built at"),
        (export(**first_and_more, operation="sum"), "added twice, so nothing was sent"),
    ):
        assert refused.status_code == 412
        assert words in refused.json()["error"]["message"]
        assert "--" not in refused.json()["error"]["message"]
    assert hours(anycost) == [5, 6]
    assert export().json()["left_out"] is None
    assert hours(anycost) == list(range(7))
    # A guard's refusal says both.
    built.put({6: [B]})
    built.project.write(in_hour_7)
    held_back = export(**first_and_more)
    assert held_back.status_code == 412
    assert "Sent beside them: 1 hour(s). Hours from" in held_back.json()["error"]["message"]


def test_one_push_at_a_time_whoever_makes_it(warehouse: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LOCK_TIMEOUT", 0.0)
    monkeypatch.setattr(exports, "DRY_RUN_WAIT", 0.0)
    sandbox = Held()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        push = start(warehouse.project, "push", "--window", "pending", "--settle-for", "0s")
        assert sandbox.entered.wait(60)
        with serving(warehouse.project, monkeypatch) as here:
            answer = here.ask("POST", "/cloudzero/export", {})
            assert answer.status_code == 409
            assert answer.json()["error"]["type"] == "locked"
            sandbox.go.set()
            assert push.end() == 0

            # And two exports of one service.
            sandbox.entered.clear()
            sandbox.go.clear()
            warehouse.put({6: [A], 40: [A]})
            answers: list[int] = []
            first = threading.Thread(
                target=lambda: answers.append(here.ask("POST", "/cloudzero/export", {}).status_code)
            )
            first.start()
            assert sandbox.entered.wait(60)
            assert here.ask("POST", "/cloudzero/export", {}).status_code == 409
            dry_run = here.ask("POST", "/cloudzero/dry-run", {}).status_code
            assert dry_run == (200 if warehouse.project.database else 409)
            sandbox.go.set()
            first.join()
            assert answers == [200]
            assert here.ask("POST", "/cloudzero/dry-run", {}).status_code == 200


def test_an_export_that_is_told_to_stop_ends_after_the_body_in_flight(
    warehouse: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Held()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})  # two months, so two bodies
        with serving(warehouse.project, monkeypatch) as here:
            answers: list[Any] = []
            asking = threading.Thread(target=lambda: answers.append(here.ask("POST", "/cloudzero/export", {})))
            asking.start()
            assert sandbox.entered.wait(60)
            here.stop.set()
            sandbox.go.set()
            asking.join()
            assert answers[0].status_code == 503
            assert "Sent: 4 hours" in answers[0].json()["error"]["message"]
    assert [row[0] for row in warehouse.log()] == ["begun"] * 4 + ["accepted"] * 4
    assert hours(server) == [0, 1, 2, 3]
