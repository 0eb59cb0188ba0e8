"""Several streams, one after the other: the error for several failures, and the effect of a signal."""

from __future__ import annotations

import signal
from collections.abc import Mapping

import pytest

from loader.config.settings import Stream
from loader.delivery.streams import for_each
from loader.errors import ConfigurationError, GuardError, LoaderError, LockedError, StoppedError, UnknownOutcomeError
from loader.stopping import StopSignal

STREAMS = [Stream(f"conn-{name}", "https://host", name) for name in ("", "a", "b")]
LOCKED, HELD = LockedError("Another push is in progress."), GuardError("Held back 1 hour.")
UNSURE = UnknownOutcomeError("No answer.")


def run(errors: Mapping[str, LoaderError]) -> None:
    """Run work that fails for the streams with these names."""

    def work(stream: Stream) -> str:
        if stream.name in errors:
            raise errors[stream.name]
        return stream.name

    for_each(STREAMS, work, lambda _: None)


@pytest.mark.parametrize(
    ("errors", "kind", "words"),
    [
        (
            {"": LOCKED, "a": LOCKED, "b": LOCKED},
            LockedError,
            "3 of 3 streams failed: default, a, b. default: Another push is in progress.",
        ),
        ({"a": LOCKED}, LockedError, "1 of 3 streams failed: a. The others succeeded. a: Another push is in progress."),
        (
            {"a": LOCKED, "b": HELD},
            GuardError,
            "2 of 3 streams failed: a, b. The others succeeded. a: Another push is in progress.",
        ),
        (
            {"a": HELD, "b": UNSURE},
            UnknownOutcomeError,
            "2 of 3 streams failed: a, b. The others succeeded. b: No answer.",
        ),
        ({"b": ConfigurationError("x")}, ConfigurationError, "1 of 3 streams failed: b. The others succeeded. b: x"),
    ],
)
def test_several_failures_are_one_error(errors: dict[str, LoaderError], kind: type[LoaderError], words: str) -> None:
    with pytest.raises(LoaderError) as caught:
        run(errors)
    assert type(caught.value) is kind
    assert str(caught.value) == words


def test_a_signal_between_two_streams_skips_the_others() -> None:
    stop, begun = StopSignal(), list[str]()

    def work(stream: Stream) -> None:
        begun.append(stream.name)
        stop.set(signal.SIGINT)

    with pytest.raises(StoppedError, match=r"^Stopped by Ctrl-C\. Not started: a, b\.$") as caught:
        for_each(STREAMS, work, lambda _: None, stop)
    assert (begun, caught.value.signal_number) == ([""], signal.SIGINT)


def test_a_stop_during_a_stream_names_the_streams_that_are_left() -> None:
    with pytest.raises(StoppedError, match=r"^Sent: 1 hours\. Not started: b\.$"):
        run({"a": StoppedError("Sent: 1 hours.", signal.SIGTERM)})
    with pytest.raises(StoppedError, match=r"^Sent: 1 hours\.$"):
        run({"b": StoppedError("Sent: 1 hours.", signal.SIGTERM)})


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_the_first_signal_ends_a_wait_for_a_lock(number: signal.Signals, name: str) -> None:
    with (
        StopSignal() as stop,
        pytest.raises(StoppedError, match=f"Stopped by {name} before anything was started") as caught,
        stop.interrupting_wait(),
    ):
        signal.raise_signal(number)
    assert (caught.value.signal_number, stop.is_set) == (number, True)
