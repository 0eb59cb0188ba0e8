"""The commands that copy the warehouse and put a copy back: backup and restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loader.cli import options
from loader.cli.options import TargetOptions, target_options

if TYPE_CHECKING:
    from loader.config.settings import Credentials
    from loader.warehouse.base import Warehouse


@click.command()
@target_options
@click.argument("file", type=click.Path(path_type=Path))
def backup(target: TargetOptions, file: Path) -> None:
    """Copy the warehouse, a DuckDB file, to a new FILE, and read the copy in full.

    Others may read the warehouse meanwhile. Waits for a push or a run of dbt, and they wait for it. The copy has the
    hourly history and the push log, and only this user may read it.

    \b
    loader backup /backups/spend-2024-01-15.duckdb
    """  # noqa: D301 (Click: \b keeps the lines as they are)
    from loader.cli import output
    from loader.warehouse.backup import back_up

    contents = back_up(target.read(), file, target.lock_seconds, output.say)
    output.say(f"Copied to {file} and checked: {contents}.")


@click.command()
@target_options
@click.argument("file", type=click.Path(path_type=Path))
def restore(target: TargetOptions, file: Path) -> None:
    """Replace the warehouse, a DuckDB file, by the copy FILE, after reading the copy in full.

    The replaced file is kept beside it. If the key is set, the newest months are read back from CloudZero, to say
    whether the push log of the copy is older than what CloudZero holds.
    """
    from loader.cli import output
    from loader.runs.lock import run_lock
    from loader.warehouse.backup import PG_RESTORE, put_back, require_duckdb

    chosen = target.read()
    require_duckdb(chosen, PG_RESTORE)
    with run_lock(chosen, output.say):
        contents, kept = put_back(chosen, file, target.lock_seconds, output.say, options.now())
    output.say(f"Restored {file}: {contents}." + (f" The replaced file is kept as {kept}." if kept else ""))
    _compare(target)


def _compare(target: TargetOptions) -> None:
    """Say whether the restored log is older than what CloudZero holds, or that this is not known."""
    from loader.cli import output
    from loader.config.settings import read_all_credentials
    from loader.errors import LoaderError

    try:
        configured = read_all_credentials()
        with target.open_to_read() as warehouse:
            for credentials in configured:
                output.say(_comparison(warehouse, credentials))
    except LoaderError as error:
        output.say(
            f"Warning: the push log was not compared with what CloudZero holds ({' '.join(str(error).split())}) Before"
            " the next push, run `dbt run`, and `loader verify --month` for the newest months."
        )


def _comparison(warehouse: Warehouse, credentials: Credentials) -> str:
    from loader.audit.restored_log import newer_at_cloudzero, newest_months
    from loader.cloudzero.client import AnyCost
    from loader.delivery.push_log import PushLog
    from loader.hours import iso

    records = PushLog(warehouse, credentials.stream).records()
    months = [f"{month:%Y-%m}" for month in newest_months(records, options.now())]
    with AnyCost(credentials) as client:
        held = {hour: content for month in months for hour, content in client.hours_of_month(month).items()}
    newer = newer_at_cloudzero(held, records)
    if not newer:
        return f"{credentials.stream}: the push log agrees with what CloudZero holds of {', '.join(months)}."
    of_months = ", ".join(sorted({f"{hour:%Y-%m}" for hour in newer}))
    return (
        f"Warning: {credentials.stream}: the push log is older than what CloudZero holds: {len(newer):,} hour(s) of"
        f" {of_months}, the first {iso(newer[0])}, were sent after the copy was made, or by another exporter. Before"
        " the next push, run `dbt run`, and `loader verify --month` for these months."
    )
