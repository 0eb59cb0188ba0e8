"""Error responses: a JSON body with one sentence, and the HTTP status that fits the error."""

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
from loader.service.security_headers import SECURITY_HEADERS

# Subclasses before their base: a LockedError is also a GuardError. Any other LoaderError comes from the warehouse or
# the settings.
STATUSES: tuple[tuple[type[LoaderError], int], ...] = (
    (UsageError, 422),
    (LockedError, 409),
    (GuardError, 412),
    (RejectedError, 502),
    (StoppedError, 503),
    (UnknownOutcomeError, 504),
    (LoaderError, 503),
)
DESCRIPTIONS = {
    400: "Credentials are missing, or the body is not valid JSON",
    401: "The key is missing or wrong",
    403: "The request came from another site's page, or its Host header is not a name of this machine",
    408: "The request body took too long to arrive",
    409: "Another push or dbt run is in progress",
    412: "None of the requested hours is complete yet, or a guard held hours back; the message says what was sent",
    413: "The request is too large",
    422: "The body has an invalid field, or asks for something that is not possible",
    502: "CloudZero refused the data",
    503: "The warehouse cannot be read, the service is busy, or it is shutting down",
    504: "CloudZero did not answer. The data may have been stored; the next run makes sure",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="One sentence: what is wrong, with what, and how to fix it")
    type: str = Field(description="The kind of error, for programs")
    code: int = Field(description="The HTTP status")
    field: str | None = Field(default=None, description="The field of the body that is wrong, if it is one")


class ErrorResponse(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


class FieldError(UsageError):
    """A field of the request body has an invalid value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for these statuses, for the OpenAPI description."""
    return {status: {"model": ErrorResponse, "description": DESCRIPTIONS[status]} for status in statuses}


def error_response(
    status: int, message: str, kind: str, field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error response; line breaks in the message become spaces."""
    detail = ErrorDetail(message=" ".join(message.split()), type=kind, code=status, field=field)
    return JSONResponse(ErrorResponse(error=detail).model_dump(), status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Make the app answer every exception with an `ErrorResponse`."""
    app.add_exception_handler(LoaderError, _loader_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _internal_error)


def status_of(error: LoaderError) -> int:
    """The HTTP status for an error of the loader."""
    if str(error) == MISSING_CREDENTIALS:
        return 400
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def _loader_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, LoaderError)  # noqa: S101
    kind = type(error).__name__.removesuffix("Error").lower()
    return error_response(status_of(error), str(error), kind, getattr(error, "field", None))


def _http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=headers)
    return error_response(error.status_code, str(error.detail), "http", headers=headers)


def _validation_error(_: Request, error: Exception) -> Response:
    """The first of FastAPI's validation errors. The value that was sent is not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return error_response(400, f"The body is not valid JSON: {first['ctx']['error']}.", "body")
    field = ".".join(map(str, first["loc"][1:])) or None
    if field is None and first["type"] in ("model_attributes_type", "missing"):
        return error_response(422, "The body must be a JSON object, sent with Content-Type: application/json.", "body")
    return error_response(422, f"{field or 'body'}: {first['msg']}.", "field", field)


def _internal_error(_: Request, error: Exception) -> Response:
    # Starlette answers these outside of all middleware.
    message = f"Internal error ({type(error).__name__}): see the log of the service."
    return error_response(500, message, "internal", headers=SECURITY_HEADERS)
