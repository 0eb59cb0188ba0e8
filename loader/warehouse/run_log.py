"""What the hooks of dbt recorded in run_log: which models each run built, and which of its settings had changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from loader.warehouse.base import Warehouse

RECENT_ROWS = 100  # two rows per run: a model that was not built in that many runs is not judged
# What a push reads. Each of these models must have been built since the model before it was, and be built whenever a
# run selects it. cbf_as_of says which hours are complete, so it must not be newer than the sums.
BEFORE = (
    ("int_usage__summed_hours", "int_usage__hourly"),
    ("int_usage__hourly", "cbf_hours"),
    ("cbf_lines", "cbf_hours"),
    ("cbf_as_of", "int_usage__hourly"),
)
MODELS = ("int_usage__summed_hours", "int_usage__hourly", "cbf_lines", "cbf_hours", "cbf_as_of")


@dataclass(frozen=True)
class RunEvent:
    """A row of run_log. `models` are those that the run selected (begun), or that it built (ended)."""

    sequence: int
    run_id: str
    has_ended: bool
    models: frozenset[str]
    changes: tuple[str, ...]


def read_runs(warehouse: Warehouse) -> list[RunEvent]:
    """The newest rows of run_log, newest first; none of a warehouse that an earlier version built.

    Raises:
        ConfigurationError: as `Warehouse.batches`.
    """
    if not warehouse.has("run_log"):
        return []
    statement = (
        f"select sequence, run_id, phase, models, changes from {warehouse.relation('run_log')}"  # noqa: S608
        f" order by sequence desc, phase desc limit {RECENT_ROWS}"
    )
    return [
        RunEvent(int(number), run_id, phase == "ended", frozenset(json.loads(models)), tuple(json.loads(changes)))
        for number, run_id, phase, models, changes in warehouse.rows(statement)
    ]


def last_changes(runs: Sequence[RunEvent]) -> tuple[str, ...]:
    """The settings that the last run changed, in sentences."""
    return next((run.changes for run in runs if not run.has_ended), ())


def mixed_models(runs: Sequence[RunEvent]) -> str:
    """Why the models that a push reads are not of one run of dbt; empty if they are.

    Args:
        runs: as `read_runs` returns them.
    """
    ended = {run.run_id: run for run in runs if run.has_ended}
    for model in MODELS:
        begun = _newest(runs, model, has_ended=False)
        if begun is None:
            continue
        if begun.run_id not in ended:
            return _message(f"the last run that was to build {model} did not end, or is in progress")
        if model not in ended[begun.run_id].models:
            return _message(f"the last run that was to build {model} did not build it")
    for earlier, later in BEFORE:
        built, since = (_newest(runs, model, has_ended=True) for model in (earlier, later))
        if built and (since is None or since.sequence < built.sequence):
            return _message(f"{earlier} was built after {later}")
    return ""


def _newest(runs: Sequence[RunEvent], model: str, has_ended: bool) -> RunEvent | None:
    """The last row of a run that built the model, or was to build it."""
    return next((run for run in runs if run.has_ended == has_ended and model in run.models), None)


def _message(reason: str) -> str:
    return (
        f"The models are not of one run of dbt: {reason}. To fix: run `loader run`, or `dbt run` without --select,"
        " until it succeeds."
    )
