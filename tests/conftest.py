"""Shared fixtures: a PostgreSQL server with LiteLLM's schema, projects, built warehouses, and the AnyCost sandbox."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.anycost import KEY, credentials
from tests.support.dbt_parse_cache import CACHE
from tests.support.litellm.database import Database, Server
from tests.support.project import Project
from tests.support.torture import TOTALS
from tests.support.warehouse import BuiltWarehouse, Template, Usage, make_template


def pytest_configure(config: pytest.Config) -> None:
    """Create the folder for dbt's parse cache, shared by all workers of the session."""
    if not hasattr(config, "workerinput"):
        os.environ[CACHE] = tempfile.mkdtemp(prefix="parsed-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete that folder."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts of this worker to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["totals"] = dict(TOTALS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of a worker of pytest-xdist."""
    TOTALS.update(getattr(node, "workeroutput", {}).get("totals", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what happened in the random schedules, as evidence that they did inject faults."""
    if TOTALS:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(TOTALS.items()))
        terminalreporter.write_line(f"random schedules: {counts}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server for the session."""
    server = Server(tmp_path_factory.mktemp("pg"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def litellm_database(postgres: Server) -> Callable[[], Database]:
    """Creates databases with all of LiteLLM's migrations applied and no rows."""
    template = postgres.create("litellm_template")
    assert template.migrate() > 200
    count = iter(range(1_000_000))
    return lambda: postgres.create(f"litellm_{next(count):06}", template.name)


@pytest.fixture(params=["duckdb", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """An empty project on each engine; on PostgreSQL with LiteLLM's tables."""
    if request.param == "duckdb":
        return Project(tmp_path)
    make: Callable[[], Database] = request.getfixturevalue("litellm_database")
    return Project(tmp_path, make())


@pytest.fixture(scope="session")
def template_of(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Template]:
    """Returns the template warehouse of an engine, which dbt builds on first use."""
    made: dict[str, Template] = {}

    def template(engine: str) -> Template:
        if engine not in made:
            folder = tmp_path_factory.mktemp(f"template_{engine}")
            if engine == "duckdb":
                made[engine] = make_template(folder, None, None)
            else:
                server: Server = request.getfixturevalue("postgres")
                database: Callable[[], Database] = request.getfixturevalue("litellm_database")
                made[engine] = make_template(folder, database, server)
        return made[engine]

    return template


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, template_of: Callable[[str], Template]) -> BuiltWarehouse:
    """A built warehouse without usage, on each engine."""
    return template_of(request.param).copy(tmp_path)


@pytest.fixture
def anycost() -> Iterator[SandboxServer]:
    """An AnyCost sandbox."""
    with serve_sandbox(AnyCostSandbox(KEY)) as server:
        yield server


@pytest.fixture
def pushed(warehouse: BuiltWarehouse, anycost: SandboxServer) -> BuiltWarehouse:
    """Three hours that were sent."""
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [Usage("a", "0.5")] for number in range(3)})
    assert warehouse.project.loader("push", "--window", "pending").code == 0
    return warehouse
