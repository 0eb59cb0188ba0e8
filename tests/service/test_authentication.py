"""Authentication by key and cookie, host names, cross-site requests, request limits and settings."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from loader.config.settings import Secret
from loader.errors import ConfigurationError
from loader.service.auth import COOKIE, COOKIE_SECONDS, Authenticator
from loader.service.request_limits import MAX_REQUESTS, PROBES
from loader.service.settings import read_service_settings
from tests.service.service_process import BEARER, MASTER_KEY, RunningService, serving
from tests.support.project import Project

HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    """monkeypatch for a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def with_key(
    template_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory, module_patch: pytest.MonkeyPatch
) -> Iterator[RunningService]:
    """A service with a master key."""
    with serving(template_of("duckdb").copy(tmp_path_factory.mktemp("with_key")).project, module_patch) as running:
        yield running


@pytest.fixture
def without_key(
    template_of: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningService]:
    """A service without a master key."""
    with serving(template_of("duckdb").copy(tmp_path).project, monkeypatch, key=None) as running:
        yield running


def test_every_route_except_probes_requires_the_key(with_key: RunningService) -> None:
    paths = {
        (method.upper(), path) for path, item in with_key.service.app.openapi()["paths"].items() for method in item
    } | {("GET", "/openapi.json"), ("GET", "/docs")}
    assert len(paths) >= 7
    for method, path in paths:
        for headers in (
            {},
            {"Authorization": "Bearer sk-1234"},
            {"Authorization": MASTER_KEY},
            {"Authorization": "Bearer "},
        ):
            answer = with_key.request(method, path, {} if method == "POST" else None, headers=headers)
            if path in ("/health", "/ready"):
                assert answer.status_code in (200, 503)
            else:
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert MASTER_KEY not in answer.text
        assert with_key.request(method, path, {} if method == "POST" else None).status_code in (200, 400)
    assert {path for _, path in paths if with_key.request("GET", path, headers={}).ok} == {"/health", "/ready"}


def test_browser_logs_in_and_its_cookie_allows_reading_only(with_key: RunningService) -> None:
    redirect = with_key.request("GET", "/docs", headers=HTML)
    assert (redirect.status_code, redirect.headers["Location"]) == (303, "/login")
    form = with_key.request("GET", "/login", headers=HTML)
    assert form.status_code == 200
    assert 'name="key"' in form.text
    assert "frame-ancestors 'none'" in form.headers["Content-Security-Policy"]

    wrong = with_key.request("POST", "/login", data={"key": "sk-1234"}, headers=HTML)
    assert (wrong.status_code, "Set-Cookie" in wrong.headers) == (401, False)
    right = with_key.request("POST", "/login", data={"key": MASTER_KEY}, headers=HTML)
    assert (right.status_code, right.headers["Location"]) == (303, "/")
    given = right.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", f"Max-Age={COOKIE_SECONDS}", "Path=/"):
        assert attribute in given
    assert MASTER_KEY not in given
    cookies = {COOKIE: right.cookies[COOKIE]}
    assert with_key.request("GET", "/metrics", headers={}, cookies=cookies).status_code == 200
    for path in ("/cloudzero/export", "/cloudzero/dry-run"):
        assert with_key.request("POST", path, {}, headers={}, cookies=cookies).status_code == 401
    # Behind a TLS proxy the cookie is sent over HTTPS only.
    secure = with_key.request("POST", "/login", data={"key": MASTER_KEY}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in secure.headers["Set-Cookie"]
    assert "Secure" not in given

    out = with_key.request("GET", "/logout", headers=HTML)
    assert re.search(rf'{COOKIE}="";.*Max-Age=0', out.headers["Set-Cookie"])


def test_cookie_is_invalid_after_expiry_key_change_or_tampering() -> None:
    now = [1_000_000.0]
    authenticator = Authenticator(Secret("one"), lambda: now[0])
    cookie = authenticator.cookie()
    assert authenticator.is_cookie(cookie)
    assert not Authenticator(Secret("two"), lambda: now[0]).is_cookie(cookie)
    until, signature = cookie.split(".")
    for forged in (
        f"{int(until) + 1}.{signature}",
        f"{until}.{'0' * 64}",
        signature,
        f"{until}.",
        "",
        f"{until}.{signature}0",
        "²." + signature,
    ):
        assert not authenticator.is_cookie(forged), forged
    now[0] += COOKIE_SECONDS
    assert not authenticator.is_cookie(cookie)
    assert not Authenticator(None).is_cookie(cookie)


def test_key_must_match_exactly(with_key: RunningService) -> None:
    authenticator = Authenticator(Secret("schlüssel".encode("ascii", "replace").decode()))
    assert authenticator.is_key("schl?ssel")
    for wrong in ("", "schl?sse", "schl?ssel ", "schlüssel", "SCHL?SSEL"):
        assert not authenticator.is_key(wrong)
    latin1 = with_key.request("GET", "/metrics", headers={"Authorization": "Bearer sch\u00fcssel".encode("latin-1")})
    assert latin1.status_code == 401


def test_without_a_key_only_local_host_names_are_served(without_key: RunningService) -> None:
    for name in ("localhost", "127.0.0.1", "127.0.0.1:4100", "[::1]:4100", "LOCALHOST:1"):
        assert without_key.request("GET", "/metrics", headers={"Host": name}).status_code == 200, name
    # DNS rebinding: another site's name that resolves to 127.0.0.1.
    for name in (
        "evil.example",
        "evil.example:4100",
        "localhost.evil.example",
        "10.0.0.1",
        "127.0.0.1.evil.example",
        "[::2]",
    ):
        for path in ("/metrics", "/health", "/docs"):
            answer = without_key.request("GET", path, headers={"Host": name})
            assert answer.status_code == 403, name
    assert without_key.request("GET", "/login").headers["Location"] == "/"
    with requests.Session() as session:
        prepared = requests.Request("GET", without_key.url + "/metrics").prepare()
        prepared.headers["Host"] = ""
        assert session.send(prepared, timeout=60).status_code in (400, 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_cross_site_posts_are_refused(headers: dict[str, str], status: int, without_key: RunningService) -> None:
    assert without_key.request("POST", "/cloudzero/dry-run", {}, headers=headers).status_code == status
    own = {"Origin": without_key.url}
    assert without_key.request("POST", "/cloudzero/dry-run", {}, headers=own).status_code == 200


def test_with_a_key_any_host_name_is_served_but_cross_site_posts_are_refused(with_key: RunningService) -> None:
    assert with_key.request("GET", "/metrics", headers=BEARER | {"Host": "cbf.example.com"}).status_code == 200
    cross = BEARER | {"Sec-Fetch-Site": "cross-site"}
    assert with_key.request("POST", "/cloudzero/dry-run", {}, headers=cross).status_code == 403


def test_requests_beyond_the_limit_are_refused_except_probes(with_key: RunningService) -> None:
    url = urlsplit(with_key.url)
    address = (url.hostname, url.port or 80)
    body_to_come = b"POST /cloudzero/dry-run HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"

    def status() -> int:
        return with_key.request("GET", "/login").status_code

    with ExitStack() as connections:
        for _ in range(MAX_REQUESTS + 70):  # some send a request, some are idle
            connections.enter_context(socket.create_connection(address))
        for _ in range(MAX_REQUESTS):
            client = connections.enter_context(socket.create_connection(address))
            client.sendall(body_to_come)
        assert eventually(503, status)
        answer = with_key.request("GET", "/metrics")
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "busy")
        assert answer.json()["error"]["message"].startswith(f"{MAX_REQUESTS} requests are in progress")
        for path in PROBES:
            assert with_key.request("GET", path, headers={}).status_code == 200, path
    assert eventually(200, status)


def eventually(expected: int, status: Callable[[], int]) -> bool:
    """Whether the status becomes `expected` within a few seconds."""
    for _ in range(200):
        if status() == expected:
            return True
        time.sleep(0.05)
    return False


def test_docs_page_shows_every_route_without_external_resources(with_key: RunningService) -> None:
    page = with_key.request("GET", "/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    for path in with_key.service.app.openapi()["paths"]:
        assert path in page.text
    assert "http" not in re.sub(r"HTTP", "", page.text)
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("host", "environment", "message"),
    [
        ("0.0.0.0", {}, "only loopback is served, and --host 0.0.0.0 is not"),  # noqa: S104
        ("::", {}, "only loopback"),
        ("example.com", {}, "only loopback"),
        ("127.0.0.1", {"CLOUDZERO_EXPORT_INTERVAL_MINUTES": "0"}, "must be a whole number of minutes"),
        ("127.0.0.1", {"CLOUDZERO_EXPORT_INTERVAL_MINUTES": "1e3"}, "must be a whole number of minutes"),
        ("127.0.0.1", {"CLOUDZERO_EXPORT_INTERVAL_MINUTES": "99999"}, "from 1 to 10080"),
        ("127.0.0.1", {"LOADER_MASTER_KEY": "a b"}, "LOADER_MASTER_KEY contains spaces"),
        ("127.0.0.1", {"LOADER_MASTER_KEY": "a", "LOADER_MASTER_KEY_FILE": "b"}, "are both set"),
    ],
)
def test_invalid_settings(host: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        read_service_settings(host, 0, environment)


def test_settings_and_their_warnings(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "[::1]", "localhost", "127.9.9.9"):
        assert read_service_settings(host, 0, {}).master_key is None
    default = read_service_settings("127.0.0.1", 0, {})
    assert (default.interval.total_seconds(), len(default.warnings)) == (3600, 1)
    assert "only loopback is served" in default.warnings[0]
    (tmp_path / "key").write_text("from-a-file\n", "utf-8")
    given = read_service_settings(
        "0.0.0.0",  # noqa: S104
        0,
        {"LOADER_MASTER_KEY_FILE": str(tmp_path / "key"), "CLOUDZERO_EXPORT_INTERVAL_MINUTES": "59"},
    )
    assert given.master_key is not None
    assert given.master_key.reveal() == "from-a-file"
    assert "from-a-file" not in repr(given)
    (warning,) = given.warnings
    assert "less than 60 is not recommended" in warning


def test_command_refuses_a_public_host_without_a_key(tmp_path: Path) -> None:
    refused = Project(tmp_path).loader("serve", "--host", "0.0.0.0")  # noqa: S104
    assert refused.code == 3
    assert refused.err.count("\n") == 1
    assert refused.err.startswith("Error: Without LOADER_MASTER_KEY")
