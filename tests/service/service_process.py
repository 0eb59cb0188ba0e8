"""The service on a socket: within this process, for what a request meets; and as a process, for what its signals do."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import uvicorn

from loader.config.profiles import read_target
from loader.runs.run import Job
from loader.service.app import Service, make_service
from loader.service.server import MAX_CONNECTIONS, Server, _listen, _url
from loader.service.settings import read_service_settings
from loader.stopping import StopSignal
from tests.support.anycost import KEY
from tests.support.project import BIN, ROOT, Project

MASTER_KEY = "sk-1234-must-not-show"
BEARER = {"Authorization": f"Bearer {MASTER_KEY}"}


@dataclass
class Here:
    """A service of this process; its schedule is not running."""

    url: str
    service: Service
    stop: StopSignal
    said: list[str]

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """One request, with the key unless other headers are given."""
        headers = options.pop("headers", BEARER)
        return requests.request(
            method, self.url + path, json=body, headers=headers, timeout=60, allow_redirects=False, **options
        )

    def metrics(self) -> dict[str, float]:
        """Sample → value."""
        text = self.ask("GET", "/metrics").text
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if not line.startswith("#")
        }


@contextmanager
def serving(project: Project, monkeypatch: pytest.MonkeyPatch, key: str | None = MASTER_KEY) -> Iterator[Here]:
    """Serve a project over loopback until the block ends."""
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOADER_MASTER_KEY", raising=False)
    if key:
        monkeypatch.setenv("LOADER_MASTER_KEY", key)
    monkeypatch.setenv("DBT_TARGET_PATH", str(project.folder / "target"))
    monkeypatch.setenv("DBT_LOG_PATH", str(project.folder / "logs"))
    monkeypatch.chdir(ROOT)
    stop, said = StopSignal(), list[str]()
    service = make_service(
        read_service_settings("127.0.0.1", 0), Job(read_target(None, None), said.append, lock_timeout=1), stop
    )
    listener = _listen("127.0.0.1", 0)
    config = uvicorn.Config(
        service.app, access_log=False, log_config=None, lifespan="off", limit_concurrency=MAX_CONNECTIONS
    )
    ended = StopSignal()
    thread = threading.Thread(target=Server(config, ended).run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Here(_url(listener), service, stop, said)
    finally:
        ended.set()
        thread.join()


@dataclass
class Process:
    """A command of the loader's that goes on while the test does. What it says is read as it comes."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _came: threading.Condition = field(default_factory=threading.Condition)
    _is_over: bool = False

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._came:
                self.lines.append(line.rstrip("\n"))
                self._came.notify_all()
        with self._came:
            self._is_over = True
            self._came.notify_all()

    def line_with(self, words: str) -> str:
        """The first line with these words, waited for."""

        def found() -> str | None:
            return next((line for line in self.lines if words in line), None)

        with self._came:
            assert self._came.wait_for(lambda: found() or self._is_over, 180), self.lines
            line = found()
        assert line is not None, self.lines
        return line

    def end(self, signal_number: int | None = None) -> int:
        """Its exit code, after a signal if one is given."""
        if signal_number is not None:
            self.popen.send_signal(signal_number)
        code = self.popen.wait(180)
        self._reader.join()
        return code

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.line_with("Listening on").split("Listening on ")[1].split(",")[0]


def start(project: Project, *arguments: str, **settings: str) -> Process:
    """Start the loader."""
    environment = project.environment() | settings
    environment |= {
        "DBT_TARGET_PATH": str(project.folder / "target"), "DBT_LOG_PATH": str(project.folder / "logs"),
    }  # fmt: skip
    return Process(
        subprocess.Popen(
            [str(BIN / "loader"), *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
    )  # fmt: skip


@contextmanager
def started(project: Project, *arguments: str, **settings: str) -> Iterator[Process]:
    """The same; it does not outlive the block."""
    process = start(project, *arguments, **settings)
    try:
        yield process
    finally:
        process.popen.kill()
        process.end()


def shows_no_secret(texts: Sequence[str]) -> bool:
    """Whether neither key is in any of these, not even its beginning."""
    return not any(key[:12] in text for key in (KEY, MASTER_KEY) for text in texts)
