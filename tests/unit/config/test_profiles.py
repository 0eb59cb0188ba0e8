"""The dbt target: chosen as dbt does, with clear error messages, and no secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.config.profiles import read_target
from loader.errors import ConfigurationError

PROFILE = """
litellm_cbf:
  target: "{{ env_var('DBT_TARGET', 'dev') }}"
  outputs:
    dev: {type: duckdb, path: "{{ env_var('SPEND', 'spend.duckdb') }}", schema: cbf}
    postgres:
      type: postgres
      host: "{{ env_var('PGHOST') }}"
      port: "{{ env_var('PGPORT', '5432') | as_number }}"
      password: "{{ env_var('PGPASSWORD') }}"
      schema: cbf
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a profiles.yml."""
    (tmp_path / "profiles.yml").write_text(PROFILE)
    return tmp_path


def test_a_missing_profiles_file_names_the_folders_searched(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"No profiles.yml in {tmp_path}: run `make setup`"):
        read_target(str(tmp_path), None, {})


def test_an_unknown_target_lists_the_known_ones(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no target 'prod' .* it has: dev, postgres"):
        read_target(str(folder), "prod", {})


@pytest.mark.parametrize(("outputs", "known"), [("{}", "none"), ("{1: {type: a}, b: {type: c}}", "1, b")])
def test_the_known_targets_are_listed_even_with_odd_names(outputs: str, known: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text(f"litellm_cbf: {{outputs: {outputs}}}")
    with pytest.raises(ConfigurationError, match=f"no target 'default' .* it has: {known}"):
        read_target(str(tmp_path), None, {})


def test_an_unknown_profile_is_named(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no profile 'other'"):
        read_target(str(folder), None, {"DBT_PROFILE": "other"})


def test_a_missing_variable_is_an_error_only_for_the_target_that_uses_it(folder: Path) -> None:
    assert read_target(str(folder), "dev", {}).options["path"] == "spend.duckdb"
    with pytest.raises(ConfigurationError, match="environment variable PGPASSWORD, which is not set"):
        read_target(str(folder), "postgres", {"PGHOST": "h"})


@pytest.mark.parametrize("text", ["litellm_cbf: [", "a: b: password-4711", "\t- password-4711", "\x00"])
def test_invalid_yaml_is_reported_without_its_content(text: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"profiles\.yml") as caught:
        read_target(str(tmp_path), None, {})
    assert "password-4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("a: 1\nb: c: password-4711", 2), ("a: 1\nb: 2\n\tpassword: 4711", 3), ("password: 'pass-4711\n\n", 3)],
)
def test_invalid_yaml_names_the_line(text: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_target(str(tmp_path), None, {})
    assert str(caught.value) == f"{tmp_path / 'profiles.yml'}, line {number} is not valid YAML."


def test_a_file_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigurationError, match=r"profiles\.yml cannot be read: UnicodeDecodeError"):
        read_target(str(tmp_path), None, {})


@pytest.mark.parametrize(
    "template", ["{{ nope( }}", "{{ nope.name }}", "{{ env_var() }}", "{{ 'x' | nope }}", "{{ 1/0 }}"]
)
def test_an_invalid_template_is_a_configuration_error(template: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text(
        f'litellm_cbf: {{outputs: {{default: {{type: duckdb, schema: "{template}"}}}}}}'
    )
    with pytest.raises(ConfigurationError, match="template that cannot be rendered"):
        read_target(str(tmp_path), None, {})


def test_a_target_needs_type_and_schema(tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text("litellm_cbf: {outputs: {default: {type: duckdb}}}")
    with pytest.raises(ConfigurationError, match="needs a type and a schema"):
        read_target(str(tmp_path), None, {})


def test_flags_override_the_environment_which_overrides_the_profile(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "profiles.yml").write_text(PROFILE.replace("spend.duckdb", "other.duckdb"))
    environment = {"PGHOST": "h", "PGPASSWORD": "p", "DBT_TARGET": "postgres", "DBT_PROFILES_DIR": str(other)}
    assert read_target(None, None, environment).name == "postgres"
    assert read_target(None, "dev", environment).options["path"] == "other.duckdb"
    assert read_target(str(folder), "dev", environment).options["path"] == "spend.duckdb"
    assert read_target(None, "dev", {}, project_dir=folder).options["path"] == "spend.duckdb"


def test_a_password_is_passed_on_unchanged_and_not_in_the_repr(folder: Path) -> None:
    target = read_target(
        str(folder), "postgres", {"PGHOST": "h", "PGPASSWORD": "it's {{ secret }} %s", "PGPORT": "5433"}
    )
    assert target.options["password"] == "it's {{ secret }} %s"  # noqa: S105
    assert target.options["port"] == "5433"
    assert "secret" not in repr(target)


@pytest.mark.parametrize("schema", ["cbf'; drop schema cbf; --", 'c"bf', "cbf\n", "x" * 64])
def test_a_schema_that_cannot_stand_in_sql_is_refused(schema: str, tmp_path: Path) -> None:
    profiles = "litellm_cbf: {outputs: {default: {type: duckdb, path: x, schema: \"{{ env_var('DBT_SCHEMA') }}\"}}}"
    (tmp_path / "profiles.yml").write_text(profiles, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"DBT_SCHEMA. is not a valid name"):
        read_target(str(tmp_path), None, {"DBT_SCHEMA": schema})
