"""Client of CloudZero's AnyCost Stream API.

Each method sends one request and reports its outcome; `loader.delivery.retry` decides about waiting and retrying. See
docs.cloudzero.com/docs/anycost-send-stream-data, /reference/authorization and /reference/idempotency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from loader.cloudzero import responses
from loader.cloudzero.bodies import Body
from loader.cloudzero.transport import Limits, Request, Transport
from loader.config.settings import Credentials
from loader.errors import LoaderError, RejectedError, RetryableError, UnknownOutcomeError
from loader.lines import LinesAndCost

if TYPE_CHECKING:
    from requests import PreparedRequest

    from loader.stopping import StopSignal

RETRYABLE = frozenset({408, 409, 425, 429, *range(500, 600)})
# Another request is in progress, or a gateway did not wait for the service to respond.
POSSIBLY_IN_PROGRESS = frozenset({202, 408, 409, 502, 504})
ROOT = "/v2/connections/billing/anycost"
TIMEOUTS = (10.0, 120.0)  # seconds to connect, and for the whole answer once the request is sent
MAX_ANSWER = 4_000_000  # bytes
MONTH_SECONDS, MAX_MONTH = 900.0, 1_000_000_000  # for the rows of a month (70 MB as they were sent), and their bytes
Result = TypeVar("Result")


@dataclass(frozen=True)
class Receipt:
    """CloudZero's response to a body that it accepted: the id of the billing drop and the rows stored."""

    drop_id: str
    row_count: int


@dataclass(frozen=True)
class Answer:
    """A complete answer; of the content at most MAX_ANSWER bytes."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    is_whole: bool


class AnyCost:
    """One AnyCost stream. Not thread-safe: the API supports one request at a time for a stream."""

    def __init__(
        self,
        credentials: Credentials,
        timeouts: tuple[float, float] = TIMEOUTS,
        on_status: Callable[[str], None] = lambda _: None,
        *,
        stop: StopSignal | None = None,
    ) -> None:
        """Create a client; no request is sent.

        Args:
            credentials: the API key, connection and URL.
            timeouts: seconds to connect, and seconds for the whole answer once the request is sent.
            on_status: called with the status of each response, such as `200`, or `none` when there was no response.
            stop: ends the wait for an answer a few seconds after it is set.
        """
        self._credentials = credentials
        self._timeouts = timeouts
        self._transport = Transport(credentials.api_url, stop, on_status)

    def __enter__(self) -> AnyCost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def post(self, body: Body, key: str) -> Receipt:
        """Send one body once.

        Args:
            body: the body.
            key: the idempotency key. CloudZero repeats its first response to the same key.

        Raises:
            RejectedError: CloudZero rejected the body. Sending it again would get the same response.
            RetryableError: the response was 408, 409, 425, 429, 5xx, another success than 200, or unreadable. A retry
                needs a new key.
            UnknownOutcomeError: there was no complete response. A retry may use the same key.
            DestinationError: nothing can be sent with this URL, certificate or proxy.
        """
        path = f"{ROOT}/{self._credentials.connection_id}/billing_drops"
        found = self._json(self._call("POST", path, body.content, {"cloudzero-idempotency-key": key}))
        connection = responses.connection_of(found)
        return Receipt(responses.drop_id(connection, self._secret), responses.row_count(connection))

    def validate(self, body: bytes) -> list[str]:
        """Let CloudZero validate the JSON of a body, and return the errors it reports. Nothing is stored.

        Raises: as `post`.
        """
        found = self._json(self._call("POST", f"{ROOT}/validate_billing_drop", body))
        return responses.validation_errors(responses.connection_of(found), self._secret)

    def read_month(self, month: str) -> list[dict[str, Any]]:
        """The rows that CloudZero holds for a month (`YYYY-MM`); empty for a month without a billing drop.

        Raises: as `post`.
        """
        return self.reduce_month(month, list)

    def hours_of_month(self, month: str) -> dict[datetime, LinesAndCost]:
        """Lines and USD of each UTC hour that CloudZero holds for a month (`YYYY-MM`).

        Raises: as `post`.
        """
        return self.reduce_month(month, responses.rows_by_hour)

    def reduce_month(self, month: str, use: Callable[[Iterator[dict[str, Any]]], Result]) -> Result:
        """What `use` makes of the rows of a month (`YYYY-MM`), which it gets one by one while they arrive.

        Raises: as `post` and `use`.
        """
        path = f"{ROOT}/{self._credentials.connection_id}/billing_drops/{month}"

        def read(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> Result | Answer:
            if status == 200:
                return use(responses.month_rows(_limited(chunks)))
            return _collect(status, headers, chunks)

        limits = Limits(self._timeouts[0], max(MONTH_SECONDS, self._timeouts[1]), MAX_MONTH)
        found = self._transport.exchange(self._request("GET", path), limits, read)
        if not isinstance(found, Answer):
            return found
        if found.status == 404:
            return use(iter(()))
        raise self._error(found) or self._unreadable()

    def _call(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        limits = Limits(*self._timeouts, MAX_ANSWER)
        answer = self._transport.exchange(self._request(method, path, body, headers), limits, _collect)
        if error := self._error(answer):
            raise error
        return answer

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Request:
        sent = {"Content-Type": "application/json", **(headers or {})}
        return Request(method, self._credentials.api_url + path, body, sent, self._sign)

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        """Add the key, which is not a bearer token (docs.cloudzero.com/reference/authorization).

        Passed as `auth`, because requests lets an entry in ~/.netrc override an Authorization header.
        """
        request.headers["Authorization"] = self._secret
        return request

    @property
    def _secret(self) -> str:
        return self._credentials.api_key.reveal()

    def _error(self, answer: Answer) -> LoaderError | None:
        """The error that an answer other than 200 means."""
        status = answer.status
        if status == 200:
            return None
        text = f"CloudZero answered {status}: {responses.message_of(answer.content, self._secret)}"
        if status < 200:
            return UnknownOutcomeError(f"{text}, which is not a final response.", may_be_in_progress=True)
        if 300 <= status < 400:
            return RejectedError(f"{text}{self._redirect(answer)}.", status, may_be_stored=True)
        if status in RETRYABLE or status < 300 or status >= 600:
            return RetryableError(
                f"{text}.",
                responses.retry_after(answer.headers.get("Retry-After")),
                did_nothing=status == 429,
                may_be_in_progress=status in POSSIBLY_IN_PROGRESS,
            )
        return RejectedError(f"{text}{_hint(status)}.", status)

    def _redirect(self, answer: Answer) -> str:
        """What to do about a redirect, which is not followed: it would send the key to another host."""
        try:
            target = urlsplit(answer.headers.get("Location", ""))
            place = f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else ""
        except ValueError:
            place = ""
        to_place = f" to {responses.clean(place, self._secret, 200)}" if place else ""
        return f" (a redirect{to_place}: set CLOUDZERO_API_URL to the API itself)"

    def _json(self, answer: Answer) -> Any:
        try:
            if answer.is_whole:
                return responses.content_of(answer.content)
        except ValueError as error:
            raise self._unreadable() from error
        raise self._unreadable()

    def _unreadable(self) -> RetryableError:
        return RetryableError(
            f"The response from {self._credentials.api_url} is not JSON: check that it is the URL of CloudZero."
        )


def _collect(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> Answer:
    """A whole answer, or as much of it as is read at most."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MAX_ANSWER:
            return Answer(status, headers, bytes(content[:MAX_ANSWER]), is_whole=False)
    return Answer(status, headers, bytes(content), is_whole=True)


def _limited(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks of a month.

    Raises:
        RetryableError: they are too many. A small compressed answer can be any size.
    """
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_MONTH:
            raise RetryableError(f"CloudZero's response is larger than {MAX_MONTH:,} bytes.")
        yield chunk


def _hint(status: int) -> str:
    return {
        403: " (CLOUDZERO_API_KEY is wrong or lacks the scope connections:create_billing_anycost_billing_drop)",
        404: " (check that CLOUDZERO_CONNECTION_ID is an AnyCost Stream connection)",
        413: " (the body is too large)",
    }.get(status, "")
