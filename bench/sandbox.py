"""Runs an AnyCost sandbox without limits and prints its URL."""

from __future__ import annotations

import threading

from loader.sandbox.anycost import AnyCostSandbox, Limits
from loader.sandbox.server import serve_sandbox

if __name__ == "__main__":
    with serve_sandbox(AnyCostSandbox("bench", Limits.none())) as server:
        print(server.url, flush=True)
        threading.Event().wait()
