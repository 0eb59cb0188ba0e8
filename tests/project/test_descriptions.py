"""Everything has a description, and every var is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import ROOT, Project

Node = dict[str, Any]
IMPLEMENTATIONS = ("default__", "duckdb__", "postgres__", "spark__")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """dbt's manifest of the project, parsed without a warning."""
    project = Project(tmp_path_factory.mktemp("parse"), settings={"DBT_WRITE_JSON": "true"})
    outcome = project.dbt("--warn-error", "parse")
    assert outcome.code == 0, outcome.out
    content: Node = json.loads((project.folder / "target" / "manifest.json").read_text(encoding="utf-8"))
    return content


def project_nodes(nodes: Node, *kinds: str) -> list[Node]:
    """The project's own nodes of these kinds."""
    return [n for n in nodes.values() if n["package_name"] == "litellm_cbf" and n["resource_type"] in kinds]


def test_models_seeds_sources_and_tests_are_described(manifest: Node) -> None:
    nodes = project_nodes(manifest["nodes"], "model", "seed") + project_nodes(manifest["sources"], "source")
    nodes += [n for n in project_nodes(manifest["nodes"], "test") if "test_metadata" not in n or not n["test_metadata"]]
    assert len(nodes) > 20
    assert [n["name"] for n in nodes if not n["description"].strip()] == []
    columns = [f"{n['name']}.{c['name']}" for n in nodes for c in n["columns"].values() if not c["description"].strip()]
    assert columns == []


def test_every_column_that_a_model_has_is_described(tmp_path: Path, manifest: Node) -> None:
    project = Project(tmp_path)
    project.build()
    for node in project_nodes(manifest["nodes"], "model", "seed"):
        found = project.rows(
            f"select column_name from information_schema.columns where table_schema = 'cbf' and table_name = '{node['name']}'"
        )
        assert {name for (name,) in found} == set(node["columns"]), node["name"]


def test_macros_and_their_arguments_are_described(manifest: Node) -> None:
    """All except implementations of a dispatched macro for one engine, which its description covers."""
    macros = [m for m in project_nodes(manifest["macros"], "macro") if not m["name"].startswith(IMPLEMENTATIONS)]
    assert len(macros) > 40
    assert [m["name"] for m in macros if not m["description"].strip()] == []
    # dbt does not support descriptions of the arguments of a generic test.
    for macro in (m for m in macros if not m["name"].startswith("test_")):
        (signature,) = re.findall(rf"macro\s+{macro['name']}\(([^)]*)\)", macro["macro_sql"])
        expected = [argument.split("=")[0].strip() for argument in signature.split(",") if argument.strip()]
        assert [a["name"] for a in macro["arguments"]] == expected, macro["name"]


def test_every_var_has_a_comment_and_is_read() -> None:
    text = (ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    names = list(yaml.safe_load(text)["vars"])
    sources = "\n".join(
        p.read_text(encoding="utf-8")
        for folder in ("models", "macros", "tests/dbt")
        for p in (ROOT / folder).rglob("*.*")
    )
    for name in names:
        block = text[: text.index(f"\n  {name}:")].rsplit("\n\n", 1)[-1]
        assert "#" in block, name
        assert f"var('{name}')" in sources or f"('{name}'," in sources, name
