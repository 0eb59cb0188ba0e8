"""What was summed stays on Spark as well, though it overwrites whole days."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.engines import test_history as everywhere
from tests.spark.project import SparkProject
from tests.support.litellm.requests import spend_log
from tests.support.project import put


@pytest.fixture(autouse=True)
def without_data_tests(project: SparkProject) -> None:
    """They run on the awkward requests of test_sources; a hundred small statements more for each build say nothing new."""
    project.data_tests = False


def test_hours_outlive_their_source_and_late_rows_are_found(project: SparkProject) -> None:
    everywhere.test_hours_outlive_their_source_and_late_rows_are_found(project)


def test_a_day_keeps_its_other_hours_and_what_a_dimension_said_of_them(project: SparkProject) -> None:
    early = [spend_log(f"e{n}", everywhere.START + timedelta(hours=n), request_tags=["env:prod"]) for n in range(3)]
    put(project, early)
    project.build(variables={"line_dimensions": ["tag:env"]})
    # The source forgets the first two hours and the dimension goes; the third hour and a fourth of that day are built.
    late = [early[2], spend_log("late", everywhere.START + timedelta(hours=3), spend=1.0)]
    put(project, late)
    project.build(tests=True, variables={"line_dimensions": ["user"], "lookback_hours": 1})
    rows = project.rows("select hour(usage_hour), tag__env, cost_usd from cbf.int_usage__hourly order by 1")
    assert rows == [
        (0, "prod", Decimal("0.002")),
        (1, "prod", Decimal("0.002")),
        (2, None, Decimal("0.002")),
        (3, None, Decimal(1)),
    ]
