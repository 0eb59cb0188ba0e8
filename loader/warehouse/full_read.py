"""Reads every value of every table, which finds damage that commands do not notice as long as they read other parts."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from loader.errors import ConfigurationError
from loader.warehouse.base import Warehouse, quoted
from loader.warehouse.damage import RESTORE

HEADERS = 3 * 4096  # bytes before the first block of a DuckDB file
# Tables of the project, for engines whose catalog is not read.
TABLES = (
    "base_litellm__billed_jobs",
    "int_usage__hourly",
    "int_usage__rejected_hours",
    "cbf_hours",
    "cbf_as_of",
    "push_log",
)


def read_tables(warehouse: Warehouse) -> dict[str, int]:
    """Read all tables in full: of a DuckDB file all, of a database those of the target's schema.

    Returns:
        The number of rows of each table.

    Raises:
        ConfigurationError: a table is damaged or cannot be read.
    """
    return {table: _read(warehouse, table, columns) for table, columns in _tables(warehouse).items()}


def require_full_length(warehouse: Warehouse, path: Path) -> None:
    """Fail if a DuckDB file is too short for its blocks. Free blocks at its end may be missing: DuckDB cuts them off.

    Args:
        warehouse: the open file.
        path: its path.

    Raises:
        ConfigurationError: it is too short.
    """
    statement = (
        "select cast(block_size as bigint), cast(used_blocks as bigint) from pragma_database_size()"
        " where database_name = current_database()"
    )
    for block_size, used_blocks in warehouse.rows(statement):
        if path.stat().st_size < HEADERS + block_size * used_blocks:
            raise ConfigurationError(f"The DuckDB file {path} is damaged (its end is missing): {RESTORE}")


def _tables(warehouse: Warehouse) -> dict[str, list[str]]:
    """The columns of each table, by its quoted name."""
    if warehouse.target.type not in ("duckdb", "postgres"):
        return {warehouse.relation(name): warehouse.column_names(name) for name in TABLES}
    only = "" if warehouse.target.type == "duckdb" else f"and tables.table_schema = {warehouse.placeholder}"
    statement = f"""
        select tables.table_schema, tables.table_name, columns.column_name
        from information_schema.tables as tables
        inner join information_schema.columns as columns
            on
                tables.table_catalog = columns.table_catalog
                and tables.table_schema = columns.table_schema
                and tables.table_name = columns.table_name
        where tables.table_type = 'BASE TABLE' and tables.table_catalog = current_database() {only}
        order by tables.table_schema, tables.table_name, columns.ordinal_position
    """  # noqa: S608
    found: dict[str, list[str]] = defaultdict(list)
    for schema, table, column in warehouse.rows(statement, (warehouse.target.schema,) if only else ()):
        found[f"{quoted(schema)}.{quoted(table)}"].append(column)
    return found


def _read(warehouse: Warehouse, table: str, columns: list[str]) -> int:
    # The cast keeps the engine from answering with statistics, without reading a value.
    values = "".join(f", max(cast({warehouse.quoted(column)} as {warehouse.text_type}))" for column in columns)
    for count, *_ in warehouse.rows(f"select count(*){values} from {table}"):  # noqa: S608
        return int(count)
    return 0
