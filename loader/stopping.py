"""SIGTERM and Ctrl-C: the first signal stops after the body in flight, the second one immediately."""

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
    """A flag that a signal sets, and a sleep that the signal interrupts.

    As a context manager it installs the signal handlers; without them, only `set` sets the flag.
    """

    def __init__(self, on_second_signal: Callable[[], None] | None = None) -> None:
        """Create the flag, not set.

        Args:
            on_second_signal: called on a second signal, instead of raising KeyboardInterrupt. An exception from a
                signal handler is raised in whatever code is running, and some libraries swallow it.
        """
        self._on_second_signal = on_second_signal
        self._interrupts_wait = False
        self.number: int = 0
        self._event = threading.Event()
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        # Only the main thread may install handlers; in other threads the caller uses `set`.
        if threading.current_thread() is threading.main_thread():
            self._previous_handlers = {each: signal.signal(each, self._handle) for each in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    @property
    def name(self) -> str:
        """The name of the signal that requested the stop, for messages."""
        return {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}.get(signal.Signals(self.number or 15), "a signal")

    def set(self, number: int = signal.SIGTERM) -> None:
        """Request a stop."""
        self.number = self.number or number
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds, or until a stop is requested."""
        self._event.wait(seconds)

    @contextmanager
    def interrupting_wait(self) -> Iterator[None]:
        """Let the first signal interrupt the block, which waits for a lock and does not check the flag.

        Raises:
            StoppedError: a stop was requested.
        """
        self._interrupts_wait = True
        try:
            yield
        except KeyboardInterrupt as error:
            self.set(signal.SIGINT)
            raise StoppedError(f"Stopped by {self.name} before anything was started.", self.number) from error
        finally:
            self._interrupts_wait = False

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._interrupts_wait:
            self.set(number)
            raise KeyboardInterrupt
        if self.is_set:
            if not self._on_second_signal:
                raise KeyboardInterrupt
            self._on_second_signal()
        self.set(number)
