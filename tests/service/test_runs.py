"""`loader run` and the ticks of `loader serve`, with the real dbt: from nothing, after a failure, two at once, stopped."""

from __future__ import annotations

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
from loader.runs.lock import turn
from loader.sandbox.server import SandboxServer, serve_sandbox
from loader.service.schedule import make_schedule
from loader.stopping import StopSignal
from tests.service.service_process import BEARER, MASTER_KEY, serving, shows_no_secret, started
from tests.support.anycost import KEY, Held, credentials, held, read_back
from tests.support.litellm.requests import spend_log
from tests.support.project import BIN, ROOT, Project, put
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B = Usage("a", "0.1"), Usage("b", "0.000000000000000002")
ROWS = [spend_log("r1", START, spend=0.25), spend_log("r2", START + timedelta(hours=2), spend=0.5)]


@pytest.fixture
def fresh(project: Project, anycost: SandboxServer) -> Project:
    """Two spend logs, no warehouse yet, and an AnyCost."""
    project.settings = credentials(anycost) | {
        "DBT_TARGET_PATH": str(project.folder / "target"), "DBT_LOG_PATH": str(project.folder / "logs"),
    }  # fmt: skip
    put(project, ROWS)
    return project


def costs(anycost: SandboxServer) -> list[str]:
    """What each row that AnyCost holds costs."""
    return sorted(row["cost/cost"] for row in read_back(anycost))


def break_source(project: Project) -> str:
    """Make the source unreadable; gives what dbt will say."""
    if project.database:
        project.database.run('alter table "LiteLLM_SpendLogs" rename to gone')
        return "LiteLLM_SpendLogs"
    (project.logs / "broken.jsonl").write_text('{"request_id": ', "utf-8")
    return "broken.jsonl"


def mend_source(project: Project) -> None:
    """And readable again."""
    if project.database:
        project.database.run('alter table gone rename to "LiteLLM_SpendLogs"')
    else:
        (project.logs / "broken.jsonl").unlink()


def test_a_run_makes_everything_from_nothing_and_the_next_has_nothing_to_do(
    fresh: Project, anycost: SandboxServer
) -> None:
    first = fresh.loader("run")
    assert (first.code, first.out.startswith("Sent 2 hours, 2 lines")) == (0, True), first.err
    assert costs(anycost) == ["0.25", "0.5"]
    again = fresh.loader("run", "--format", "json")
    assert again.code == 0
    assert '"message": "Nothing to send"' in again.out
    # Without dbt's tests, of which the first load would have to wait for all.
    assert "assert_" not in (fresh.folder / "logs/dbt.log").read_text("utf-8").split("Concurrency")[-1]

    # dbt fails: its last error, in one line; the push is not tried with what may be half.
    said = break_source(fresh)
    failed = fresh.loader("run")
    assert (failed.code, failed.out, failed.err.count("\n")) == (3, "", 1), failed.err
    assert failed.err.startswith("Error: dbt failed: ")
    assert said in failed.err
    mend_source(fresh)
    put(fresh, [*ROWS, spend_log("r3", START, spend=1)])
    assert fresh.loader("run").out.startswith("Sent 1 hours, 1 lines")
    assert costs(anycost) == ["0.5", "1.25"]
    assert shows_no_secret([*(text for each in (first, again, failed) for text in (each.out, each.err))])


def test_what_is_missing_is_said_before_dbt_is_run(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    missing = project.loader("run")
    assert (missing.code, missing.err) == (3, f"Error: {MISSING_CREDENTIALS}\n")
    given = {"CLOUDZERO_API_KEY": KEY, "CLOUDZERO_CONNECTION_ID": "c"}
    no_target = project.loader("run", "--target", "nowhere", **given)
    assert (no_target.code, "has no target 'nowhere'" in no_target.err) == (3, True)
    assert not (project.folder / "spend.duckdb").exists()

    elsewhere = subprocess.run(
        [str(BIN / "loader"), "run"], cwd=tmp_path, env=project.environment() | given, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert elsewhere.returncode == 3
    assert "is no dbt project: run this in the folder of dbt_project.yml" in elsewhere.stderr


def test_a_run_beside_a_push_or_another_run_is_left_out(warehouse: BuiltWarehouse) -> None:
    project = warehouse.project
    sandbox = Held()
    with serve_sandbox(sandbox) as server:
        project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        with started(project, "run", "--settle-for", "0s") as first:
            assert sandbox.entered.wait(180)
            with started(project, "run", "--lock-timeout", "0s") as second:
                assert second.end() == 6
                assert "Another `loader run` or `loader serve` is at work" in second.lines[-1]
            sandbox.go.set()
            assert first.end() == 0
        # A push knows nothing of runs: its own lock stops the run, at dbt (DuckDB) or after it.
        sandbox.entered.clear()
        sandbox.go.clear()
        warehouse.put({0: [A, A]})
        with started(project, "push", "--window", "pending", "--settle-for", "0s") as push:
            assert sandbox.entered.wait(180)
            with started(project, "run", "--lock-timeout", "0s") as second:
                assert second.end() == 6, second.lines
            sandbox.go.set()
            assert push.end() == 0


def test_the_turn_is_one_for_each_warehouse(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    target = read_target(None, None)
    monkeypatch.setenv("DBT_SCHEMA", "other")
    monkeypatch.setenv("LOADER_DUCKDB_PATH", f"{project.duckdb_file}2")
    other = read_target(None, None)
    with (
        turn(target, print),
        turn(other, print),
        pytest.raises(LockedError, match="nothing was begun"),
        turn(target, print),
    ):
        pass
    with turn(target, print):
        pass


def numbered(folder: Path) -> list[tuple[int, str]]:
    """Every process with this folder in its environment, as dbt and its children have: its id and its command."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and str(folder).encode() in (path / "environ").read_bytes():
                found.append((int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
        except OSError:
            continue  # it has ended meanwhile
    return [each for each in found if each[1]]


def processes_of(folder: Path) -> list[str]:
    """The commands of these."""
    return [command for _, command in numbered(folder)]


@pytest.fixture
def stuck(fresh: Project) -> Iterator[Project]:
    """dbt will wait in this for as long as the test likes: for a lock, or for a writer of a pipe."""
    if fresh.database:
        assert fresh.loader("run").code == 0
        connection = fresh.database.connect()
        connection.cursor().execute('lock table "LiteLLM_SpendLogs" in access exclusive mode')
        yield fresh
        connection.close()
    else:
        os.mkfifo(fresh.logs / "pipe.jsonl")
        yield fresh


def wait_until_dbt_is_at_work(project: Project) -> None:
    """dbt has begun to do something."""
    log = project.folder / "logs/dbt.log"
    for _ in range(1800):
        if any("dbt" in each and "build" in each for each in processes_of(project.folder)) and (
            log.exists() and "int_usage__hourly" in log.read_text("utf-8").split("Running with dbt")[-1]
        ):
            return
        time.sleep(0.1)
    raise AssertionError("dbt did not begin")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_dbt_and_then_the_run(number: signal.Signals, stuck: Project, anycost: SandboxServer) -> None:
    before = costs(anycost)
    with started(stuck, "run") as process:
        wait_until_dbt_is_at_work(stuck)
        assert process.end(number) == 128 + number
        assert "while dbt was at work: nothing was sent" in process.lines[-1]
        assert len(process.lines) == 1
    assert [each for each in processes_of(stuck.folder) if "dbt" in each] == []
    assert costs(anycost) == before


def test_a_dbt_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dbt"
    program.write_text("#!/bin/sh\nsleep 1000; true\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("loader.runs.dbt._program", lambda _: str(program))
    monkeypatch.chdir(ROOT)
    environ = {"PATH": os.environ["PATH"], "ITS_FOLDER": str(tmp_path)}
    with pytest.raises(ConfigurationError, match=r"dbt did not end within 0\.01 minutes: .* `loader load --step day`"):
        build_models(None, None, StopSignal(), environ, deadline=timedelta(minutes=0.01))
    assert processes_of(tmp_path) == []
    # A run of the schedule has hours for it, and then is a failed one as any other.
    assert timedelta(hours=1) < DEADLINE < timedelta(hours=12)


def test_a_second_signal_ends_dbt_too(stuck: Project) -> None:
    with started(stuck, "serve", "--port", "0") as process:
        assert process.url
        wait_until_dbt_is_at_work(stuck)
        ((number, _),) = (each for each in numbered(stuck.folder) if "dbt" in each[1] and "build" in each[1])
        os.killpg(number, signal.SIGSTOP)  # so that it cannot end when it is asked to
        try:
            process.popen.send_signal(signal.SIGTERM)
            with pytest.raises(requests.ConnectionError):
                while True:
                    requests.get(f"{process.url}/health", timeout=60)
            assert process.end(signal.SIGTERM) == 143
            for _ in range(100):
                if not (left := [each for each in processes_of(stuck.folder) if "dbt" in each]):
                    break
                time.sleep(0.1)  # a signal takes a moment
            assert left == []
        finally:
            with suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)


def test_a_service_works_from_nothing_and_ends_in_order(fresh: Project, anycost: SandboxServer) -> None:
    with started(fresh, "serve", "--port", "0", LOADER_MASTER_KEY=MASTER_KEY) as process:
        assert "sent 2 hours, 2 lines, $0.75" in process.line_with("Run ")
        assert requests.get(f"{process.url}/ready", timeout=60).status_code == 200
        metrics = requests.get(f"{process.url}/metrics", headers=BEARER, timeout=60).text
        assert 'litellm_cbf_runs_total{outcome="ok"} 1.0' in metrics
        assert "litellm_cbf_sent_lines_total 2.0" in metrics
        assert "litellm_cbf_sent_cost_usd_total 0.75" in metrics
        assert process.end(signal.SIGTERM) == 0
        assert process.lines[-1].endswith("Ended by SIGTERM.")
        assert shows_no_secret([*process.lines, (fresh.folder / "logs/dbt.log").read_text("utf-8")])
        assert not any("Traceback" in line for line in process.lines)
    assert costs(anycost) == ["0.25", "0.5"]


def test_a_service_that_is_told_to_end_ends_the_body_in_flight(warehouse: BuiltWarehouse) -> None:
    sandbox = Held()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})  # two months, so two bodies
        with started(warehouse.project, "serve", "--port", "0") as process:
            assert sandbox.entered.wait(180)
            process.popen.send_signal(signal.SIGTERM)
            # Nobody new is let in, and the body is not cut off.
            url = process.url
            with pytest.raises(requests.ConnectionError):
                while True:
                    requests.get(f"{url}/health", timeout=60)
            sandbox.go.set()
            assert process.end() == 0
            assert "Sent: 4 hours" in process.line_with("Run stopped")
        assert [row[0] for row in warehouse.log()] == ["begun"] * 4 + ["accepted"] * 4
        assert list(held(server)) == ["2026-10"]


def test_a_second_signal_ends_at_once_and_the_next_run_makes_up_for_it(warehouse: BuiltWarehouse) -> None:
    sandbox = Held()
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
            assert process.end(signal.SIGTERM) == 143
        sandbox.go.set()
        assert warehouse.project.loader("run", "--settle-for", "0s").code == 0
        assert sum(month["rows"] for month in held(server).values()) == 12


def test_of_two_services_one_works(warehouse: BuiltWarehouse) -> None:
    sandbox = Held()
    with serve_sandbox(sandbox) as server:
        warehouse.project.settings = credentials(server)
        warehouse.put({number: [A, B] for number in range(6)})
        with started(warehouse.project, "serve", "--port", "0") as one:
            assert sandbox.entered.wait(180)
            with started(warehouse.project, "serve", "--port", "0") as other:
                assert "Another `loader run` or `loader serve` is at work" in other.line_with("Run ")
                metrics = requests.get(f"{other.url}/metrics", timeout=60).text
                assert 'litellm_cbf_runs_total{outcome="locked"} 1.0' in metrics
                assert 'litellm_cbf_runs_total{outcome="failed"} 0.0' in metrics
                assert "litellm_cbf_sent_lines_total 0.0" in metrics
                sandbox.go.set()
                assert "sent 6 hours, 12 lines" in one.line_with("Run ")
                assert (one.end(signal.SIGTERM), other.end(signal.SIGTERM)) == (0, 0)
        assert [row[0] for row in warehouse.log()].count("accepted") == 6


def test_a_tick_that_fails_is_one_line_and_the_next_makes_up_for_it(
    fresh: Project, monkeypatch: pytest.MonkeyPatch, anycost: SandboxServer
) -> None:
    assert fresh.loader("run").code == 0
    with serving(fresh, monkeypatch) as here:
        said = break_source(fresh)
        here.service.ticker()
        (line,) = here.said
        assert line.startswith("Run failed, the next one tries again: dbt failed: ")
        assert said in line
        mend_source(fresh)
        put(fresh, [*ROWS, spend_log("r3", START, spend=1)])
        here.service.ticker()
        assert here.said[1:] == ["Run ended well: sent 1 hours, 1 lines, $1.25."]
        metrics = here.metrics()
        assert metrics['litellm_cbf_runs_total{outcome="failed"}'] == 1
        assert metrics['litellm_cbf_runs_total{outcome="ok"}'] == 1
        assert (
            metrics["litellm_cbf_last_success_timestamp_seconds"] == metrics["litellm_cbf_last_run_timestamp_seconds"]
        )

        # A defect of ours does not stop it either, nor is its text shown.
        def broken(*_: object) -> None:
            raise ValueError(f"key {KEY}")

        monkeypatch.setattr("loader.runs.run.build_models", broken)
        here.service.ticker()
        assert "a defect of ours: ValueError in " in here.said[-1]
        assert shows_no_secret(here.said)
        here.stop.set()
        here.service.ticker()
        assert len(here.said) == 3
    assert costs(anycost) == ["0.5", "1.25"]


def test_the_schedule_runs_at_once_and_again_and_never_two_at_a_time() -> None:
    began, go, at_a_time, most = threading.Semaphore(0), threading.Semaphore(0), [0], [0]

    def run() -> None:
        at_a_time[0] += 1
        most[0] = max(most[0], at_a_time[0])
        began.release()
        assert go.acquire(timeout=60)
        at_a_time[0] -= 1

    schedule = make_schedule(run, timedelta(seconds=1))
    schedule.start()
    assert began.acquire(timeout=60)
    # It is due again while the first goes on: that one is left out.
    assert not began.acquire(timeout=2.5)
    go.release(100)
    assert began.acquire(timeout=60)
    schedule.shutdown(wait=True)
    assert most == [1]
    (job,) = make_schedule(run, timedelta(minutes=60)).get_jobs()
    assert (job.max_instances, job.coalesce) == (1, True)


def test_services_spread_and_each_keeps_its_own_hour() -> None:
    spread = set()
    for _ in range(20):
        (job,) = make_schedule(lambda: None, timedelta(minutes=60)).get_jobs()
        ticks = [job.next_run_time]
        for _ in range(1000):
            # As apscheduler asks: a little after the tick before.
            ticks.append(job.trigger.get_next_fire_time(ticks[-1], ticks[-1] + timedelta(seconds=0.3)))
        first, *others = (after - before for before, after in pairwise(ticks))
        assert timedelta(minutes=60) <= first <= timedelta(minutes=61)
        assert all(abs(each - timedelta(minutes=60)) < timedelta(milliseconds=1) for each in others)
        spread.add(first)
    assert len(spread) > 10
    assert abs(ticks[0] - datetime.now(timezone.utc)) < timedelta(minutes=1), "the first one is at once"


def test_without_the_extra_serve_says_what_to_install_and_run_works(tmp_path: Path) -> None:
    hidden = (
        "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'uvicorn', 'apscheduler', 'prometheus_client')));"
    )
    for command, words in (
        ("main(['serve'])", "(uvicorn): pip install '.[serve]'"),
        ("main(['run'])", "is no dbt project"),
    ):
        found = subprocess.run(
            [sys.executable, "-c", f"{hidden} from loader.cli.main import main; {command}"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env=Project(tmp_path).environment() | {"CLOUDZERO_API_KEY": KEY, "CLOUDZERO_CONNECTION_ID": "c"},
        )  # fmt: skip
        assert (found.returncode, found.stderr.count("\n")) == (3, 1), found.stderr
        assert words in found.stderr


def test_the_last_error_of_dbt_is_found_in_its_log() -> None:
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
    assert len(last_error("x" * 9999)) == 500
