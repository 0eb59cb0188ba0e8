"""docs/settings.md documents every setting that the code reads, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

from tests.docs.blocks import ROOT
from tools import vars_docs

PAGE = (ROOT / "docs/settings.md").read_text("utf-8")
NAME = re.compile(r"(?:(?:CLOUDZERO|LOADER|LITELLM|DBT|XDG)_|PG)[A-Z0-9_]*[A-Z0-9]")
# Read by dbt, libpq and Python, but not by this project.
OF_OTHERS = {"DBT_TARGET_PATH", "DBT_LOG_PATH", "DBT_SEND_ANONYMOUS_USAGE_STATS", "PGPASSFILE", "HOME"}
SECRETS = ("CLOUDZERO_API_KEY", "LOADER_MASTER_KEY")  # each also from a file


def first_column(heading: str) -> list[str]:
    """The names in a section's table."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def names_in_code() -> set[str]:
    """Environment variables that the loader, the profile and the models read."""
    found: set[str] = set()
    for path in (ROOT / "loader").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                found.add(node.value)
    for path in (ROOT / "profiles.example.yml", *(ROOT / "macros").rglob("*.sql"), *(ROOT / "models").rglob("*.*")):
        found |= set(re.findall(r"env_var\('(\w+)'", path.read_text("utf-8")))
    return found


def test_the_documented_variables_are_those_that_are_read() -> None:
    documented = first_column("Environment")
    assert len(documented) == len(set(documented)) > 25
    read = names_in_code() | {f"{name}_FILE" for name in SECRETS} | {"CLOUDZERO_CONNECTION_ID_<NAME>"}
    assert read - set(documented) == set()
    assert set(documented) - read == OF_OTHERS - read


def test_every_var_is_documented_with_its_default() -> None:
    declared = yaml.safe_load((ROOT / "dbt_project.yml").read_text("utf-8"))["vars"]
    assert sorted(first_column("dbt vars")) == sorted(declared)
    for name, default in declared.items():
        (shown,) = re.findall(rf"^\| `{name}` \| ([^|]*) \|", PAGE, re.MULTILINE)
        value = re.match(r"`([^`]*)`", shown)
        assert (yaml.safe_load(value[1]) if value else None) == default, name


def test_the_table_of_vars_is_generated_from_the_macro() -> None:
    assert vars_docs.render(PAGE) == PAGE, "run `make docs`"
    assert list(vars_docs.project_vars()) == first_column("dbt vars")


def test_defaults_of_variables_are_those_of_the_profile() -> None:
    profile = (ROOT / "profiles.example.yml").read_text("utf-8")
    defaults = re.findall(r"env_var\('(\w+)', '([^']*)'\)", profile)
    assert len(defaults) > 10
    for name, default in defaults:
        (shown,) = re.findall(rf"^\| `{name}` \| ([^|]*) \|", PAGE, re.MULTILINE)
        assert shown.startswith(f"`{default}`" if default else "empty"), name


def example(name: str) -> dict[str, str]:
    """The variables of an example file, also those that are commented out."""
    lines = (ROOT / "deploy" / name).read_text("utf-8").splitlines()
    pairs = [(match[1], match[2]) for line in lines if (match := re.fullmatch(r"#?([A-Z_]+)=(\S*)", line))]
    assert all(re.fullmatch(r"(#.*|[A-Z_]+=\S*|)", line) for line in lines), "Docker reads neither quotes nor export"
    return dict(pairs)


def test_the_example_files_name_documented_settings_and_no_secret_is_among_the_settings() -> None:
    settings, secrets = example("settings.env.example"), example("secrets.env.example")
    assert settings.keys() | secrets.keys() <= set(first_column("Environment"))
    assert set(secrets) == {*SECRETS, "PGPASSWORD"}
    assert not set(settings) & set(secrets)


def test_what_the_deployment_sets_is_documented() -> None:
    used: set[str] = set()
    for path in (ROOT / "deploy/systemd").glob("*.service"):
        used |= set(re.findall(r"^Environment=(\w+)=", path.read_text("utf-8"), re.MULTILINE))
    for path in (ROOT / "deploy/kubernetes").rglob("*.yaml"):
        used |= {name for name in re.findall(r"\b[A-Z]+[A-Z_]*\b", path.read_text("utf-8")) if NAME.fullmatch(name)}
    dockerfile = Path(ROOT / "Dockerfile").read_text("utf-8")
    used |= {name for name in re.findall(r"^\s+(\w+)=", dockerfile, re.MULTILINE) if NAME.fullmatch(name)}
    assert len(used) > 8
    assert used - set(first_column("Environment")) == set()
