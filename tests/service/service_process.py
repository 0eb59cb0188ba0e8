"""The service over HTTP: in this process, to test requests, and as a process of its own, to test signals."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from loader.config.profiles import read_target
from loader.runs.run import Job
from loader.service.app import Service, make_service
from loader.service.server import Server, _listen, _url, make_config
from loader.service.settings import read_service_settings
from loader.stopping import StopSignal
from tests.support.anycost import KEY
from tests.support.project import BIN, ROOT, Project

MASTER_KEY = "sk-1234-must-not-show"
BEARER = {"Authorization": f"Bearer {MASTER_KEY}"}


@dataclass
class RunningService:
    """A service in this process. Its schedule is not started."""

    url: str
    service: Service
    stop: StopSignal
    log_lines: list[str]

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """Send a request, with the key unless other headers are given."""
        headers = options.pop("headers", BEARER)
        return requests.request(
            method, self.url + path, json=body, headers=headers, timeout=60, allow_redirects=False, **options
        )

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics and their values."""
        text = self.request("GET", "/metrics").text
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if not line.startswith("#")
        }


@contextmanager
def serving(
    project: Project, monkeypatch: pytest.MonkeyPatch, key: str | None = MASTER_KEY
) -> Iterator[RunningService]:
    """Serve a project on loopback."""
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOADER_MASTER_KEY", raising=False)
    if key:
        monkeypatch.setenv("LOADER_MASTER_KEY", key)
    monkeypatch.setenv("DBT_TARGET_PATH", str(project.folder / "target"))
    monkeypatch.setenv("DBT_LOG_PATH", str(project.folder / "logs"))
    monkeypatch.chdir(ROOT)
    stop, log_lines = StopSignal(), list[str]()
    service = make_service(
        read_service_settings("127.0.0.1", 0), Job(read_target(None, None), log_lines.append, lock_timeout=1), stop
    )
    listener = _listen("127.0.0.1", 0)
    ended = StopSignal()
    thread = threading.Thread(target=Server(make_config(service.app), ended).run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield RunningService(_url(listener), service, stop, log_lines)
    finally:
        ended.set()
        thread.join()


@dataclass
class Process:
    """A loader command in the background. Its stderr is read as it is written."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _has_new_output: threading.Condition = field(default_factory=threading.Condition)
    _is_finished: bool = False

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._has_new_output:
                self.lines.append(line.rstrip("\n"))
                self._has_new_output.notify_all()
        with self._has_new_output:
            self._is_finished = True
            self._has_new_output.notify_all()

    def line_with(self, text: str) -> str:
        """Wait for the first line that contains this text."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._has_new_output:
            assert self._has_new_output.wait_for(lambda: found() or self._is_finished, 180), self.lines
            line = found()
        assert line is not None, self.lines
        return line

    def wait(self, signal_number: int | None = None) -> int:
        """Send a signal, if one is given, and wait for the exit code."""
        if signal_number is not None:
            self.popen.send_signal(signal_number)
        code = self.popen.wait(180)
        self._reader.join()
        return code

    @property
    def url(self) -> str:
        """The URL it listens on."""
        return self.line_with("Listening on").split("Listening on ")[1].split(",")[0]


def start(project: Project, *arguments: str, **settings: str) -> Process:
    """Start a loader command."""
    environment = project.environment() | settings
    environment |= {
        "DBT_TARGET_PATH": str(project.folder / "target"),
        "DBT_LOG_PATH": str(project.folder / "logs"),
    }
    return Process(
        subprocess.Popen(
            [str(BIN / "loader"), *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


@contextmanager
def started(project: Project, *arguments: str, **settings: str) -> Iterator[Process]:
    """Start a loader command that is killed at the end of the block."""
    process = start(project, *arguments, **settings)
    try:
        yield process
    finally:
        process.popen.kill()
        process.wait()


def shows_no_secret(texts: Sequence[str]) -> bool:
    """Whether none of the texts contains a key, or the start of one."""
    return not any(key[:12] in text for key in (KEY, MASTER_KEY) for text in texts)
