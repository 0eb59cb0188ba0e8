"""Messages that docs/operating.md and docs/reconcile.md explain are those of the code."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.blocks import ROOT

OPERATING, RECONCILE = ((ROOT / f"docs/{name}.md").read_text("utf-8") for name in ("operating", "reconcile"))
STAGING = (ROOT / "models/staging/litellm/base/base_litellm__cleaned_spend_logs.sql").read_text("utf-8")


def section(heading: str) -> str:
    """A section of docs/operating.md."""
    return OPERATING.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def messages(text: str) -> list[str]:
    """The first column of a table."""
    return [row for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE)[1:] if not row.startswith("exit code")]


@pytest.fixture(scope="module")
def texts() -> str:
    """Every piece of text in the loader's code and in the macros; a placeholder ends a piece."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "loader").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    found = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    for path in (ROOT / "macros").rglob("*.sql"):
        found += re.findall(r'"([^"\n]*)"', path.read_text("utf-8"))
    return "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [section("When `verify` differs"), section("What stopped it"), RECONCILE[RECONCILE.index("| finding |") :]],
    ids=["verify", "stopped", "reconcile"],
)
def test_the_messages_that_the_pages_explain_are_those_of_the_code(text: str, texts: str) -> None:
    shown = messages(text)
    assert len(shown) > 7
    pieces = [piece.strip() for message in shown for piece in message.split("…")]
    assert [piece for piece in pieces if piece not in texts] == []


def test_every_rejection_reason_is_explained() -> None:
    reasons = set(re.findall(r"then '(\w+)'", STAGING.split("judged as (")[1].split(" as rejection_reason")[0]))
    assert len(reasons) > 3
    explained = re.findall(r"`(\w+)`", " ".join(messages(section("Rejected requests"))))
    assert reasons - set(explained) == set()
