"""Each data test of money in = money out fails when money is lost and when it is doubled."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.engines.test_history import START, requests
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

HOURLY, SUMMED = "cbf.int_usage__hourly", "cbf.int_usage__summed_hours"
OF_HOUR_1 = "where usage_hour = timestamp '2026-11-01 01:00:00'"
TESTS = (
    "assert_staging_keeps_every_request",
    "assert_summed_hours_equal_staging",
    "assert_hourly_equals_summed_hours",
    "assert_hourly_money_equals_staging",
    "assert_line_money_equals_hourly",
    "assert_hours_equal_lines",
    "summed_hours_have_one_row_per_grain",
    "hours_have_one_row_per_grain",
    "assert_reconciliation_equals_its_models",
)


def failed(project: Project) -> set[str]:
    """The tests that fail."""
    outcome = project.dbt("test", "--select", *TESTS, ok=False)
    found = re.findall(r"of \d+ (FAIL \d+|PASS|ERROR) (\w+)", outcome.out)
    assert {name for _, name in found} == set(TESTS), outcome.out
    assert not [name for result, name in found if result == "ERROR"], outcome.out
    return {name for result, name in found if result.startswith("FAIL")}


def test_lost_or_doubled_money_fails_a_test(project: Project) -> None:
    put(project, requests(0, 3))
    project.build()
    assert failed(project) == set()

    # An hour is doubled.
    project.write(f"insert into {HOURLY} select * from {HOURLY} {OF_HOUR_1}")
    assert failed(project) == {
        "assert_hourly_money_equals_staging",
        "assert_hourly_equals_summed_hours",
        "hours_have_one_row_per_grain",
        "assert_hours_equal_lines",
    }

    # An hour is lost; then an hour has all its requests but costs less.
    project.write(f"delete from {HOURLY} {OF_HOUR_1}")
    lost = {"assert_hourly_money_equals_staging", "assert_hourly_equals_summed_hours", "assert_hours_equal_lines"}
    assert failed(project) == lost
    project.build("--full-refresh")
    assert failed(project) == set()
    project.write(f"update {HOURLY} set cost_usd = cost_usd - 0.25 {OF_HOUR_1}")
    assert failed(project) == lost

    # The summed hours count a request twice, or omit one.
    project.build("--full-refresh")
    for change in ("+ 1", "- 1"):
        project.write(f"update {SUMMED} set request_count = request_count {change} {OF_HOUR_1}")
        assert "assert_summed_hours_equal_staging" in failed(project)
        project.write(f"update {SUMMED} set request_count = 3 {OF_HOUR_1}")


def test_history_that_the_source_no_longer_has_fails_no_test(project: Project) -> None:
    put(project, requests(0, 3))
    project.build()
    # Retention deleted a part of hours 0 and 1; a late row arrived in each; a row of hour 2 was removed.
    left = [row for row in requests(0, 3) if row["request_id"] not in {"0-5", "1-5", "1-25", "2-25"}]
    late = [spend_log(f"late-{hour}", START + timedelta(hours=hour, minutes=50), spend=9.0) for hour in range(2)]
    put(project, [*left, *late])
    project.build()
    assert failed(project) == set()
