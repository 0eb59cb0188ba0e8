"""One Spark session for all tests here: its start is what costs most. Without PySpark they are not collected."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.spark.project import SparkProject

if importlib.util.find_spec("pyspark") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def spark_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], SparkProject]]:
    """Makes empty projects, each a schema of its own in the one metastore that a session has."""
    settings = pytest.MonkeyPatch()
    # Hours must be UTC wherever the process runs.
    settings.setenv("TZ", "America/New_York")
    time.tzset()
    # Many small statements: what Java would gain by compiling more is less than the compiling costs.
    settings.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC")
    configuration = tmp_path_factory.mktemp("spark-conf")
    (configuration / "spark-defaults.conf").write_text("spark.sql.codegen.wholeStage false\n")
    settings.setenv("SPARK_CONF_DIR", str(configuration))
    warehouse = tmp_path_factory.mktemp("spark-warehouse")
    count = iter(range(1_000_000))

    def make() -> SparkProject:
        number = next(count)
        folder: Path = tmp_path_factory.mktemp(f"spark{number}")
        return SparkProject(folder, warehouse=warehouse, schema=f"cbf_{number}")

    yield make
    settings.undo()
    time.tzset()


@pytest.fixture
def project(spark_project: Callable[[], SparkProject]) -> SparkProject:
    """An empty project on Spark."""
    return spark_project()
