"""Client of CloudZero's AnyCost Stream API. The only module of the loader that imports requests.

Each method sends one request and reports its outcome; `loader.delivery.retry` decides about waiting and retrying. See
docs.cloudzero.com/docs/anycost-send-stream-data, /reference/authorization and /reference/idempotency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from types import TracebackType
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from loader.cloudzero.bodies import Body
from loader.config.settings import Credentials
from loader.errors import RejectedError, RetryableError, UnknownOutcomeError

RETRYABLE = frozenset({408, 409, 425, 429, *range(500, 600)})
# Another request is in progress, or a gateway did not wait for the service to respond.
POSSIBLY_IN_PROGRESS = frozenset({408, 409, 502, 504})
ROOT = "/v2/connections/billing/anycost"
TIMEOUTS = (10.0, 120.0)  # seconds to connect, and seconds without receiving a byte of the response


@dataclass(frozen=True)
class Receipt:
    """CloudZero's response to a body that it accepted: the id of the billing drop and the rows stored."""

    drop_id: str
    row_count: int


class AnyCost:
    """One AnyCost stream. Not thread-safe: the API supports one request at a time for a stream."""

    def __init__(
        self,
        credentials: Credentials,
        timeouts: tuple[float, float] = TIMEOUTS,
        on_status: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create a client; no request is sent.

        Args:
            credentials: the API key, connection and URL.
            timeouts: seconds to connect, and seconds without receiving a byte of the response.
            on_status: called with the status of each response, such as `200`, or `none` when there was no response.
        """
        self._credentials = credentials
        self._timeouts = timeouts
        self._on_status = on_status
        self._session = requests.Session()

    def __enter__(self) -> AnyCost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def post(self, body: Body, key: str) -> Receipt:
        """Send one body once.

        Args:
            body: the body.
            key: the idempotency key. CloudZero repeats its first response to the same key.

        Raises:
            RejectedError: CloudZero rejected the body. Sending it again would get the same response.
            RetryableError: the response was 408, 409, 425, 429, 5xx or unreadable. A retry needs a new key.
            UnknownOutcomeError: there was no response. A retry may use the same key.
        """
        path = f"{ROOT}/{self._credentials.connection_id}/billing_drops"
        connection = _member(
            self._call("POST", path, body.content, {"cloudzero-idempotency-key": key}), "connection", dict
        )
        return Receipt(str(connection.get("drop_id", "")), _row_count(connection))

    def validate(self, body: bytes) -> list[str]:
        """Let CloudZero validate the JSON of a body, and return the errors it reports. Nothing is stored.

        Raises: as `post`.
        """
        connection = _member(self._call("POST", f"{ROOT}/validate_billing_drop", body), "connection", dict)
        errors = [str(error) for error in connection.get("errors") or []]
        return errors or ([] if connection.get("is_valid") else ["it is not valid, but no reason was given"])

    def read_month(self, month: str) -> list[dict[str, str]]:
        """The rows that CloudZero holds for a month (`YYYY-MM`); empty for a month without a billing drop.

        Raises: as `post`.
        """
        path = f"{ROOT}/{self._credentials.connection_id}/billing_drops/{month}"
        response = self._call("GET", path, missing_is_none=True)
        rows: list[dict[str, str]] = [] if response is None else _member(response, "billing_drop", list)
        return rows

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        missing_is_none: bool = False,
    ) -> Any:
        url = self._credentials.api_url + path
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            # A redirect would send the key to another host, and turn a POST into a GET.
            response = self._session.request(
                method, url, data=body, headers=sent, auth=self._sign, timeout=self._timeouts, allow_redirects=False
            )
        except requests.ReadTimeout as error:
            self._on_status("none")
            raise UnknownOutcomeError(
                f"No response from {self._credentials.api_url} within {self._timeouts[1]:g} s.", may_be_in_progress=True
            ) from error
        except requests.RequestException as error:
            self._on_status("none")
            never_sent = _never_sent(error)
            hint = ": check that the host is right and reachable." if never_sent else ": the connection was closed."
            raise UnknownOutcomeError(
                f"No response from {self._credentials.api_url} ({type(error).__name__}){hint}",
                may_be_in_progress=not never_sent,
                did_nothing=never_sent,
            ) from error
        self._on_status(str(response.status_code))
        if response.status_code == 404 and missing_is_none:
            return None
        if response.status_code in RETRYABLE:
            wait = _retry_after(response.headers.get("Retry-After"))
            raise RetryableError(
                f"CloudZero answered {response.status_code}: {self._message(response)}.",
                wait,
                did_nothing=response.status_code == 429,
                may_be_in_progress=response.status_code in POSSIBLY_IN_PROGRESS,
            )
        if response.status_code != 200:
            raise RejectedError(
                f"CloudZero answered {response.status_code}: {self._message(response)}{_hint(response.status_code)}.",
                response.status_code,
            )
        try:
            return response.json()
        except ValueError as error:
            raise RetryableError(
                f"The response from {self._credentials.api_url} is not JSON: check that it is the URL of CloudZero."
            ) from error

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key, which is not a bearer token (docs.cloudzero.com/reference/authorization).

        Passed as `auth`, because requests lets an entry in ~/.netrc override an Authorization header.
        """
        request.headers["Authorization"] = self._credentials.api_key.reveal()
        return request

    def _message(self, response: requests.Response) -> str:
        """The message of an error response in at most 500 characters, with the key masked: gateways quote it."""
        try:
            content = response.json()
            error = content.get("error", content)
            text = error.get("message") if isinstance(error, dict) else error
        except (ValueError, AttributeError):
            text = response.text
        text = str(text or "no reason given").replace(self._credentials.api_key.reveal(), "***")
        return " ".join(text.split())[:500].rstrip(".")


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the request was certainly not sent: unknown host, connection refused, TLS or proxy failure."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError)


def _member(response: Any, name: str, kind: type) -> Any:
    member = response.get(name) if isinstance(response, dict) else None
    if not isinstance(member, kind):
        raise RetryableError(f"CloudZero's response has no valid {name!r}, so the outcome is unknown.")
    return member


def _row_count(connection: dict[str, Any]) -> int:
    try:
        return int(connection["row_count"])
    except (KeyError, TypeError, ValueError) as error:
        raise RetryableError(
            "CloudZero's response has no valid row_count, so it is unknown what was stored."
        ) from error


def _hint(status: int) -> str:
    return {
        403: " (CLOUDZERO_API_KEY is wrong or lacks the scope connections:create_billing_anycost_billing_drop)",
        404: " (check that CLOUDZERO_CONNECTION_ID is an AnyCost Stream connection)",
        413: " (the body is too large)",
    }.get(status, "")


def _retry_after(value: str | None) -> float | None:
    """The seconds to wait by a `Retry-After` header, which is a number or an HTTP date; None if it is neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (TypeError, ValueError):
        return None
