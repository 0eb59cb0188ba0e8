"""`loader check --deep` reads everything, and compares spend logs, hours, lines and the push log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loader.audit.deep_checks import DeepChecks
from loader.config.profiles import read_target
from loader.errors import ConfigurationError
from loader.warehouse.base import open_warehouse
from tests.support.warehouse import BuiltWarehouse, Template, Usage

BLOCK = 262_144


def test_everything_is_read_and_compared(pushed: BuiltWarehouse) -> None:
    project = pushed.project
    sound = project.loader("check", "--deep")
    assert sound.code == 0, sound.out + sound.err
    for detail in ("rows can be read", "3 lines of $1.5 in 3 hours", "3 accepted hours in 1 stream(s)", "all summed"):
        assert detail in sound.out
    assert "rows can be read" not in project.loader("check").out

    project.write(
        "create table cbf.kept as select * from cbf.push_log; create table cbf.sums as select * from cbf.cbf_hours"
    )
    for change, code, said in (
        (
            "update cbf.push_log set cost_usd = 0.4 where sequence = 4",
            6,
            "push_log was changed by hand: for 2026-10-31T20",
        ),
        ("update cbf.push_log set recorded_at = null where sequence = 4", 3, "has no valid recorded_at"),
        (
            "update cbf.cbf_hours set cost_usd = 0.4 where cost_usd = 0.5",
            6,
            "cbf_lines and cbf_hours disagree on 3 hour",
        ),
        ("delete from cbf.cbf_hours", 6, "models disagree: "),
    ):
        project.write(change)
        found = project.loader("check", "--deep")
        assert found.code == code, found.out + found.err
        assert said in found.err
        assert said in found.out
        for table, kept in (("push_log", "kept"), ("cbf_hours", "sums")):
            project.write(f"delete from cbf.{table}; insert into cbf.{table} select * from cbf.{kept}")
    assert project.loader("check", "--deep").code == 0


def test_damage_that_other_commands_do_not_notice_is_found(
    template_of: Callable[[str], Template], tmp_path: Path
) -> None:
    warehouse = template_of("duckdb").copy(tmp_path)
    warehouse.put({number: [Usage("a", "0.5")] for number in range(3)})
    project, path = warehouse.project, warehouse.project.duckdb_file
    project.write(
        "create table cbf.history as select range as i, md5(range::varchar) as s from range(100000); checkpoint"
    )
    content = path.read_bytes()
    target = read_target(None, None, project.environment())

    def finds(damaged: bytes) -> bool:
        path.write_bytes(damaged)
        try:
            DeepChecks(lambda: open_warehouse(target, 0, print)).tables()
        except ConfigurationError as error:
            return "is damaged" in str(error)
        return False

    assert not finds(content)
    blocks = range(3 * 4096, len(content), BLOCK)
    found = {start for start in blocks if finds(content[: start + 4096] + b"damaged!" * 8 + content[start + 4160 :])}
    assert len(found) > len(blocks) / 2  # the others hold nothing
    assert finds(content[: len(content) // 2])

    def passes(start: int) -> bool:
        path.write_bytes(content[: start + 4096] + b"damaged!" * 8 + content[start + 4160 :])
        return project.loader("status").code == 0

    unnoticed = next(start for start in sorted(found) if passes(start))
    path.write_bytes(content[: unnoticed + 4096] + b"damaged!" * 8 + content[unnoticed + 4160 :])
    settings = {"CLOUDZERO_API_KEY": "k", "CLOUDZERO_CONNECTION_ID": "c", "CLOUDZERO_API_URL": "http://127.0.0.1:9"}
    deep = project.loader("check", "--deep", **settings)
    assert deep.code == 3
    assert "spend.duckdb is damaged (Corrupt database file" in deep.err
