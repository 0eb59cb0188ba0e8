"""`POST /cloudzero/dry-run` and `POST /cloudzero/export`: LiteLLM's own, so that its curl lines work here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Response

from loader.service.error_responses import documented
from loader.service.exports import DryRunAnswer, DryRunRequest, ExportAnswer, ExportRequest, Exports


def make_router(exports: Exports, require_key: Callable[..., Any]) -> APIRouter:
    """The two routes; both need the key."""
    router = APIRouter(prefix="/cloudzero", tags=["cloudzero"], dependencies=[Depends(require_key)])

    @router.post(
        "/dry-run", summary="Show lines as they would be sent", response_model=None,
        responses={200: {"model": DryRunAnswer}, **documented(400, 401, 403, 408, 409, 413, 422, 503)},
    )  # fmt: skip
    def dry_run(asked: DryRunRequest) -> Response:
        """Nothing is sent. The summary is over all hours that were asked for, not only over the lines shown."""
        return _json(exports.dry_run(asked))

    @router.post(
        "/export", summary="Send to CloudZero now", response_model=None,
        responses={
            200: {"model": ExportAnswer}, **documented(400, 401, 403, 408, 409, 412, 413, 422, 502, 503, 504)
        },
    )  # fmt: skip
    def export(asked: ExportRequest) -> Response:
        """Whole hours, each of which replaces what CloudZero holds of it: asking twice changes nothing."""
        return _json(exports.export(asked))

    return router


def _json(answer: dict[str, object]) -> Response:
    # orjson: lines stay the bytes that are sent, and money is never a float.
    return Response(orjson.dumps(answer), media_type="application/json")
