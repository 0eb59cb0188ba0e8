"""What `loader check` looks at, one thing after the other; each needs the ones before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loader.drops import deliveries
from loader.errors import LoaderError, RejectedError
from loader.settings import Credentials, Target, read_credentials, read_target
from loader.warehouse import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, Line, Warehouse, open_warehouse
from loader.windows import iso


@dataclass(frozen=True)
class Check:
    """One thing looked at, and what was found; `error` when it is wrong."""

    name: str
    detail: str
    error: LoaderError | None = None


def run(
    target_name: str | None, profiles_dir: str | None, lock_timeout: float, say: Callable[[str], None]
) -> list[Check]:
    """All checks in order. A failed one does not stop those that can still be made."""
    checks: list[Check] = []

    def attempt(name: str, look: Callable[[], str]) -> bool:
        try:
            checks.append(Check(name, look()))
        except LoaderError as error:
            checks.append(Check(name, str(error), error))
        return checks[-1].error is None

    found: dict[str, Target | Credentials | Line] = {}

    def profile() -> str:
        target = found["target"] = read_target(profiles_dir, target_name)
        return f"target {target.name}, {target.type}, schema {target.schema}"

    def views() -> str:
        target = found["target"]
        assert isinstance(target, Target)  # noqa: S101
        with open_warehouse(target, lock_timeout, say) as warehouse:
            return _look_at_views(warehouse, found)

    def credentials() -> str:
        given = found["credentials"] = read_credentials()
        return f"connection {given.connection_id} at {given.api_url}"

    def validation() -> str:
        given, line = found["credentials"], found.get("line", SPECIMEN)
        assert isinstance(given, Credentials) and isinstance(line, Line)  # noqa: S101
        return _validate(given, line)

    if attempt("profile", profile):
        attempt("views", views)
    if attempt("credentials", credentials):
        attempt("cloudzero", validation)
    return checks


def _look_at_views(warehouse: Warehouse, found: dict[str, Target | Credentials | Line]) -> str:
    built_at = warehouse.built_at()
    newest = list(warehouse.lines(newest=1))
    if not newest:
        return f"built {iso(built_at)}; no lines yet"
    found["line"] = newest[0]
    return f"built {iso(built_at)}; newest line of {iso(newest[0].hour)}"


def _validate(credentials: Credentials, line: Line) -> str:
    from loader.anycost import AnyCost

    (delivery,) = deliveries([line], "replace_hourly")
    with AnyCost(credentials) as client:
        errors = client.validate(delivery.drops[0].body)
    if errors:
        raise RejectedError(f"CloudZero's validation refuses the newest line: {'; '.join(errors)[:500]}.")
    return "key accepted, one line validated, nothing stored"


def _specimen() -> Line:
    """A line of no cost, for a warehouse without lines: LiteLLM's page has it, but for the money."""
    from datetime import datetime, timezone

    hour = datetime(2024, 1, 15, 14, tzinfo=timezone.utc)
    values = {
        "lineitem/type": "Usage",
        HOUR_COLUMN: iso(hour),
        COST_COLUMN: "0",
        AMOUNT_COLUMN: "0",
        "usage/units": "tokens",
        "resource/id": "czrn:litellm:openai:cross-region:team-123:llm-usage:gpt-4o",
        "resource/service": "litellm",
    }
    return Line(hour, values)


SPECIMEN = _specimen()
