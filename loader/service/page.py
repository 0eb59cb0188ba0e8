"""The page: `GET /`, the JSON that it shows, and its own files. Everything else of the service stands beside it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from loader.config.settings import Stream
from loader.errors import LoaderError, LockedError
from loader.service.error_responses import documented
from loader.service.overview import look
from loader.service.overview_schema import Answer, Overview, Problem
from loader.warehouse.base import Warehouse

FRESH_SECONDS = 60.0
MEDIA_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "calendar.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "format.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "uPlot.min.css": "text/css; charset=utf-8",
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "uPlot.LICENSE": "text/plain; charset=utf-8",
}
# No inline script or style, nothing from another host, in no other page's frame.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PRIVATE = {"Cache-Control": "no-store"}


class StaticFile(NamedTuple):
    """One of the shipped files, and a tag that changes with it."""

    content: bytes
    etag: str


class Overviews:
    """The newest overview, read again when it is older than a minute; one reader at a time."""

    def __init__(
        self,
        open_to_read: Callable[[], AbstractContextManager[Warehouse]],
        streams: Sequence[Stream],
        now: Callable[[], datetime],
        since: datetime | None = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._open_to_read = open_to_read
        self._streams, self._since = streams, since
        self._now, self._fresh_seconds = now, fresh_seconds
        self._reading = threading.Lock()
        self._newest: Overview | None = None
        self._read_at = 0.0

    def answer(self) -> Answer:
        """The newest overview; when the warehouse cannot be read, the last one with the reason.

        Waits for another reader only when there is nothing to show yet.
        """
        last = self._newest
        if not self._reading.acquire(blocking=last is None):
            return Answer(problem=None, overview=last)
        try:
            return self._read()
        finally:
            self._reading.release()

    def _read(self) -> Answer:
        if self._newest is None or time.monotonic() - self._read_at >= self._fresh_seconds:
            try:
                with self._open_to_read() as warehouse:
                    self._newest = look(warehouse, self._streams, self._now(), self._since)
            except LoaderError as error:
                kind = "locked" if isinstance(error, LockedError) else "unreadable"
                problem = Problem(kind=kind, message=" ".join(str(error).split()))  # type: ignore[arg-type]
                return Answer(problem=problem, overview=self._newest)
            self._read_at = time.monotonic()
        return Answer(problem=None, overview=self._newest)


def make_router(
    open_to_read: Callable[[], AbstractContextManager[Warehouse]],
    streams: Sequence[Stream],
    require_key: Callable[..., Any],
    *,
    since: datetime | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    fresh_seconds: float = FRESH_SECONDS,
) -> APIRouter:
    """The page's routes: `/`, `/api/overview`, `/static/{name}`.

    Args:
        open_to_read: opens the warehouse; called at most once in `fresh_seconds`, and never twice at a time.
        streams: what to show, the first one first; when there are none, every stream that was ever sent to.
        require_key: a dependency of FastAPI's that lets a request in or raises; asked for every route.
        since: nothing older is pending (`LOADER_PUSH_SINCE`).
        now: the clock (UTC).
        fresh_seconds: how long an overview is shown before it is read again.
    """
    router = APIRouter(dependencies=[Depends(require_key)])
    overviews = Overviews(open_to_read, streams, now, since, fresh_seconds)

    @router.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(static_file("index.html").content, headers=HEADERS | PRIVATE, media_type="text/html")

    @router.get("/api/overview", summary="What the page shows", tags=["page"], responses=documented(401, 403, 503))
    def overview(response: Response) -> Answer:
        """Totals, usage by hour, the calendar of hours, month limits, last pushes and newest lines, from the warehouse.

        At most a minute old. When the warehouse cannot be read, `problem` says why, and `overview` is the last one.
        """
        response.headers.update(HEADERS | PRIVATE)
        return overviews.answer()

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: str, request: Request) -> Response:
        if name not in MEDIA_TYPES:
            raise HTTPException(404, "There is no such file.")
        file = static_file(name)
        # `no-cache`: kept, but asked for again, so that a new version is seen at once.
        headers = HEADERS | {"ETag": file.etag, "Cache-Control": "private, no-cache"}
        if file.etag in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=MEDIA_TYPES[name])

    return router


@cache
def static_file(name: str) -> StaticFile:
    """One of the files that are shipped; the name is never a user's own."""
    content = files("loader.service").joinpath("static", name).read_bytes()
    return StaticFile(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
