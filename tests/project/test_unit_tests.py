"""The project's own dbt unit tests pass with every documented value of every var."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.jinja_macros import Macros
from tests.support.project import ROOT
from tests.support.warehouse import Template

# Read before any model is built, and by no model.
NOT_READ_BY_MODELS = {"litellm_schema", "accept_changed"}
# Each var with another value than its default, so that each pair of them occurs.
ALL_CHANGED = {
    "line_dimensions": ["api_key", "tag:env"],
    "lookback_hours": 5,
    "rebuild_thinner_hours": True,
    "streams": {"by": "hash", "names": ["one", "two"]},
    "token_tags": False,
    "user_email": "omitted",
    "end_user": "omitted",
    "exclude_providers": ["openai"],
}
ALL_CHANGED_AGAIN = {
    "line_dimensions": [
        "user", "api_key", "end_user", "organization", "project", "model_group", "call_type", "agent", "metadata:x",
    ],
    "lookback_hours": 1,
    "load_until": "2024-01-15",
    "streams": {"by": "team", "names": {"research": ["0123"]}},
    "user_email": "hashed",
    "end_user": "hashed",
    "include_providers": ["anthropic"],
    "exclude_providers": ["aws"],
}  # fmt: skip


def test_every_unit_test_sets_every_var_that_a_model_can_read() -> None:
    names = set(Macros({}).project_vars()) - NOT_READ_BY_MODELS
    tests = [
        (test["name"], set(test.get("overrides", {}).get("vars", {})))
        for path in (ROOT / "models").rglob("*.yml")
        for test in yaml.safe_load(path.read_text("utf-8")).get("unit_tests", [])
    ]
    assert len(tests) > 60
    assert [name for name, given in tests if given != names] == []


@pytest.mark.parametrize(
    ("variables", "command"),
    [(ALL_CHANGED, ("build",)), (ALL_CHANGED_AGAIN, ("test", "--select", "test_type:unit"))],
    ids=["build", "unit tests"],
)
def test_dbt_succeeds_whatever_the_vars_are(
    variables: dict[str, object], command: tuple[str, ...], tmp_path: Path, template_of: Callable[[str], Template]
) -> None:
    project = template_of("duckdb").copy(tmp_path).project
    outcome = project.dbt(*command, variables=variables)
    assert "WARN=0 ERROR=0 SKIP=0" in outcome.out
