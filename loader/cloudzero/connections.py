"""The connections of a request: they note whether a byte of it was sent, and can be shut down from another thread."""

from __future__ import annotations

import io
import os
import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any, Generic, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.poolmanager import PoolManager

Result = TypeVar("Result")


class Watch(Generic[Result]):
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


current: ContextVar[Watch[Any]] = ContextVar("current")


class _Received(io.RawIOBase):
    """The bytes of an answer, counted: a line without an end would otherwise fill the memory."""

    def __init__(self, raw: io.RawIOBase, watch: Watch[Any]) -> None:
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
        self._received = _Received(sock.makefile("rb", buffering=0), current.get())
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
        current.get().hold(connected)
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
        watch = current.get()
        if not self._is_connecting:
            if not watch.is_sending:
                watch.hold(self.sock)
            watch.begin_sending()
        super().send(data)

    def getresponse(self) -> Any:
        """Wait for the answer."""
        watch = current.get()
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


def new_session() -> requests.Session:
    """A session with watched connections, which keeps no cookies and follows no redirects."""
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # none
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session
