"""Vars include_providers, exclude_providers and streams: the names that they accept, and what each name covers."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.support.litellm.requests import spend_log
from tests.support.project import ROOT, Project, put

# The tests share a warehouse, which would otherwise refuse to send more providers than the test before.
ACCEPTED = {"accept_changed": ["include_providers", "exclude_providers"]}
START = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
PROVIDERS = (
    "openai", "bedrock", "bedrock_converse", "sagemaker_chat", "azure", "azure_ai", "azure_text", "vertex_ai",
    "vertex_ai_beta", "anthropic", "my_own",
)  # fmt: skip


@pytest.fixture(scope="module")
def usage(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One request of each provider, on DuckDB."""
    project = Project(tmp_path_factory.mktemp("providers"))
    put(project, [spend_log(f"r-{name}", START, custom_llm_provider=name, spend=1.0) for name in PROVIDERS])
    project.build()
    return project


def sent(project: Project, **variables: Any) -> set[str]:
    project.dbt("run", "--select", "cbf_lines", variables=variables | ACCEPTED)
    return {name for (name,) in project.rows('select "resource/tag:provider" from cbf.cbf_lines')}


EVERYTHING = {
    "openai", "aws", "bedrock-converse", "sagemaker-chat", "azure", "azure-text", "gcp", "vertex-ai-beta", "anthropic",
    "my-own",
}  # fmt: skip
AWS, AZURE, GCP = {"aws", "bedrock-converse", "sagemaker-chat"}, {"azure", "azure-text"}, {"gcp", "vertex-ai-beta"}


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        (["AWS"], AWS),
        (["bedrock"], AWS),
        (["sagemaker-chat"], AWS),
        (["gcp", "Azure_AI"], GCP | AZURE),
        ([" OpenAI ", "my_own"], {"openai", "my-own"}),  # my_own is not in the seed, but in the data
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_name_covers_every_provider_on_the_same_bill(names: list[str], gone: set[str], usage: Project) -> None:
    assert sent(usage, exclude_providers=names) == EVERYTHING - gone


def test_include_providers_accepts_the_same_names(usage: Project) -> None:
    assert sent(usage, include_providers=["vertex_ai", "bedrock_converse"]) == GCP | AWS
    assert sent(usage, include_providers=["vertex_ai", "aws"], exclude_providers=["sagemaker"]) == GCP


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("exclude_providers", ["openai", "bedrok"], "'bedrok' is not a known provider. It must be one of: "),
        ("include_providers", [""], "is not valid: ''. It must be a list of providers"),
        ("exclude_providers", "openai", "It must be a list of providers"),
        ("include_providers", {"openai": 1}, "It must be a list of providers"),
        ("exclude_providers", [True], "True is not text"),
    ],
)
def test_an_unknown_name_stops_the_run(variable: str, value: Any, message: str, usage: Project) -> None:
    outcome = usage.dbt("run", "--select", "cbf_lines", variables={variable: value} | ACCEPTED, ok=False)
    assert outcome.code in (1, 2)  # 2 if dbt already fails when it parses
    assert f"var {variable}" in outcome.out
    assert message in outcome.out
    if "one of" in message:
        assert "bedrock_converse" in outcome.out


def streams(usage: Project, names: Any, by: str = "provider", ok: bool = True) -> str:
    split = {"by": by, "names": names}
    return usage.dbt("run", "--select", "cbf_lines", variables={"streams": split} | ACCEPTED, ok=ok).out


def test_streams_by_provider_accept_the_same_names(usage: Project) -> None:
    streams(usage, {"amazon": ["bedrock"], "rest": ["OpenAI", "azure"]})
    found = usage.rows('select stream, "resource/tag:provider" from cbf.cbf_lines')
    assert {name for stream, name in found if stream == "amazon"} == AWS
    assert {name for stream, name in found if stream == "rest"} == AZURE | {"openai"}
    assert "'bedrok' is not a known provider" in streams(usage, {"amazon": ["bedrok"]}, ok=False)
    assert "is in two streams" in streams(usage, {"a": ["bedrock"], "b": ["sagemaker"]}, ok=False)


@pytest.mark.parametrize("value", ["0123", "12:30", "no", "null", "2026-01-01"])
def test_stream_values_that_yaml_does_not_read_as_text_are_rejected(value: str, usage: Project) -> None:
    command = ("run", "--select", "cbf_lines", "--vars", f"streams: {{by: team, names: {{research: [{value}]}}}}")
    outcome = usage.dbt(*command, ok=False)
    assert outcome.code in (1, 2)  # 2 if dbt already fails when it parses
    assert "quote each team" in outcome.out


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("exclude_provider", "exclude_providers"),
        ("exclude-providers", "exclude_providers"),
        ("exlcude_providers", "exclude_providers"),
        ("line_dimension", "line_dimensions"),
        ("litellm_shema", "litellm_schema"),
        ("litellmschema", "litellm_schema"),
        ("lookback_hour", "lookback_hours"),
    ],
)
def test_a_misspelled_var_stops_the_run(wrong: str, right: str, usage: Project) -> None:
    outcome = usage.dbt("run", "--select", "cbf_lines", variables={wrong: ["openai"]}, ok=False)
    assert outcome.code != 0
    assert f"There is no var {wrong}, and dbt would ignore it. Did you mean {right}?" in outcome.out


def test_vars_of_other_packages_are_left_alone(usage: Project) -> None:
    others = {"stream": "x", "schema": "y", "providers": ["z"], "email": 1}
    usage.dbt("run", "--select", "cbf_lines", variables=others | ACCEPTED)


@pytest.mark.parametrize("wrong", ["exclude_provider", "line_dimension", "exclude-providers"])
def test_a_misspelled_var_in_the_project_file_stops_the_run(wrong: str, usage: Project, tmp_path: Path) -> None:
    for name in ("models", "macros", "seeds", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    (tmp_path / "dbt_project.yml").write_text(f"{text}  {wrong}: [openai]\n", encoding="utf-8")
    outcome = usage.dbt("run", "--select", "cbf_lines", "--project-dir", str(tmp_path), ok=False)
    assert outcome.code != 0
    assert f"There is no var {wrong}, and dbt would ignore it." in outcome.out
