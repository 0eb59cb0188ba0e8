"""The service keeps to its own OpenAPI description, whatever is sent: schemathesis makes the requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import serve_sandbox
from loader.service.request_limits import PROBES
from tests.service.service_process import BEARER, Here, serving, shows_no_secret
from tests.support.anycost import KEY, credentials
from tests.support.warehouse import Usage

# That an end needs a start, which is before it and not in the future.
BEYOND_A_SCHEMA: Any = [positive_data_acceptance]


@pytest.fixture(scope="module")
def here(template_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A service with usage, and an AnyCost behind it."""
    warehouse = template_of("duckdb").copy(tmp_path_factory.mktemp("openapi"))
    warehouse.put({number: [Usage("a", "0.1"), Usage("b", "2")] for number in range(6)})
    with pytest.MonkeyPatch.context() as patch, serve_sandbox(AnyCostSandbox(KEY)) as server:
        warehouse.project.settings = credentials(server)
        with serving(warehouse.project, patch) as running:
            yield running


@pytest.fixture(scope="module")
def description(here: Here) -> Any:
    """Its description, as it tells it."""
    return schemathesis.openapi.from_url(f"{here.url}/openapi.json", headers=BEARER)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(
    "operation",
    [
        "GET /health",
        "GET /ready",
        "GET /metrics",
        "GET /api/overview",
        "POST /cloudzero/dry-run",
        "POST /cloudzero/export",
    ],
)
def test_any_request_gets_an_answer_that_is_described(operation: str, mode: GenerationMode, description: Any) -> None:
    method, path = operation.split()
    described = description[path][method]
    if mode is GenerationMode.NEGATIVE and method == "GET":
        return  # there is nothing to get wrong
    met: set[int] = set()

    @given(case=described.as_strategy(generation_mode=mode))
    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def ask(case: schemathesis.Case[Any]) -> None:
        answer = case.call(headers=BEARER, timeout=60)  # its own 10 s are few for an export on a busy machine
        case.validate_response(answer, headers=BEARER, excluded_checks=BEYOND_A_SCHEMA)
        if mode is GenerationMode.POSITIVE and answer.status_code == 422:
            assert answer.json()["error"]["field"] in ("start_time_utc", "end_time_utc", "operation"), answer.text
        assert answer.status_code < 500
        assert shows_no_secret([answer.text])
        met.add(answer.status_code)

    ask()
    assert (met & {400, 422}) if mode is GenerationMode.NEGATIVE else (200 in met), met


def test_every_operation_says_that_a_name_or_a_site_may_be_refused(here: Here) -> None:
    for path, item in here.service.app.openapi()["paths"].items():
        for method, operation in item.items():
            assert "403" in operation["responses"], (method, path)
            assert ("401" in operation["responses"]) == (path not in PROBES), (method, path)
            assert ("503" in operation["responses"]) == (path != "/health"), (method, path)


def test_every_operation_is_asked(here: Here) -> None:
    described = {
        f"{method.upper()} {path}" for path, item in here.service.app.openapi()["paths"].items() for method in item
    }
    (asked,) = (
        mark.args[1]
        for mark in test_any_request_gets_an_answer_that_is_described.pytestmark
        if mark.args[0] == "operation"
    )
    assert described == set(asked)
