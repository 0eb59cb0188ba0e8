"""CloudZero's AnyCost Stream API. The only file that imports requests.

Each method sends once and names the outcome; waiting and trying again is push.py's. Pages:
docs.cloudzero.com/docs/anycost-send-stream-data, /reference/authorization, /reference/idempotency.
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
# Another request is under way, or what stands before the service did not wait for its answer.
MAYBE_UNDER_WAY = frozenset({408, 409, 502, 504})
ROOT = "/v2/connections/billing/anycost"
TIMEOUTS = (10.0, 120.0)  # seconds to connect, seconds without a byte of the answer


@dataclass(frozen=True)
class Receipt:
    """CloudZero's answer to a drop that it took."""

    drop_id: str
    row_count: int


class AnyCost:
    """One AnyCost stream. Not for two threads at once: the API takes one request at a time for a stream.

    `heard` is told of the status of each answer, such as `200`; `none` when there was none.
    """

    def __init__(
        self,
        credentials: Credentials,
        timeouts: tuple[float, float] = TIMEOUTS,
        heard: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._credentials = credentials
        self._timeouts = timeouts
        self._heard = heard
        self._session = requests.Session()

    def __enter__(self) -> AnyCost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def post(self, body: Body, key: str) -> Receipt:
        """Send one body once, under an idempotency key.

        Raises:
            RejectedError: CloudZero answered and will not take it.
            RetryableError: CloudZero answered 408, 409, 425, 429, 5xx, or with what cannot be read; a next try needs
                a new key.
            UnknownOutcomeError: no answer came; the same key may be sent again.
        """
        path = f"{ROOT}/{self._credentials.connection_id}/billing_drops"
        connection = _part(
            self._call("POST", path, body.content, {"cloudzero-idempotency-key": key}), "connection", dict
        )
        return Receipt(str(connection.get("drop_id", "")), _row_count(connection))

    def validate(self, body: bytes) -> list[str]:
        """What CloudZero finds wrong with a body; nothing is stored.

        Raises: as `post`.
        """
        connection = _part(self._call("POST", f"{ROOT}/validate_billing_drop", body), "connection", dict)
        errors = [str(error) for error in connection.get("errors") or []]
        return errors or ([] if connection.get("is_valid") else ["it is not valid, and no reason was given"])

    def read_month(self, month: str) -> list[dict[str, str]]:
        """The rows that AnyCost holds for `YYYY-MM`; none for a month it does not know.

        Raises: as `post`.
        """
        path = f"{ROOT}/{self._credentials.connection_id}/billing_drops/{month}"
        answer = self._call("GET", path, missing_is_none=True)
        rows: list[dict[str, str]] = [] if answer is None else _part(answer, "billing_drop", list)
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
            # A redirect would carry the key to another place, and turn a POST into a GET.
            answer = self._session.request(
                method, url, data=body, headers=sent, auth=self._sign, timeout=self._timeouts, allow_redirects=False
            )
        except requests.ReadTimeout as error:
            self._heard("none")
            raise UnknownOutcomeError(
                f"No answer from {self._credentials.api_url} within {self._timeouts[1]:g} s.", under_way=True
            ) from error
        except requests.RequestException as error:
            self._heard("none")
            never_left = _never_left(error)
            hint = ": is the host right, and reachable from here?" if never_left else ": the connection was cut."
            raise UnknownOutcomeError(
                f"No answer from {self._credentials.api_url} ({type(error).__name__}){hint}",
                under_way=not never_left,
                did_nothing=never_left,
            ) from error
        self._heard(str(answer.status_code))
        if answer.status_code == 404 and missing_is_none:
            return None
        if answer.status_code in RETRYABLE:
            wait = _retry_after(answer.headers.get("Retry-After"))
            raise RetryableError(
                f"CloudZero answered {answer.status_code}: {self._message(answer)}.",
                wait,
                did_nothing=answer.status_code == 429,
                under_way=answer.status_code in MAYBE_UNDER_WAY,
            )
        if answer.status_code != 200:
            raise RejectedError(
                f"CloudZero answered {answer.status_code}: {self._message(answer)}{_hint(answer.status_code)}."
            )
        try:
            return answer.json()
        except ValueError as error:
            raise RetryableError(
                f"{self._credentials.api_url} answered with something that is not JSON: is it CloudZero's API?"
            ) from error

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Not a bearer token: docs.cloudzero.com/reference/authorization. As a header, a ~/.netrc would replace it."""
        request.headers["Authorization"] = self._credentials.api_key.reveal()
        return request

    def _message(self, answer: requests.Response) -> str:
        """What an error answer says, in one line of at most 500 characters. Gateways quote the key: never shown."""
        try:
            content = answer.json()
            error = content.get("error", content)
            text = error.get("message") if isinstance(error, dict) else error
        except (ValueError, AttributeError):
            text = answer.text
        text = str(text or "no reason given").replace(self._credentials.api_key.reveal(), "***")
        return " ".join(text.split())[:500].rstrip(".")


def _never_left(error: requests.RequestException) -> bool:
    """Whether no byte of the request can have left: no such host, nobody listens, no TLS."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError)


def _part(answer: Any, name: str, kind: type) -> Any:
    part = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(part, kind):
        raise RetryableError(f"CloudZero's answer lacks {name!r}, so nothing is known of what it did.")
    return part


def _row_count(connection: dict[str, Any]) -> int:
    try:
        return int(connection["row_count"])
    except (KeyError, TypeError, ValueError) as error:
        raise RetryableError(
            "CloudZero's answer lacks the row_count, so nothing is known of what it stored."
        ) from error


def _hint(status: int) -> str:
    return {
        403: " (CLOUDZERO_API_KEY is wrong, or lacks the scope connections:create_billing_anycost_billing_drop)",
        404: " (does CLOUDZERO_CONNECTION_ID name an AnyCost Stream connection?)",
        413: " (the body is too large)",
    }.get(status, "")


def _retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number or an HTTP date."""
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
