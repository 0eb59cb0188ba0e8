"""Whether DuckDB cannot use a file because of the file itself, and how to go on."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

MAGIC = slice(8, 12), b"DUCK"  # duckdb.org/docs/stable/internals/storage
NEWER = re.compile(r"storage version number (\d+)|newer version of DuckDB", re.IGNORECASE)
# Texts of DuckDB's errors for a file that is damaged.
DAMAGED = re.compile(
    r"Corrupt database|not a valid DuckDB database|checksum|deserializ|replaying WAL"
    r"|Failed to (load|read) (metadata|block)|Serialization Error|invalidated because of a previous fatal",
    re.IGNORECASE,
)
TOO_SHORT = re.compile(r"Could not read (enough|all) bytes")  # also of other files
WHILE_OPENING = re.compile(r"INTERNAL Error")  # while a query runs, it is a fault of DuckDB
RESTORE = (
    "restore a copy with `loader restore`. Without a copy, move the file away and run `dbt build`, which sums what the"
    " source still has."
)


def damage(path: Path, error: duckdb.Error, is_opening: bool = False) -> str | None:
    """What is wrong with a DuckDB file, and what to do; None if the error has another cause.

    Args:
        path: the file.
        error: DuckDB's error.
        is_opening: whether it occurred while the file was opened, and not while it was read.
    """
    text = str(error)
    if NEWER.search(text):
        return (
            f"The DuckDB file {path} was written by another version of DuckDB, and {duckdb.__version__} cannot read it:"
            " install the version that wrote it, or restore a copy with `loader restore`."
        )
    is_damaged = DAMAGED.search(text) or (TOO_SHORT.search(text) and path.name in text)
    if is_damaged or (is_opening and WHILE_OPENING.search(text)):
        first_line = text.strip().splitlines()[0].rstrip(". ")
        return f"The DuckDB file {path} is damaged ({first_line}): {RESTORE}"
    return None


def not_a_database(path: Path) -> str | None:
    """What is wrong with a file that DuckDB could not open; None if it begins like a DuckDB file.

    The file must not be open in this process, because closing it would drop DuckDB's lock on it.
    """
    if not path.is_file():
        return f"{path} is not a file: set LOADER_DUCKDB_PATH to a DuckDB file."
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return f"The DuckDB file {path} is empty: {RESTORE}"
    place, magic = MAGIC
    if len(head) == 12 and head[place] != magic and any(head):
        return f"{path} is not a DuckDB file. If LOADER_DUCKDB_PATH names the right file, {RESTORE}"
    return None
