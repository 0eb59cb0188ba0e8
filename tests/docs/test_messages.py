"""Messages that docs/operating.md explains are those of the code."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs/operating.md").read_text("utf-8")


def messages(heading: str) -> list[str]:
    """The first column of a section's table."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [row for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[1:] if not row.startswith("exit code")]


@pytest.fixture(scope="module")
def texts() -> str:
    """Every piece of text in the loader's code; a placeholder ends a piece."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "loader").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize("heading", ["When `verify` differs", "What stopped it"])
def test_the_code_says_what_the_page_explains(heading: str, texts: str) -> None:
    shown = messages(heading)
    assert len(shown) > 7
    pieces = [piece.strip() for message in shown for piece in message.split("…")]
    assert [piece for piece in pieces if piece not in texts] == []
