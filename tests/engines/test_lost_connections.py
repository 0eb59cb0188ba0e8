"""PostgreSQL closes connections while CloudZero is slow: the outcome of each body is recorded nevertheless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.config.profiles import read_target
from loader.config.settings import Stream
from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import SandboxServer, serve_sandbox
from loader.warehouse.base import open_for_push
from loader.warehouse.postgres import PostgresForPush
from tests.support.anycost import CONNECTION, KEY, credentials
from tests.support.litellm.database import Database
from tests.support.warehouse import BuiltWarehouse, Template, Usage

A = Usage("a", "0.1")
PENDING = ("push", "--window", "pending", "--settle-for", "0s")


class InterferingSandbox(AnyCostSandbox):
    """Calls `interfere` while it processes each of the first bodies."""

    def __init__(self, interfere: Callable[[], object]) -> None:
        super().__init__(KEY)
        self.interfere, self.times = interfere, 1

    def _apply(self, *arguments: Any) -> Any:
        if self.times:
            self.times -= 1
            self.interfere()
        return super()._apply(*arguments)


@pytest.fixture
def warehouse(tmp_path: Path, template_of: Callable[[str], Template]) -> BuiltWarehouse:
    """A warehouse on PostgreSQL with six hours across the end of a month."""
    found = template_of("postgres").copy(tmp_path)
    found.put({number: [A] for number in range(6)})
    return found


def database_of(warehouse: BuiltWarehouse) -> Database:
    """The warehouse's database."""
    assert warehouse.project.database is not None
    return warehouse.project.database


def bodies(server: SandboxServer) -> int:
    """How many bodies were sent."""
    return sum(request["method"] == "POST" for request in server.sandbox.state()["requests"])


def terminate(database: Database) -> Callable[[], object]:
    """Ends every session of the loader, as a restart or a pooler does."""
    statement = (
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and application_name = 'litellm-cbf loader'"
    )
    return lambda: database.run(statement)


@pytest.fixture
def interfering(warehouse: BuiltWarehouse) -> Iterator[SandboxServer]:
    """A sandbox that ends the loader's sessions while it processes the first body."""
    with serve_sandbox(InterferingSandbox(terminate(database_of(warehouse)))) as server:
        warehouse.project.settings |= credentials(server)
        yield server


def test_a_push_survives_the_end_of_its_sessions(warehouse: BuiltWarehouse, interfering: SandboxServer) -> None:
    outcome = warehouse.project.loader(*PENDING)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Sent 6 hours")
    assert "closed the connection that held the lock of this push" in outcome.err
    assert warehouse.log() == [("begun",)] * 4 + [("accepted",)] * 4 + [("begun",)] * 2 + [("accepted",)] * 2
    assert [row[0] for row in warehouse.log("sequence")] == list(range(1, 13))
    assert warehouse.project.loader(*PENDING).out == ""
    assert bodies(interfering) == 2


def test_a_push_whose_lock_was_taken_by_another_stops(warehouse: BuiltWarehouse, interfering: SandboxServer) -> None:
    database = database_of(warehouse)

    def another_push() -> None:
        terminate(database)()
        columns = "connection_id, api_url, sequence, usage_hour, push_id, outcome, recorded_at"
        values = "max(sequence) + 1, max(usage_hour), 'another', 'begun', max(recorded_at)"
        database.run(
            f"insert into cbf.push_log ({columns}) select connection_id, api_url, {values} from cbf.push_log group by 1, 2"
        )

    assert isinstance(interfering.sandbox, InterferingSandbox)
    interfering.sandbox.interfere = another_push
    outcome = warehouse.project.loader(*PENDING)
    assert (outcome.code, "another push has begun since" in outcome.err) == (6, True), outcome.err
    assert bodies(interfering) == 1
    assert warehouse.project.loader(*PENDING).code == 0


@pytest.mark.parametrize(
    "setting",
    ["idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout", "statement_timeout"],
)
def test_limits_of_the_role_do_not_apply_to_a_push(warehouse: BuiltWarehouse, setting: str) -> None:
    database = database_of(warehouse)
    database.run(f"alter database {database.name} set {setting} = '100ms'")
    target = read_target(None, None, warehouse.project.environment())
    with open_for_push(target, Stream(CONNECTION, "http://127.0.0.1"), 0, 0, print) as opened:
        (of_reader,) = opened.rows(f"select current_setting('{setting}')")
        (of_writer,) = opened.rows_now(f"select current_setting('{setting}')")
        assert isinstance(opened, PostgresForPush)
        with opened._lock.cursor() as cursor:
            cursor.execute(f"select current_setting('{setting}')")
            of_lock = cursor.fetchone()
        assert {of_reader, of_writer, of_lock} == {("0",)}
