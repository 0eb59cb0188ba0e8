"""What several tests share: a PostgreSQL server for the session, and LiteLLM's schema in it as a template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.litellm.database import Database, Server
from tests.project import Project


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server of the tests' own."""
    server = Server(tmp_path_factory.mktemp("pg"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def litellm_database(postgres: Server) -> Callable[[], Database]:
    """Makes databases with all of LiteLLM's own migrations applied; empty otherwise."""
    template = postgres.create("litellm_template")
    assert template.migrate() > 200
    count = iter(range(1_000_000))
    return lambda: postgres.create(f"litellm_{next(count)}", template.name)


@pytest.fixture(params=["duckdb", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """An empty project on each engine; on PostgreSQL with LiteLLM's tables."""
    if request.param == "duckdb":
        return Project(tmp_path)
    make: Callable[[], Database] = request.getfixturevalue("litellm_database")
    return Project(tmp_path, make())
