"""The AnyCost sandbox in tests: credentials, and what it has stored."""

from __future__ import annotations

import json
import threading
from typing import Any

from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import SandboxServer

KEY = "a-key-that-must-not-show-4711"
CONNECTION = "conn-1"


class BlockingSandbox(AnyCostSandbox):
    """Blocks each request before storing it. `entered` is set when one arrives; set `release` to let it finish."""

    def __init__(self, **options: Any) -> None:
        super().__init__(KEY, **options)
        self.entered, self.release = threading.Event(), threading.Event()

    def _apply(self, *arguments: Any) -> Any:
        self.entered.set()
        assert self.release.wait(180)
        return super()._apply(*arguments)


def credentials(server: SandboxServer) -> dict[str, str]:
    """The environment variables for pushing to this server."""
    return {"CLOUDZERO_API_KEY": KEY, "CLOUDZERO_CONNECTION_ID": CONNECTION, "CLOUDZERO_API_URL": server.url}


def stored_months(server: SandboxServer) -> dict[str, Any]:
    """The stored months of CONNECTION, by name (`2024-01`)."""
    months: dict[str, Any] = server.sandbox.state()["streams"].get(CONNECTION, {})
    return months


def read_back(server: SandboxServer) -> list[dict[str, str]]:
    """Every row that the sandbox returns for CONNECTION."""
    rows: list[dict[str, str]] = []
    for month in stored_months(server):
        path = f"/v2/connections/billing/anycost/{CONNECTION}/billing_drops/{month}"
        rows += json.loads(server.sandbox.handle("GET", path, {"Authorization": KEY}, None).body)["billing_drop"]
    return rows
