"""The checks of `loader check`, in order; each requires the ones before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from loader.audit.consistency import read_consistency, require_consistent
from loader.audit.deep_checks import DeepChecks
from loader.cloudzero.bodies import body_groups
from loader.config.profiles import Target, read_target
from loader.config.settings import Credentials, read_all_credentials, read_streams
from loader.delivery.plan_lines import changed
from loader.delivery.streams import display_name, require_connection_ids
from loader.errors import LoaderError, RejectedError
from loader.hours import iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, Line
from loader.warehouse.base import open_warehouse
from loader.warehouse.source import Source, read_source, require_whole, warnings


@dataclass(frozen=True)
class Check:
    """One check and its result: `error` when it failed, `warning` when it passed but something needs attention."""

    name: str
    detail: str
    error: LoaderError | None = None
    warning: bool = False

    @property
    def state(self) -> str:
        """`ok`, `WARNING` or `FAILED`."""
        return "FAILED" if self.error else "WARNING" if self.warning else "ok"


def run(
    target_name: str | None,
    profiles_dir: str | None,
    lock_timeout: float,
    say: Callable[[str], None],
    deep: bool = False,
) -> list[Check]:
    """Run all checks in order, CloudZero's for each stream. A failure does not stop checks that can still run.

    With `deep`, everything in the warehouse and the source is read and compared as well.
    """
    checks: list[Check] = []

    def attempt(name: str, look: Callable[[], str]) -> bool:
        try:
            checks.append(Check(name, look()))
        except LoaderError as error:
            checks.append(Check(name, str(error), error))
        return checks[-1].error is None

    targets: list[Target] = []
    given: list[Credentials] = []
    lines: list[Line] = []
    sources: list[Source] = []

    def profile() -> str:
        target = read_target(profiles_dir, target_name)
        targets.append(target)
        return f"target {target.name}, {target.type}, schema {target.schema}"

    def views() -> str:
        with open_warehouse(targets[0], lock_timeout, say) as warehouse:
            built_at = warehouse.built_at()
            hours = warehouse.hours()
            lines.extend(warehouse.newest_lines(hours, 1))
            if not lines and (with_lines := [hour for hour in hours if hour.line_count]):
                raise changed(with_lines[-1].start)
            sources.append(read_source(warehouse))
            if given:
                require_connection_ids(warehouse, given)
            require_consistent(read_consistency(warehouse))
        newest = f"newest line of {iso(lines[0].hour)}" if lines else "no lines yet"
        return f"built {iso(built_at)}; {newest}"

    def source() -> None:
        found = sources[0]
        try:
            require_whole(found)
        except LoaderError as error:
            checks.append(Check("source", str(error), error))
            return
        problems = warnings(found)
        files = "" if found.files is None else f", {found.files:,} file(s)"
        detail = " ".join(problems) or f"{found.description}{files}; no request is rejected"
        checks.append(Check("source", detail, warning=bool(problems)))

    def credentials() -> str:
        given.extend(read_all_credentials())
        ids = ", ".join(f"{each.name}={each.connection_id}" if each.name else each.connection_id for each in given)
        return f"connection {ids} at {given[0].api_url}"

    def read_everything() -> None:
        deeply = DeepChecks(lambda: open_warehouse(targets[0], lock_timeout, say), tuple(read_streams()))
        if not attempt("tables", deeply.tables):
            return  # the others read the same tables
        attempt("lines", deeply.lines)
        attempt("push log", deeply.push_log)
        try:
            detail, is_warning = deeply.source()
            checks.append(Check("spend logs", detail, warning=is_warning))
        except LoaderError as error:
            checks.append(Check("spend logs", str(error), error))

    has_profile, has_credentials = attempt("profile", profile), attempt("credentials", credentials)
    if has_profile:
        attempt("views", views)
    if sources:
        source()
        if deep:
            read_everything()
    if has_credentials:
        for each in given:
            name = "cloudzero" if len(given) == 1 else f"cloudzero ({display_name(each.name)})"
            attempt(name, partial(_validate, each, lines[0] if lines else EXAMPLE_LINE))
    return checks


def _validate(credentials: Credentials, line: Line) -> str:
    from loader.cloudzero.client import AnyCost

    (group,) = body_groups([line], "replace_hourly")
    with AnyCost(credentials) as client:
        errors = client.validate(group.bodies[0].content)
    if errors:
        raise RejectedError(f"CloudZero's validation rejects the newest line: {'; '.join(errors)[:500]}.")
    return "key accepted, one line validated, nothing stored"


def _example_line() -> Line:
    """A line of no cost, for a warehouse without lines: the example of LiteLLM's page."""
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
    return Line.from_values(hour, values)


EXAMPLE_LINE = _example_line()
