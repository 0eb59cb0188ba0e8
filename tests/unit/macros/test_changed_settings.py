"""Which changes of a setting stop a run until they are accepted, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.jinja_macros import CompilationError, Macros


def changes(before: str, now: str, accept: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """The message of a run that is stopped, or empty; and each change in words."""
    remembered = Macros(yaml.safe_load(before) or {}, "postgres").effective_settings()
    macros = Macros((yaml.safe_load(now) or {}) | {"accept_changed": list(accept)}, "postgres")
    settings = macros.effective_settings()
    found: list[dict[str, Any]] = [
        {"name": name, "before": remembered[name], "now": value} | macros.effect_of_change(name, remembered, settings)
        for name, value in settings.items()
        if remembered[name] != value
    ]
    try:
        macros.require_accepted(found)
    except CompilationError as error:
        return str(error), [macros.describe_change(change) for change in found]
    return "", [macros.describe_change(change) for change in found]


STOPPED = [
    ("litellm_schema: litellm", "", "litellm_schema"),
    ("exclude_providers: [openai]", "", "exclude_providers"),
    ("exclude_providers: [openai, aws]", "exclude_providers: [aws]", "exclude_providers"),
    ("exclude_providers: [openai]", "exclude_providers: [aws]", "exclude_providers"),
    ("include_providers: [aws]", "", "include_providers"),
    ("include_providers: [aws]", "include_providers: [aws, gcp]", "include_providers"),
    ("user_email: omitted", "", "user_email"),
    ("user_email: omitted", "user_email: hashed", "user_email"),
    ("end_user: hashed", "", "end_user"),
    ("line_dimensions: []", "", "line_dimensions"),
    ("line_dimensions: [user]", "line_dimensions: [user, end_user]", "line_dimensions"),
]
APPLIED = [
    ("", "exclude_providers: [openai]"),
    ("include_providers: [aws, gcp]", "include_providers: [gcp]"),
    ("", "include_providers: [gcp]"),
    ("", "user_email: hashed"),
    ("user_email: hashed", "user_email: omitted"),
    ("end_user: hashed", "{end_user: hashed, line_dimensions: [user, end_user]}"),
    ("", "line_dimensions: [user, 'tag:env']"),
    ("", "token_tags: false"),
    ("", "lookback_hours: 24"),
    ("", "streams: {by: hash, names: [a, b]}"),
    ("streams: {by: hash, names: [a, b]}", ""),
]


@pytest.mark.parametrize(("before", "now", "name"), STOPPED)
def test_a_change_that_reads_another_source_or_sends_more_stops_until_it_is_accepted(
    before: str, now: str, name: str
) -> None:
    message, described = changes(before, now)
    assert message.startswith("Settings differ from those of the last run: ")
    assert f"--accept-changed {name} (loader run, loader load)" in message
    assert f"accept_changed: [{name}]" in message
    assert changes(before, now, accept=(name,)) == ("", described)
    assert changes(before, now, accept=("streams",))[0] == message


@pytest.mark.parametrize(("before", "now"), APPLIED)
def test_other_changes_are_described_and_applied(before: str, now: str) -> None:
    message, described = changes(before, now)
    assert message == ""
    assert len(described) == 1
    assert " was " in described[0]
    assert " and is now " in described[0]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("exclude_providers: [openai, aws]", "exclude_providers: [' AWS', OpenAI]"),
        ("line_dimensions: [user, api_key]", "line_dimensions: [api_key, user]"),
        ("lookback_hours: '72'", ""),
        ("", "{rebuild_thinner_hours: true, load_until: '2026-02-01'}"),
    ],
)
def test_the_same_settings_in_other_words_are_no_change(before: str, now: str) -> None:
    assert changes(before, now) == ("", [])


def test_all_changes_that_must_be_accepted_are_named_at_once() -> None:
    message, _ = changes("{user_email: omitted, exclude_providers: [openai]}", "")
    assert "--accept-changed user_email --accept-changed exclude_providers" in message


def test_files_are_a_source_too_and_the_schema_is_none_then() -> None:
    assert set(Macros({}, "postgres").effective_settings()) ^ set(Macros({}).effective_settings()) == {
        "litellm_schema",
        "LITELLM_SPEND_LOGS",
    }
    message = Macros({}).effect_of_change("LITELLM_SPEND_LOGS", {}, {})
    assert message["needs_acceptance"]
