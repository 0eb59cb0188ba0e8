"""The dry-run and export endpoints on a real server, on each engine, with the AnyCost sandbox."""

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
from tests.service.service_process import BEARER, MASTER_KEY, RunningService, serving, shows_no_secret, start
from tests.support.anycost import BlockingSandbox, credentials, read_back, stored_months
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")
# As in LiteLLM's documentation, which uses http://localhost:4000 and sk-1234.
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
    """Six hours of two lines each, across the end of a month, with the sandbox as destination."""
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [A, B] for number in range(6)})
    return warehouse


@pytest.fixture
def running(built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    """A service on this warehouse, which must not log a secret."""
    with serving(built.project, monkeypatch) as running:
        yield running
        assert shows_no_secret(running.log_lines)


def sent_hours(anycost: SandboxServer) -> list[int]:
    """The hours in the sandbox, counted from START."""
    names = {iso(START + number * HOUR): number for number in range(-50, 50)}
    return sorted(names[hour] for month in stored_months(anycost).values() for hour in month["hours"])


def run_curl(command: str, running: RunningService, **changes: str) -> Any:
    """Run a curl command of the documentation with this service's URL and key; returns the JSON response."""
    for old, new in ({"http://localhost:4000": running.url, "sk-1234": MASTER_KEY} | changes).items():
        assert old in command
        command = command.replace(old, new)
    line = command.removesuffix(" | jq")  # jq only formats the output
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_curl_commands_of_litellms_documentation_work(
    running: RunningService, built: BuiltWarehouse, anycost: SandboxServer
) -> None:
    shown = run_curl(DRY_RUN, running)
    assert list(shown) == ["message", "status", "dry_run_data"]
    assert shown["message"] == "CloudZero dry run export completed successfully."
    assert shown["status"] == "success"
    assert list(shown["dry_run_data"]) == ["usage_data", "cbf_data", "summary"]
    assert list(shown["dry_run_data"]["summary"]) == ["total_cost", "total_tokens", "total_records"]
    assert len(shown["dry_run_data"]["cbf_data"]) == 10
    assert stored_months(anycost) == {}
    # The same output as the command, to the last digit.
    assert json.loads(built.project.loader("dry-run", "--format", "json").out) == shown

    sent = run_curl(EXPORT, running)
    assert (sent["message"], sent["status"]) == ("CloudZero export completed successfully", "success")
    assert sent_hours(anycost) == [1, 2, 3, 4, 5]  # the newest hours that have ten lines
    assert sorted(map(str, shown["dry_run_data"]["cbf_data"])) == sorted(map(str, read_back(anycost)))

    # The warehouse has no usage on that day, but on another one.
    assert run_curl(EXPORT_RANGE, running)["status"] == "success"
    sent = run_curl(EXPORT_RANGE, running, **{"2024-01-15T00": "2026-10-31T00", "2024-01-15T23": "2026-10-31T23"})
    assert sent["summary"]["hours"] == 4
    assert sent_hours(anycost) == [0, 1, 2, 3, 4, 5]
    assert built.cost() == sum(exact["cost"] for exact in _costs(anycost))


def _costs(anycost: SandboxServer) -> list[dict[str, Any]]:
    from decimal import Decimal

    return [{"cost": Decimal(row["cost/cost"])} for row in read_back(anycost)]


def test_empty_body_exports_pending_hours_once(running: RunningService, anycost: SandboxServer) -> None:
    first = running.request("POST", "/cloudzero/export", {}).json()
    assert (first["summary"]["hours"], first["summary"]["cost"]) == (6, "0.600000000000000012")
    again = running.request("POST", "/cloudzero/export", {}).json()
    assert (again["message"], again["status"], again["summary"]["hours"]) == ("Nothing to send", "success", 0)
    assert sent_hours(anycost) == list(range(6))


def test_limit_below_one_hour_still_sends_a_whole_hour(running: RunningService, anycost: SandboxServer) -> None:
    assert running.request("POST", "/cloudzero/export", {"limit": 1}).json()["summary"]["lines"] == 2
    assert sent_hours(anycost) == [5]
    window = {"start_time_utc": iso(START), "end_time_utc": iso(START + 3 * HOUR)}
    assert running.request("POST", "/cloudzero/export", window | {"limit": 3}).json()["summary"]["hours"] == 1
    assert sent_hours(anycost) == [2, 5]


def test_since_applies_to_exports(
    built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch, anycost: SandboxServer
) -> None:
    from dataclasses import replace

    with serving(built.project, monkeypatch) as running:
        scheduled_run = running.service.scheduled_run
        endpoint = exports.Exports(
            replace(scheduled_run.job, since=START + 4 * HOUR),
            scheduled_run.access,
            scheduled_run.metrics,
            scheduled_run.snapshots,
            running.stop,
            threading.BoundedSemaphore(1),
        )
        endpoint.export(exports.ExportRequest(limit=100))
        assert sent_hours(anycost) == [4, 5]
        with pytest.raises(
            UsageError, match=r"start_time_utc: hours before 2026-11-01T00:00:00Z belong to another exporter"
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
        assert sent_hours(anycost) == [4, 5]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("export", {"limit": 0}, 422, "limit"),
        ("export", {"limit": "10"}, 422, "limit"),
        ("export", {"limit": True}, 422, "limit"),
        ("export", {"operation": "replace"}, 422, "operation"),
        ("export", {"operation": "sum"}, 422, "operation"),
        (
            "export",
            {"operation": "replace_drop", "start_time_utc": "2026-10-02", "end_time_utc": "2026-11-01"},
            422,
            "operation",
        ),
        ("export", {"start_time": "2026-10-31T20:00:00Z"}, 422, "start_time"),
        ("export", {"start_time_utc": "soon"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": 1700000000}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "1700000000"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "2999-01-01T00:00:00Z"}, 422, "start_time_utc"),
        ("export", {"start_time_utc": "0001-01-01T00:00:00+14:00"}, 422, "start_time_utc"),
        (
            "export",
            {"start_time_utc": "2026-10-31T20:00:00Z", "end_time_utc": "2026-10-31T20:00:00Z"},
            422,
            "start_time_utc",
        ),
        ("export", {"end_time_utc": "2026-10-31T20:00:00Z"}, 422, "end_time_utc"),
        ("export", {"start_time_utc": "2026-10-31", "end_time_utc": "9999-12-31T23:59:59Z"}, 422, "end_time_utc"),
        ("dry-run", {"limit": 10_001}, 422, "limit"),
        ("dry-run", {"limit": None}, 422, "limit"),
        ("dry-run", [], 422, None),
    ],
)
def test_invalid_body_names_the_field(
    path: str, body: Any, status: int, field: str | None, shared_service: RunningService
) -> None:
    answer = shared_service.request("POST", f"/cloudzero/{path}", body)
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
def shared_service(
    template_of: Any, tmp_path_factory: pytest.TempPathFactory, module_patch: pytest.MonkeyPatch
) -> Iterator[RunningService]:
    """One DuckDB service for all tests that change nothing. Its AnyCost URL is unreachable."""
    warehouse = template_of("duckdb").copy(tmp_path_factory.mktemp("one"))
    warehouse.put({number: [A, B] for number in range(6)})
    warehouse.project.settings = {
        "CLOUDZERO_API_KEY": "a-key-that-must-not-show-4711",
        "CLOUDZERO_CONNECTION_ID": "c",
        "CLOUDZERO_API_URL": "http://127.0.0.1:9",
    }
    with serving(warehouse.project, module_patch) as running:
        yield running


def test_invalid_json_and_large_bodies_are_refused(shared_service: RunningService) -> None:
    for data, content_type, status in (
        (b'{"limit": ', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"", "application/json", 422),
        (b'{"limit": 10}', "text/plain", 422),  # what a form on another site can send
        (b'{"limit": 10}', None, 422),
        (b" " * 65_537, "application/json", 413),
        ((b" " * 1000 for _ in range(70)), "application/json", 413),  # chunked, without Content-Length
    ):
        headers = BEARER | ({"Content-Type": content_type} if content_type else {})
        answer = shared_service.request("POST", "/cloudzero/dry-run", data=data, headers=headers)
        assert answer.status_code == status, (data, answer.text)
        assert answer.json()["error"]["message"]
    assert shared_service.request(
        "POST", "/cloudzero/dry-run", data=b"{}" + b" " * 65_000, headers=BEARER | {"Content-Type": "application/json"}
    ).ok
    assert shared_service.request("GET", "/cloudzero/export").status_code == 405
    assert shared_service.request("GET", "/nothing").json()["error"]["code"] == 404


def test_missing_credentials_have_litellms_message(
    shared_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDZERO_API_KEY")
    answer = shared_service.request("POST", "/cloudzero/export", {"limit": 10})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, MISSING_CREDENTIALS)
    # A dry run needs no credentials.
    assert shared_service.request("POST", "/cloudzero/dry-run", {"limit": 10}).status_code == 200


def test_refusal_and_missing_answer_have_different_statuses(
    running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "GIVE_UP_AFTER", HOUR * 0)
    monkeypatch.setenv("CLOUDZERO_API_KEY", "another-key-which-is-wrong")
    refused = running.request("POST", "/cloudzero/export", {})
    assert refused.status_code == 502
    assert "CloudZero answered 403" in refused.json()["error"]["message"]
    monkeypatch.setenv("CLOUDZERO_API_URL", "http://127.0.0.1:9")
    lost = running.request("POST", "/cloudzero/export", {})
    assert lost.status_code == 504
    assert "No response from http://127.0.0.1:9" in lost.json()["error"]["message"]
    assert "another-key" not in refused.text + lost.text
    counted = running.metrics()
    assert counted['litellm_cbf_anycost_requests_total{status="403"}'] >= 1
    assert counted['litellm_cbf_anycost_requests_total{status="none"}'] == 2  # the read of a new stream, and the body


def test_guard_error_says_why_and_what_was_sent(
    running: RunningService, built: BuiltWarehouse, anycost: SandboxServer
) -> None:
    running.request("POST", "/cloudzero/export", {})
    built.put({1: [B], 6: [A]})
    answer = running.request("POST", "/cloudzero/export", {})
    assert answer.status_code == 412
    message = answer.json()["error"]["message"]
    assert "Held back 1 hour(s) that cost less" in message
    assert "All other hours were sent: 1 hour(s)." in message
    assert sent_hours(anycost) == list(range(7))


def test_incomplete_hours_are_left_out_and_reported(
    running: RunningService, built: BuiltWarehouse, anycost: SandboxServer
) -> None:
    # dbt ran in the middle of hour 7: the models have half of that hour and nothing of later ones.
    in_hour_7 = f"update cbf.cbf_as_of set built_at = timestamp '{START + 7.5 * HOUR:%Y-%m-%d %H:%M:%S}'"
    built.put({6: [A], 7: [A]})
    built.project.write(in_hour_7)
    last = {"from": iso(START + 7 * HOUR)}
    first_and_more: dict[str, Any] = {"start_time_utc": iso(START + 5 * HOUR), "end_time_utc": iso(START + 9 * HOUR)}

    def export(**body: Any) -> Any:
        return running.request("POST", "/cloudzero/export", body)

    for body, sent in (
        (first_and_more, [5, 6]),
        (first_and_more | {"limit": 1}, [6]),
        ({"start_time_utc": iso(START + 5 * HOUR)}, [5, 6]),  # until now
    ):
        answer = export(**body).json()
        assert answer["summary"]["hours"] == len(sent)
        assert answer["left_out"] == last | {
            "why": f"Hours from {last['from']} on are not complete: the models were last built at"
            " 2026-11-01T03:30:00Z. The next run sends them."
        }
        assert sent_hours(anycost) == [5, 6]
    # Nothing is left out if the window ends with the last complete hour, or without a window.
    whole = export(start_time_utc=iso(START + 5 * HOUR), end_time_utc=iso(START + 7 * HOUR)).json()
    assert (whole["summary"]["hours"], whole["left_out"]) == (2, None)

    nothing = export(start_time_utc=iso(START + 7 * HOUR), end_time_utc=iso(START + 9 * HOUR))
    month = export(start_time_utc="2026-11-01", end_time_utc="2026-12-01", operation="replace_drop")
    for refused, message in (
        (nothing, f"Nothing from {last['from']} to {iso(START + 9 * HOUR)} is complete yet"),
        (month, "The month is not complete: the models were last built at"),
        (export(**first_and_more, operation="sum"), "with sum would count them twice"),
    ):
        assert refused.status_code == 412
        assert message in refused.json()["error"]["message"]
        assert "--" not in refused.json()["error"]["message"]
    assert sent_hours(anycost) == [5, 6]
    assert export().json()["left_out"] is None
    assert sent_hours(anycost) == list(range(7))
    # The error of a guard mentions incomplete hours, too.
    built.put({6: [B]})
    built.project.write(in_hour_7)
    held_back = export(**first_and_more)
    assert held_back.status_code == 412
    assert "All other hours were sent: 1 hour(s). Hours from" in held_back.json()["error"]["message"]


def test_only_one_push_at_a_time(warehouse: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LOCK_TIMEOUT", 0.0)
    monkeypatch.setattr(exports, "DRY_RUN_WAIT", 0.0)
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        push = start(warehouse.project, "push", "--window", "pending", "--settle-for", "0s")
        assert sandbox.entered.wait(60)
        with serving(warehouse.project, monkeypatch) as running:
            answer = running.request("POST", "/cloudzero/export", {})
            assert answer.status_code == 409
            assert answer.json()["error"]["type"] == "locked"
            sandbox.release.set()
            assert push.wait() == 0

            # Two exports of the same service.
            sandbox.entered.clear()
            sandbox.release.clear()
            warehouse.put({6: [A], 40: [A]})
            answers: list[int] = []
            first = threading.Thread(
                target=lambda: answers.append(running.request("POST", "/cloudzero/export", {}).status_code)
            )
            first.start()
            assert sandbox.entered.wait(60)
            assert running.request("POST", "/cloudzero/export", {}).status_code == 409
            dry_run = running.request("POST", "/cloudzero/dry-run", {}).status_code
            assert dry_run == (200 if warehouse.project.database else 409)
            sandbox.release.set()
            first.join()
            assert answers == [200]
            assert running.request("POST", "/cloudzero/dry-run", {}).status_code == 200


def test_stopped_export_finishes_the_request_in_progress(
    warehouse: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})  # two months, so two bodies
        with serving(warehouse.project, monkeypatch) as running:
            answers: list[Any] = []
            asking = threading.Thread(target=lambda: answers.append(running.request("POST", "/cloudzero/export", {})))
            asking.start()
            assert sandbox.entered.wait(60)
            running.stop.set()
            sandbox.release.set()
            asking.join()
            assert answers[0].status_code == 503
            assert "Sent: 4 hours" in answers[0].json()["error"]["message"]
    assert [row[0] for row in warehouse.log()] == ["begun"] * 4 + ["accepted"] * 4
    assert sent_hours(server) == [0, 1, 2, 3]
