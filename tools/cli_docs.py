"""Generates docs/cli.md from the --help output of the commands."""

from __future__ import annotations

from pathlib import Path

import click

from loader.cli.main import main

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"


def render() -> str:
    """Render the page as Markdown."""
    # With the settings of the group; without them the page would list other help options than the commands have.
    context = click.Context(main, info_name="loader", terminal_width=100, **main.context_settings)
    parts = [
        "# The commands of `loader`\n\nGenerated from `--help` by `make docs`; do not edit.\n",
        _block(main.get_help(context)),
    ]
    for name, command in sorted(main.commands.items()):
        sub = click.Context(command, info_name=name, parent=context, terminal_width=100)
        parts.append(f"## loader {name}\n\n{_block(command.get_help(sub))}")
    return "\n".join(parts)


def _block(text: str) -> str:
    return "```text\n" + "\n".join(line.rstrip() for line in text.splitlines()) + "\n```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
