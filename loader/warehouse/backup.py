"""Copies a DuckDB warehouse to a file, and puts such a copy in the warehouse's place. Every copy is read in full first.

The file is copied byte by byte, so that it keeps everything: views, indexes, free space. Another database has better
tools of its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from loader.config.profiles import Target
from loader.errors import ConfigurationError, LockedError, UsageError
from loader.warehouse.base import first_line, open_warehouse
from loader.warehouse.damage import damage, not_a_database
from loader.warehouse.duckdb import DuckDBWarehouse
from loader.warehouse.full_read import read_tables, require_full_length

PG_DUMP = "pg_dump --format=custom --schema={schema} --file=FILE DATABASE"
PG_RESTORE = "pg_restore --clean --if-exists --dbname=DATABASE FILE"


@dataclass(frozen=True)
class Contents:
    """What a copy holds: rows by table, and when its models were built (UTC)."""

    tables: dict[str, int]
    built_at: datetime

    def __str__(self) -> str:
        rows = sum(self.tables.values())
        return f"{len(self.tables)} tables with {rows:,} rows, built {self.built_at:%Y-%m-%dT%H:%M:%SZ}"


def require_duckdb(target: Target, database_command: str) -> Path:
    """The path of the target's DuckDB file.

    Args:
        target: the dbt target.
        database_command: what does the same in PostgreSQL; `{schema}` is replaced by the schema.

    Raises:
        ConfigurationError: the target is not a DuckDB file.
    """
    if target.type == "duckdb":
        return Path(str(target.options.get("path", "")))
    how = f"use `{database_command.format(schema=target.schema)}`" if target.type == "postgres" else "use its own tools"
    raise ConfigurationError(
        f"Only DuckDB files are copied by the loader, and target {target.name!r} is of type {target.type}: {how}. See"
        " docs/operating.md."
    )


def back_up(target: Target, destination: Path, lock_timeout: float, say: Callable[[str], None]) -> Contents:
    """Copy the warehouse to a new file, while others may read it.

    Args:
        target: the dbt target.
        destination: the file to create; only this user may read it.
        lock_timeout: seconds to wait while another process writes to the warehouse.
        say: called with a message for the user when it has to wait.

    Raises:
        UsageError: the file exists already, or its folder does not.
        ConfigurationError: the target is not a DuckDB file, the warehouse is damaged, or the copy cannot be written.
        LockedError: the warehouse is still locked after `lock_timeout`.
    """
    path = require_duckdb(target, PG_DUMP)
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{destination} exists: choose another name, such as one with the date.")
    if not destination.parent.is_dir():
        raise UsageError(f"The folder {destination.parent} does not exist: create it first.")
    with _temporary_file(destination) as copy:
        with open_warehouse(target, lock_timeout, say):  # which keeps writers out
            _copy(path, copy)
        contents = _checked(copy, path, target)
        with _errors_of(destination):
            copy.rename(destination)
            _sync(destination.parent)
    return contents


def put_back(
    target: Target, source: Path, lock_timeout: float, say: Callable[[str], None], now: datetime
) -> tuple[Contents, Path | None]:
    """Replace the warehouse by a copy, after reading the copy in full. The replaced file is kept.

    Args:
        target: the dbt target.
        source: the copy.
        lock_timeout: seconds to wait while another process uses the warehouse.
        say: called with a message for the user when it has to wait.
        now: the current time (UTC), for the name of the replaced file.

    Returns:
        What the warehouse now holds, and the path of the replaced file; None if there was none.

    Raises:
        UsageError: the copy does not exist, or is the warehouse itself.
        ConfigurationError: the target is not a DuckDB file, the copy is damaged or holds no warehouse, or a file cannot
            be written. Nothing was replaced.
        LockedError: the warehouse is still in use after `lock_timeout`.
    """
    path = require_duckdb(target, PG_RESTORE)
    place = path.resolve()
    if not source.is_file():
        raise UsageError(f"{source} does not exist, or is not a file.")
    if place.exists() and place.samefile(source):
        raise UsageError(f"{source} is the warehouse itself: give the copy that is to replace it.")
    with _temporary_file(place) as copy:
        _copy(source, copy)
        contents = _checked(copy, source, target)
        kept = _free_name(place.with_name(f"{place.name}.replaced-{now:%Y%m%dT%H%M%SZ}"))
        with _errors_of(place), ExitStack() as held:
            is_new = not place.exists()
            if not is_new:
                held.enter_context(_exclusive(place, lock_timeout, say))
                shutil.copymode(place, copy)
            owner = (place.parent if is_new else place).stat()
            with suppress(PermissionError):
                os.chown(copy, owner.st_uid, owner.st_gid)
            if not is_new:
                _keep(place, kept)
            # DuckDB would add what is in them to the copy.
            for log in {*_write_ahead_logs(place), *_write_ahead_logs(path)}:
                log.rename(kept.with_name(kept.name + log.name[log.name.rindex(".wal") :]))
            copy.replace(place)
            _sync(place.parent)
    return contents, None if is_new else kept


@contextmanager
def _temporary_file(beside: Path) -> Iterator[Path]:
    """A new file in the folder of another one, removed at the end of the block if it is still there."""
    with _errors_of(beside):
        handle, name = tempfile.mkstemp(prefix=f"{beside.name}.", suffix=".part", dir=beside.parent)
        os.close(handle)
    path = Path(name)
    try:
        yield path
    finally:
        for each in (path, *_write_ahead_logs(path)):
            each.unlink(missing_ok=True)


def _copy(source: Path, copy: Path) -> None:
    """Copy a DuckDB file and its write-ahead log, the file last: closing it drops DuckDB's lock on it."""
    with _errors_of(copy):
        for log in _write_ahead_logs(source):
            shutil.copyfile(log, copy.with_name(copy.name + log.name.removeprefix(source.name)))
        shutil.copyfile(source, copy)
        _sync(copy)


def _checked(copy: Path, original: Path, target: Target) -> Contents:
    """Read a copy in full.

    Raises:
        ConfigurationError: it is damaged, or has no push log; `original` is named.
    """
    try:
        if _write_ahead_logs(copy):
            with closing(duckdb.connect(str(copy))) as connection:
                connection.execute("checkpoint")
        with closing(duckdb.connect()) as connection:
            connection.execute(f"attach '{str(copy).replace(chr(39), chr(39) * 2)}' as copied (read_only); use copied")
            named = Target(target.name, target.type, target.schema, {**target.options, "path": str(copy)})
            return _read(DuckDBWarehouse(named, connection), copy)
    except duckdb.Error as error:
        problem = not_a_database(copy) if isinstance(error, duckdb.IOException) else None
        problem = problem or damage(copy, error, is_opening=True) or f"{copy} cannot be read: {first_line(error)}."
        raise ConfigurationError(problem.replace(str(copy), str(original))) from error
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace(str(copy), str(original))) from error


def _read(warehouse: DuckDBWarehouse, path: Path) -> Contents:
    schema = warehouse.target.schema
    require_full_length(warehouse, path)
    tables = read_tables(warehouse)
    if warehouse.relation("push_log") not in tables or not tables.get(warehouse.relation("cbf_as_of")):
        raise ConfigurationError(
            f"{path} is not a warehouse of this project: it has no push_log or no cbf_as_of in schema {schema}."
        )
    return Contents(tables, warehouse.built_at())


@contextmanager
def _exclusive(path: Path, timeout: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock that DuckDB takes on a file it writes to, also on a file that DuckDB cannot open."""
    deadline, has_said_so = time.monotonic() + timeout, False
    with path.open("r+b") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError) as error:
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"The DuckDB file {path} is still in use after {timeout:g} s, so it was not replaced: stop what"
                        " uses it, or wait longer with --lock-timeout."
                    ) from error
            if not has_said_so:
                say(f"Waiting for the DuckDB file {path}: it is in use by another process.")
                has_said_so = True
            time.sleep(0.2)
        yield


def _write_ahead_logs(path: Path) -> list[Path]:
    """The files beside a DuckDB file that hold what is not yet in it."""
    return sorted(each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.wal"))


def _keep(path: Path, kept: Path) -> None:
    """Give a file another name as well; if the file system has no hard links, instead of its own."""
    try:
        kept.hardlink_to(path)  # so that there is a file in its place at any time
    except OSError:
        path.rename(kept)


def _free_name(path: Path) -> Path:
    """The path, with a number if it exists."""
    candidates = (path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000)))
    return next(each for each in candidates if not each.exists())


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a ConfigurationError."""
    try:
        yield
    except OSError as error:
        place = error.filename or path
        raise ConfigurationError(f"{place} cannot be used: {error.strerror or type(error).__name__}.") from error
