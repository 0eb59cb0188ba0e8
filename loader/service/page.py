"""The page: `GET /`, the JSON that it shows, and its static files. Independent of the rest of the service."""

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
from loader.service.error_responses import describe_errors
from loader.service.overview import read_overview
from loader.service.overview_schema import Overview, OverviewResponse, ReadProblem
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
# No inline scripts or styles, nothing from other hosts, no framing by other pages.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PRIVATE = {"Cache-Control": "no-store"}


class StaticFile(NamedTuple):
    """One of the static files, with an ETag made from its content."""

    content: bytes
    etag: str


class OverviewCache:
    """The latest overview, read again when it is older than a minute; one thread reads at a time."""

    def __init__(
        self,
        open_for_reading: Callable[[], AbstractContextManager[Warehouse]],
        streams: Sequence[Stream],
        now: Callable[[], datetime],
        since: datetime | None = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._open_for_reading = open_for_reading
        self._streams, self._since = streams, since
        self._now, self._fresh_seconds = now, fresh_seconds
        self._reading = threading.Lock()
        self._latest: Overview | None = None
        self._read_at = 0.0

    def get(self) -> OverviewResponse:
        """The latest overview; if the warehouse cannot be read, the previous one with the reason.

        Waits for another thread's read only when there is no overview yet.
        """
        last = self._latest
        if not self._reading.acquire(blocking=last is None):
            return OverviewResponse(problem=None, overview=last)
        try:
            return self._read()
        finally:
            self._reading.release()

    def _read(self) -> OverviewResponse:
        if self._latest is None or time.monotonic() - self._read_at >= self._fresh_seconds:
            try:
                with self._open_for_reading() as warehouse:
                    self._latest = read_overview(warehouse, self._streams, self._now(), self._since)
            except LoaderError as error:
                kind = "locked" if isinstance(error, LockedError) else "unreadable"
                problem = ReadProblem(kind=kind, message=" ".join(str(error).split()))  # type: ignore[arg-type]
                return OverviewResponse(problem=problem, overview=self._latest)
            self._read_at = time.monotonic()
        return OverviewResponse(problem=None, overview=self._latest)


def make_router(
    open_for_reading: Callable[[], AbstractContextManager[Warehouse]],
    streams: Sequence[Stream],
    require_key: Callable[..., Any],
    *,
    since: datetime | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    fresh_seconds: float = FRESH_SECONDS,
) -> APIRouter:
    """The routes of the page: `/`, `/api/overview`, `/static/{name}`.

    Args:
        open_for_reading: opens the warehouse; called at most once per `fresh_seconds`, and never concurrently.
        streams: the streams to show, in this order; if empty, all streams in the push log.
        require_key: a FastAPI dependency that raises unless the request is authorized; applied to every route.
        since: hours before this one (UTC) are not pending (`LOADER_PUSH_SINCE`).
        now: returns the current time (UTC).
        fresh_seconds: how long an overview is served before it is read again.
    """
    router = APIRouter(dependencies=[Depends(require_key)])
    overviews = OverviewCache(open_for_reading, streams, now, since, fresh_seconds)

    @router.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(static_file("index.html").content, headers=HEADERS | PRIVATE, media_type="text/html")

    @router.get(
        "/api/overview", summary="The data of the page", tags=["page"], responses=describe_errors(401, 403, 503)
    )
    def overview(response: Response) -> OverviewResponse:
        """Totals, usage by hour, the calendar of hours, month limits, latest pushes and newest lines.

        At most a minute old. If the warehouse cannot be read, `problem` says why and `overview` is the previous one.
        """
        response.headers.update(HEADERS | PRIVATE)
        return overviews.get()

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: str, request: Request) -> Response:
        if name not in MEDIA_TYPES:
            raise HTTPException(404, "File not found.")
        file = static_file(name)
        # `no-cache` lets browsers store the file but makes them revalidate it, so that updates show immediately.
        headers = HEADERS | {"ETag": file.etag, "Cache-Control": "private, no-cache"}
        if file.etag in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=MEDIA_TYPES[name])

    return router


@cache
def static_file(name: str) -> StaticFile:
    """Read one of the packaged files.

    The name must be `index.html` or one of MEDIA_TYPES, because it can come from a request.
    """
    content = files("loader.service").joinpath("static", name).read_bytes()
    return StaticFile(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
