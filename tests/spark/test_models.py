"""dbt unit tests on Spark."""

from __future__ import annotations

import re

from tests.spark.project import SparkProject


def test_unit_tests_of_the_models_pass(project: SparkProject) -> None:
    project.build()
    outcome = project.dbt("test", "--select", "test_type:unit")
    (passed,) = re.findall(r"PASS=(\d+) WARN=0 ERROR=0 SKIP=0", outcome.out)
    assert int(passed) > 40
