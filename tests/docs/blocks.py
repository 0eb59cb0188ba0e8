"""The code blocks of README.md and docs/, and the commands and output that console blocks show.

HTML comments right before a block describe it: `<!-- not run: why -->` (it is still parsed), and `<!-- output of: command -->` for
output of a command in an earlier block. Output is compared line by line: numbers match any numbers, `…` matches anything, a line
that is only `…` matches any lines, and the rest must be equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
# docs/cli.md is the output of --help, and decisions show no commands.
PAGES = (ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "cli.md"))
OUTPUT_OF = re.compile(r"<!-- output of: (\S.*\S) -->")
NOT_RUN = re.compile(r"<!-- not run: (\S.*\S) -->")
KINDS = (NOT_RUN, OUTPUT_OF)
# An amount, a count, a time or a port: 7, 10,345, $0.95 without its sign, 2026-11-26T15:00:00Z.
NUMBER = re.compile(r"\d(?:[\d.,:T-]*\d)?Z?")
PROMPT = re.compile(r"[$#] (?=\S)")


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its fence; `not_run` and `output_of` are from its comments."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    output_of: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command with the output shown below it, None if none is shown."""

    text: str
    output: tuple[str, ...] | None
    is_root: bool


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    reason = command = None
    for token in MarkdownIt("commonmark").parse(page.read_text("utf-8")):
        if token.type == "html_block":
            reason, command = (comment[1] if (comment := kind.search(token.content)) else None for kind in KINDS)
        elif token.type == "fence":
            assert token.map is not None
            found.append(Block(page, token.map[0] + 1, token.info.strip(), token.content, reason, command))
            reason = command = None
        elif token.content.strip():
            assert not reason and not command, f"{page}: the comment belongs right before a block"
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages; all of them if none is given."""
    return [block for page in PAGES for block in blocks_of(page) if not languages or block.language in languages]


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block. A line that ends with a backslash continues on the next one."""
    commands: list[Command] = []
    lines = iter(block.text.splitlines())
    text, output, is_root = "", [""][:0], False
    for line in lines:
        if not PROMPT.match(line):
            output.append(line)
            continue
        if text:
            commands.append(_command(text, output, is_root))
        text, output, is_root = line[2:], [], line.startswith("#")
        while text.endswith("\\"):
            text += "\n" + next(lines)
    assert text, f"{block}: no command"
    return [*commands, _command(text, output, is_root)]


def _command(text: str, output: list[str], is_root: bool) -> Command:
    shown = tuple(
        output[: len(output) - next((i for i, each in enumerate(reversed(output)) if each.strip()), len(output))]
    )
    return Command(text, shown or None, is_root)


def matches(shown: tuple[str, ...], real: str) -> bool:
    """Whether output matches what is shown; see the module's docstring."""
    parts = []
    for line in shown:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        between = (re.escape(part).replace("…", ".*") for part in NUMBER.split(" ".join(line.split())))
        parts.append(NUMBER.pattern.join(between) + r"\n")
    lines = (" ".join(line.split()) for line in real.splitlines())
    return (
        re.search(r"\A(?:.*\n)*?" + "".join(parts) + r"(?:.*\n)*\Z", "".join(f"{line}\n" for line in lines)) is not None
    )
