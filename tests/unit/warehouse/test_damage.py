"""A DuckDB file that is empty, damaged, cut off, newer or of another kind is named, with what to do."""

from __future__ import annotations

import struct
from pathlib import Path

import duckdb
import pytest

from loader.config.profiles import Target
from loader.errors import ConfigurationError
from loader.warehouse.base import open_warehouse
from loader.warehouse.full_read import read_tables, require_full_length
from tests.support.project import Project

BLOCK = 262_144


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A DuckDB file with a large table, and after it a small one and free blocks."""
    path = tmp_path_factory.mktemp("damage") / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema cbf; create table cbf.push_log as select 1 as sequence")
        connection.execute("create table cbf.t as select range as i, md5(range::varchar) as s from range(200000)")
        connection.execute("checkpoint; create table cbf.u as from range(10); checkpoint")
    return path.read_bytes()


def target(path: Path) -> Target:
    return Target("dev", "duckdb", "cbf", {"path": str(path)})


def read_in_full(path: Path) -> dict[str, int]:
    with open_warehouse(target(path), 0, print) as warehouse:
        require_full_length(warehouse, path)
        return read_tables(warehouse)


def checksum(data: bytes) -> int:
    """DuckDB's checksum of a block."""
    found = 5381
    for (word,) in struct.iter_unpack("<Q", data):
        found ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return found


def newer(content: bytes) -> bytes:
    head = content[8:12] + (2000).to_bytes(8, "little") + content[20:4096]
    return checksum(head).to_bytes(8, "little") + head + content[4096:]


def test_a_sound_file_is_read_in_full(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.duckdb").write_bytes(content)
    assert read_in_full(tmp_path / "a.duckdb") == {'"cbf"."push_log"': 1, '"cbf"."t"': 200_000, '"cbf"."u"': 10}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "is empty: restore a copy with `loader restore`. Without a copy, move the file away and run"),
        ("text", "is not a DuckDB file. If LOADER_DUCKDB_PATH names the right file, restore a copy"),
        ("sqlite", "is not a DuckDB file."),
        ("zeros", "is damaged"),
        ("newer", "was written by another version of DuckDB"),
        ("first 100 bytes", "is damaged"),
        ("headers only", "is damaged"),
        ("half", "is damaged"),
        ("header overwritten", "is damaged"),
        ("without its magic bytes", "is not a DuckDB file."),
    ],
)
def test_a_file_that_cannot_be_used(kind: str, said: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not a database\n" * 1000,
            "sqlite": b"SQLite format 3\0" + b"\0" * 5000,
            "zeros": b"\0" * 20_000,
            "newer": newer(content),
            "first 100 bytes": content[:100],
            "headers only": content[:12_288],
            "half": content[: len(content) // 2],
            "header overwritten": content[:20] + b"x" * 100 + content[120:],
            "without its magic bytes": b"x" * 20 + content[20:],
        }[kind]
    )
    with pytest.raises(ConfigurationError) as raised:
        read_in_full(path)
    assert f"{path.name} {said}" in str(raised.value)
    assert "loader restore" in str(raised.value)


def test_no_block_is_damaged_unnoticed(content: bytes, tmp_path: Path) -> None:
    """Every block in use, and the end of the file."""
    path = tmp_path / "a.duckdb"
    unnoticed = []
    for start in range(3 * 4096, len(content), BLOCK):
        path.write_bytes(content[: start + 1000] + b"damaged!" * 4 + content[start + 1032 :])
        try:
            read_in_full(path)
        except ConfigurationError as error:
            assert "is damaged" in str(error), error
        else:
            unnoticed.append(start)
    assert len(unnoticed) < 4, "more than the blocks that hold nothing"


@pytest.mark.parametrize(
    "command",
    [("status",), ("push", "--window", "pending"), ("dry-run",), ("run",), ("load",), ("reconcile",)],
    ids=lambda command: command[0],
)
def test_commands_say_so_in_one_line(command: tuple[str, ...], content: bytes, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.duckdb_file.write_bytes(content[: len(content) // 2])
    settings = {
        "CLOUDZERO_API_KEY": "secret-key-0815",
        "CLOUDZERO_CONNECTION_ID": "c",
        "CLOUDZERO_API_URL": "http://127.0.0.1:9",
    }
    outcome = project.loader(*command, **settings)
    assert outcome.code == 3
    assert outcome.err.startswith(f"Error: The DuckDB file {project.duckdb_file} is damaged")
    assert outcome.err.count("\n") == 1
