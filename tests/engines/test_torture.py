"""Random schedules of pushes: whatever fails on the way, AnyCost ends up with every hour exactly once.

An ordinary test run plays a few; `make torture` plays more, with SEEDS (`1-300`, or `17` to repeat one).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.torture import TOTALS, run_schedule
from tests.support.warehouse import Template


def seeds() -> list[int]:
    """The seeds of TORTURE_SEEDS, or a few by default."""
    first, _, last = os.environ.get("TORTURE_SEEDS", "1-4").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
@pytest.mark.parametrize("seed", seeds())
def test_every_hour_arrives_exactly_once(
    seed: int,
    engine: str,
    template_of: Callable[[str], Template],
    tmp_path: Path,
) -> None:
    TOTALS.update(run_schedule(seed, template_of(engine).copy(tmp_path), tmp_path))
    TOTALS["schedules"] += 1
