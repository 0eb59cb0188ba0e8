"""README's table of exit codes: commands that exit with each of them, on a small warehouse."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.world import CONNECTION, KEY, sandbox
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put
from tests.support.wire import answering, certificate

TABLE = (ROOT / "README.md").read_text("utf-8").split("## Exit codes")[1].split("\n## ")[0]
HOUR = timedelta(hours=1)


@cache
def running_hour() -> datetime:
    """The hour in progress. Near its end, waits for the next one, so that it does not change during the tests."""
    while (now := datetime.now(timezone.utc)).minute >= 58:
        time.sleep(1)
    return now.replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Three hours, the last one in progress, built just now, with a sandbox as destination."""
    folder = tmp_path_factory.mktemp("codes")
    project = Project(folder)
    put(project, [spend_log(f"r{hours}", running_hour() - hours * HOUR, spend="0.25") for hours in (0, 1, 2)])
    project.build()
    with sandbox(folder) as anycost:
        project.settings = {
            "CLOUDZERO_API_KEY": KEY,
            "CLOUDZERO_CONNECTION_ID": CONNECTION,
            "CLOUDZERO_API_URL": anycost,
        }
        yield project


def times(start: datetime, end: datetime) -> tuple[str, ...]:
    return ("--start", f"{start:%Y-%m-%dT%H:%M:%SZ}", "--end", f"{end:%Y-%m-%dT%H:%M:%SZ}")


def test_the_table_has_all_codes() -> None:
    assert re.findall(r"^\| ([\d, ]+) \|", TABLE, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "6", "130, 143"]


def test_0_a_window_with_the_running_hour_sends_the_complete_hours(built: Project) -> None:
    outcome = built.loader("push", *times(running_hour() - 2 * HOUR, running_hour() + HOUR))
    assert outcome.code == 0, outcome.err
    assert "Sent 2 hours" in outcome.out


def test_0_nothing_to_do(built: Project) -> None:
    assert built.loader("push", "--window", "pending").code == 0
    again = built.loader("push", "--window", "pending")
    assert (again.code, "Nothing to send" in again.err) == (0, True)


@pytest.mark.parametrize(
    "command",
    [
        ("push",),
        ("push", "--window", "tomorrow"),
        ("push", "--no-such-option"),
        ("push", "--start", "yesterday-ish"),
        ("status", "--fail-if-behind", "soon"),
    ],
)
def test_2_usage(command: tuple[str, ...], built: Project) -> None:
    assert built.loader(*command).code == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"CLOUDZERO_API_KEY": ""},
        {"CLOUDZERO_API_KEY_FILE": "/nonexistent", "CLOUDZERO_API_KEY": ""},
        {"DBT_TARGET": "nowhere"},
        {"DBT_PROFILES_DIR": "/nonexistent"},
        {"LOADER_DUCKDB_PATH": "/nonexistent/spend.duckdb"},
        {"DBT_SCHEMA": "not_built"},
        {"DBT_TARGET": "postgres", "PGHOST": "/nonexistent", "PGDATABASE": "litellm"},
        {"DBT_TARGET": "postgres", "PGHOST": "127.0.0.1", "PGPORT": "9", "PGDATABASE": "litellm"},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_3_configuration_and_an_unreachable_database(settings: dict[str, str], built: Project) -> None:
    outcome = built.loader("push", "--window", "pending", **settings)
    assert outcome.code == 3, outcome.err
    assert outcome.err.count("\n") == 1


def test_3_a_certificate_that_is_not_accepted(built: Project, tmp_path: Path) -> None:
    with answering(lambda *_: None, tls=certificate(tmp_path).context) as wire:
        settings = {"CLOUDZERO_API_URL": wire.url, "CLOUDZERO_CONNECTION_ID": "never-used"}
        for arguments in ((), ("--no-check-connection",)):
            outcome = built.loader("push", "--window", "pending", *arguments, REQUESTS_CA_BUNDLE="", **settings)
            assert outcome.code == 3, outcome.err
            assert outcome.err.count("\n") == 1
            assert "self-signed certificate" in outcome.err
        assert wire.requests == []
    last = "select outcome from cbf.push_log where connection_id = 'never-used' order by sequence desc limit 1"
    assert built.rows(last) == [("without_effect",)]


def test_4_rejected(built: Project) -> None:
    assert built.loader("check", CLOUDZERO_API_KEY="another-key").code == 4


def test_5_not_reachable(built: Project) -> None:
    unreachable = {"CLOUDZERO_API_URL": "http://127.0.0.1:9", "CLOUDZERO_CONNECTION_ID": "never-used"}
    assert built.loader("push", "--window", "pending", "--give-up-after", "1s", **unreachable).code == 5


def test_6_the_window_is_only_the_running_hour(built: Project) -> None:
    outcome = built.loader("push", *times(running_hour(), running_hour() + HOUR))
    assert outcome.code == 6, outcome.err
    assert "not complete" in outcome.err


def test_6_an_hour_has_ended_but_dbt_has_not_run_since(built: Project) -> None:
    built_at = built.rows("select built_at from cbf.cbf_as_of")[0][0]
    built.write(
        f"update cbf.cbf_as_of set built_at = timestamp '{running_hour() - HOUR + timedelta(minutes=1):%Y-%m-%d %H:%M:%S}'"
    )
    try:
        assert built.loader("push", *times(running_hour() - 2 * HOUR, running_hour())).code == 6
        assert built.loader("push", "--window", "last_hour").code == 6
        assert built.loader("push", "--window", "pending").code == 0
    finally:
        built.write(f"update cbf.cbf_as_of set built_at = timestamp '{built_at}'")


def test_6_behind(built: Project) -> None:
    assert built.loader("status", "--fail-if-behind", "1m", CLOUDZERO_CONNECTION_ID="never-sent-to").code == 6


def test_6_another_run_is_in_progress(built: Project) -> None:
    import fcntl

    with Path(f"{built.duckdb_file}.turn").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert built.loader("run").code == 6


def test_6_verify_finds_a_difference(built: Project) -> None:
    outcome = built.loader("verify", "--month", f"{running_hour() - 2 * HOUR:%Y-%m}", CLOUDZERO_CONNECTION_ID="empty")
    assert outcome.code == 6, outcome.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_after_a_signal(number: signal.Signals, code: int, built: Project) -> None:
    """The signal arrives while a push retries an unreachable host."""
    environment = built.environment() | {
        "CLOUDZERO_API_URL": "http://127.0.0.1:9",
        "CLOUDZERO_CONNECTION_ID": "never-used",
    }
    process = subprocess.Popen(
        [Path(sys.prefix) / "bin/loader", "push", "--window", "pending"],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()  # the first message: it waits before the next try
    time.sleep(0.2)
    process.send_signal(number)
    assert process.wait(60) == code
