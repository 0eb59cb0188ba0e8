"""The commands for rehearsals: sample spend logs, and a local AnyCost."""

from __future__ import annotations

import os
from pathlib import Path

import click

from loader.cli import options


@click.command()
@click.option(
    "--out",
    default="data/spend_logs",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--rows", default=20_000, show_default=True, type=int, help="Number of requests.")
@click.option("--days", default=3, show_default=True, type=int, help="Days up to the current hour.")
@click.option("--until", metavar="TIME", help="End, ISO 8601. Default: the current hour.")
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed gives the same rows.")
@click.option(
    "--format",
    "style",
    default="jsonl",
    show_default=True,
    type=click.Choice(("jsonl", "parquet", "csv", "payload")),
    help="payload: LiteLLM's StandardLoggingPayload objects.",
)
def sample(out: Path, rows: int, days: int, until: str | None, seed: int, style: str) -> None:
    """Write realistic sample spend logs, up to the current hour."""
    from loader.hours import parse_time
    from loader.sandbox.sample import SamplePlan, write_sample

    end = parse_time(until, "--until") if until else options.now()
    report = write_sample(SamplePlan(rows=rows, days=days, until=end, seed=seed, format=style), out)
    click.echo(f"Wrote {report.rows:,} spend logs worth ${report.spend:,.2f} to {len(report.files)} files in {out}.")


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Anyone who reaches it can read what it holds.",
)
@click.option(
    "--port",
    default=8787,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 for any free port.",
)
@click.option(
    "--month-rows",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum rows in a month.",
)
@click.option(
    "--month-mb",
    default=70,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum size of a month in million bytes.",
)
@click.option(
    "--body-mb",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Maximum size of a body in million bytes.",
)
@click.option("--lift-limits", is_flag=True, help="Accept any amount, for benchmarks.")
@click.option(
    "--trouble",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="RATE",
    help="Share of the requests, 0 to 1, that get a slow or cut connection, an error or a wrong answer.",
)
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed makes the same faults.")
def sandbox(
    host: str, port: int, month_rows: int, month_mb: int, body_mb: float, lift_limits: bool, trouble: float, seed: int
) -> None:
    """Run a local AnyCost that enforces CloudZero's documented limits, for rehearsals.

    Its key is CLOUDZERO_API_KEY, or that of CLOUDZERO_API_KEY_FILE, or `sandbox` when neither is set. It accepts any
    connection id. Point the loader to it with CLOUDZERO_API_URL. It shows its state as a page at / and as JSON at
    /state, and keeps nothing when it ends.
    """
    from loader.cli import output
    from loader.config.settings import read_secret
    from loader.sandbox.anycost import AnyCostSandbox, FaultInjector, Limits
    from loader.sandbox.server import run_sandbox

    given = read_secret(os.environ, "CLOUDZERO_API_KEY")
    api_key = given.reveal() if given else "sandbox"
    limits = Limits(round(body_mb * 1_000_000), month_rows, month_mb * 1_000_000)
    core = AnyCostSandbox(api_key, Limits.none() if lift_limits else limits, faults=FaultInjector(seed, trouble))
    run_sandbox(core, host, port, output.say)
