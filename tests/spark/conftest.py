"""One Spark session for all tests of this folder, because starting it is slow. Not collected without PySpark."""

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
    """Creates empty projects, each with its own schema in the metastore of the session."""
    settings = pytest.MonkeyPatch()
    # Hours must be UTC whatever the time zone of the process.
    settings.setenv("TZ", "America/New_York")
    time.tzset()
    # For many small statements, more optimization by the JIT compiler costs more than it gains.
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
