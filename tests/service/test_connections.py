"""Connections that send too little, too much or nothing, the headers of every response, and the limit on wrong keys."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from loader.service.addresses import client_network
from loader.service.connections import MAX_CONNECTIONS_PER_ADDRESS, LimitedConnection
from loader.service.login_attempts import MAX_NETWORKS, LoginAttempts
from loader.service.request_limits import MAX_BODY_BYTES, MAX_REQUESTS
from tests.service.service_process import BEARER, MASTER_KEY, RunningService, serving
from tests.support.project import Project

HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_A_BODY = b"POST /cloudzero/dry-run HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    """A service whose warehouse does not exist."""
    with serving(Project(tmp_path), monkeypatch) as running:
        yield running


def address(running: RunningService) -> tuple[str, int]:
    url = urlsplit(running.url)
    return str(url.hostname), url.port or 80


def connect(running: RunningService, *sent: bytes) -> socket.socket:
    """A connection on which these bytes were sent."""
    client = socket.create_connection(address(running), timeout=30)
    for data in sent:
        client.sendall(data)
    return client


def answer(client: socket.socket) -> bytes:
    """All that the service sends until it closes the connection."""
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("sent", [HALF_A_HEAD, HALF_A_BODY, b"", b"GET /health HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
def test_liveness_is_answered_whatever_other_connections_do(sent: bytes, running: RunningService) -> None:
    with ExitStack() as clients:
        for _ in range(400):
            clients.enter_context(connect(running, sent))
        for _ in range(3):
            assert running.request("GET", "/health", headers={}).status_code == 200


def test_an_address_has_a_limit_and_the_connection_that_waited_longest_is_closed(running: RunningService) -> None:
    with ExitStack() as clients:
        opened = [clients.enter_context(connect(running, HALF_A_HEAD)) for _ in range(MAX_CONNECTIONS_PER_ADDRESS - 1)]
        assert running.request("GET", "/health", headers={}).status_code == 200  # everything sent so far is read
        opened += [clients.enter_context(connect(running, HALF_A_HEAD)) for _ in range(2)]
        refused = answer(opened[0])
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"nosniff" in refused
        opened[1].sendall(b"1\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n")
        assert answer(opened[1]).startswith(b"HTTP/1.1 401 ")


def test_if_all_addresses_have_too_many_one_of_the_largest_loses_a_connection(
    running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedConnection, "max_connections", 6)
    with ExitStack() as clients:

        def from_address(source: str) -> socket.socket:
            client = socket.create_connection(address(running), timeout=30, source_address=(source, 0))
            client.sendall(HALF_A_HEAD)
            return clients.enter_context(client)

        (other,) = [from_address("127.0.0.2")]
        many = [from_address("127.0.0.3") for _ in range(4)]
        assert running.request("GET", "/health", headers={}).status_code == 200  # everything sent so far is read
        many += [from_address("127.0.0.3")]
        assert running.request("GET", "/health", headers={}).status_code == 200
        assert answer(many[0]).startswith(b"HTTP/1.1 503 ")
        other.sendall(b"1\r\nConnection: close\r\n\r\n")
        assert answer(other).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (HALF_A_HEAD, b"HTTP/1.1 408 "),
        (b"", b""),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + HALF_A_HEAD, b"HTTP/1.1 200 "),
    ],
    ids=["half a head", "nothing", "half a head after a request"],
)
def test_a_head_has_a_deadline_even_if_bytes_keep_arriving(
    sent: bytes, answered: bytes, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedConnection, "head_timeout", 0.3)
    with connect(running, sent) as client:
        received = b""
        client.settimeout(0.05)
        while True:  # until the service closes the connection
            try:
                part = client.recv(65_536)
            except TimeoutError:
                if sent:
                    client.sendall(b"x")
                continue
            except ConnectionError:
                break
            if not part:
                break
            received += part
    assert received.startswith(answered)
    assert bool(received) == bool(answered)


def test_a_client_that_does_not_read_is_disconnected(running: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedConnection, "write_timeout", 0.3)
    request = f"GET /static/uPlot.iife.min.js HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n\r\n"
    with connect(running) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):
            while True:
                client.sendall(request.encode() * 50)
                time.sleep(0.01)


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 20_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_reads_413(size: int, chunked: bool, running: RunningService) -> None:
    """It sends all of the body before it reads."""
    data = (b" " * 50_000 for _ in range(size // 50_000 + 1)) if chunked else b" " * size
    response = running.request("POST", "/cloudzero/dry-run", data=data)
    assert response.status_code == 413
    assert "larger than 64 KiB" in response.json()["error"]["message"]


def test_curl_which_waits_for_100_continue_reads_413(running: RunningService, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * 3_000_000)
    command = ["curl", "--silent", "--show-error", "-d", f"@{tmp_path / 'large'}", running.url + "/login"]
    done = subprocess.run([*command, "-H", "Expect: 100-continue"], capture_output=True, text=True, timeout=60)
    assert '"code":413' in done.stdout, done.stderr


def test_a_request_that_is_refused_while_the_service_is_busy_can_read_why(running: RunningService) -> None:
    with ExitStack() as clients:
        for _ in range(MAX_REQUESTS):
            clients.enter_context(connect(running, HALF_A_BODY))
        statuses = [running.request("POST", "/login", data=b" " * 1_000_000).status_code for _ in range(5)]
    assert statuses[-1] == 503


def test_what_is_not_http_is_answered_once(running: RunningService) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        with connect(running, sent) as client:
            received = answer(client)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1") == 1
        assert b"x-content-type-options: nosniff" in received.lower()


def test_every_response_has_the_security_headers(running: RunningService) -> None:
    answers = [
        running.request(method, path, headers=headers)
        for method in ("GET", "HEAD", "POST", "DELETE")
        for path in ("/", "/metrics", "/health", "/ready", "/login", "/logout", "/docs", "/openapi.json", "/nothing")
        for headers in (BEARER, {}, {"Accept": "text/html"})
    ] + [
        running.request("GET", "/static/page.js"),
        running.request("GET", "/api/overview"),
        running.request("POST", "/cloudzero/dry-run", data=b" " * 70_000),
    ]
    assert {each.status_code for each in answers} >= {200, 303, 401, 404, 405, 413, 503}
    for each in answers:
        name = f"{each.request.method} {each.request.path_url} {each.status_code}"
        assert each.headers["X-Content-Type-Options"] == "nosniff", name
        assert "frame-ancestors 'none'" in each.headers["Content-Security-Policy"], name
        assert each.headers["X-Frame-Options"] == "DENY", name
        assert each.headers["Referrer-Policy"], name
        assert each.headers["Cache-Control"] in ("no-store", "private, no-cache"), name


def test_an_internal_error_has_the_security_headers(running: RunningService) -> None:
    @running.service.app.get("/fails")
    def fails() -> None:
        raise RuntimeError("unexpected")

    response = running.request("GET", "/fails")
    assert (response.status_code, response.headers["X-Content-Type-Options"]) == (500, "nosniff")


def test_wrong_keys_are_throttled(running: RunningService) -> None:
    def log_in(key: str, **headers: str) -> requests.Response:
        return running.request("POST", "/login", data={"key": key}, headers=headers)

    assert [log_in("wrong").status_code for _ in range(10)] == [401] * 10
    refused = log_in("wrong")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 6
    assert "Too many wrong keys" in refused.text
    # Otherwise a 303 would still say which key is right.
    assert log_in(MASTER_KEY).status_code == 429
    # Another client, and clients that have the key.
    assert log_in(MASTER_KEY, **{"X-Forwarded-For": "192.0.2.1"}).status_code == 303
    assert running.request("GET", "/metrics").status_code == 200
    # Addresses that are made up.
    statuses = [log_in("wrong", **{"X-Forwarded-For": f"192.0.2.{number}"}).status_code for number in range(120)]
    assert statuses[-1] == 429


def test_attempts_are_allowed_again_after_some_time_and_memory_is_bounded() -> None:
    now = [0.0]
    attempts = LoginAttempts(lambda: now[0])
    for _ in range(10):
        assert attempts.wait("192.0.2.1") == 0
        attempts.failed("192.0.2.1")
    assert attempts.wait("192.0.2.1") == 6
    assert attempts.wait("192.0.2.2") == 0
    now[0] += 6
    assert attempts.wait("192.0.2.1") == 0
    attempts.failed("192.0.2.1")
    assert attempts.wait("192.0.2.1") == 6
    for number in range(MAX_NETWORKS + 100):
        attempts.failed(f"2001:db8:{number:x}::1")
        now[0] += 10
    assert len(attempts._by_network) == MAX_NETWORKS


def test_addresses_of_one_client_count_as_one() -> None:
    def same(one: str, two: str) -> bool:
        return client_network(one) == client_network(two)

    assert same("2001:db8::1", "2001:db8::ffff:1")
    assert same("fe80::1%eth0", "fe80::2%eth0")
    assert same("::ffff:192.0.2.1", "192.0.2.1")
    assert not same("2001:db8::1", "2001:db8:0:1::1")
    assert not same("192.0.2.1", "192.0.2.2")
    assert client_network("testclient") == "testclient"
