"""`make demo` and `make serve`: the commands of the README, with generated spend logs and a local AnyCost sandbox.

Uses only the folder demo/, never the user's own warehouse: summed hours are kept permanently, and generated costs
must not mix with real ones.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from loader.cloudzero.client import AnyCost
from loader.config.profiles import read_target
from loader.config.settings import Credentials, Secret
from loader.money import decimal_text
from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import serve_sandbox
from loader.warehouse.base import open_warehouse

FOLDER = Path("demo")
LOGS = FOLDER / "spend_logs"
DUCKDB = FOLDER / "spend.duckdb"
CONNECTION_ID = "demo-connection"
# The precision of money in the models: spend is rounded once, to this place, when it is cast from a double.
LAST_PLACE = Decimal(1).scaleb(-18)


def main() -> int:
    """Run the demo. Returns 0 if source, lines and sandbox have the same total."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    api_key = secrets.token_hex(8)
    environment = demo_environment(api_key)
    run("loader", "sample", "--out", str(LOGS), environment=environment)
    run(
        "dbt",
        "--quiet",
        "build",
        "--profiles-dir",
        ".",
        "--target-path",
        str(FOLDER / "target"),
        environment=environment,
    )
    run("loader", "dry-run", "--limit", "10", environment=environment)
    with serve_sandbox(AnyCostSandbox(api_key)) as server:
        print(f"\n# The AnyCost sandbox listens on {server.url}", flush=True)
        environment["CLOUDZERO_API_URL"] = server.url
        run("loader", "check", environment=environment)
        run("loader", "push", "--window", "pending", environment=environment)
        run("loader", "push", "--window", "pending", environment=environment)
        run("loader", "status", environment=environment)
        stored = read_back(server.url, api_key, sorted(server.sandbox.state()["streams"][CONNECTION_ID]))
    source, lines = source_total(), line_total(environment)
    verdict = "equal to the last digit" if source == lines == stored else "NOT EQUAL"
    print(
        f"\nsource ${decimal_text(source)} · lines ${decimal_text(lines)} · sandbox ${decimal_text(stored)}: {verdict}"
    )
    print("\nTo run this as a service with a web page on http://127.0.0.1:4100: make serve")
    return 0 if source == lines == stored else 1


def serve(port: str) -> int:
    """`make serve`: the service on the demo's data with a local sandbox, until Ctrl-C. Returns its exit code."""
    if not DUCKDB.exists() and main():
        return 1
    api_key = secrets.token_hex(8)
    with serve_sandbox(AnyCostSandbox(api_key)) as server:
        # The sandbox is new, so every hour is pending again.
        print(f"\n# The AnyCost sandbox listens on {server.url}", flush=True)
        environment = demo_environment(api_key) | {
            "CLOUDZERO_API_URL": server.url,
            "DBT_PROFILES_DIR": ".",
            "DBT_TARGET_PATH": str(FOLDER / "target"),
            "DBT_LOG_PATH": str(FOLDER / "logs"),
        }
        print(f"\n$ loader serve --port {port}", flush=True)
        service = subprocess.Popen([program("loader"), "serve", "--port", port], env=environment)
        # Ctrl-C reaches both processes; the service shuts down gracefully, then this one ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: service.terminate())
        return service.wait()


def demo_environment(api_key: str) -> dict[str, str]:
    """The environment of the commands, without the user's own settings."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("CLOUDZERO_", "DBT_", "LOADER_", "LITELLM_"))
    }
    return environment | {
        "LOADER_DUCKDB_PATH": str(DUCKDB),
        "LITELLM_SPEND_LOGS": f"{LOGS}/*",
        "CLOUDZERO_API_KEY": api_key,
        "CLOUDZERO_CONNECTION_ID": CONNECTION_ID,
    }


def run(*command: str, environment: dict[str, str]) -> None:
    """Print a command and run it; if it fails, exit with its exit code."""
    print(f"\n$ {' '.join(command)}", flush=True)
    code = subprocess.run([program(command[0]), *command[1:]], env=environment, check=False).returncode
    if code:
        raise SystemExit(code)


def program(name: str) -> str:
    """The path of a program in the environment of this Python."""
    return str(Path(sys.executable).parent / name)


def source_total() -> Decimal:
    """Total cost (USD) of the spend log files, computed without dbt and DuckDB."""
    rows = (json.loads(line) for path in LOGS.iterdir() for line in path.read_text(encoding="utf-8").splitlines())
    return sum((Decimal(repr(row["spend"])).quantize(LAST_PLACE, ROUND_HALF_UP) for row in rows), Decimal(0))


def line_total(environment: dict[str, str]) -> Decimal:
    """Total cost (USD) of `cbf_lines`."""
    target = read_target(".", None, environment)
    with open_warehouse(target, lock_timeout=30, say=print) as warehouse:
        return sum((line.cost for line in warehouse.lines()), Decimal(0))


def read_back(url: str, api_key: str, months: list[str]) -> Decimal:
    """Total cost (USD) of the rows that the sandbox returns for these months (`2024-01`)."""
    with AnyCost(Credentials(Secret(api_key), CONNECTION_ID, url)) as client:
        return sum((Decimal(row["cost/cost"]) for month in months for row in client.read_month(month)), Decimal(0))


if __name__ == "__main__":
    raise SystemExit(serve(sys.argv[2]) if sys.argv[1:2] == ["serve"] else main())
