"""SIGTERM and Ctrl-C: the first asks for an end after the body in flight, the second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from loader.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """A flag that a signal sets, and a sleep that it ends. As a context it takes the signals; else only `set` does."""

    def __init__(self, at_once: Callable[[], None] | None = None) -> None:
        """With `at_once`, a second signal calls that instead of raising KeyboardInterrupt.

        An exception that a signal raises comes up in whatever code is running, and some of it drops exceptions.
        """
        self._at_once = at_once
        self._ends_a_wait = False
        self.number: int = 0
        self._event = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        # Handlers belong to the main thread; elsewhere whoever runs us calls `set`.
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._handle) for each in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def is_set(self) -> bool:
        """Whether an end was asked for."""
        return self._event.is_set()

    @property
    def name(self) -> str:
        """What asked for it."""
        return {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}.get(signal.Signals(self.number or 15), "a signal")

    def set(self, number: int = signal.SIGTERM) -> None:
        """Ask for an end."""
        self.number = self.number or number
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Sleep so many seconds, or until an end is asked for."""
        self._event.wait(seconds)

    @contextmanager
    def ending_a_wait(self) -> Iterator[None]:
        """Within the block the first signal ends what is under way: a wait for a lock, which does not look at the flag.

        Raises:
            StoppedError: an end was asked for.
        """
        self._ends_a_wait = True
        try:
            yield
        except KeyboardInterrupt as error:
            self.set(signal.SIGINT)
            raise StoppedError(f"Stopped by {self.name} before anything was begun.", self.number) from error
        finally:
            self._ends_a_wait = False

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._ends_a_wait:
            self.set(number)
            raise KeyboardInterrupt
        if self.is_set:
            if not self._at_once:
                raise KeyboardInterrupt
            self._at_once()
        self.set(number)
