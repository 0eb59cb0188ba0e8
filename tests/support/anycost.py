"""The local AnyCost of the tests: who may use it, and what it holds."""

from __future__ import annotations

import json
import threading
from typing import Any

from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import SandboxServer

KEY = "a-key-that-must-not-show-4711"
CONNECTION = "conn-1"


class Held(AnyCostSandbox):
    """Holds each drop until it is let go."""

    def __init__(self, **options: Any) -> None:
        super().__init__(KEY, **options)
        self.entered, self.go = threading.Event(), threading.Event()

    def _apply(self, *arguments: Any) -> Any:
        self.entered.set()
        assert self.go.wait(180)
        return super()._apply(*arguments)


def credentials(server: SandboxServer) -> dict[str, str]:
    """The environment of a push."""
    return {"CLOUDZERO_API_KEY": KEY, "CLOUDZERO_CONNECTION_ID": CONNECTION, "CLOUDZERO_API_URL": server.url}


def held(server: SandboxServer) -> dict[str, Any]:
    """Months as the sandbox holds them."""
    months: dict[str, Any] = server.sandbox.state()["streams"].get(CONNECTION, {})
    return months


def read_back(server: SandboxServer) -> list[dict[str, str]]:
    """Every row that AnyCost gives back."""
    rows: list[dict[str, str]] = []
    for month in held(server):
        path = f"/v2/connections/billing/anycost/{CONNECTION}/billing_drops/{month}"
        rows += json.loads(server.sandbox.handle("GET", path, {"Authorization": KEY}, None).body)["billing_drop"]
    return rows
