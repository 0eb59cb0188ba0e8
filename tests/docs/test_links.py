"""Links and anchors exist; decisions, changelog and versions have the documented form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib

from tests.docs.blocks import PAGES, ROOT

DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
ALL = (*PAGES, ROOT / "CHANGELOG.md", ROOT / "docs/cli.md", ROOT / "docs/decisions/README.md", *DECISIONS)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_links_and_anchors_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_is_in_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", (ROOT / "README.md").read_text("utf-8")))
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")} - linked == set()


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_has_a_date_and_a_status(page: Path) -> None:
    title, _, date, status = page.read_text("utf-8").splitlines()[:4]
    assert title.startswith(f"# {page.name[:3]} ")
    assert re.fullmatch(r"- Date: 20\d\d-\d\d-\d\d", date)
    assert re.fullmatch(r"- Status: (accepted|superseded by \[\d{3}\]\(\d{3}-[\w.-]+\.md\))", status)
    index = (page.parent / "README.md").read_text("utf-8")
    assert f"- [{title[2:]}]({page.name})" in index


def test_the_changelog_is_a_table_of_what_where_and_whether_it_breaks() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    tables = re.findall(
        r"^## (.*)\n\n(?:.*\n\n)?\| what \| where \| breaking \|\n\|---\|---\|---\|\n((?:\| .*\|\n)+)",
        text,
        re.MULTILINE,
    )
    assert len(tables) == text.count("\n## ")
    rows = [row.split(" | ") for _, body in tables for row in body.splitlines()]
    assert len(rows) > 15
    assert {len(row) for row in rows} == {3}
    assert all(re.match(r"(no|yes)\b|\|$", row[2]) for row in rows), "breaking: no, or yes and what to do"


def test_no_version_is_named_that_does_not_exist() -> None:
    """Until there is a release, only pyproject.toml, the image's tag and dbt_project.yml contain the project's version."""
    for page in ALL:
        assert PROJECT["version"] not in page.read_text("utf-8"), page


def test_the_python_versions_are_those_of_the_package_and_the_lock() -> None:
    ((oldest, newest),) = re.findall(r"^>=3\.(\d+),<3\.(\d+)$", PROJECT["requires-python"])
    (sentence,) = re.findall(r"with (Python .*?) and `make`", (ROOT / "README.md").read_text("utf-8"))
    assert re.findall(r"\b3\.(\d+)\b", sentence) == [str(minor) for minor in range(int(oldest), int(newest))]
    assert f"with Python 3.{oldest}\n" in (ROOT / "requirements.lock").read_text("utf-8")[:200]
