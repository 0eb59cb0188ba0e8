"""The service as a FastAPI app: which routes there are, and who may ask them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.responses import JSONResponse

from loader import __version__
from loader.config.settings import read_streams
from loader.runs.run import Job
from loader.service import cloudzero_endpoints, login, page
from loader.service.auth import Doorkeeper
from loader.service.docs_page import docs_page
from loader.service.error_responses import documented, handle_refusals
from loader.service.exports import DRY_RUNS_AT_A_TIME, Exports
from loader.service.metrics import CONTENT_TYPE, Metrics
from loader.service.request_limits import Guard
from loader.service.schedule import Ticker
from loader.service.settings import ServiceSettings
from loader.service.snapshot import Watch
from loader.service.warehouse_access import Access
from loader.stopping import StopSignal


@dataclass(frozen=True)
class Service:
    """The app, and the run that its schedule makes."""

    app: FastAPI
    ticker: Ticker


def make_service(settings: ServiceSettings, job: Job, stop: StopSignal) -> Service:
    """All parts, tied together; nothing runs yet.

    Args:
        settings: the key, and where it will listen.
        job: what to run on.
        stop: ends a run or an export after the body in flight.

    Raises:
        ConfigurationError: the stream's name or URL is none.
    """
    streams = read_streams()
    access = Access(job)
    watch = Watch(access.to_read, streams, job.since)
    metrics = Metrics(watch, streams)
    doorkeeper = Doorkeeper(settings.master_key)
    app = FastAPI(
        title="litellm-cbf", version=__version__, docs_url=None, redoc_url=None, openapi_url=None,
        description="LiteLLM's spend as CloudZero's lines: see it, send it, watch it.",
    )  # fmt: skip
    handle_refusals(app)
    app.add_middleware(Guard, loopback_only=doorkeeper.is_open)
    app.include_router(_open_routes(watch))
    app.include_router(login.make_router(doorkeeper))
    app.include_router(_routes_for_the_key(app, metrics, doorkeeper))
    exports = Exports(job, access, metrics, watch, stop, BoundedSemaphore(DRY_RUNS_AT_A_TIME))
    app.include_router(cloudzero_endpoints.make_router(exports, doorkeeper))
    app.include_router(page.make_router(access.to_read, streams, doorkeeper, since=job.since))
    return Service(app, Ticker(job, access, metrics, watch, stop))


def _open_routes(watch: Watch) -> APIRouter:
    """What Kubernetes and load balancers ask, without a key."""
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="Whether the process lives", responses=documented(403))
    async def health() -> dict[str, str]:
        """Asks nobody else."""
        return {"status": "ok"}

    @router.get("/ready", summary="Whether the views can be read", responses=documented(403, 503), response_model=None)
    def ready() -> dict[str, str] | Response:
        """Looked at every 15 seconds at most; a DuckDB file that is in use for a while stays what it was."""
        watch.look()
        if watch.problem is None:
            return {"status": "ready"}
        return JSONResponse(
            {"error": {"message": watch.problem, "type": "not_ready", "code": 503, "field": None}}, status_code=503
        )

    return router


def _routes_for_the_key(app: FastAPI, metrics: Metrics, doorkeeper: Doorkeeper) -> APIRouter:
    router = APIRouter(dependencies=[Depends(doorkeeper)])

    @router.get(
        "/metrics", summary="For Prometheus", tags=["health"], response_class=Response,
        responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}, **documented(401, 403, 503)},
    )  # fmt: skip
    def show_metrics() -> Response:
        """What was sent, what is pending, how full the months are."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @router.get("/openapi.json", include_in_schema=False)
    def description() -> dict[str, Any]:
        return app.openapi()

    @router.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return docs_page(app.openapi())

    return router
