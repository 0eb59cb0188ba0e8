"""docs/architecture.md names files that exist, each once, and every module of the loader."""

from __future__ import annotations

import re
from collections import Counter

from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "architecture.md"


def named_paths() -> Counter[str]:
    """The paths in the first column of the page's tables."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    return Counter(path for row in rows for path in re.findall(r"`([\w./]+)`", row))


def test_each_file_exists_and_is_named_once() -> None:
    paths = named_paths()
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path, count in paths.items() if count > 1] == []


def test_no_module_of_the_loader_and_no_folder_of_macros_is_missing() -> None:
    modules = {path for path in (ROOT / "loader").rglob("*.py") if path.name != "__init__.py"}
    macros = {path for path in (ROOT / "macros").rglob("*") if path.is_dir()}
    present = {str(path.relative_to(ROOT)) + ("/" if path.is_dir() else "") for path in modules | macros}
    assert present - set(named_paths()) == set()
