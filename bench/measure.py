"""Runs commands and measures their time and peak memory; provides a sandbox without limits to push to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Run:
    """Duration in seconds, peak memory in MB of the largest process, and the last line of output."""

    seconds: float
    peak_mb: float
    last_line: str


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a command; if it fails, the benchmark ends."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as figures:
        process = subprocess.run(
            [sys.executable, "-m", "bench.peak_memory", figures.name, *command],
            cwd=ROOT,
            env=dict(environment),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        out = process.stdout.strip()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}:\n{out}")
        measured = json.load(figures)
    return Run(measured["seconds"], measured["peak_mb"], out.splitlines()[-1][:90] if out else "")


def run_and_report(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a command and print its figures."""
    result = run(command, environment)
    report(name, f"{result.seconds:8.2f} s   {result.peak_mb:7.0f} MB peak   {result.last_line}")
    return result


def build_models(name: str, environment: Mapping[str, str], **variables: object) -> Run:
    """Run `dbt build` for models and seeds, without tests, with these vars; print its figures."""
    command = [str(BIN / "dbt"), "--quiet", "build", "--resource-type", "model", "--resource-type", "seed"]
    return run_and_report(name, [*command, "--vars", json.dumps(variables)], environment)


def report(name: str, figure: str) -> None:
    """Print one line of the results."""
    print(f"{name:56} {figure}", flush=True)


def clean_environment() -> dict[str, str]:
    """The environment of this process, without variables that would influence the results."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DBT_", "CLOUDZERO_", "LOADER_", "LITELLM_"))} | {
        "CLOUDZERO_API_KEY": "bench",
        "CLOUDZERO_CONNECTION_ID": "bench",
    }


@contextmanager
def sandbox() -> Iterator[str]:
    """Run a sandbox without limits in a process of its own; yields its URL."""
    environment = dict(os.environ) | {"CLOUDZERO_API_KEY": "bench"}
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.sandbox"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None  # noqa: S101
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()
