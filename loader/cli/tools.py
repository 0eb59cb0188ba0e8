"""The commands to try things with: made-up spend logs, and a local AnyCost."""

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
@click.option("--rows", default=20_000, show_default=True, type=int, help="Requests in all.")
@click.option("--days", default=3, show_default=True, type=int, help="Days up to the present hour.")
@click.option("--until", metavar="TIME", help="Another end than the present hour, ISO 8601.")
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
    """Write made-up but lifelike spend logs, up to the present hour, to try everything on."""
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
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option(
    "--month-rows", default=1_000_000, show_default=True, type=click.IntRange(min=1), metavar="N",
    help="Rows that a month holds at most.",
)  # fmt: skip
@click.option(
    "--month-mb", default=70, show_default=True, type=click.IntRange(min=1), metavar="N",
    help="Million bytes that a month holds at most.",
)  # fmt: skip
@click.option(
    "--body-mb", default=5.0, show_default=True, type=click.FloatRange(min=0, min_open=True), metavar="X",
    help="Million bytes of a body at most.",
)  # fmt: skip
@click.option("--lift-limits", is_flag=True, help="Take any amount, whatever the limits say: for benchmarks.")
@click.option(
    "--trouble", default=0.0, show_default=True, type=click.FloatRange(0, 1), metavar="RATE",
    help="Share of the drops, 0 to 1, that meet a slow or cut connection, an error or a wrong answer.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed makes the same trouble.")
def sandbox(
    host: str, port: int, month_rows: int, month_mb: int, body_mb: float, lift_limits: bool, trouble: float, seed: int
) -> None:
    """Run a local AnyCost that keeps CloudZero's documented limits, for rehearsals.

    Its key is CLOUDZERO_API_KEY or that of CLOUDZERO_API_KEY_FILE, or `sandbox` when neither is set; any connection id
    will do. Point the loader at it with CLOUDZERO_API_URL. Its state is a page at / and JSON at /state; it is gone when
    it ends.
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
