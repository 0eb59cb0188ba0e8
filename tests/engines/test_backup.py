"""`loader backup` and `loader restore`: copies are complete, and nothing is lost by them."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from loader.sandbox.server import SandboxServer
from tests.support.anycost import credentials
from tests.support.project import Outcome, Project
from tests.support.warehouse import BuiltWarehouse, Template, Usage

TABLES = ("int_usage__hourly", "cbf_hours", "push_log", "cbf_lines")


@pytest.fixture
def pushed(template_of: Callable[[str], Template], tmp_path: Path, anycost: SandboxServer) -> BuiltWarehouse:
    """Three hours in a DuckDB file, two of them sent."""
    warehouse = template_of("duckdb").copy(tmp_path)
    warehouse.project.settings = credentials(anycost)
    warehouse.put({number: [Usage("a", "0.5")] for number in range(2)})
    assert warehouse.project.loader("push", "--window", "pending").code == 0
    warehouse.put({2: [Usage("b", "0.25")]})
    return warehouse


def contents(project: Project) -> dict[str, list[tuple[object, ...]]]:
    return {name: project.rows(f"select * from cbf.{name} order by all") for name in TABLES}


def fails(outcome: Outcome, code: int, *words: str) -> None:
    assert outcome.code == code, outcome.err
    assert outcome.err.startswith("Error: "), outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    for word in words:
        assert word in outcome.err


def test_a_copy_is_complete_and_restores_everything(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    project, copy = pushed.project, tmp_path / "copies" / "monday"
    fails(project.loader("backup", str(copy)), 2, "copies does not exist: create it first")
    copy.parent.mkdir()
    with duckdb.connect(str(project.duckdb_file), read_only=True):  # others read
        made = project.loader("backup", str(copy))
    assert made.code == 0, made.err
    assert "Copied to" in made.err
    assert "built 2026-10-31T23:00:00Z" in made.err
    assert [each.name for each in copy.parent.iterdir()] == ["monday"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    fails(project.loader("backup", str(copy)), 2, "monday exists: choose another name")

    before = contents(project)
    project.duckdb_file.chmod(0o640)
    pushed.put({3: [Usage("c", "9")]})
    assert project.loader("push", "--window", "pending").code == 0  # two hours that the copy does not know of
    restored = project.loader("restore", str(copy))
    assert restored.code == 0, restored.err
    assert contents(project) == before
    assert stat.S_IMODE(project.duckdb_file.stat().st_mode) == 0o640
    assert "Warning: " in restored.err
    assert "the push log is older than what CloudZero holds: 2 hour(s) of 2026-10" in restored.err
    assert "the first 2026-10-31T22:00:00Z" in restored.err
    (kept,) = project.folder.glob("spend.duckdb.replaced-*")
    with duckdb.connect(str(kept), read_only=True) as connection:
        assert connection.execute("select count(*) from cbf.int_usage__hourly").fetchall() == [(4,)]
    assert list(project.folder.glob("*.part*")) == []

    # Nothing is damaged by restoring it again, or by restoring the file that was replaced.
    again = project.loader("restore", str(kept))
    assert again.code == 0
    assert "the push log agrees with what CloudZero holds of" in again.err
    assert len(list(project.folder.glob("spend.duckdb.replaced-*"))) == 2


def test_it_is_said_when_the_log_cannot_be_compared(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    project, copy = pushed.project, tmp_path / "copy"
    assert project.loader("backup", str(copy)).code == 0
    for settings in ({"CLOUDZERO_API_KEY": ""}, {"CLOUDZERO_API_URL": "http://127.0.0.1:9"}):
        restored = project.loader("restore", str(copy), **settings)
        assert restored.code == 0
        assert "Warning: the push log was not compared with what CloudZero holds" in restored.err
        assert "`loader verify --month`" in restored.err


def test_a_damaged_warehouse_is_replaced_and_a_missing_one_is_created(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    project, copy = pushed.project, tmp_path / "copy"
    assert project.loader("backup", str(copy)).code == 0
    before = contents(project)
    for damaged in (b"", project.duckdb_file.read_bytes()[:100_000]):
        project.duckdb_file.write_bytes(damaged)
        Path(f"{project.duckdb_file}.wal").write_bytes(b"a log of the damaged file")
        restored = project.loader("restore", str(copy))
        assert restored.code == 0, restored.err
        assert contents(project) == before
    project.duckdb_file.unlink()
    log = Path(f"{project.duckdb_file}.wal")
    log.write_bytes(b"a log without its file")
    restored = project.loader("restore", str(copy))
    assert "The replaced file" not in restored.err
    assert not log.exists()
    assert contents(project) == before


def test_a_damaged_or_foreign_copy_replaces_nothing(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    project, copy = pushed.project, tmp_path / "copy"
    content = project.duckdb_file.read_bytes()
    with duckdb.connect(str(tmp_path / "foreign")) as connection:
        connection.execute("create table t as select 1 as i")
    middle = len(content) // 2
    for kind, said in (
        (b"", "copy is empty"),
        (b"no database" * 100, "copy is not a DuckDB file"),
        (content[:middle], "copy is damaged"),
        ((tmp_path / "foreign").read_bytes(), "copy is not a warehouse of this project"),
    ):
        copy.write_bytes(kind)
        fails(project.loader("restore", str(copy)), 3, said)
        assert project.duckdb_file.read_bytes() == content
    fails(project.loader("restore", str(tmp_path / "nothing")), 2, "nothing does not exist")
    fails(project.loader("restore", str(project.duckdb_file)), 2, "is the warehouse itself")
    assert list(project.folder.glob("*replaced*")) == list(project.folder.glob("*.part*")) == []

    project.duckdb_file.write_bytes(content[:middle])
    fails(project.loader("backup", str(tmp_path / "new")), 3, "spend.duckdb is damaged")
    assert not (tmp_path / "new").exists()


def test_neither_works_while_the_file_is_written_and_restore_waits_for_readers(
    pushed: BuiltWarehouse, tmp_path: Path
) -> None:
    project, copy = pushed.project, tmp_path / "copy"
    shutil.copy(project.duckdb_file, copy)
    with duckdb.connect(str(project.duckdb_file)):
        for command in ("backup", "restore"):
            file = tmp_path / "new" if command == "backup" else copy
            fails_locked(project.loader(command, str(file), "--lock-timeout", "1s"))
    with duckdb.connect(str(project.duckdb_file), read_only=True):
        fails_locked(project.loader("restore", str(copy), "--lock-timeout", "1s"))
    assert project.loader("restore", str(copy)).code == 0


def fails_locked(outcome: Outcome) -> None:
    assert outcome.code == 6, outcome.err
    assert "is still in use" in outcome.err.splitlines()[-1]


def test_a_link_to_the_file_stays_a_link(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    project, copy = pushed.project, tmp_path / "copy"
    assert project.loader("backup", str(copy)).code == 0
    link = tmp_path / "link" / "spend.duckdb"
    link.parent.mkdir()
    link.symlink_to(project.duckdb_file)
    assert project.loader("restore", str(copy), LOADER_DUCKDB_PATH=str(link)).code == 0
    assert link.is_symlink()
    assert len(list(project.folder.glob("spend.duckdb.replaced-*"))) == 1


def test_what_is_only_in_the_write_ahead_log_is_copied(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    """As a process leaves it that was killed after a commit."""
    project, by_hand = pushed.project, tmp_path / "by_hand"
    killed = (
        "import duckdb, os, sys; opened = duckdb.connect(sys.argv[1]);"
        " opened.execute('create table cbf.late as select 7 as i'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(project.duckdb_file)], check=False)
    log = Path(f"{project.duckdb_file}.wal")
    assert log.exists()
    shutil.copy(project.duckdb_file, by_hand)
    shutil.copy(log, f"{by_hand}.wal")
    assert project.loader("backup", str(tmp_path / "copy")).code == 0
    for copy in (tmp_path / "copy", by_hand):
        project.duckdb_file.write_bytes(b"")
        assert project.loader("restore", str(copy)).code == 0
        assert project.rows("select i from cbf.late") == [(7,)]
        assert not log.exists()


def test_a_copy_works_under_another_file_name(pushed: BuiltWarehouse, tmp_path: Path) -> None:
    project, copy, other = pushed.project, tmp_path / "copy", str(tmp_path / "other.duckdb")
    assert project.loader("backup", str(copy)).code == 0
    assert project.loader("restore", str(copy), LOADER_DUCKDB_PATH=other).code == 0
    assert project.loader("dry-run", LOADER_DUCKDB_PATH=other).out == project.loader("dry-run").out


@pytest.mark.parametrize("type_of_target", ["postgres", "spark"])
def test_other_targets_have_their_own_tools(type_of_target: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    profile = "litellm_cbf: {target: it, outputs: {it: {type: %s, schema: cbf, host: /nowhere, dbname: x, user: u}}}"
    (project.profiles / "profiles.yml").write_text(profile % type_of_target, "utf-8")
    for command, tool in (("backup", "pg_dump --format=custom --schema=cbf"), ("restore", "pg_restore --clean")):
        expected = tool if type_of_target == "postgres" else "use its own tools"
        fails(project.loader(command, str(tmp_path / "file"), DBT_TARGET="it"), 3, expected)
