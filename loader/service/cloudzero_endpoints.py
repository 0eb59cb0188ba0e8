"""`POST /cloudzero/dry-run` and `POST /cloudzero/export`, compatible with LiteLLM's endpoints of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Response

from loader.service.error_responses import describe_errors
from loader.service.exports import DryRunRequest, DryRunResponse, ExportRequest, ExportResponse, Exports


def make_router(exports: Exports, require_key: Callable[..., Any]) -> APIRouter:
    """The router with both endpoints; both require the key."""
    router = APIRouter(prefix="/cloudzero", tags=["cloudzero"], dependencies=[Depends(require_key)])

    @router.post(
        "/dry-run",
        summary="Show lines as they would be sent",
        response_model=None,
        responses={200: {"model": DryRunResponse}, **describe_errors(400, 401, 403, 408, 409, 413, 422, 503)},
    )
    def dry_run(body: DryRunRequest) -> Response:
        """Sends nothing. The summary covers all requested hours, not only the lines shown."""
        return _json(exports.dry_run(body))

    @router.post(
        "/export",
        summary="Send to CloudZero now",
        response_model=None,
        responses={
            200: {"model": ExportResponse},
            **describe_errors(400, 401, 403, 408, 409, 412, 413, 422, 502, 503, 504),
        },
    )
    def export(body: ExportRequest) -> Response:
        """Sends whole hours; each one replaces what CloudZero holds for it, so repeating a request changes nothing."""
        return _json(exports.export(body))

    return router


def _json(content: dict[str, object]) -> Response:
    # orjson, so that lines are the same bytes as those sent to CloudZero, and money never becomes a float.
    return Response(orjson.dumps(content), media_type="application/json")
