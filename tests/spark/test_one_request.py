"""What one request is, by the same rules as on DuckDB and PostgreSQL."""

from __future__ import annotations

import pytest

from tests.engines import test_one_request as on_all_engines
from tests.spark.project import SparkProject


@pytest.fixture(autouse=True)
def without_data_tests(project: SparkProject) -> None:
    """Skip data tests here, which would add a hundred small statements to each build."""
    project.data_tests = False


@pytest.mark.slow
def test_polls_of_a_batch_count_once_however_late_and_beside_their_twin(project: SparkProject) -> None:
    on_all_engines.test_polls_of_a_batch_count_once_however_late_and_beside_their_twin(project)


def test_whole_seconds_are_merged_and_other_requests_are_not(project: SparkProject) -> None:
    on_all_engines.test_whole_seconds_are_merged_and_other_requests_are_not(project)
