"""The client of the AnyCost API, over real HTTP on loopback: responses, errors and lost connections."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest

from loader.cloudzero.bodies import body_groups
from loader.cloudzero.client import AnyCost
from loader.config.settings import Credentials, Secret
from loader.errors import RejectedError, RetryableError, UnknownOutcomeError
from tests.support.builders import line

KEY = "key-0815"
OK = '{"connection": {"drop_id": "d1", "month": "2024-01", "row_count": 1}}'
(GROUP,) = body_groups([line()], "replace_hourly")
(BODY,) = GROUP.bodies


class Script:
    """A server with a scripted response, which records the requests."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, OK, dict[str, str]()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.before: Callable[[Any], bool] = lambda _: True
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.requests.append((self.command, self.path, dict(self.headers.items()), body))
                if not script.before(self):
                    return
                self.send_response(script.status)
                for name, value in script.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(script.body.encode())))
                self.end_headers()
                self.wfile.write(script.body.encode())

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def client(self, timeout: float = 30) -> AnyCost:
        """A client of this server."""
        return AnyCost(Credentials(Secret(KEY), "conn", self.url), timeouts=(timeout, timeout))


@pytest.fixture
def script() -> Iterator[Script]:
    """A scripted server."""
    script = Script()
    thread = threading.Thread(target=script.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    script.server.shutdown()
    script.server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, '{"error": {"message": "row 3, cost/cost: not a cost", "type": "V"}}', "row 3, cost/cost: not a cost"),
        (403, '{"message": "Forbidden"}', "CLOUDZERO_API_KEY is wrong"),
        (404, '{"message": "?"}', "CLOUDZERO_CONNECTION_ID"),
        (413, '{"message": "Request Entity Too Large"}', "too large"),
        (418, "", "no reason given"),
        (400, "<html>" + "x" * 5000, "<html>x"),
        (400, "[1]", "400"),
        (302, "", "302"),
    ],
)
def test_rejections(script: Script, status: int, body: str, words: str) -> None:
    script.status, script.body, script.headers = status, body, {"Location": "http://127.0.0.1:9/elsewhere"}
    with pytest.raises(RejectedError, match=words) as caught:
        script.client().post(BODY, "k1")
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 800
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, f'{{"message": "not a valid key=value pair in Authorization header: {KEY}."}}'),
        (400, f"<html>{'x' * 487} {KEY}"),
        (500, KEY),
    ],
)
def test_a_key_quoted_in_the_response_is_not_shown(script: Script, status: int, body: str) -> None:
    script.status, script.body = status, body
    with pytest.raises((RejectedError, RetryableError), match=str(status)) as caught:
        script.client().post(BODY, "k1")
    assert "key-" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(script: Script, status: int) -> None:
    script.status, script.headers = status, {"Location": f"{script.url}/elsewhere"}
    with pytest.raises(RejectedError, match=str(status)):
        script.client().post(BODY, "k1")
    assert [path for _, path, _, _ in script.requests] == ["/v2/connections/billing/anycost/conn/billing_drops"]


@pytest.mark.parametrize(
    ("status", "did_nothing"), [(408, False), (429, True), (500, False), (502, False), (503, False), (599, False)]
)
def test_retryable_responses(script: Script, status: int, did_nothing: bool) -> None:
    script.status, script.body = status, "busy"
    with pytest.raises(RetryableError) as caught:
        script.client().post(BODY, "k1")
    assert (caught.value.did_nothing, caught.value.retry_after) == (did_nothing, None)


@pytest.mark.parametrize(("value", "low", "high"), [("7", 7, 7), ("0", 0, 0), ("-5", 0, 0), ("a date", 60, 90)])
def test_retry_after(script: Script, value: str, low: float, high: float) -> None:
    value = formatdate(time() + 90, usegmt=True) if value == "a date" else value
    script.status, script.headers = 429, {"Retry-After": value}
    with pytest.raises(RetryableError) as caught:
        script.client().post(BODY, "k1")
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


def test_an_invalid_retry_after_is_ignored(script: Script) -> None:
    script.status, script.headers = 503, {"Retry-After": "soon"}
    with pytest.raises(RetryableError) as caught:
        script.client().post(BODY, "k1")
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        "<html>welcome</html>",
        "",
        "[]",
        "null",
        '{"connection": 1}',
        '{"connection": {}}',
        '{"connection": {"row_count": "many"}}',
        '{"connection": {"row_count": null}}',
    ],
)
def test_an_unreadable_response_is_not_a_success(script: Script, body: str) -> None:
    script.body = body
    with pytest.raises(UnknownOutcomeError) as caught:
        script.client().post(BODY, "k1")
    # CloudZero repeats this response for the same key, so only a new key can get another one.
    assert isinstance(caught.value, RetryableError)
    assert not caught.value.did_nothing


def test_a_connection_closed_within_the_response(script: Script) -> None:
    def cut(handler: Any) -> bool:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
        handler.connection.shutdown(socket.SHUT_RDWR)
        return False

    script.before = cut
    with pytest.raises(UnknownOutcomeError, match="No response from"):
        script.client().post(BODY, "k1")


def test_a_read_timeout(script: Script) -> None:
    released = threading.Event()
    script.before = lambda _: released.wait(30)
    with pytest.raises(UnknownOutcomeError, match=r"within 0\.2 s"):
        script.client(timeout=0.2).post(BODY, "k1")
    released.set()


def test_connection_refused() -> None:
    client = AnyCost(Credentials(Secret(KEY), "conn", "http://127.0.0.1:9"))
    with pytest.raises(UnknownOutcomeError, match=r"check that the host is right") as caught:
        client.post(BODY, "k1")
    assert KEY not in str(caught.value) + repr(client)


def test_the_request_that_is_sent(script: Script) -> None:
    with script.client() as client:
        receipt = client.post(BODY, "k1")
    assert (receipt.drop_id, receipt.row_count) == ("d1", 1)
    ((method, path, headers, body),) = script.requests
    assert (method, path) == ("POST", "/v2/connections/billing/anycost/conn/billing_drops")
    assert headers["Authorization"] == KEY
    assert headers["cloudzero-idempotency-key"] == "k1"
    assert headers["Content-Type"] == "application/json"
    assert body == BODY.content


def test_a_netrc_does_not_replace_the_key(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    script.client().post(BODY, "k1")
    assert script.requests[0][2]["Authorization"] == KEY


def test_validation(script: Script) -> None:
    for body, errors in (
        ('{"connection": {"is_valid": true, "errors": []}}', []),
        ('{"connection": {"is_valid": false, "errors": ["a", "b"]}}', ["a", "b"]),
        ('{"connection": {"is_valid": false}}', ["it is not valid, but no reason was given"]),
    ):
        script.body = body
        assert script.client().validate(BODY.content) == errors
    assert {path for _, path, _, _ in script.requests} == {"/v2/connections/billing/anycost/validate_billing_drop"}


@pytest.mark.parametrize("status", [403, 500])
def test_errors_of_reading_and_validating(script: Script, status: int) -> None:
    script.status, script.body = status, '{"message": "no"}'
    error = RetryableError if status == 500 else RejectedError
    with pytest.raises(error):
        script.client().read_month("2024-01")
    with pytest.raises(error):
        script.client().validate(BODY.content)


def test_reading_a_month(script: Script) -> None:
    script.body = '{"billing_drop": [{"cost/cost": "1"}]}'
    assert script.client().read_month("2024-01") == [{"cost/cost": "1"}]
    script.status = 404
    assert script.client().read_month("2024-02") == []
    script.status, script.body = 200, "{}"
    with pytest.raises(UnknownOutcomeError):
        script.client().read_month("2024-03")
