"""One HTTP request and its answer, which has to be complete within a time and a size. The only import of requests.

The request is made in a thread. Whoever waits for it can then give up at a deadline or after a signal, whatever the
server does, and shut the socket down (docs/decisions/026-limits-of-an-answer.md).
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any, Generic, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, InvalidProxyURL, InvalidSchema, InvalidURL, MissingSchema
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import PoolManager
from urllib3.util.ssl_match_hostname import CertificateError

from loader.errors import DestinationError, LoaderError, UnknownOutcomeError
from loader.stopping import StopSignal
from loader.text import one_line

CHUNK = 256 * 1024  # bytes
POLL = 0.05  # seconds between two looks at the clock and the signal
CONNECT_TRIES = 3  # a host can have several addresses, and each has the time to connect
SEND_SECONDS = 300.0  # to send a body: 5 MB at 130 kbit/s
STOP_SECONDS = 5.0  # how much longer to wait for an answer after a signal
END_SECONDS = 1.0  # for the thread to end once its socket is shut down
INTERIM = range(100, 200)  # statuses
RAW_OVERHEAD = 1_000_000  # bytes of headers and chunk sizes, beside the content
# What requests and the libraries below it raise for whatever a server, a proxy or the network does.
FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError, RecursionError)
UNUSABLE = (InvalidURL, InvalidSchema, MissingSchema, InvalidProxyURL, InvalidHeader)
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
        self._session = _new_session()

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
        watch = _Watch[Result](limits.size + RAW_OVERHEAD)
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
        raise self._described(watch.error, watch.is_sending) from watch.error

    def _start_anew(self) -> None:
        """Use new connections from here on."""
        session, self._session = self._session, _new_session()
        session.close()

    def _wait(self, watch: _Watch[Any], limits: Limits) -> UnknownOutcomeError | None:
        """Wait until the thread has finished; the error to raise if it has not in time."""
        began, stopped_at = monotonic(), None
        try:
            while not watch.done.wait(POLL):
                now = monotonic()
                if self._stop.is_set and stopped_at is None:
                    stopped_at = now
                is_late = stopped_at is not None and now >= stopped_at + STOP_SECONDS
                if (is_late or now >= watch.deadline(began, limits)) and watch.abort():
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

    def _described(self, error: BaseException, was_sent: bool) -> LoaderError:
        """The error to raise for a failure of the connection."""
        reasons = [each.reason for each in _causes(error) if isinstance(each, ssl.SSLError) and each.reason]
        name = " ".join([type(error).__name__, *map(one_line, reasons[:1])])
        if was_sent:
            return UnknownOutcomeError(
                f"No response from {self._host} ({name}): the connection was closed, or the answer is not valid HTTP.",
                may_be_in_progress=True,
            )
        place = "the proxy" if isinstance(error, requests.exceptions.ProxyError) else self._host
        if problem := _certificate_problem(error):
            return DestinationError(f"The certificate of {place} is not accepted: {problem} Nothing was sent.")
        if isinstance(error, UNUSABLE) or not isinstance(error, requests.RequestException | HTTPError):
            # For example a file named by REQUESTS_CA_BUNDLE that does not exist.
            return DestinationError(
                f"No request can be sent to {self._host}: {one_line(str(error)).rstrip('.')}. Check CLOUDZERO_API_URL,"
                " HTTPS_PROXY and REQUESTS_CA_BUNDLE."
            )
        return UnknownOutcomeError(
            f"No response from {self._host} ({name}): check that the host is right and reachable.", did_nothing=True
        )


class _Watch(Generic[Result]):
    """What is known of a request in progress, for the thread that makes it and the one that waits."""

    def __init__(self, max_bytes: int) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.status: int | None = None
        self.is_sending = False  # whether a byte of the request may have left
        self.sent_at: float | None = None
        self.bytes_left = max_bytes
        self._results: list[Result] = []
        self._lock = threading.Lock()
        self._is_aborted = False
        self._handle: socket.socket | None = None

    def result(self) -> Result:
        """What the reader returned."""
        return self._results[0]

    def finish(self, result: Result) -> None:
        """Keep what the reader returned."""
        self._results.append(result)

    def deadline(self, began: float, limits: Limits) -> float:
        """When to give up: connecting, sending and the answer each have their own time."""
        if self.sent_at is not None:
            return self.sent_at + limits.answer
        return began + (SEND_SECONDS if self.is_sending else CONNECT_TRIES * limits.connect)

    def hold(self, connected: Any) -> None:
        """Keep a handle of a connection, with which `abort` can shut it down.

        A duplicate, because the socket of a TLS connection takes over the first one's, and must not be used from two
        threads.

        Raises:
            ConnectionAbortedError: nobody waits for the request any more.
        """
        with self._lock:
            self._require_not_aborted()
            self._close_handle()
            self._handle = socket.socket(fileno=os.dup(connected.fileno()))

    def begin_sending(self) -> None:
        """Note that a byte of the request is about to be sent.

        Raises:
            ConnectionAbortedError: nobody waits for the request any more, so it must not be sent.
        """
        with self._lock:
            self._require_not_aborted()
            self.is_sending = True

    def abort(self) -> bool:
        """End the request, unless it has just ended: nothing more is sent, and the thread finds the connection closed.

        Returns:
            Whether it was ended. The end of the connection can look like the end of an answer, so what the thread makes
            of it does not count.
        """
        with self._lock:
            if self.done.is_set():
                return False
            self._is_aborted = True
            if self._handle is not None:
                with suppress(OSError):  # not connected any more
                    self._handle.shutdown(socket.SHUT_RDWR)
            return True

    def end(self) -> None:
        """Close the handle, and let the thread that waits go on."""
        with self._lock:
            self._close_handle()
            self.done.set()

    def _require_not_aborted(self) -> None:
        if self._is_aborted:
            raise ConnectionAbortedError("the request was given up")

    def _close_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


_current: ContextVar[_Watch[Any]] = ContextVar("_current")


def _work(
    session: requests.Session, request: Request, limits: Limits, read: Reader[Result], watch: _Watch[Result]
) -> None:
    """Make the request, in a thread of its own."""
    _current.set(watch)
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


class _Received(io.RawIOBase):
    """The bytes of an answer, counted: a line without an end would otherwise fill the memory."""

    def __init__(self, raw: io.RawIOBase, watch: _Watch[Any]) -> None:
        self._raw, self._watch = raw, watch
        self.is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count: int | None = self._raw.readinto(buffer)
        self.is_at_end = count == 0
        self._watch.bytes_left -= count or 0
        if self._watch.bytes_left < 0:
            raise HTTPException("the response is too large")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LimitedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self._received = _Received(sock.makefile("rb", buffering=0), _current.get())
        self.fp = io.BufferedReader(self._received)

    def begin(self) -> None:
        """Read the status and the headers, of which Python accepts a part."""
        super().begin()
        if self._received.is_at_end:
            raise HTTPException("the connection was closed within the headers")


class _WatchedConnection(HTTPConnection):
    """A connection that tells the current watch whether a byte of the request has been sent."""

    response_class = _LimitedResponse
    _is_connecting = False

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        _current.get().hold(connected)
        return connected

    def connect(self) -> None:
        """Connect: TCP, the proxy's tunnel and the TLS handshake."""
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False
        # From here on only the deadlines of the watch count.
        self.sock.settimeout(None)

    def send(self, data: Any) -> None:
        """Send a part of the request, or of the tunnel that connects to the host."""
        if self.sock is None:
            self.connect()
        watch = _current.get()
        if not self._is_connecting:
            if not watch.is_sending:
                watch.hold(self.sock)
            watch.begin_sending()
        super().send(data)

    def getresponse(self) -> Any:
        """Wait for the answer."""
        watch = _current.get()
        watch.sent_at = watch.sent_at or monotonic()
        return super().getresponse()


class _Adapter(HTTPAdapter):
    """Uses watched connections, directly and through proxies."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        _watch_connections(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        _watch_connections(manager)
        return manager


def _watch_connections(manager: PoolManager) -> None:
    """Let a manager make watched connections, of whatever kind its own are."""
    pools: dict[str, Any] = manager.pool_classes_by_scheme
    if not any(issubclass(pool.ConnectionCls, _WatchedConnection) for pool in pools.values()):
        manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools.items()}


def _watched(pool: Any) -> Any:
    """A class of connection pools like this one, with watched connections."""
    connection = pool.ConnectionCls
    watched = type(connection.__name__, (_WatchedConnection, connection), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": watched})


class _Session(requests.Session):
    """A session that does not look at redirects: they would send the key to another host."""

    def get_redirect_target(self, response: requests.Response) -> None:  # noqa: ARG002
        return None


def _new_session() -> requests.Session:
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # none
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session


def _certificate_problem(error: BaseException) -> str:
    """What is wrong with a certificate, and what to do; empty if that is not why the connection failed."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return _advice(each.verify_code, one_line(each.verify_message).rstrip("."))
        if isinstance(each, CertificateError):
            return _advice(62, one_line(str(each)).rstrip("."))
    return ""


def _causes(error: BaseException) -> list[BaseException]:
    """An exception with all that it wraps, in the ways of requests, urllib3 and Python."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            waiting += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
    return found


def _advice(code: int, message: str) -> str:
    """OpenSSL's message with what to do about it (codes: X509_STORE_CTX_get_error(3))."""
    if code in (9, 10):  # not yet valid, expired
        return f"{message}. Have it renewed, or correct this machine's clock."
    if code in (62, 64):  # another host name, another IP address
        return f"{message}. Check the host in CLOUDZERO_API_URL."
    return (
        f"{message}. If the host, or a proxy on the way to it, has a certificate authority of its own, set"
        " REQUESTS_CA_BUNDLE to that authority's certificate."
    )
