"""The JSON that an engine makes of a line says, member for member and in their order, what orjson makes of its values.

The bytes can differ in one thing: DuckDB writes \\u001F where others write \\u001f.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.config.profiles import read_target
from loader.lines import Sendable
from loader.warehouse.base import open_warehouse
from tests.support.warehouse import BuiltWarehouse, Usage

AWKWARD = (
    "",
    'say "no"',
    "it's",
    "back\\slash \\u0041 \\n",
    "a/b </script> & < >",
    "tab\tline\nreturn\rfeed\fback\b\x01\x1f\x7f",
    "Grüße 北京 🤖 e\u0301 \u2028\u2029 \ufeff \U0010ffff",
    "{} [1, 2] null true 1e5 %s $1 ?",
    " spaces ",
    "1970-01-01",
)


Said = tuple[datetime, Decimal, list[tuple[str, str]]]


def said(lines: Iterable[Sendable]) -> list[Said]:
    """The hour, the USD and the members of each line, in the order of the ids."""
    found = [(line.hour, line.cost, list(json.loads(line.data).items())) for line in lines]
    return sorted(found, key=lambda each: dict(each[2])["resource/id"])


def both(warehouse: BuiltWarehouse, aliases: Sequence[str]) -> tuple[list[Said], list[Said]]:
    """All lines by either way."""
    warehouse.put({0: [Usage(f"t{n}", f"{n}.10", alias.replace("'", "''")) for n, alias in enumerate(aliases)]})
    with open_warehouse(read_target(None, None, warehouse.project.environment()), 30, print) as opened:
        return said(opened.encoded_lines()), said(opened.lines())


def test_awkward_text_is_encoded_the_same(warehouse: BuiltWarehouse) -> None:
    encoded, lines = both(warehouse, AWKWARD)
    assert encoded == lines
    aliases = {dict(members).get("resource/tag:team_alias", "") for _, _, members in encoded}
    assert len(aliases) == len(AWKWARD)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), min_size=20, max_size=60))
def test_any_text_is_encoded_the_same(warehouse: BuiltWarehouse, aliases: list[str]) -> None:
    encoded, lines = both(warehouse, aliases)
    assert encoded == lines
