"""What values each var may have: anything else is refused before dbt runs a query."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.jinja_macros import CompilationError, Macros
from tests.support.project import ROOT


def problem(variables: dict[str, Any], **options: Any) -> str:
    """The message with which the vars are refused; empty if they are accepted."""
    try:
        Macros(variables, **options).check_vars()
    except CompilationError as error:
        return str(error)
    return ""


def test_the_list_of_vars_is_that_of_the_project_file() -> None:
    declared = yaml.safe_load((ROOT / "dbt_project.yml").read_text("utf-8"))["vars"]
    listed = Macros({}).project_vars()
    assert {name: spec["default"] for name, spec in listed.items()} == declared
    assert list(listed) == list(declared)


@pytest.mark.parametrize(
    "line",
    [
        "litellm_schema: litellm",
        "litellm_schema: 'Lite-LLM_2$'",
        "line_dimensions: []",
        "line_dimensions: [user, api_key, 'tag:env', 'metadata:cost-center']",
        "lookback_hours: 1",
        "lookback_hours: '72'",
        "load_until: 2026-02-01",  # a date, for YAML
        "load_until: '2026-02-28 23:00'",
        "rebuild_thinner_hours: true",
        "rebuild_thinner_hours: yes",
        "accept_changed: [litellm_schema, LITELLM_SPEND_LOGS]",
        "streams: {by: team, names: {research: ['0123', team-1]}}",
        "streams: {by: hash, names: [one, two]}",
        "streams: null",
        "token_tags: no",
        "user_email: hashed",
        "end_user: omitted",
        "include_providers: [' OpenAI ', bedrock]",
        "exclude_providers: []",
    ],
)
def test_valid_values_are_accepted(line: str) -> None:
    assert problem(yaml.safe_load(line)) == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('litellm_schema: "public\'; create table x(); commit; --"', "is not a valid name"),
        ('litellm_schema: "a\\"b"', "is not a valid name"),
        ('litellm_schema: "public\\n"', "is not a valid name"),
        ("litellm_schema: ''", "is not a valid name"),
        (f"litellm_schema: {'x' * 64}", "is not a valid name"),
        ("litellm_schema: 0123", "quote it"),
        ("litellm_schema: no", "quote it"),
        ("litellm_schema: null", "quote it"),
        ("line_dimensions: [no]", "quote it"),
        ("line_dimensions: [1]", "quote it"),
        ("line_dimensions: [null]", "quote it"),
        ("line_dimensions: user", "must be a list of dimensions"),
        ("line_dimensions: {user: 1}", "must be a list of dimensions"),
        ("line_dimensions: false", "must be a list of dimensions"),
        ("line_dimensions: [colour]", "is not a valid dimension"),
        ('line_dimensions: ["tag:env\\n"]', "is not valid"),
        ('line_dimensions: ["user\\n"]', "is not a valid dimension"),
        ("lookback_hours: 0", "whole number"),
        ("lookback_hours: true", "whole number"),
        ("lookback_hours: 1.5", "whole number"),
        ("lookback_hours: 72h", "whole number"),
        ('lookback_hours: "72\\n"', "whole number"),
        ("lookback_hours: 1000000000", "whole number"),
        ("lookback_hours: null", "whole number"),
        ("load_until: '2026-02-31'", "whole UTC hour"),
        ("load_until: '2026-02-01 12:30'", "whole UTC hour"),
        ('load_until: "2026-02-01\\n"', "whole UTC hour"),
        ("load_until: false", "whole UTC hour"),
        ("load_until: ''", "whole UTC hour"),
        ("rebuild_thinner_hours: 'false'", "true or false"),
        ("rebuild_thinner_hours: 1", "true or false"),
        ("accept_changed: litellm_schema", "must be a list of settings"),
        ("accept_changed: [everything]", "must be a list of settings"),
        ("streams: false", "null or a mapping"),
        ("streams: []", "null or a mapping"),
        ("streams: {by: team, names: {research: [0123]}}", "quote each team"),
        ("streams: {by: team, names: {research: [12:30]}}", "quote each team"),
        ("streams: {by: team, names: {research: [1_000]}}", "quote each team"),
        ("streams: {by: team, names: {research: [1e5, no]}}", "quote each team"),
        ("streams: {by: team, names: {research: [null]}}", "quote each team"),
        ("streams: {by: team, names: {research: [2026-01-01]}}", "quote each team"),
        ("streams: {by: provider, names: {research: [1]}}", "quote each provider"),
        ('streams: {by: hash, names: ["research\\n"]}', "is not a valid name"),
        ("streams: {by: hash, names: [no]}", "is not a valid name"),
        ("token_tags: 'no'", "true or false"),
        ("token_tags: 0", "true or false"),
        ("user_email: Hashed", "one of plain, hashed, omitted"),
        ('user_email: "plain\\n"', "one of plain, hashed, omitted"),
        ("user_email: no", "one of plain, hashed, omitted"),
        ("end_user: [plain]", "one of plain, hashed, omitted"),
        ("include_providers: openai", "must be a list of providers"),
        ("include_providers: {openai: 1}", "must be a list of providers"),
        ("exclude_providers: [true]", "quote it"),
        ("exclude_providers: ['']", "must be a list of providers"),
        ("exclude_provider: [openai]", "Did you mean exclude_providers?"),
        ("accept_change: [streams]", "Did you mean accept_changed?"),
    ],
)
def test_other_values_are_refused(line: str, message: str) -> None:
    found = problem(yaml.safe_load(line))
    assert message in found
    assert line.split(":")[0] in found


@pytest.mark.parametrize("schema", ["cbf'; drop schema cbf; --", 'c"bf', "", "cbf\n", 83])
def test_a_schema_of_the_target_that_cannot_be_used_in_sql_is_refused(schema: Any) -> None:
    assert "DBT_SCHEMA" in problem({}, schema=schema)


@pytest.mark.parametrize("database", ["lite'llm", 'a"b', "a\\b", "a\n"])
def test_a_database_that_cannot_be_used_in_sql_is_refused(database: str) -> None:
    assert "PGDATABASE" in problem({}, database=database)


def test_the_source_uses_the_same_pattern() -> None:
    text = (ROOT / "models/staging/litellm/_litellm__sources.yml").read_text("utf-8")
    schema = yaml.safe_load(text)["sources"][0]["schema"]
    assert Macros({}).name_pattern() in schema.replace("\\\\", "\\")
    assert re.fullmatch(Macros({}).name_pattern(), "public")
