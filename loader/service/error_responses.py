"""What the service answers when it does not do what it was asked: JSON, one sentence, the right status."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from loader.config.settings import MISSING_CREDENTIALS
from loader.errors import (
    GuardError,
    LoaderError,
    LockedError,
    RejectedError,
    StoppedError,
    UnknownOutcomeError,
    UsageError,
)

# The nearest class first: a LockedError is a GuardError. What is none of these is the warehouse's or the settings'.
STATUSES: tuple[tuple[type[LoaderError], int], ...] = (
    (UsageError, 422), (LockedError, 409), (GuardError, 412), (RejectedError, 502), (StoppedError, 503),
    (UnknownOutcomeError, 504), (LoaderError, 503),
)  # fmt: skip
MEANINGS = {
    400: "The credentials are missing, or the body is no JSON",
    401: "No key, or a wrong one",
    403: "Asked from another site, or under another name than this machine's",
    408: "The request took too long to arrive",
    409: "Another push, or a run of dbt, is under way",
    412: "Nothing that was asked for is complete yet, or a guard held hours back; the message says what was sent",
    413: "The request is too large",
    422: "The body says something that cannot be done",
    502: "CloudZero refused it",
    503: "The warehouse cannot be read, the service is busy, or it is ending",
    504: "CloudZero did not answer; what was sent may be stored, and the next run makes sure",
}


class Reason(BaseModel):
    """Why."""

    message: str = Field(description="One sentence: what is wrong, with what, and the mend")
    type: str = Field(description="The kind of mistake, for programs")
    code: int = Field(description="The HTTP status")
    field: str | None = Field(default=None, description="Which field of the body is wrong")


class Refusal(BaseModel):
    """The body of every answer that is not a success."""

    error: Reason


class FieldError(UsageError):
    """A field of the body asks for what makes no sense."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These answers, for the OpenAPI description."""
    return {status: {"model": Refusal, "description": MEANINGS[status]} for status in statuses}


def refusal(
    status: int, message: str, kind: str, field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The answer itself."""
    reason = Reason(message=" ".join(message.split()), type=kind, code=status, field=field)
    return JSONResponse(Refusal(error=reason).model_dump(), status, headers)


def handle_refusals(app: FastAPI) -> None:
    """Have the app answer so, whatever goes wrong."""
    app.add_exception_handler(LoaderError, _of_loader)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_body)
    app.add_exception_handler(Exception, _of_defect)


def status_of(error: LoaderError) -> int:
    """The HTTP status of an error of ours."""
    if str(error) == MISSING_CREDENTIALS:
        return 400
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def _of_loader(_: Request, error: Exception) -> Response:
    assert isinstance(error, LoaderError)  # noqa: S101
    kind = type(error).__name__.removesuffix("Error").lower()
    return refusal(status_of(error), str(error), kind, getattr(error, "field", None))


def _of_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=headers)
    return refusal(error.status_code, str(error.detail), "http", headers=headers)


def _of_body(_: Request, error: Exception) -> Response:
    """FastAPI's findings, the first of them; what was sent is not shown again."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return refusal(400, f"The body is no JSON: {first['ctx']['error']}.", "body")
    field = ".".join(map(str, first["loc"][1:])) or None
    if field is None and first["type"] in ("model_attributes_type", "missing"):
        return refusal(422, "The body is no JSON object, or came without Content-Type: application/json.", "body")
    return refusal(422, f"{field or 'body'}: {first['msg']}.", "field", field)


def _of_defect(_: Request, error: Exception) -> Response:
    return refusal(500, f"A defect of ours ({type(error).__name__}): the service's log has the rest.", "defect")
