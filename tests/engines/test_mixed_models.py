"""After a run of dbt that failed or built a part of the models, nothing is sent, and every command says why."""

from __future__ import annotations

from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials, stored_months
from tests.support.warehouse import BuiltWarehouse, Usage

MIXED = "The models are not of one run of dbt: "


def test_nothing_is_sent_after_a_run_that_failed_or_was_partial(
    warehouse: BuiltWarehouse, anycost: SandboxServer
) -> None:
    project = warehouse.project
    project.settings = credentials(anycost)
    warehouse.put({0: [Usage("a", "1.5")]})
    project.dbt("run", "--select", "int_usage__hourly")
    pushed = project.loader("push", "--window", "pending")
    assert pushed.code == 6
    assert pushed.err.startswith(f"Error: {MIXED}int_usage__hourly was built after cbf_hours.")
    assert stored_months(anycost) == {}
    status = project.loader("status", "--fail-if-behind", "100000000h")
    assert status.code == 6
    assert f"Warning: {MIXED}" in status.err

    failed = project.dbt(
        "run", "--select", "cbf_lines+", "--exclude", "cbf_as_of", variables={"exclude_providers": ["nobody"]}, ok=False
    )
    assert "'nobody' is not a known provider" in failed.out
    assert f"{MIXED}the last run that was to build cbf_lines did not build it" in project.loader("dry-run").err

    project.dbt("run")
    assert project.loader("push", "--window", "pending").code == 0
    assert set(stored_months(anycost)) == {"2026-10"}
