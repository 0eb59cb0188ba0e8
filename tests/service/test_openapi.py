"""The service conforms to its OpenAPI description: schemathesis generates the requests."""

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
from tests.service.service_process import BEARER, RunningService, serving, shows_no_secret
from tests.support.anycost import KEY, credentials
from tests.support.warehouse import Usage

# A schema cannot say that an end requires a start, which must be before it and not in the future.
BEYOND_A_SCHEMA: Any = [positive_data_acceptance]


@pytest.fixture(scope="module")
def running(template_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with usage, with the sandbox as destination."""
    warehouse = template_of("duckdb").copy(tmp_path_factory.mktemp("openapi"))
    warehouse.put({number: [Usage("a", "0.1"), Usage("b", "2")] for number in range(6)})
    with pytest.MonkeyPatch.context() as patch, serve_sandbox(AnyCostSandbox(KEY)) as server:
        warehouse.project.settings = credentials(server)
        with serving(warehouse.project, patch) as running:
            yield running


@pytest.fixture(scope="module")
def description(running: RunningService) -> Any:
    """The OpenAPI description, as served."""
    return schemathesis.openapi.from_url(f"{running.url}/openapi.json", headers=BEARER)


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
def test_generated_requests_get_documented_responses(operation: str, mode: GenerationMode, description: Any) -> None:
    method, path = operation.split()
    described = description[path][method]
    if mode is GenerationMode.NEGATIVE and method == "GET":
        return  # these have no parameters that could be invalid
    statuses: set[int] = set()

    @given(case=described.as_strategy(generation_mode=mode))
    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def send(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers=BEARER, timeout=60)  # the default of 10 s is short for an export on a busy machine
        case.validate_response(response, headers=BEARER, excluded_checks=BEYOND_A_SCHEMA)
        if mode is GenerationMode.POSITIVE and response.status_code == 422:
            assert response.json()["error"]["field"] in ("start_time_utc", "end_time_utc", "operation"), response.text
        assert response.status_code < 500
        assert shows_no_secret([response.text])
        statuses.add(response.status_code)

    send()
    assert (statuses & {400, 422}) if mode is GenerationMode.NEGATIVE else (200 in statuses), statuses


def test_every_operation_documents_its_common_errors(running: RunningService) -> None:
    for path, item in running.service.app.openapi()["paths"].items():
        for method, operation in item.items():
            assert "403" in operation["responses"], (method, path)
            assert ("401" in operation["responses"]) == (path not in PROBES), (method, path)
            assert ("503" in operation["responses"]) == (path != "/health"), (method, path)


def test_every_operation_is_tested(running: RunningService) -> None:
    described = {
        f"{method.upper()} {path}" for path, item in running.service.app.openapi()["paths"].items() for method in item
    }
    (tested,) = (
        mark.args[1]
        for mark in test_generated_requests_get_documented_responses.pytestmark
        if mark.args[0] == "operation"
    )
    assert described == set(tested)
