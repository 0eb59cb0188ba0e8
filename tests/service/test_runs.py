"""`loader run` and the scheduled runs of `loader serve`, with the real dbt."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from loader.config.profiles import read_target
from loader.config.settings import MISSING_CREDENTIALS
from loader.errors import ConfigurationError, LockedError
from loader.runs.dbt import DEADLINE, build_models, last_error
from loader.runs.lock import run_lock
from loader.sandbox.server import SandboxServer, serve_sandbox
from loader.service.schedule import make_schedule
from loader.stopping import StopSignal
from tests.service.service_process import BEARER, MASTER_KEY, serving, shows_no_secret, started
from tests.support.anycost import KEY, BlockingSandbox, credentials, read_back, stored_months
from tests.support.litellm.requests import spend_log
from tests.support.project import BIN, ROOT, Project, put
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")
ROWS = [spend_log("r1", START, spend=0.25), spend_log("r2", START + timedelta(hours=2), spend=0.5)]


@pytest.fixture
def fresh(project: Project, anycost: SandboxServer) -> Project:
    """Two spend logs and no warehouse yet, with the sandbox as destination."""
    project.settings = credentials(anycost) | {
        "DBT_TARGET_PATH": str(project.folder / "target"),
        "DBT_LOG_PATH": str(project.folder / "logs"),
        "DBT_LOG_LEVEL_FILE": "debug",
    }
    put(project, ROWS)
    return project


def costs(anycost: SandboxServer) -> list[str]:
    """The costs of the rows in the sandbox."""
    return sorted(row["cost/cost"] for row in read_back(anycost))


def break_source(project: Project) -> str:
    """Make the source unreadable; returns a text that dbt's error contains."""
    if project.database:
        project.database.run('alter table "LiteLLM_SpendLogs" rename to gone')
        return "LiteLLM_SpendLogs"
    lines = "\n".join(json.dumps(spend_log(f"cut{number}", START)) for number in range(2000))
    (project.logs / "cut.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-200])
    return "cut.jsonl.gz"


def restore_source(project: Project) -> None:
    """Undo `break_source`."""
    if project.database:
        project.database.run('alter table gone rename to "LiteLLM_SpendLogs"')
    else:
        (project.logs / "cut.jsonl.gz").unlink()


def test_run_builds_and_sends_and_the_next_has_nothing_to_send(fresh: Project, anycost: SandboxServer) -> None:
    first = fresh.loader("run")
    assert (first.code, first.out.startswith("Sent 2 hours, 2 lines")) == (0, True), first.err
    assert costs(anycost) == ["0.25", "0.5"]
    again = fresh.loader("run", "--format", "json")
    assert again.code == 0
    assert '"message": "Nothing to send"' in again.out
    # dbt tests are not part of a run.
    assert "assert_" not in (fresh.folder / "logs/dbt.log").read_text("utf-8").split("Concurrency")[-1]

    # dbt fails: its last error is shown in one line, and nothing is pushed.
    cause = break_source(fresh)
    failed = fresh.loader("run")
    assert (failed.code, failed.out, failed.err.count("\n")) == (3, "", 1), failed.err
    assert failed.err.startswith("Error: dbt failed: ")
    assert cause in failed.err
    restore_source(fresh)
    put(fresh, [*ROWS, spend_log("r3", START, spend=1)])
    assert fresh.loader("run").out.startswith("Sent 1 hours, 1 lines")
    assert costs(anycost) == ["0.5", "1.25"]
    assert shows_no_secret([*(text for each in (first, again, failed) for text in (each.out, each.err))])


def test_missing_configuration_is_reported_before_dbt_runs(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    missing = project.loader("run")
    assert (missing.code, missing.err) == (3, f"Error: {MISSING_CREDENTIALS}\n")
    given = {"CLOUDZERO_API_KEY": KEY, "CLOUDZERO_CONNECTION_ID": "c"}
    no_target = project.loader("run", "--target", "nowhere", **given)
    assert (no_target.code, "has no target 'nowhere'" in no_target.err) == (3, True)
    assert not (project.folder / "spend.duckdb").exists()

    elsewhere = subprocess.run(
        [str(BIN / "loader"), "run"],
        cwd=tmp_path,
        env=project.environment() | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert elsewhere.returncode == 3
    assert "is not a dbt project: run this in the folder of dbt_project.yml" in elsewhere.stderr


def test_run_is_skipped_during_another_run_or_push(warehouse: BuiltWarehouse) -> None:
    project = warehouse.project
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        with started(project, "run", "--settle-for", "0s") as first:
            assert sandbox.entered.wait(180)
            with started(project, "run", "--lock-timeout", "0s") as second:
                assert second.wait() == 6
                assert "Another `loader run` or `loader serve` is running" in second.lines[-1]
            sandbox.release.set()
            assert first.wait() == 0
        # A push does not take the run lock; its own lock stops the run, before dbt.
        sandbox.entered.clear()
        sandbox.release.clear()
        warehouse.put({0: [A, A]})
        with started(project, "push", "--window", "pending", "--settle-for", "0s") as push:
            assert sandbox.entered.wait(180)
            with started(project, "run", "--lock-timeout", "0s") as second:
                assert second.wait() == 6, second.lines
            sandbox.release.set()
            assert push.wait() == 0


def test_each_warehouse_has_its_own_run_lock(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    target = read_target(None, None)
    monkeypatch.setenv("DBT_SCHEMA", "other")
    monkeypatch.setenv("LOADER_DUCKDB_PATH", f"{project.duckdb_file}2")
    other = read_target(None, None)
    with (
        run_lock(target, print),
        run_lock(other, print),
        pytest.raises(LockedError, match="nothing was done"),
        run_lock(target, print),
    ):
        pass
    with run_lock(target, print):
        pass


def processes(folder: Path) -> list[tuple[int, str]]:
    """ID and command of every process with this folder in its environment, such as dbt and its children."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and str(folder).encode() in (path / "environ").read_bytes():
                found.append((int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
        except OSError:
            continue  # the process has ended
    return [each for each in found if each[1]]


def commands_of(folder: Path) -> list[str]:
    """The commands of these processes."""
    return [command for _, command in processes(folder)]


@pytest.fixture
def stuck(fresh: Project) -> Iterator[Project]:
    """A project in which dbt hangs: on a lock in PostgreSQL, or on a pipe without a writer."""
    if fresh.database:
        assert fresh.loader("run").code == 0
        connection = fresh.database.connect()
        connection.cursor().execute('lock table "LiteLLM_SpendLogs" in access exclusive mode')
        yield fresh
        connection.close()
    else:
        os.mkfifo(fresh.logs / "pipe.jsonl")
        yield fresh


def wait_until_dbt_is_running(project: Project) -> None:
    """Wait until dbt builds a model."""
    log = project.folder / "logs/dbt.log"
    for _ in range(1800):
        if any("dbt" in each and "build" in each for each in commands_of(project.folder)) and (
            log.exists() and "int_usage__hourly" in log.read_text("utf-8").split("Running with dbt")[-1]
        ):
            return
        time.sleep(0.1)
    raise AssertionError("dbt did not start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_dbt_and_the_run(number: signal.Signals, stuck: Project, anycost: SandboxServer) -> None:
    before = costs(anycost)
    with started(stuck, "run") as process:
        wait_until_dbt_is_running(stuck)
        assert process.wait(number) == 128 + number
        assert "while dbt was running: nothing was sent" in process.lines[-1]
        assert len(process.lines) == 1
    assert [each for each in commands_of(stuck.folder) if "dbt" in each] == []
    assert costs(anycost) == before


def test_hanging_dbt_is_stopped_after_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dbt"
    program.write_text("#!/bin/sh\nsleep 1000; true\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("loader.runs.dbt._program", lambda _: str(program))
    monkeypatch.chdir(ROOT)
    environ = {"PATH": os.environ["PATH"], "ITS_FOLDER": str(tmp_path)}
    with pytest.raises(
        ConfigurationError, match=r"dbt did not finish within 0\.01 minutes and was ended.* `loader load --step day`"
    ):
        build_models(None, None, StopSignal(), environ, deadline=timedelta(minutes=0.01))
    assert commands_of(tmp_path) == []
    # A scheduled run has hours before it fails for this reason.
    assert timedelta(hours=1) < DEADLINE < timedelta(hours=12)


def test_second_signal_also_kills_dbt(stuck: Project) -> None:
    with started(stuck, "serve", "--port", "0") as process:
        assert process.url
        wait_until_dbt_is_running(stuck)
        ((number, _),) = (each for each in processes(stuck.folder) if "dbt" in each[1] and "build" in each[1])
        os.killpg(number, signal.SIGSTOP)  # so that it cannot react to the first signal
        try:
            process.popen.send_signal(signal.SIGTERM)
            with pytest.raises(requests.ConnectionError):
                while True:
                    requests.get(f"{process.url}/health", timeout=60)
            assert process.wait(signal.SIGTERM) == 143
            for _ in range(100):
                if not (left := [each for each in commands_of(stuck.folder) if "dbt" in each]):
                    break
                time.sleep(0.1)  # signals are not delivered instantly
            assert left == []
        finally:
            with suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)


def test_service_builds_sends_and_shuts_down_gracefully(fresh: Project, anycost: SandboxServer) -> None:
    with started(fresh, "serve", "--port", "0", LOADER_MASTER_KEY=MASTER_KEY) as process:
        assert "sent 2 hours, 2 lines, $0.75" in process.line_with("Run ")
        assert requests.get(f"{process.url}/ready", timeout=60).status_code == 200
        metrics = requests.get(f"{process.url}/metrics", headers=BEARER, timeout=60).text
        assert 'litellm_cbf_runs_total{outcome="ok"} 1.0' in metrics
        assert "litellm_cbf_sent_lines_total 2.0" in metrics
        assert "litellm_cbf_sent_cost_usd_total 0.75" in metrics
        assert process.wait(signal.SIGTERM) == 0
        assert process.lines[-1].endswith("Stopped by SIGTERM.")
        assert shows_no_secret([*process.lines, (fresh.folder / "logs/dbt.log").read_text("utf-8")])
        assert not any("Traceback" in line for line in process.lines)
    assert costs(anycost) == ["0.25", "0.5"]


def test_stopped_service_finishes_the_request_in_progress(warehouse: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})  # two months, so two bodies
        with started(warehouse.project, "serve", "--port", "0") as process:
            assert sandbox.entered.wait(180)
            process.popen.send_signal(signal.SIGTERM)
            # New connections are refused, and the request to CloudZero is not interrupted.
            url = process.url
            with pytest.raises(requests.ConnectionError):
                while True:
                    requests.get(f"{url}/health", timeout=60)
            sandbox.release.set()
            assert process.wait() == 0
            assert "Sent: 4 hours" in process.line_with("Run stopped")
        assert [row[0] for row in warehouse.log()] == ["begun"] * 4 + ["accepted"] * 4
        assert list(stored_months(server)) == ["2026-10"]


def test_second_signal_exits_immediately_and_the_next_run_sends_the_rest(warehouse: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        with started(warehouse.project, "serve", "--port", "0") as process:
            assert sandbox.entered.wait(180)
            process.popen.send_signal(signal.SIGTERM)
            url = process.url
            with pytest.raises(requests.ConnectionError):
                while True:
                    requests.get(f"{url}/health", timeout=60)
            assert process.wait(signal.SIGTERM) == 143
        sandbox.release.set()
        assert warehouse.project.loader("run", "--settle-for", "0s").code == 0
        assert sum(month["rows"] for month in stored_months(server).values()) == 12


def test_only_one_of_two_services_runs(warehouse: BuiltWarehouse) -> None:
    sandbox = BlockingSandbox()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        with started(warehouse.project, "serve", "--port", "0") as one:
            assert sandbox.entered.wait(180)
            with started(warehouse.project, "serve", "--port", "0") as other:
                assert "Another `loader run` or `loader serve` is running" in other.line_with("Run ")
                metrics = requests.get(f"{other.url}/metrics", timeout=60).text
                assert 'litellm_cbf_runs_total{outcome="locked"} 1.0' in metrics
                assert 'litellm_cbf_runs_total{outcome="failed"} 0.0' in metrics
                assert "litellm_cbf_sent_lines_total 0.0" in metrics
                sandbox.release.set()
                assert "sent 6 hours, 12 lines" in one.line_with("Run ")
                assert (one.wait(signal.SIGTERM), other.wait(signal.SIGTERM)) == (0, 0)
        assert [row[0] for row in warehouse.log()].count("accepted") == 6


def test_failed_run_logs_one_line_and_the_next_sends_the_rest(
    fresh: Project, monkeypatch: pytest.MonkeyPatch, anycost: SandboxServer
) -> None:
    assert fresh.loader("run").code == 0
    with serving(fresh, monkeypatch) as running:
        cause = break_source(fresh)
        running.service.scheduled_run()
        (line,) = running.log_lines
        assert line.startswith("Run failed; the next one retries: dbt failed: ")
        assert cause in line
        restore_source(fresh)
        put(fresh, [*ROWS, spend_log("r3", START, spend=1)])
        running.service.scheduled_run()
        assert running.log_lines[1:] == ["Run succeeded: sent 1 hours, 1 lines, $1.25."]
        metrics = running.metrics()
        assert metrics['litellm_cbf_runs_total{outcome="failed"}'] == 1
        assert metrics['litellm_cbf_runs_total{outcome="ok"}'] == 1
        assert (
            metrics["litellm_cbf_last_success_timestamp_seconds"] == metrics["litellm_cbf_last_run_timestamp_seconds"]
        )

        # An internal error does not stop the schedule, and its text is not logged.
        def broken(*_: object, **__: object) -> None:
            raise ValueError(f"key {KEY}")

        monkeypatch.setattr("loader.runs.run.build_models", broken)
        running.service.scheduled_run()
        assert "internal error, ValueError in " in running.log_lines[-1]
        assert shows_no_secret(running.log_lines)
        running.stop.set()
        running.service.scheduled_run()
        assert len(running.log_lines) == 3
    assert costs(anycost) == ["0.5", "1.25"]


def test_schedule_starts_immediately_and_never_runs_two_at_a_time() -> None:
    started_runs, may_finish, concurrent, highest = threading.Semaphore(0), threading.Semaphore(0), [0], [0]

    def run() -> None:
        concurrent[0] += 1
        highest[0] = max(highest[0], concurrent[0])
        started_runs.release()
        assert may_finish.acquire(timeout=60)
        concurrent[0] -= 1

    schedule = make_schedule(run, timedelta(seconds=1))
    schedule.start()
    assert started_runs.acquire(timeout=60)
    # The next run is due while the first is in progress, and is skipped.
    assert not started_runs.acquire(timeout=2.5)
    may_finish.release(100)
    assert started_runs.acquire(timeout=60)
    schedule.shutdown(wait=True)
    assert highest == [1]
    (job,) = make_schedule(run, timedelta(minutes=60)).get_jobs()
    assert (job.max_instances, job.coalesce) == (1, True)


def test_services_have_different_offsets_and_a_fixed_interval() -> None:
    spread = set()
    for _ in range(20):
        (job,) = make_schedule(lambda: None, timedelta(minutes=60)).get_jobs()
        times = [job.next_run_time]
        for _ in range(1000):
            # As APScheduler calls it: shortly after the previous fire time.
            times.append(job.trigger.get_next_fire_time(times[-1], times[-1] + timedelta(seconds=0.3)))
        first, *others = (after - before for before, after in pairwise(times))
        assert timedelta(minutes=60) <= first <= timedelta(minutes=61)
        assert all(abs(each - timedelta(minutes=60)) < timedelta(milliseconds=1) for each in others)
        spread.add(first)
    assert len(spread) > 10
    assert abs(times[0] - datetime.now(timezone.utc)) < timedelta(minutes=1), "the first run is immediate"


def test_without_the_extra_serve_names_the_packages_and_run_works(tmp_path: Path) -> None:
    hidden = (
        "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'uvicorn', 'apscheduler', 'prometheus_client')));"
    )
    for command, message in (
        ("main(['serve'])", "(uvicorn): pip install '.[serve]'"),
        ("main(['run'])", "is not a dbt project"),
    ):
        found = subprocess.run(
            [sys.executable, "-c", f"{hidden} from loader.cli.main import main; {command}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=Project(tmp_path).environment() | {"CLOUDZERO_API_KEY": KEY, "CLOUDZERO_CONNECTION_ID": "c"},
        )
        assert (found.returncode, found.stderr.count("\n")) == (3, 1), found.stderr
        assert message in found.stderr


def test_last_error_in_dbts_log() -> None:
    log = "\n".join(
        [
            '{"info": {"level": "error", "msg": "first"}}',
            '{"info": {"level": "error", "msg": "Encountered an error:\\nDatabase Error\\n  no such\\n  host"}}',
            '{"info": {"level": "error", "msg": ""}}',
            '{"info": {"level": "info", "msg": "done"}}',
            "no json",
            "[1]",
        ]
    )
    assert last_error(log) == "Database Error no such host"
    assert last_error("Traceback\nImportError: dbt\n\n") == "ImportError: dbt"
    assert last_error("") == ""
    error = "Compilation Error in model m (m.sql)\\n  var x is wrong\\n  \\n  > in macro a (a.sql)\\n  > called by macro b (b.sql)"
    assert last_error(f'{{"info": {{"level": "error", "msg": "{error}"}}}}') == (
        "Compilation Error in model m (m.sql) var x is wrong"
    )
    error = "Invalid Input Error: CSV Error on Line: 2\\n  Original Line: my secret prompt\\n  more"
    assert "secret" not in last_error(f'{{"info": {{"level": "error", "msg": "{error}"}}}}')
    assert len(last_error("x" * 9999)) == 1000
