"""Random schedules of dbt runs and pushes: whatever fails on the way, AnyCost ends up with the money of the source.

An ordinary test run plays one on each engine; `make torture` plays more.
"""

from __future__ import annotations

import os

import pytest

from tests.support.disturbed_runs import play_schedule
from tests.support.project import Project
from tests.support.torture import TOTALS


def seeds() -> list[int]:
    """The seeds of TORTURE_SEEDS, or one by default."""
    first, _, last = os.environ.get("TORTURE_SEEDS", "1").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("seed", seeds())
def test_money_of_the_source_arrives_whatever_happens_to_dbt(seed: int, project: Project) -> None:
    TOTALS.update({f"dbt: {name}": count for name, count in play_schedule(seed, project).items()})
    TOTALS["dbt: schedules"] += 1
