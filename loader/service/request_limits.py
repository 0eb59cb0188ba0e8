"""What is looked at before any route: how many ask, the host's name, where a form came from, the size of the body."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loader.service.error_responses import refusal
from loader.service.settings import is_loopback

MAX_BYTES = 64 * 1024
BODY_SECONDS = 30.0
READING = ("GET", "HEAD", "OPTIONS")
# Fewer than the 40 threads that answer: whoever is not counted has one.
MAX_REQUESTS = 32
# Who asks these ends the process, or sends nobody here, when there is no answer.
PROBES = ("/health", "/ready")


class Guard:
    """ASGI middleware. `loopback_only`: refuse a Host header that is not this machine's.

    `max_requests` are those under way, probes not counted, also while their bodies are waited for.
    """

    def __init__(
        self,
        app: ASGIApp,
        loopback_only: bool,
        max_bytes: int = MAX_BYTES,
        body_seconds: float = BODY_SECONDS,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        self._app, self._loopback_only = app, loopback_only
        self._max_bytes, self._body_seconds = max_bytes, body_seconds
        self._max_requests, self._under_way = max_requests, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in PROBES:
            await self._look_at(scope, receive, send)
            return
        if self._under_way >= self._max_requests:
            said = f"{self._max_requests} requests are under way: try again when some of them have ended."
            await _refuse(refusal(503, said, "busy"), scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._look_at(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _look_at(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        answer: JSONResponse | None = None
        if self._loopback_only and not is_loopback(_name(headers.get("host", ""))):
            # DNS rebinding: a site of somebody else's whose name now means this machine.
            answer = refusal(403, "Without LOADER_MASTER_KEY only this machine's own names are served.", "host")
        elif scope["method"] not in READING and is_from_elsewhere(headers):
            answer = refusal(403, "This request was made by a page of another site.", "origin")
        elif _length(headers) > self._max_bytes:
            answer = self._too_large()
        else:
            try:
                body = await asyncio.wait_for(self._body(receive), self._body_seconds)
            except asyncio.TimeoutError:
                answer = refusal(408, f"The body did not come within {self._body_seconds:g} s.", "body")
            else:
                if body is None:
                    answer = self._too_large()
        if answer is not None:
            await _refuse(answer, scope, receive, send)
            return
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> JSONResponse:
        return refusal(413, f"The request is larger than {self._max_bytes // 1024} KiB.", "body")


async def _refuse(answer: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)


def is_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that a page of another site asks. What is no browser says nothing of it."""
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    if origin := headers.get("origin"):
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    return False


def _name(host: str) -> str:
    """A Host header without its port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.rpartition(":")[0] or host


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0
