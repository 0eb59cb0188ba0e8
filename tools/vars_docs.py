"""Generates the table of dbt vars in docs/settings.md from the macro project_vars."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2.sandbox import SandboxedEnvironment

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"
MACRO = ROOT / "macros" / "vars" / "project_vars.sql"
HEAD = "| var | default | form | what it does |\n|---|---|---|---|\n"


def project_vars() -> dict[str, dict[str, Any]]:
    """What the macro returns."""
    found: list[dict[str, dict[str, Any]]] = []
    environment = SandboxedEnvironment(extensions=["jinja2.ext.do"])
    environment.globals["return"] = found.append
    environment.from_string(MACRO.read_text(encoding="utf-8")).module.project_vars()  # type: ignore[attr-defined]
    return found[0]


def render(page: str) -> str:
    """The page with the table as the macro has it."""
    rows = [
        f"| `{name}` | {_default(spec['default'])} | {spec['form']} | {spec['meaning']} |\n"
        for name, spec in project_vars().items()
    ]
    return re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: HEAD + "".join(rows), page)


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"`[{', '.join(value)}]`"
    return f"`{str(value).lower()}`"


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
