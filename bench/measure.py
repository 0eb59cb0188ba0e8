"""Commands as processes: their seconds, their peak memory, and a sandbox without limits to push to."""

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
    """Seconds, and the peak memory in MB of the process or of the largest one that it waited for."""

    seconds: float
    peak_mb: float
    last_line: str


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a command; one that fails ends the benchmark."""
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
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{out}")
        found = json.load(figures)
    return Run(found["seconds"], found["peak_mb"], out.splitlines()[-1][:90] if out else "")


def measured(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """The same, printed."""
    found = run(command, environment)
    told(name, f"{found.seconds:8.2f} s   {found.peak_mb:7.0f} MB peak   {found.last_line}")
    return found


def sum_all(name: str, environment: Mapping[str, str], **variables: object) -> Run:
    """`dbt build` of models and seeds, without tests, with these vars; printed."""
    command = [str(BIN / "dbt"), "--quiet", "build", "--resource-type", "model", "--resource-type", "seed"]
    return measured(name, [*command, "--vars", json.dumps(variables)], environment)


def told(name: str, figure: str) -> None:
    """Print one figure."""
    print(f"{name:56} {figure}", flush=True)


def clean_environment() -> dict[str, str]:
    """This process's own, without what would change what is measured."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DBT_", "CLOUDZERO_", "LOADER_", "LITELLM_"))} | {
        "CLOUDZERO_API_KEY": "bench",
        "CLOUDZERO_CONNECTION_ID": "bench",
    }


@contextmanager
def sandbox() -> Iterator[str]:
    """The URL of a sandbox without limits, in a process of its own."""
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
