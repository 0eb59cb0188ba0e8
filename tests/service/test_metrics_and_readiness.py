"""Health, readiness and metrics, also while the warehouse cannot be read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from loader.delivery.limits import MONTH_BYTES, MONTH_ROWS
from loader.hours import HOUR, iso
from loader.sandbox.server import SandboxServer
from tests.deploy.test_kubernetes_and_alerts import METRICS
from tests.service.service_process import RunningService, serving
from tests.support.anycost import CONNECTION, credentials
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")


@pytest.fixture
def built(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """Six hours across the end of a month, with the sandbox as destination."""
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [A, B] for number in range(6)})
    return warehouse


@pytest.fixture
def running(built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    """A service on this warehouse that reads it for every request."""
    with serving(built.project, monkeypatch) as running:
        running.service.scheduled_run.snapshots._fresh_seconds = 0
        yield running


def test_metrics_of_sent_and_pending_hours(running: RunningService, built: BuiltWarehouse) -> None:
    before = running.metrics()
    assert before["litellm_cbf_pending_hours"] == 6
    assert before["litellm_cbf_sent_lines_total"] == 0
    assert {before[f'litellm_cbf_runs_total{{outcome="{each}"}}'] for each in ("ok", "failed", "locked")} == {0}
    assert "litellm_cbf_last_success_timestamp_seconds" not in before
    assert 0 < time.time() - before["litellm_cbf_started_timestamp_seconds"] < 600
    oldest = before["litellm_cbf_oldest_pending_age_seconds"]
    assert oldest > 3600

    sent = running.request(
        "POST", "/cloudzero/export", {"start_time_utc": iso(START), "end_time_utc": iso(START + 5 * HOUR)}
    ).json()
    after = running.metrics()
    assert after["litellm_cbf_sent_lines_total"] == 10
    assert after["litellm_cbf_sent_cost_usd_total"] == 0.5
    assert after["litellm_cbf_sent_bytes_total"] == sent["summary"]["bytes"]
    assert after["litellm_cbf_pending_hours"] == 1
    assert 0 < after["litellm_cbf_oldest_pending_age_seconds"] < oldest
    assert after['litellm_cbf_anycost_requests_total{status="200"}'] == 2
    assert after[f'litellm_cbf_month_rows{{month="2026-10",stream="{CONNECTION}"}}'] == 8
    assert after[f'litellm_cbf_month_rows{{month="2026-11",stream="{CONNECTION}"}}'] == 2
    assert after[f'litellm_cbf_month_bytes{{month="2026-11",stream="{CONNECTION}"}}'] > 400
    assert after["litellm_cbf_month_limit_rows"] == MONTH_ROWS
    assert after["litellm_cbf_month_limit_bytes"] == MONTH_BYTES
    assert after["litellm_cbf_models_built_timestamp_seconds"] == (START + 6 * HOUR).timestamp()

    running.request("POST", "/cloudzero/export", {})
    assert running.metrics()["litellm_cbf_pending_hours"] == 0
    assert running.metrics()["litellm_cbf_oldest_pending_age_seconds"] == 0
    # Hours that a guard holds back count as pending.
    built.put({1: [B]})
    assert running.metrics()["litellm_cbf_pending_hours"] == 1


def test_metric_names_match_the_alerts(
    running: RunningService, built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.request("POST", "/cloudzero/export", {})
    monkeypatch.setattr("loader.runs.run.build_models", lambda *_, **__: None)
    monkeypatch.setattr("loader.runs.run._require_built_since", lambda *_: None)
    running.service.scheduled_run()
    names = {re.split(r"[{ ]", sample)[0] for sample in running.metrics()}
    # LiteLLM's database has no files to count.
    assert names == METRICS - ({"litellm_cbf_spend_log_files"} if built.project.database else set())
    answer = running.request("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")


REJECTED = """
    insert into cbf.int_usage__rejected_hours (usage_hour, rejection_reason, request_count, cost_usd, example_request_id)
    values (timestamp '2026-10-31 20:00:00', 'negative_tokens', 3, 4.5, 'bad-1')
"""


def test_rejected_requests_and_missing_files_are_reported(running: RunningService, built: BuiltWarehouse) -> None:
    assert running.metrics()["litellm_cbf_rejected_requests"] == 0
    built.project.write(f"{REJECTED}; update cbf.cbf_as_of set spend_log_files = 0")
    ready = running.request("GET", "/ready").json()
    assert ready["status"] == "ready"  # to warn is no reason to be restarted
    missing, rejected = ready["warnings"]
    assert "the glob matches no file" in missing
    assert "3 requests ($4.5) were rejected and not sent: 3 negative_tokens ($4.5), such as bad-1" in rejected
    metrics = running.metrics()
    assert (metrics["litellm_cbf_rejected_requests"], metrics["litellm_cbf_rejected_cost_usd"]) == (3, 4.5)
    assert metrics["litellm_cbf_spend_log_files"] == 0


def test_unreadable_warehouse_is_reported_and_metrics_keep_their_values(
    running: RunningService, built: BuiltWarehouse
) -> None:
    ready = running.request("GET", "/ready").json()
    assert ready["status"] == "ready"
    assert "warnings" not in ready
    known = running.metrics()
    built.project.write(
        "alter schema cbf rename to gone"
    ) if built.project.database else built.project.duckdb_file.rename(built.project.folder / "gone")
    lost = running.request("GET", "/ready", headers={})
    assert lost.status_code == 503
    assert "run `dbt build`" in lost.json()["error"]["message"]
    assert running.request("GET", "/health", headers={}).status_code == 200
    assert running.metrics()["litellm_cbf_pending_hours"] == known["litellm_cbf_pending_hours"] == 6
    answer = running.request("POST", "/cloudzero/dry-run", {})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "configuration")
    built.project.write("alter schema gone rename to cbf") if built.project.database else (
        built.project.folder / "gone"
    ).rename(built.project.duckdb_file)
    assert running.request("GET", "/ready").status_code == 200


def test_locked_duckdb_file_keeps_readiness_and_metrics(running: RunningService, built: BuiltWarehouse) -> None:
    access = running.service.scheduled_run.access
    if built.project.database:
        with access.exclusive():
            assert running.metrics()["litellm_cbf_pending_hours"] == 6
            built.put({6: [A]})
            assert running.metrics()["litellm_cbf_pending_hours"] == 7, "on PostgreSQL readers do not wait"
        return
    with access.exclusive():
        first = running.request("GET", "/ready")
        assert first.status_code == 503
        assert "in progress" in first.json()["error"]["message"]
        assert "litellm_cbf_pending_hours" not in running.metrics()
    assert running.metrics()["litellm_cbf_pending_hours"] == 6
    with access.exclusive():
        built.put({6: [A]})
        assert running.metrics()["litellm_cbf_pending_hours"] == 6
        assert running.request("GET", "/ready").status_code == 200
    assert running.metrics()["litellm_cbf_pending_hours"] == 7


def test_scrapes_use_the_cached_snapshot(running: RunningService, built: BuiltWarehouse) -> None:
    running.service.scheduled_run.snapshots._fresh_seconds = 3600
    assert running.metrics()["litellm_cbf_pending_hours"] == 6
    built.put({6: [A]})
    assert running.metrics()["litellm_cbf_pending_hours"] == 6
    running.service.scheduled_run.snapshots.invalidate()
    assert running.metrics()["litellm_cbf_pending_hours"] == 7
