"""Which variables reach dbt."""

from __future__ import annotations

import inspect
import re

import pytest
from dbt.cli import params

from loader.runs.dbt_environment import CHANGE_WHAT_IS_BUILT, environment_of_dbt

# dbt's own variables that change where dbt runs, how it reports, or how fast it is.
HARMLESS = frozenset(
    {
        "CACHE_SELECTED_ONLY",
        "CLEAN_PROJECT_FILES_ONLY",
        "DEBUG",
        "EXPORT_SAVED_QUERIES",
        "FAIL_FAST",
        "FULL_REFRESH",
        "HOST",
        "INCLUDE_SAVED_QUERY",
        "LOG_CACHE_EVENTS",
        "LOG_FORMAT",
        "LOG_FORMAT_FILE",
        "LOG_LEVEL",
        "LOG_LEVEL_FILE",
        "LOG_FILE_MAX_BYTES",
        "LOG_PATH",
        "MACRO_DEBUGGING",
        "NO_PRINT",
        "PARTIAL_PARSE",
        "PARTIAL_PARSE_FILE_DIFF",
        "PARTIAL_PARSE_FILE_PATH",
        "POPULATE_CACHE",
        "PRINT",
        "PRINTER_WIDTH",
        "PROFILE",
        "PROFILES_DIR",
        "PROJECT_DIR",
        "QUIET",
        "SEND_ANONYMOUS_USAGE_STATS",
        "SHOW_RESOURCE_REPORT",
        "SINGLE_THREADED",
        "SQLPARSE",
        "STATIC_PARSER",
        "STORE_FAILURES",
        "TARGET",
        "TARGET_PATH",
        "UPLOAD_TO_ARTIFACTS_INGEST_API",
        "USE_COLORS",
        "USE_COLORS_FILE",
        "USE_EXPERIMENTAL_PARSER",
        "USE_FAST_TEST_EDGES",
        "VERSION_CHECK",
        "WARN_ERROR",
        "WARN_ERROR_OPTIONS",
        "WRITE_JSON",
    }
)


def test_every_variable_of_dbt_is_known() -> None:
    found = re.findall(r'envvar="DBT_(?:ENGINE_)?(\w+)"', inspect.getsource(params))
    assert len(found) > 50
    assert set(found) <= HARMLESS | CHANGE_WHAT_IS_BUILT
    assert not HARMLESS & CHANGE_WHAT_IS_BUILT


@pytest.mark.parametrize("name", ["DBT_EMPTY", "DBT_ENGINE_EMPTY", "DBT_RESOURCE_TYPES", "DBT_SAMPLE", "DBT_STATE"])
def test_what_makes_dbt_build_less_is_left_out_and_named(name: str) -> None:
    environ = {name: "1", "DBT_TARGET": "dev", "DBT_ENV_SECRET_X": "y", "PGHOST": "h", "CLOUDZERO_API_KEY": "k"}
    seen, changing = environment_of_dbt(environ)
    assert seen == {"DBT_TARGET": "dev", "DBT_ENV_SECRET_X": "y", "PGHOST": "h"}
    assert changing == [name]


def test_an_empty_variable_is_not_worth_a_message() -> None:
    assert environment_of_dbt({"DBT_EMPTY": ""}) == ({}, [])
