"""Hundreds of random schedules: whatever happens on the way, AnyCost ends up with every hour once and right.

A few in an ordinary run; more with `make torture`, which takes SEEDS (`1-300`, or `17` to play one again).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.torture import TOTALS, play
from tests.support.warehouse import Template


def seeds() -> list[int]:
    """Those of the environment, else a few."""
    first, _, last = os.environ.get("TORTURE_SEEDS", "1-8").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
@pytest.mark.parametrize("seed", seeds())
def test_every_hour_once_and_right(
    seed: int,
    engine: str,
    template_of: Callable[[str], Template],
    tmp_path: Path,
) -> None:
    TOTALS.update(play(seed, template_of(engine).copy(tmp_path), tmp_path))
    TOTALS["schedules"] += 1
