"""Health, readiness and metrics: what is true, and what was last known when the warehouse cannot be read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from loader.delivery.limits import MONTH_BYTES, MONTH_ROWS
from loader.hours import HOUR, iso
from loader.sandbox.server import SandboxServer
from tests.deploy.test_kubernetes_and_alerts import METRICS
from tests.service.service_process import Here, serving
from tests.support.anycost import CONNECTION, credentials
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")


@pytest.fixture
def built(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """Six hours over the end of a month."""
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [A, B] for number in range(6)})
    return warehouse


@pytest.fixture
def here(built: BuiltWarehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A service on it, which looks at the warehouse each time it is asked."""
    with serving(built.project, monkeypatch) as running:
        running.service.ticker.watch._fresh_seconds = 0
        yield running


def test_metrics_say_what_was_sent_and_what_is_pending(here: Here, built: BuiltWarehouse) -> None:
    before = here.metrics()
    assert before["litellm_cbf_pending_hours"] == 6
    assert before["litellm_cbf_sent_lines_total"] == 0
    assert {before[f'litellm_cbf_runs_total{{outcome="{each}"}}'] for each in ("ok", "failed", "locked")} == {0}
    assert "litellm_cbf_last_success_timestamp_seconds" not in before
    assert 0 < time.time() - before["litellm_cbf_started_timestamp_seconds"] < 600
    oldest = before["litellm_cbf_oldest_pending_age_seconds"]
    assert oldest > 3600

    sent = here.ask(
        "POST", "/cloudzero/export", {"start_time_utc": iso(START), "end_time_utc": iso(START + 5 * HOUR)}
    ).json()
    after = here.metrics()
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

    here.ask("POST", "/cloudzero/export", {})
    assert here.metrics()["litellm_cbf_pending_hours"] == 0
    assert here.metrics()["litellm_cbf_oldest_pending_age_seconds"] == 0
    # What a guard holds back is not at CloudZero either.
    built.put({1: [B]})
    assert here.metrics()["litellm_cbf_pending_hours"] == 1


def test_every_metric_has_the_name_that_the_alerts_use(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.ask("POST", "/cloudzero/export", {})
    monkeypatch.setattr("loader.runs.run.build_models", lambda *_: None)
    here.service.ticker()
    names = {re.split(r"[{ ]", sample)[0] for sample in here.metrics()}
    assert names == METRICS
    answer = here.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_what_cannot_be_read_is_told_and_the_last_values_stay(here: Here, built: BuiltWarehouse) -> None:
    assert here.ask("GET", "/ready").json() == {"status": "ready"}
    known = here.metrics()
    built.project.write(
        "alter schema cbf rename to gone"
    ) if built.project.database else built.project.duckdb_file.rename(built.project.folder / "gone")
    lost = here.ask("GET", "/ready", headers={})
    assert lost.status_code == 503
    assert "run `dbt build`" in lost.json()["error"]["message"]
    assert here.ask("GET", "/health", headers={}).status_code == 200
    assert here.metrics()["litellm_cbf_pending_hours"] == known["litellm_cbf_pending_hours"] == 6
    answer = here.ask("POST", "/cloudzero/dry-run", {})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "configuration")
    built.project.write("alter schema gone rename to cbf") if built.project.database else (
        built.project.folder / "gone"
    ).rename(built.project.duckdb_file)
    assert here.ask("GET", "/ready").status_code == 200


def test_a_file_that_dbt_is_writing_leaves_all_as_it_was(here: Here, built: BuiltWarehouse) -> None:
    access = here.service.ticker.access
    if built.project.database:
        with access.to_work():
            assert here.metrics()["litellm_cbf_pending_hours"] == 6
            built.put({6: [A]})
            assert here.metrics()["litellm_cbf_pending_hours"] == 7, "readers wait for nobody on PostgreSQL"
        return
    with access.to_work():
        first = here.ask("GET", "/ready")
        assert first.status_code == 503
        assert "under way" in first.json()["error"]["message"]
        assert "litellm_cbf_pending_hours" not in here.metrics()
    assert here.metrics()["litellm_cbf_pending_hours"] == 6
    with access.to_work():
        built.put({6: [A]})
        assert here.metrics()["litellm_cbf_pending_hours"] == 6
        assert here.ask("GET", "/ready").status_code == 200
    assert here.metrics()["litellm_cbf_pending_hours"] == 7


def test_a_scrape_does_not_read_the_warehouse_each_time(here: Here, built: BuiltWarehouse) -> None:
    here.service.ticker.watch._fresh_seconds = 3600
    assert here.metrics()["litellm_cbf_pending_hours"] == 6
    built.put({6: [A]})
    assert here.metrics()["litellm_cbf_pending_hours"] == 6
    here.service.ticker.watch.expire()
    assert here.metrics()["litellm_cbf_pending_hours"] == 7
