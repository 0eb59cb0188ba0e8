"""Imports between the loader's packages run one way, and only loader/cloudzero imports requests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT

# From the top down: a package may import those below it and nothing above. Modules of `loader` itself are called `ground`.
LAYERS = ("cli", "service", "runs", "audit", "bucket", "delivery", "warehouse", "config", "ground")
GROUND = {"errors", "lines", "money", "hours", "stopping", "progress", "text"}
# Packages outside of the layers, and what they may import.
BESIDE = {"cloudzero": {"config", "ground"}, "sandbox": {"ground"}}
# Which layers may import them.
MAY_USE = {"cloudzero": {"cli", "service", "runs", "audit", "bucket", "delivery"}, "sandbox": {"cli"}}
MODULES = sorted((ROOT / "loader").rglob("*.py"))


def package_of(module: str) -> str:
    """`delivery` for `loader.delivery.plan`, `ground` for `loader.errors`."""
    parts = module.split(".")
    return "ground" if len(parts) == 1 or parts[1] in GROUND | {"__version__"} else parts[1]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The modules of the loader that a file imports, anywhere in the file, including imports for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "loader":
            names = [f"loader.{alias.name}" for alias in node.names] if node.module == "loader" else [str(node.module)]
            yield from ((node.lineno, name) for name in names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "loader")


def is_allowed(importer: str, target: str) -> bool:
    """Whether one package may import another."""
    if importer == target:
        return True
    if importer in BESIDE:
        return target in BESIDE[importer]
    if target in MAY_USE:
        return importer in MAY_USE[target]
    return LAYERS.index(importer) < LAYERS.index(target)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards(path: Path) -> None:
    importer = package_of(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    upwards = [f"line {line}: {name}" for line, name in imported(path) if not is_allowed(importer, package_of(name))]
    assert upwards == []


def test_an_upward_import_is_found() -> None:
    assert not is_allowed("delivery", "audit")
    assert not is_allowed("warehouse", "cloudzero")
    assert not is_allowed("delivery", "sandbox")
    assert is_allowed("cli", "sandbox")


def test_only_the_client_and_its_parts_import_requests() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "requests" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "requests")
    }
    assert {Path(name).parent.as_posix() for name in importers} == {"loader/cloudzero"}


def test_the_top_level_of_the_package_stays_small() -> None:
    files = [path for path in (ROOT / "loader").iterdir() if path.is_file()]
    assert len(files) <= 10, sorted(path.name for path in files)
