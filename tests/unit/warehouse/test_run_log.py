"""Whether the models that a push reads fit together, from the recorded runs of dbt."""

from __future__ import annotations

import pytest

from loader.warehouse.run_log import MODELS, RunEvent, last_changes, mixed_models

CHAIN = frozenset(MODELS)
SENTENCE = "token_tags was true and is now false."


def log(*runs: tuple[set[str] | frozenset[str], set[str] | frozenset[str] | None]) -> list[RunEvent]:
    """Rows of run_log, newest first, for runs that selected and built these models; None for a run that did not end."""
    events: list[RunEvent] = []
    for number, (selected, built) in enumerate(runs):
        events.append(RunEvent(len(events) + 1, f"run-{number}", False, frozenset(selected), (SENTENCE,) * number))
        if built is not None:
            events.append(RunEvent(len(events) + 1, f"run-{number}", True, frozenset(built), ()))
    return events[::-1]


@pytest.mark.parametrize(
    "runs",
    [
        (),
        ((CHAIN, CHAIN),),
        ((CHAIN, CHAIN), (CHAIN, CHAIN)),
        ((CHAIN, {"int_usage__hourly"}), (CHAIN, CHAIN)),  # a failed run, and one that succeeded
        ((CHAIN, None), (CHAIN, CHAIN)),
        ((CHAIN, CHAIN), ({"cbf_lines", "cbf_hours"}, {"cbf_lines", "cbf_hours"})),
        ((CHAIN, CHAIN), ({"push_log", "run_log"}, {"push_log", "run_log"})),
        ((CHAIN, CHAIN), ({"int_usage__rejected_hours"}, set())),  # not read by a push
    ],
)
def test_models_that_fit_together(
    runs: tuple[tuple[set[str] | frozenset[str], set[str] | frozenset[str] | None], ...],
) -> None:
    assert mixed_models(log(*runs)) == ""


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ((CHAIN, None), "int_usage__summed_hours did not end, or is in progress"),
        ((CHAIN, set()), "int_usage__summed_hours did not build it"),
        ((CHAIN, CHAIN - {"cbf_lines", "cbf_hours", "cbf_as_of"}), "cbf_lines did not build it"),
        ((CHAIN, CHAIN - {"cbf_as_of"}), "cbf_as_of did not build it"),
        (({"int_usage__hourly"}, {"int_usage__hourly"}), "int_usage__hourly was built after cbf_hours"),
        (({"int_usage__summed_hours"}, {"int_usage__summed_hours"}), "was built after int_usage__hourly"),
        (({"cbf_lines"}, {"cbf_lines"}), "cbf_lines was built after cbf_hours"),
        (({"cbf_as_of"}, {"cbf_as_of"}), "cbf_as_of was built after int_usage__hourly"),
    ],
)
def test_models_that_do_not(
    last: tuple[set[str] | frozenset[str], set[str] | frozenset[str] | None], reason: str
) -> None:
    assert reason in mixed_models(log((CHAIN, CHAIN), last))


def test_the_changes_of_the_last_run_are_reported_once() -> None:
    assert last_changes(log((CHAIN, CHAIN))) == ()
    assert last_changes(log((CHAIN, CHAIN), (CHAIN, CHAIN))) == (SENTENCE,)
    assert last_changes([]) == ()
