"""The FastAPI app: its routes, and which of them require the key."""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Response

from loader import __version__
from loader.config.settings import read_streams
from loader.runs.run import Job
from loader.service import cloudzero_endpoints, login, page
from loader.service.auth import Authenticator
from loader.service.docs_page import docs_page
from loader.service.error_responses import add_error_handlers, describe_errors, error_response
from loader.service.exports import MAX_CONCURRENT_DRY_RUNS, Exports
from loader.service.metrics import CONTENT_TYPE, Metrics
from loader.service.request_limits import RequestLimits
from loader.service.schedule import ScheduledRun
from loader.service.security_headers import SecurityHeaders
from loader.service.settings import ServiceSettings
from loader.service.snapshot import SnapshotCache
from loader.service.warehouse_access import WarehouseAccess
from loader.stopping import StopSignal
from loader.warehouse.source import warnings


@dataclass(frozen=True)
class Service:
    """The app, and the run that the schedule starts."""

    app: FastAPI
    scheduled_run: ScheduledRun


def make_service(settings: ServiceSettings, job: Job, stop: StopSignal) -> Service:
    """Assemble the service; nothing runs yet.

    Args:
        settings: the key and the address to listen on.
        job: the warehouse and options that runs and exports use.
        stop: ends a run or an export after the request to CloudZero that is in progress.

    Raises:
        ConfigurationError: a stream's connection ID or URL is not valid.
    """
    streams = read_streams()
    access = WarehouseAccess(job)
    snapshots = SnapshotCache(access.open_for_reading, streams, job.since)
    metrics = Metrics(snapshots, streams)
    authenticator = Authenticator(settings.master_key)
    app = FastAPI(
        title="litellm-cbf",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        description="Sends LiteLLM spend to CloudZero and shows what was sent.",
    )
    add_error_handlers(app)
    app.add_middleware(RequestLimits, loopback_only=authenticator.is_disabled)
    app.add_middleware(SecurityHeaders)  # the outermost one
    app.include_router(_public_routes(snapshots))
    app.include_router(login.make_router(authenticator))
    app.include_router(_protected_routes(app, metrics, authenticator))
    exports = Exports(job, access, metrics, snapshots, stop, BoundedSemaphore(MAX_CONCURRENT_DRY_RUNS))
    app.include_router(cloudzero_endpoints.make_router(exports, authenticator))
    app.include_router(page.make_router(access.open_for_reading, streams, authenticator, since=job.since))
    return Service(app, ScheduledRun(job, access, metrics, snapshots, stop))


def _public_routes(snapshots: SnapshotCache) -> APIRouter:
    """The probes of Kubernetes and load balancers, which need no key."""
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="Liveness probe", responses=describe_errors(403))
    async def health() -> dict[str, str]:
        """Always ok while the process runs; does not read the warehouse."""
        return {"status": "ok"}

    @router.get("/ready", summary="Readiness probe", responses=describe_errors(403, 503), response_model=None)
    def ready() -> dict[str, str | list[str]] | Response:
        """Ready when the views can be read. Checked every 15 seconds at most; unchanged while DuckDB is locked.

        `warnings` says what needs attention: a glob that matches no file, requests that are rejected.
        """
        snapshots.refresh()
        if snapshots.problem is None:
            found = warnings(snapshots.snapshot.source) if snapshots.snapshot else []
            return {"status": "ready"} | ({"warnings": found} if found else {})
        return error_response(503, snapshots.problem, "not_ready")

    return router


def _protected_routes(app: FastAPI, metrics: Metrics, authenticator: Authenticator) -> APIRouter:
    router = APIRouter(dependencies=[Depends(authenticator)])

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        tags=["health"],
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}, **describe_errors(401, 403, 503)},
    )
    def show_metrics() -> Response:
        """What was sent, what is pending, and how full the months are."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @router.get("/openapi.json", include_in_schema=False)
    def description() -> dict[str, Any]:
        return app.openapi()

    @router.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return docs_page(app.openapi())

    return router
