"""What was summed stays on Spark as well, though it overwrites whole days."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from tests import test_history as everywhere
from tests.litellm.requests import spend_log
from tests.project import put
from tests.spark.project import SparkProject


def test_hours_outlive_their_source_and_late_rows_are_found(project: SparkProject) -> None:
    everywhere.test_hours_outlive_their_source_and_late_rows_are_found(project)


def test_a_run_reads_its_window_only_and_a_long_absence_leaves_no_hole(project: SparkProject) -> None:
    everywhere.test_a_run_reads_its_window_only_and_a_long_absence_leaves_no_hole(project)


def test_dimensions_can_come_and_go_without_touching_the_past(project: SparkProject) -> None:
    everywhere.test_dimensions_can_come_and_go_without_touching_the_past(project)


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
