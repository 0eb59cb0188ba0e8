"""One HTTP request and its answer, which has to be complete within a time and a size.

The request is made in a thread. Whoever waits for it can then give up at a deadline or after a signal, whatever the
server does, and shut the socket down (docs/decisions/026-limits-of-an-answer.md).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from loader.cloudzero.connections import Watch, current, new_session
from loader.cloudzero.failures import FAILURES, described
from loader.errors import LoaderError, UnknownOutcomeError
from loader.stopping import StopSignal

if TYPE_CHECKING:
    import requests

CHUNK = 256 * 1024  # bytes
POLL = 0.05  # seconds between two looks at the clock and the signal
CONNECT_TRIES = 3  # a host can have several addresses, and each has the time to connect
SEND_SECONDS = 300.0  # to send a body: 5 MB at 130 kbit/s
STOP_SECONDS = 5.0  # how much longer to wait for an answer after a signal
END_SECONDS = 1.0  # for the thread to end once its socket is shut down
INTERIM = range(100, 200)  # statuses
RAW_OVERHEAD = 1_000_000  # bytes of headers and chunk sizes, beside the content
Result = TypeVar("Result")
Reader = Callable[[int, Mapping[str, str], Iterator[bytes]], Result]


@dataclass(frozen=True)
class Limits:
    """How long an answer may take and how large it may be.

    Attributes:
        connect: seconds to connect to one address.
        answer: seconds from the end of the request to the end of the answer.
        size: bytes of the answer, on the wire; its reader limits what it keeps of the decoded content.
    """

    connect: float
    answer: float
    size: int


@dataclass(frozen=True)
class Request:
    """A request. `sign` adds the key."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    sign: Callable[[requests.PreparedRequest], requests.PreparedRequest]


class Transport:
    """Sends requests to one host, one after the other."""

    def __init__(self, host: str, stop: StopSignal | None, on_status: Callable[[str], None]) -> None:
        """Connect to nothing yet.

        Args:
            host: the URL of the host, for messages.
            stop: ends the wait for an answer a few seconds after it is set.
            on_status: called with the status of each answer, such as `200`, or `none` when there was no answer.
        """
        self._host, self._stop, self._on_status = host, stop or StopSignal(), on_status
        self._session = new_session()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def exchange(self, request: Request, limits: Limits, read: Reader[Result]) -> Result:
        """Send one request once, and return what `read` makes of the answer.

        Args:
            request: what to send.
            limits: of the answer.
            read: gets status, headers and the decoded content in chunks. Runs in a thread of its own. What it leaves
                unread is discarded with the connection.

        Raises:
            DestinationError: the request cannot be sent with this URL, certificate or proxy.
            UnknownOutcomeError: there was no complete answer.
            LoaderError: as `read`.
        """
        watch = Watch[Result](limits.size + RAW_OVERHEAD)
        thread = threading.Thread(target=_work, args=(self._session, request, limits, read, watch), daemon=True)
        thread.start()
        gave_up = self._wait(watch, limits)
        if gave_up is None and watch.error is None:
            self._on_status(str(watch.status))
            if watch.status in INTERIM:  # the final answer may follow, and must not be taken for the next one
                self._start_anew()
            return watch.result()
        # Bytes of a broken answer may still arrive, and the thread may still use the session.
        self._start_anew()
        if gave_up is not None:
            self._on_status("none")
            raise gave_up
        if isinstance(watch.error, LoaderError):
            self._on_status(str(watch.status))
            raise watch.error
        self._on_status("none")
        assert watch.error is not None  # noqa: S101
        if not isinstance(watch.error, FAILURES):
            raise watch.error
        raise described(watch.error, self._host, watch.is_sending) from watch.error

    def _start_anew(self) -> None:
        """Use new connections from here on."""
        session, self._session = self._session, new_session()
        session.close()

    def _wait(self, watch: Watch[Any], limits: Limits) -> UnknownOutcomeError | None:
        """Wait until the thread has finished; the error to raise if it has not in time."""
        began, stopped_at = monotonic(), None
        try:
            while not watch.done.wait(POLL):
                now = monotonic()
                if self._stop.is_set and stopped_at is None:
                    stopped_at = now
                is_late = stopped_at is not None and now >= stopped_at + STOP_SECONDS
                if (is_late or now >= self._deadline(watch, began, limits)) and watch.abort():
                    break
            else:
                return None
        except BaseException:  # a second signal
            watch.abort()
            raise
        watch.done.wait(END_SECONDS)
        if not watch.is_sending:
            return UnknownOutcomeError(
                f"No connection to {self._host} within {monotonic() - began:.0f} s: check that the host is right and"
                " reachable.",
                did_nothing=True,
            )
        if stopped_at is not None:
            return UnknownOutcomeError(
                f"No complete response from {self._host} within {STOP_SECONDS:g} s after {self._stop.name}.",
                may_be_in_progress=True,
            )
        if watch.sent_at is None:
            return UnknownOutcomeError(
                f"{self._host} did not take the request within {SEND_SECONDS:g} s.", may_be_in_progress=True
            )
        return UnknownOutcomeError(
            f"No complete response from {self._host} within {limits.answer:g} s.", may_be_in_progress=True
        )

    @staticmethod
    def _deadline(watch: Watch[Any], began: float, limits: Limits) -> float:
        """When to give up: connecting, sending and the answer each have their own time."""
        if watch.sent_at is not None:
            return watch.sent_at + limits.answer
        return began + (SEND_SECONDS if watch.is_sending else CONNECT_TRIES * limits.connect)


def _work(
    session: requests.Session, request: Request, limits: Limits, read: Reader[Result], watch: Watch[Result]
) -> None:
    """Make the request, in a thread of its own."""
    current.set(watch)
    try:
        with session.request(
            request.method,
            request.url,
            data=request.body,
            headers=dict(request.headers),
            auth=request.sign,
            timeout=(limits.connect, None),
            stream=True,
            allow_redirects=False,
        ) as response:
            watch.status = response.status_code
            watch.finish(read(response.status_code, response.headers, response.raw.stream(CHUNK, decode_content=True)))
    except BaseException as error:  # raised again by the thread that waits
        watch.error = error
    finally:
        watch.end()
