"""Any dbt target: the generic path, on DuckDB through dbt-duckdb, against the fast one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from loader import warehouse as engines
from loader.cli import main
from loader.dbt_adapter import require_adapter, said
from loader.errors import ConfigurationError, LockedError
from loader.host_lock import host_lock
from loader.push_log import PushLog
from loader.sandbox_server import SandboxServer
from loader.settings import Stream, Target, read_target
from loader.sql_values import AWKWARD, MARK, bound, literal, parsed
from loader.warehouse import Warehouse, open_for_push, open_warehouse
from loader.windows import HOUR, Window, iso
from tests.anycost import CONNECTION, KEY, credentials, read_back
from tests.project import FOREIGN
from tests.warehouse import START, BuiltWarehouse, Template, Usage

UTC = timezone.utc
NAMES = ("plain", "O''Brien \\ \\\\n", 'say "hi" %s {x} ? ;--', "漢字 é\t")
HOURS = {number: [Usage(f"t{n}", cost, name) for n, (name, cost) in enumerate(zip(NAMES, ("0.1", "0", "12.000000000000000001", "0.000000000000000002"), strict=True))] for number in range(3)}  # fmt: skip


@pytest.fixture
def generic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Takes the fast paths away."""

    def switch() -> None:
        monkeypatch.setattr(engines, "ENGINES", {})

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return switch


@pytest.fixture
def built(
    template_of: Callable[[str], Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anycost: SandboxServer
) -> BuiltWarehouse:
    """A DuckDB warehouse with awkward names, whose environment this process has."""
    built = template_of("duckdb").copy(tmp_path)
    built.put(HOURS)
    built.project.settings = credentials(anycost)
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    for name, value in built.project.environment().items():
        monkeypatch.setenv(name, value)
    return built


def target() -> Target:
    """The target of the environment."""
    return read_target(None, None)


def loader(*arguments: str, code: int = 0) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert KEY not in result.output
    return result


def seen(warehouse: Warehouse) -> dict[str, Any]:
    """All that a push reads."""
    window = Window(START + HOUR, START + 3 * HOUR)
    return {
        "built_at": warehouse.built_at(),
        "hours": warehouse.hours(),
        "hours of a window": warehouse.hours(window),
        "lines": [(line.hour, line.cost, line.data) for line in warehouse.lines()],
        "newest": [line.data for line in warehouse.lines(newest=2)],
        "encoded": sorted((line.hour, line.cost, line.data) for line in warehouse.encoded_lines(window)),
        "columns": warehouse.column_names("cbf_lines"),
    }


def test_it_reads_what_the_fast_path_reads_byte_for_byte(built: BuiltWarehouse, generic: Callable[[], None]) -> None:
    with open_warehouse(target(), 5, print) as warehouse:
        fast = seen(warehouse)
    generic()
    with open_warehouse(target(), 5, print) as warehouse:
        assert type(warehouse).__name__ == "DbtWarehouse"
        assert seen(warehouse) == fast
    assert len(fast["lines"]) == 12
    assert len(fast["encoded"]) == 8
    assert any(b"Brien \\\\" in data for *_, data in fast["lines"])
