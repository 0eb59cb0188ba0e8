"""The connections of the service: how many there may be, and how long each may wait for its client.

uvicorn has neither a deadline for request headers nor a limit for each address, and above its limit on connections it
refuses all requests, probes included. Here a new connection is always accepted. If there are too many, the one that has
waited longest for a request is closed instead.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from loader.service.addresses import client_network
from loader.service.security_headers import SECURITY_HEADERS

MAX_CONNECTIONS = 256
# Behind a proxy, all clients have its address; more than 32 requests are never in progress (`RequestLimits`).
MAX_CONNECTIONS_PER_ADDRESS = 64
# Seconds. A request's head must arrive within this time after the connection or the previous response.
HEAD_TIMEOUT = 10.0
# Within which the rest of a body may arrive that is not read any more, so that its client reads the response.
DISCARD_TIMEOUT = 30.0
# Within which a client must read what is written to it.
WRITE_TIMEOUT = 30.0
REASONS = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}


class LimitedConnection(H11Protocol):
    """One connection, as uvicorn's protocol for HTTP/1.1 handles it, with deadlines and a limit on their number."""

    max_connections = MAX_CONNECTIONS
    max_per_address = MAX_CONNECTIONS_PER_ADDRESS
    head_timeout = HEAD_TIMEOUT
    discard_timeout = DISCARD_TIMEOUT
    write_timeout = WRITE_TIMEOUT

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.network = ""
        self.waiting_since = 0.0  # by the event loop's clock
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no request is in progress: the connection is idle, or the head of a request is incomplete."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.network = client_network(self.client[0]) if self.client else ""
        self.waiting_since = self.loop.time()
        self._close_surplus()
        self._expect_within(self.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        for timer in (self._deadline, self._write_deadline):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has arrived. A complete head of a request ends the wait for it."""
        super().handle_events()
        if not self.is_waiting and self._deadline is not None:
            self._deadline.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of a body that is discarded."""
        self.waiting_since = self.loop.time()
        is_discarding = self.conn.their_state is h11.SEND_BODY
        self._expect_within(self.discard_timeout if is_discarding else self.head_timeout)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the client does not read."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def shutdown(self) -> None:
        """Close the connection if no request is in progress, otherwise after the response."""
        super().shutdown()
        if self.transport.is_closing():
            self._expect_within(self.write_timeout)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless a response was already sent."""
        if self.cycle is not None and not self.cycle.response_complete:
            # Its body is malformed: the application must not respond as well.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse(400, msg)

    def drop(self) -> None:
        """Close the connection at once, to make room for another one."""
        self.connections.discard(self)
        if self._has_partial_head:
            self._refuse(503, "There are too many connections: try again later.")
        self.transport.abort()

    @property
    def _has_partial_head(self) -> bool:
        return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def _close_surplus(self) -> None:
        """Close the connection that has waited longest, if its address or all addresses have too many.

        If all addresses have too many, one of the address that has the most is closed.
        """
        open_ones = cast("set[LimitedConnection]", self.connections)
        counts = Counter(each.network for each in open_ones)
        waiting = [each for each in open_ones if each.is_waiting and each is not self]
        if counts[self.network] > self.max_per_address:
            waiting = [each for each in waiting if each.network == self.network]
        elif len(open_ones) <= self.max_connections:
            return
        if waiting:
            min(waiting, key=lambda each: (-counts[each.network], each.waiting_since)).drop()

    def _expect_within(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._deadline_passed)

    def _deadline_passed(self) -> None:
        if self.transport.is_closing():  # and the client does not read the rest
            self.transport.abort()
            return
        if self._has_partial_head:
            self._refuse(408, f"The request headers did not arrive within {self.head_timeout:g} s.")
        self.transport.close()
        self._expect_within(self.write_timeout)

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, if no response has begun, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
            headers += [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(message)).encode()),
                (b"connection", b"close"),
            ]
            send: Callable[[Any], bytes | None] = self.conn.send
            events = (
                h11.Response(status_code=status, headers=headers, reason=REASONS[status]),
                h11.Data(data=message.encode("ascii")),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(send(event) or b"" for event in events))
        self.transport.close()
