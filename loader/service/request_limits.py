"""Checks before any route: concurrent requests, the Host header, the origin of forms, and the size of the body."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loader.service.error_responses import error_response
from loader.service.settings import is_loopback

MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT = 30.0  # seconds
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Fewer than the 40 worker threads, so that a probe always finds a free one.
MAX_REQUESTS = 32
# Not counted as requests: without an answer, an orchestrator restarts the process or takes it out of service. Their
# bodies are not read, so they cannot wait for one.
PROBES = ("/health", "/ready")
# Readiness may have to wait for the warehouse, so its requests have a limit of their own; liveness never waits.
LIVENESS, MAX_READINESS_REQUESTS = "/health", 6


class RequestLimits:
    """ASGI middleware that refuses what is too much, too large, or sent by another site's page.

    Args:
        app: the application behind it.
        loopback_only: refuse Host headers that are not a name of this machine.
        max_body_bytes: the largest body that is accepted.
        body_timeout: seconds within which the whole body must arrive.
        max_requests: concurrent requests, including those whose body is still arriving; probes do not count.
    """

    def __init__(
        self,
        app: ASGIApp,
        loopback_only: bool,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_timeout: float = BODY_TIMEOUT,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        self._app, self._loopback_only = app, loopback_only
        self._max_body_bytes, self._body_timeout = max_body_bytes, body_timeout
        self._max_requests = max_requests
        self._in_progress = Counter[bool]()  # by whether they are probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == LIVENESS:
            await self._handle(scope, receive, send)
            return
        is_probe = scope["path"] in PROBES
        limit = MAX_READINESS_REQUESTS if is_probe else self._max_requests
        if self._in_progress[is_probe] >= limit:
            message = f"{limit} requests are in progress: try again later."
            await _refuse(error_response(503, message, "busy"), scope, receive, send)
            return
        self._in_progress[is_probe] += 1
        try:
            await self._handle(scope, receive, send)
        finally:
            self._in_progress[is_probe] -= 1

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal: JSONResponse | None = None
        if self._loopback_only and not is_loopback(_host_name(headers.get("host", ""))):
            # DNS rebinding: another site's name that now resolves to this machine.
            refusal = error_response(
                403,
                "Without LOADER_MASTER_KEY the Host header must be a name of this machine, such as localhost.",
                "host",
            )
        elif scope["method"] not in SAFE_METHODS and is_cross_site(headers):
            refusal = error_response(403, "This request was made by a page of another site.", "origin")
        elif scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        elif _content_length(headers) > self._max_body_bytes:
            refusal = self._too_large()
        else:
            try:
                body = await asyncio.wait_for(self._read_body(receive), self._body_timeout)
            except asyncio.TimeoutError:
                refusal = error_response(408, f"The body did not arrive within {self._body_timeout:g} s.", "body")
            else:
                if body is None:
                    refusal = self._too_large()
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read_body(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> JSONResponse:
        return error_response(413, f"The request is larger than {self._max_body_bytes // 1024} KiB.", "body")


async def _refuse(refusal: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal, and let the server discard the rest of the body.

    If the connection were closed now, a client that is still sending would get a connection reset instead of the
    response. One that waits for `100 Continue` sends no body.
    """
    if "expect" in Headers(scope=scope):
        refusal.headers["Connection"] = "close"
    await refusal(scope, receive, send)


def is_cross_site(headers: Headers) -> bool:
    """Whether a page of another site made the request. Only browsers send these headers; other clients pass."""
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    if origin := headers.get("origin"):
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    return False


def _host_name(host: str) -> str:
    """A Host header without its port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.rpartition(":")[0] or host


def _content_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0
