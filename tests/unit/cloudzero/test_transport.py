"""Requests and answers over real sockets: what has left, how long an answer may take, and how large it may be."""

from __future__ import annotations

import gzip
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from loader.cloudzero import client as client_module
from loader.cloudzero import transport
from loader.cloudzero.bodies import body_groups
from loader.cloudzero.client import AnyCost, Receipt
from loader.config.settings import Credentials, Secret
from loader.errors import DestinationError, RejectedError, RetryableError, UnknownOutcomeError
from loader.stopping import StopSignal
from tests.support.builders import line
from tests.support.wire import Answer, Wire, answering, certificate, http

OK = '{"connection": {"drop_id": "d1", "month": "2024-01", "row_count": 1}}'
(GROUP,) = body_groups([line()], "replace_hourly")
(BODY,) = GROUP.bodies


@contextmanager
def client_of(wire: Wire, seconds: float = 30, stop: StopSignal | None = None) -> Iterator[AnyCost]:
    with AnyCost(Credentials(Secret("key-0815"), "conn", wire.url), (seconds, seconds), stop=stop) as client:
        yield client


def post(answer: Answer, seconds: float = 30, stop: StopSignal | None = None, **options: Any) -> Receipt:
    with answering(answer, **options) as wire, client_of(wire, seconds, stop) as client:
        return client.post(BODY, "k1")


def unknown(answer: Answer, seconds: float = 30, stop: StopSignal | None = None, **options: Any) -> UnknownOutcomeError:
    with pytest.raises(UnknownOutcomeError) as caught:
        post(answer, seconds, stop, **options)
    return caught.value


def cut(connection: socket.socket, _: bytes) -> None:
    """Close TCP without ending TLS."""
    socket.socket.shutdown(connection, socket.SHUT_RDWR)


def test_a_tls_error_after_the_request_is_an_unknown_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.file))
    with answering(cut, tls=own.context) as wire, client_of(wire) as client:
        with pytest.raises(UnknownOutcomeError) as caught:
            client.post(BODY, "k1")
        assert wire.requests[0].endswith(BODY.content)
    assert (caught.value.did_nothing, caught.value.may_be_in_progress) == (False, True)
    assert not isinstance(caught.value, RetryableError)  # so that the same key is sent again


def test_a_failed_handshake_has_sent_nothing() -> None:
    with answering(cut, read=lambda connection: connection.recv(65536)) as wire:
        wire.url = wire.url.replace("http://", "https://")
        with client_of(wire) as client, pytest.raises(UnknownOutcomeError, match="is right and reachable") as caught:
            client.post(BODY, "k1")
        assert b"key-0815" not in b"".join(wire.requests)
    assert (caught.value.did_nothing, caught.value.may_be_in_progress) == (True, False)


def test_a_handshake_that_never_ends_sends_nothing_even_later(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def collect() -> None:
            connection, _ = listener.accept()
            with connection:
                while part := connection.recv(65536):
                    received.append(part)

        thread = threading.Thread(target=collect)
        thread.start()
        monkeypatch.setattr(transport, "CONNECT_TRIES", 0)
        wire = Wire(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with client_of(wire) as client, pytest.raises(UnknownOutcomeError, match="No connection to") as caught:
            client.post(BODY, "k1")
        thread.join(20)
        assert not thread.is_alive()
    assert (caught.value.did_nothing, caught.value.may_be_in_progress) == (True, False)
    assert b"key-0815" not in b"".join(received)


@pytest.mark.parametrize(
    ("name", "days", "is_trusted", "words"),
    [
        ("127.0.0.1", -1, True, r"certificate has expired\. Have it renewed, or correct this machine's clock"),
        ("api.example.com", 1, True, r"IP address mismatch.*Check the host in CLOUDZERO_API_URL"),
        ("127.0.0.1", 1, False, r"self-signed certificate\. .*set REQUESTS_CA_BUNDLE"),
    ],
)
def test_a_certificate_that_is_not_accepted(
    name: str, days: int, is_trusted: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = certificate(tmp_path, name, days)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if is_trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(wrong.file))
    with answering(cut, tls=wrong.context) as wire, client_of(wire) as client:
        with pytest.raises(DestinationError, match=words) as caught:
            client.post(BODY, "k1")
        assert f"The certificate of {wire.url} is not accepted" in str(caught.value)
        assert wire.requests == []


@pytest.mark.parametrize(
    "settings",
    [
        {"REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem"},
        {"REQUESTS_CA_BUNDLE": __file__},
        {"HTTPS_PROXY": "http://user:pass-4711@:x:y", "NO_PROXY": ""},
        {"HTTPS_PROXY": "http://user:pass-4711@a b", "NO_PROXY": ""},
    ],
    ids=["no bundle", "not a bundle", "proxy", "blank"],
)
def test_settings_with_which_nothing_can_be_sent(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with (
        answering(cut, tls=certificate(tmp_path).context) as wire,
        client_of(wire) as client,
        pytest.raises(DestinationError, match="HTTPS_PROXY and REQUESTS_CA_BUNDLE") as caught,
    ):
        client.post(BODY, "k1")
    assert "4711" not in str(caught.value)


def test_a_proxy_that_refuses_the_tunnel_has_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda connection, _: connection.sendall(http("", "407"))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        with client_of(Wire("https://api.example.com")) as client, pytest.raises(UnknownOutcomeError) as caught:
            client.post(BODY, "k1")
        assert proxy.requests[0].startswith(b"CONNECT api.example.com:443 ")
        assert b"key-0815" not in b"".join(proxy.requests)
    assert (caught.value.did_nothing, caught.value.may_be_in_progress) == (True, False)


def tunnel(connection: socket.socket, request: bytes) -> None:
    """A proxy: connect to the host of a CONNECT request, and pass on everything."""
    host, _, port = request.split()[1].decode().partition(":")
    with socket.create_connection((host, int(port))) as onwards:

        def copy(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while part := source.recv(65536):
                    target.sendall(part)
                target.shutdown(socket.SHUT_RDWR)

        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = threading.Thread(target=copy, args=(onwards, connection))
        back.start()
        copy(connection, onwards)
        back.join(10)


def test_what_is_sent_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path)
    answers = [lambda connection, _: connection.sendall(http(OK)), cut]
    with (
        answering(tunnel) as proxy,
        answering(lambda connection, request: answers.pop(0)(connection, request), tls=own.context) as wire,
        client_of(wire) as client,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.file))
        assert client.post(BODY, "k1").row_count == 1
        with pytest.raises(UnknownOutcomeError) as caught:
            client.post(BODY, "k2")
        assert (caught.value.did_nothing, caught.value.may_be_in_progress) == (False, True)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(DestinationError, match="self-signed"):
            client.post(BODY, "k3")
        assert (len(wire.requests), len(proxy.requests)) == (2, 3)


def drip(*parts: bytes) -> Answer:
    """Send the first part, and then the second again and again, until the client has gone or the test ends."""
    first, again = parts

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(first)
        pause = threading.Event()
        while not pause.wait(0.02):
            connection.sendall(again)

    return answer


SLOW = {
    "silence": lambda connection, _: connection.recv(1),
    "status": drip(b"HTTP/1.1", b" "),
    "header": drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" "),
    "chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "chunk size": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailer": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("pace", SLOW)
def test_an_answer_ends_at_its_deadline(pace: str) -> None:
    error = unknown(SLOW[pace], seconds=0.2)
    assert "within 0.2 s" in str(error)
    assert (error.did_nothing, error.may_be_in_progress) == (False, True)


@pytest.mark.parametrize("pace", ["silence", "header", "body"])
def test_a_signal_ends_the_wait(pace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "STOP_SECONDS", 0.2)
    stop = StopSignal()
    slow = SLOW[pace]

    def answer(connection: socket.socket, request: bytes) -> None:
        stop.set()
        slow(connection, request)

    error = unknown(answer, stop=stop)
    assert "after SIGTERM" in str(error)
    assert (error.did_nothing, error.may_be_in_progress) == (False, True)


def test_after_a_signal_an_answer_that_arrives_is_used() -> None:
    stop = StopSignal()

    def answer(connection: socket.socket, _: bytes) -> None:
        stop.set()
        connection.sendall(http(OK))

    assert post(answer, stop=stop).row_count == 1


def test_a_month_has_more_time_and_ends_with_a_signal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    row = b'{"time/usage_start":"2024-01-31T22:00:00Z","cost/cost":"1"},'
    head = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"billing_drop": ['
    monkeypatch.setattr(client_module, "MONTH_SECONDS", 0.2)
    with (
        answering(drip(head, row)) as wire,
        client_of(wire, 0.1) as client,
        pytest.raises(UnknownOutcomeError, match=r"within 0\.2 s"),
    ):
        client.read_month("2024-01")
    monkeypatch.setattr(client_module, "MONTH_SECONDS", 900.0)
    monkeypatch.setattr(transport, "STOP_SECONDS", 0.1)
    stop = StopSignal()
    with answering(drip(head, row)) as wire, client_of(wire, stop=stop) as client:
        stop.set()
        with pytest.raises(UnknownOutcomeError, match="after SIGTERM"):
            client.read_month("2024-01")


def flood(head: bytes, part: bytes = b"", times: int = 0) -> Answer:
    """Send a head and then many times the same bytes."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        for _time in range(times):
            connection.sendall(part)

    return answer


@cache
def bomb() -> bytes:
    """100 MB, compressed."""
    return gzip.compress(b"0" * 100_000_000, 6)


LARGE = {
    "compressed": lambda: flood(http(bomb(), Content_Encoding="gzip")),
    "compressed twice": lambda: flood(http(gzip.compress(bomb()), Content_Encoding="gzip, gzip")),
    "long": lambda: flood(b"HTTP/1.1 200 OK\r\n\r\n", b"0" * 1_000_000, 100),
    "one line of a chunk": lambda: flood(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 1_000_000, 100
    ),
    "an error": lambda: flood(http(bomb(), 500, Content_Encoding="gzip")),
    "a redirect": lambda: flood(http(bomb(), 302, Location="http://127.0.0.1:9", Content_Encoding="gzip")),
}


@pytest.mark.parametrize("kind", LARGE)
def test_an_answer_that_is_too_large_does_not_fill_the_memory(kind: str) -> None:
    answer = LARGE[kind]()
    tracemalloc.start()
    try:
        with pytest.raises((UnknownOutcomeError, RejectedError)):
            post(answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000


def test_a_month_is_read_row_by_row() -> None:
    row = b'{"time/usage_start":"2024-01-31T22:00:00Z","cost/cost":"1","resource/id":"' + b"x" * 900 + b'"}'
    content = gzip.compress(b'{"billing_drop": [' + b",".join([row] * 20_000) + b"]}", 1)
    with answering(flood(http(content, Content_Encoding="gzip"))) as wire, client_of(wire) as client:
        tracemalloc.start()
        try:
            assert client.reduce_month("2024-01", lambda rows: sum(int(each["cost/cost"]) for each in rows)) == 20_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10_000_000


def test_a_month_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_MONTH", 1_000_000)
    content = gzip.compress(b'{"billing_drop": [' + b'{"a":"1"},' * 200_000, 1)
    with (
        answering(flood(http(content, Content_Encoding="gzip"))) as wire,
        client_of(wire) as client,
        pytest.raises(RetryableError, match="larger than 1,000,000 bytes"),
    ):
        client.read_month("2024-01")


def test_a_connection_is_used_again_but_not_after_an_answer_that_is_not_final() -> None:
    answers = [http(OK), http(OK), b"HTTP/1.1 103 Early Hints\r\n\r\n" + http(OK.replace("d1", "late")), http(OK)]
    with (
        answering(lambda connection, _: connection.sendall(answers.pop(0)), repeat=True) as wire,
        client_of(wire) as client,
    ):
        for _ in range(2):
            assert client.post(BODY, "k1").drop_id == "d1"
        assert wire.connections == 1
        with pytest.raises(UnknownOutcomeError, match="103") as caught:
            client.post(BODY, "k2")
        assert (caught.value.did_nothing, isinstance(caught.value, RetryableError)) == (False, False)
        assert client.post(BODY, "k2").drop_id == "d1"
        assert wire.connections == 2


def test_a_body_that_is_shorter_than_its_length() -> None:
    cut_short = http(OK).replace(b"Content-Length: ", b"Content-Length: 9")
    error = unknown(lambda connection, _: connection.sendall(cut_short))
    assert (error.did_nothing, error.may_be_in_progress) == (False, True)


def test_a_body_without_a_length() -> None:
    assert post(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + OK.encode())).row_count == 1
    error = unknown(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + OK.encode()[:-1]))
    assert "is not JSON" in str(error)


@pytest.mark.parametrize("status", [200, 400, 403, 429])
def test_headers_that_are_cut(status: int) -> None:
    error = unknown(lambda connection, _: connection.sendall(http("", status)[:-2]))
    assert (error.did_nothing, error.may_be_in_progress) == (False, True)
