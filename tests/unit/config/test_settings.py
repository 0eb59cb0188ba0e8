"""Credentials, time zones and durations: clear error messages, and no secret shown."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest

from loader.config.settings import (
    MISSING_CREDENTIALS,
    Secret,
    parse_duration,
    read_all_credentials,
    read_credentials,
    read_dbt_vars,
    read_secret,
    read_streams,
    read_timezone,
)
from loader.errors import ConfigurationError, UsageError

CREDENTIALS = {"CLOUDZERO_API_KEY": "key-0815", "CLOUDZERO_CONNECTION_ID": "conn"}


@pytest.mark.parametrize("given", [{}, {"CLOUDZERO_API_KEY": "k"}, CREDENTIALS | {"CLOUDZERO_API_KEY": "  "}])
def test_missing_credentials(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_credentials(given)
    assert str(caught.value) == MISSING_CREDENTIALS
    assert MISSING_CREDENTIALS == (
        "CloudZero configuration missing."
        " Please set CLOUDZERO_API_KEY and CLOUDZERO_CONNECTION_ID environment variables."
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"CLOUDZERO_API_URL": "api.cloudzero.com"},
        {"CLOUDZERO_API_URL": "https://user:pass-4711@host"},
        {"CLOUDZERO_API_KEY": "key-4711 with a\nline"},
        {"CLOUDZERO_CONNECTION_ID": "../other"},
        {"CLOUDZERO_CONNECTION_ID": ".."},
        {"CLOUDZERO_API_KEY": '"key-4711"'},
        {"CLOUDZERO_API_KEY": "'key-4711'"},
        {"CLOUDZERO_API_URL": "https://api.cloudzero.com/v2"},
        {"CLOUDZERO_API_URL": "https://host/v2/connections/"},
        {"CLOUDZERO_API_URL": "https://host/#"},
        {"CLOUDZERO_API_URL": "https://host/?q="},
        {"CLOUDZERO_API_URL": "http://proxy.internal"},
        {"CLOUDZERO_API_URL": "http://10.1.2.3:8080/path"},
    ],
)
def test_invalid_credentials_are_rejected_and_not_shown(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))) as caught:
        read_credentials(CREDENTIALS | wrong)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("connection_id", "api_key"),
    [
        ("cz_api_4711abcdef", "conn_0123"),  # LiteLLM's names, swapped
        ("cz_api_4711abcdef", "something"),
        ("4711" * 16, "other"),
        ("a-key-4711", "conn-1"),
        ("a-key-4711", "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"),
        ("the-same-4711", "the-same-4711"),
    ],
)
def test_a_key_as_connection_id_is_rejected_and_not_shown(connection_id: str, api_key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(api_key, encoding="utf-8")
    ids = {"CLOUDZERO_CONNECTION_ID_TEAM": connection_id}
    for given in ({"CLOUDZERO_API_KEY": api_key}, {"CLOUDZERO_API_KEY_FILE": str(tmp_path / "key")}):
        with pytest.raises(ConfigurationError, match=r"CLOUDZERO_CONNECTION_ID_TEAM .* swapped\?") as caught:
            read_all_credentials(given | ids)
        assert "4711" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="swapped"):
        read_streams({"CLOUDZERO_API_KEY": api_key} | ids)


@pytest.mark.parametrize(
    "connection_id", ["conn_0123", "conn-1", "c", "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", "team.a"]
)
def test_connection_ids_are_not_mistaken_for_keys(connection_id: str) -> None:
    assert read_credentials(CREDENTIALS | {"CLOUDZERO_CONNECTION_ID": connection_id}).connection_id == connection_id


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://127.0.0.2", "http://[::1]:8787", "https://proxy.internal/cloudzero"]
)
def test_urls_that_are_safe(url: str) -> None:
    assert read_credentials(CREDENTIALS | {"CLOUDZERO_API_URL": url}).api_url == url


def test_plain_http_to_another_host_must_be_allowed_by_name() -> None:
    given = CREDENTIALS | {"CLOUDZERO_API_URL": "http://proxy.internal:8080", "CLOUDZERO_ALLOW_HTTP_HOST": "other"}
    with pytest.raises(ConfigurationError, match="unencrypted to proxy"):
        read_credentials(given)
    assert read_credentials(given | {"CLOUDZERO_ALLOW_HTTP_HOST": "Proxy.internal"}).api_url.startswith("http://proxy")


def test_valid_credentials() -> None:
    found = read_credentials(CREDENTIALS | {"CLOUDZERO_API_URL": "http://127.0.0.1:8787/"})
    assert (found.api_key.reveal(), found.connection_id, found.api_url) == ("key-0815", "conn", "http://127.0.0.1:8787")
    assert read_credentials(CREDENTIALS).api_url == "https://api.cloudzero.com"


@pytest.mark.parametrize("content", [b"key-0815", b"key-0815\n", b"\n key-0815 \r\n\n", b"\xef\xbb\xbfkey-0815\r\n"])
def test_a_key_is_read_from_a_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    given = {"CLOUDZERO_API_KEY_FILE": f"{tmp_path / 'key'}", "CLOUDZERO_CONNECTION_ID": "conn"}
    assert read_credentials(given).api_key.reveal() == "key-0815"
    # Compose files and Kubernetes manifests pass missing values as empty ones.
    assert read_credentials(given | {"CLOUDZERO_API_KEY": " "}).api_key.reveal() == "key-0815"
    assert read_credentials(CREDENTIALS | {"CLOUDZERO_API_KEY_FILE": ""}).api_key.reveal() == "key-0815"


@pytest.mark.parametrize("in_environment", ["key-4711", "key-4712"])
def test_a_key_set_in_both_places_is_rejected_even_if_both_are_equal(in_environment: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key-4711")
    given = CREDENTIALS | {"CLOUDZERO_API_KEY": in_environment, "CLOUDZERO_API_KEY_FILE": f"{tmp_path / 'key'}"}
    with pytest.raises(ConfigurationError) as caught:
        read_credentials(given)
    assert str(caught.value) == "CLOUDZERO_API_KEY and CLOUDZERO_API_KEY_FILE are both set: unset one of them."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: write the secret into the file."),
        (b" \n\n", "is empty: write the secret into the file."),
        (b"key-4711\xff", "cannot be read: UnicodeDecodeError."),
        (b"key-4711\nkey-4712\n", "contains spaces or characters that are not allowed in an HTTP header."),
        (b"key-4711 \xc3\xa9", "contains spaces or characters that are not allowed in an HTTP header."),
        (b"key-4711\x00", "contains spaces or characters that are not allowed in an HTTP header."),
    ],
)
def test_an_invalid_key_file_is_named_and_its_content_not_shown(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_secret({"LOADER_MASTER_KEY_FILE": f"{path}"}, "LOADER_MASTER_KEY")
    assert str(caught.value) == f"LOADER_MASTER_KEY_FILE={path} {message}"


@pytest.mark.parametrize(("name", "error"), [("none", "FileNotFoundError"), (".", "IsADirectoryError")])
def test_a_missing_key_file_is_named(name: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigurationError) as caught:
        read_credentials({"CLOUDZERO_API_KEY_FILE": f"{path}", "CLOUDZERO_CONNECTION_ID": "conn"})
    assert str(caught.value) == f"CLOUDZERO_API_KEY_FILE={path} cannot be read: {error}."


def test_a_key_file_without_a_connection_id_is_missing_credentials(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key-0815")
    with pytest.raises(ConfigurationError) as caught:
        read_credentials({"CLOUDZERO_API_KEY_FILE": f"{tmp_path / 'key'}"})
    assert str(caught.value) == MISSING_CREDENTIALS


def test_a_secret_that_is_not_set_is_none() -> None:
    assert read_secret({"OTHER": "x"}, "LOADER_MASTER_KEY") is None
    found = read_secret({"LOADER_MASTER_KEY": " sk-0815 "}, "LOADER_MASTER_KEY")
    assert found is not None
    assert found.reveal() == "sk-0815"


def test_a_secret_prints_stars_everywhere() -> None:
    secret = Secret("key-0815")
    credentials = read_credentials(CREDENTIALS)
    shown = (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        format(secret, ">20"),
        repr(credentials),
        repr([secret]),
    )
    for text in shown:
        assert "0815" not in text
        assert "***" in text


def test_a_secret_is_not_serialized_to_json() -> None:
    credentials = read_credentials(CREDENTIALS)
    with pytest.raises(TypeError) as caught:
        json.dumps(asdict(credentials))
    assert "0815" not in str(caught.value)
    assert "0815" not in json.dumps(asdict(credentials), default=str)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("0", 0), ("1.5m", 90), (" 5 s ", 5)]
)
def test_valid_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["9" * 30 + "h", "999999999999999s"])
def test_a_duration_that_overflows_is_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="is too long for a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "m", "-5m", "5d", "5m30s", "soon"])
def test_invalid_durations_are_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="90s, 15m or 2h"):
        parse_duration(text)


def test_time_zones() -> None:
    assert str(read_timezone({})) == "UTC"
    assert str(read_timezone({"CLOUDZERO_TIMEZONE": "America/New_York"})) == "America/New_York"
    for wrong in ("Mars/Olympus", "../../etc/passwd"):
        with pytest.raises(ConfigurationError, match="IANA"):
            read_timezone({"CLOUDZERO_TIMEZONE": wrong})


def test_dbt_vars_of_the_option_come_before_those_of_the_environment() -> None:
    environ = {"LOADER_VARS": "{litellm_schema: litellm, token_tags: false}"}
    assert read_dbt_vars(None, {}) == {}
    assert read_dbt_vars(" ", environ) == {"litellm_schema": "litellm", "token_tags": False}
    assert read_dbt_vars("token_tags: true", environ) == {"litellm_schema": "litellm", "token_tags": True}


@pytest.mark.parametrize("text", ["litellm_schema", "[1]", "{", "1: 2", "a: b: c"])
def test_dbt_vars_that_are_no_mapping_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--vars must be a YAML mapping"):
        read_dbt_vars(text, {})
    with pytest.raises(ConfigurationError, match="LOADER_VARS must be a YAML mapping"):
        read_dbt_vars(None, {"LOADER_VARS": text})
