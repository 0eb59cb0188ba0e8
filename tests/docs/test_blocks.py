"""Blocks are found, parsed and compared as tests/docs/blocks.py says."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from apscheduler.triggers.cron import CronTrigger

from tests.docs.blocks import PAGES, ROOT, Block, all_blocks, commands_of, matches

KNOWN = {"console", "sql", "yaml", "cron", "python", "text"}


def test_every_page_is_read_and_every_block_has_a_known_language() -> None:
    assert len(PAGES) > 12
    assert len(all_blocks()) > 40
    assert {str(block): block.language for block in all_blocks() if block.language not in KNOWN} == {}


@pytest.mark.parametrize("block", all_blocks("console"), ids=str)
def test_every_command_is_valid_shell(block: Block) -> None:
    for command in commands_of(block):
        parsed = subprocess.run(["bash", "-n", "-c", command.text], capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, (str(block), parsed.stderr)


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_every_var_in_yaml_exists(block: Block) -> None:
    known = yaml.safe_load((ROOT / "dbt_project.yml").read_text("utf-8"))["vars"]
    shown = yaml.safe_load(block.text)
    assert set(shown) == {"vars"}
    assert set(shown["vars"]) <= set(known)


@pytest.mark.parametrize("block", all_blocks("cron"), ids=str)
def test_every_cron_line_is_valid(block: Block) -> None:
    for line in block.text.splitlines():
        fields, command = line.split("  ", 1)
        CronTrigger.from_crontab(fields, timezone="UTC")
        assert not re.search(r"(?<!\\)%", command), "cron ends the command at a percent sign"
        parsed = subprocess.run(["sh", "-n", "-c", command.replace("\\%", "%")], capture_output=True, check=False)
        assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize(
    ("shown", "real", "expected"),
    [
        (("Sent 72 hours, 10,345 lines.",), "Sent 3 hours, 7 lines.\n", True),
        (("Sent 72 hours, 10,345 lines.",), "Sent no hours, 7 lines.\n", False),
        (("first", "…", "last 2026-11-26T15:00:00Z"), "first\nsecond\nthird\nlast 2027-01-02T00:00:00Z\n", True),
        (("first", "last"), "first\nsecond\nlast\n", False),
        (("target …",), "target dev, duckdb\n", True),
        (("a  b",), "a b\nmore\n", True),
        (("b", "a"), "a\nb\n", False),
    ],
)
def test_output_is_compared(shown: tuple[str, ...], real: str, expected: bool) -> None:
    assert matches(shown, real) is expected
