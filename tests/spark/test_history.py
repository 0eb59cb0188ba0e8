"""Summed hours are kept on Spark as well, although it overwrites whole days."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.engines import test_history as on_all_engines
from tests.spark.project import SparkProject
from tests.support.litellm.requests import spend_log
from tests.support.project import put

pytestmark = pytest.mark.slow  # several builds each


@pytest.fixture(autouse=True)
def without_data_tests(project: SparkProject) -> None:
    """Skip data tests here: they run in test_sources, and would add a hundred small statements to each build."""
    project.data_tests = False


def test_hours_outlive_their_source_and_late_rows_are_found(project: SparkProject) -> None:
    on_all_engines.test_hours_outlive_their_source_and_late_rows_are_found(project)


def test_other_hours_of_a_day_keep_their_cost_and_dimensions(project: SparkProject) -> None:
    early = [spend_log(f"e{n}", on_all_engines.START + timedelta(hours=n), request_tags=["env:prod"]) for n in range(3)]
    put(project, early)
    project.build(variables={"line_dimensions": ["tag:env"]})
    # The first two hours are deleted from the source and the dimension is removed; hours three and four are built.
    late = [early[2], spend_log("late", on_all_engines.START + timedelta(hours=3), spend=1.0)]
    put(project, late)
    variables = {"line_dimensions": ["user"], "lookback_hours": 1, "accept_changed": ["line_dimensions"]}
    project.build(tests=True, variables=variables)
    rows = project.rows("select hour(usage_hour), tag__env, cost_usd from cbf.int_usage__hourly order by 1")
    assert rows == [
        (0, "prod", Decimal("0.002")),
        (1, "prod", Decimal("0.002")),
        (2, None, Decimal("0.002")),
        (3, None, Decimal(1)),
    ]
