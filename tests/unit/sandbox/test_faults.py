"""Faults injected by the sandbox: what takes effect, what the client sees, and that a seed reproduces them."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import orjson
import pytest
import requests
from click.testing import CliRunner

from loader.cli.main import main
from loader.cloudzero.bodies import Body, body_groups
from loader.cloudzero.client import AnyCost
from loader.config.settings import Credentials, Secret
from loader.delivery.retry import deliver
from loader.errors import LoaderError, RejectedError, RetryableError, UnknownOutcomeError
from loader.sandbox.anycost import ROOT, AnyCostSandbox, Limits, Response
from loader.sandbox.faults import KINDS, MAX_RETRY_AFTER, FaultInjector
from loader.sandbox.server import serve_sandbox
from tests.support.builders import FakeTime, line

KEY = "key-0815"
DROPS = f"{ROOT}/c1/billing_drops"
MONTH = "2024-01"
ROWS = 3


@dataclass
class Pause:
    """A latency that lasts until it is released."""

    entered: threading.Event
    go: threading.Event

    def __call__(self, seconds: float) -> None:
        """Wait."""
        assert seconds >= 0
        self.entered.set()
        assert self.go.wait(30)


@dataclass
class SandboxAndClient:
    """A sandbox on a socket, and a client for it."""

    url: str
    sandbox: AnyCostSandbox
    faults: FaultInjector
    client: AnyCost

    @property
    def rows(self) -> int:
        """The number of rows stored."""
        months = self.sandbox.state()["streams"].get("c1", {})
        return sum(month["rows"] for month in months.values())


def client_of(url: str) -> AnyCost:
    """A client with a short timeout, so that a connection that stays open is told apart from one that was cut."""
    return AnyCost(Credentials(Secret(KEY), "c1", url), timeouts=(10.0, 10.0))


@contextmanager
def running_sandbox(
    *kinds: str, rate: float = 1.0, seed: int = 1, reads: bool = False, **more: Any
) -> Iterator[SandboxAndClient]:
    """A sandbox server that injects faults of these kinds."""
    faults = FaultInjector(seed, rate, 0.001, kinds or KINDS, reads, **more)
    with serve_sandbox(AnyCostSandbox(KEY, faults=faults)) as server, client_of(server.url) as client:
        yield SandboxAndClient(server.url, server.sandbox, faults, client)


def body_of(operation: str = "sum", resource: str = "czrn:a") -> Body:
    """A body of a few rows in one hour. With `sum`, the default, a body that takes effect twice is noticed."""
    (delivery,) = body_groups([line(resource=f"{resource}:{n}") for n in range(ROWS)], operation)
    (body,) = delivery.bodies
    return body


def outcome(act: Callable[[], Any]) -> tuple[type, Any]:
    """The result: its type, and the row count or the message."""
    try:
        receipt = act()
    except LoaderError as error:
        return type(error), str(error)
    return type(receipt), receipt.row_count


def until(happened: Callable[[], bool]) -> None:
    """Wait until another thread has done something."""
    for _ in range(3000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("It did not happen.")


# kind: (error, words of its message, whether the body took effect, the later response to the same key without faults)
AFTERWARDS: dict[str, tuple[type[LoaderError] | None, str, bool, type[LoaderError] | None]] = {
    "latency_before": (None, "", True, None),
    "latency_after": (None, "", True, None),
    "cut_before": (UnknownOutcomeError, "(ConnectionError)", False, None),
    "cut_after": (UnknownOutcomeError, "(ConnectionError)", True, None),
    "too_many_requests": (RetryableError, "429: Too many requests", False, RetryableError),
    "server_error_before": (RetryableError, "CloudZero answered 50", False, RetryableError),
    "server_error_after": (RetryableError, "CloudZero answered 500", True, RetryableError),
    "wrong_row_count": (None, "", True, None),
    "not_json": (RetryableError, "not JSON", True, RetryableError),
}


def test_every_kind_is_tested() -> None:
    assert set(AFTERWARDS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_effect_and_what_a_repeated_key_gets(kind: str) -> None:
    error, words, took_effect, then = AFTERWARDS[kind]
    with running_sandbox(kind) as here:
        kind_of_first, first = outcome(lambda: here.client.post(body_of(), "k1"))
        assert here.rows == (ROWS if took_effect else 0)
        assert here.faults.counts == {kind: 1}
        if error:
            assert kind_of_first is error
            assert words in first
        elif kind == "wrong_row_count":
            assert first in (ROWS - 1, ROWS + 1)
        else:
            assert first == ROWS
        here.faults.rate = 0.0
        kind_of_second, second = outcome(lambda: here.client.post(body_of(), "k1"))
        if then:
            assert (kind_of_second, second) == (kind_of_first, first)
        else:
            assert second == (first if kind == "wrong_row_count" else ROWS)
        # A stored response adds no rows; a body that had no effect and no stored response takes effect now.
        held = ROWS if took_effect or kind == "cut_before" else 0
        assert here.rows == held
        assert here.client.post(body_of(), "k2").row_count == ROWS
        assert here.rows == held + ROWS
        assert here.faults.counts == {kind: 1}


def test_a_repeated_key_gets_the_stored_response_without_faults() -> None:
    with running_sandbox(rate=0.0) as here:
        first = here.client.post(body_of(), "k1")
        here.faults.rate = 1.0
        assert [here.client.post(body_of(), "k1") for _ in range(20)] == [first] * 20
        assert sum(here.faults.counts.values()) == 0


def test_retry_after_of_a_429_is_missing_or_seconds_or_a_date() -> None:
    forms, waits = set(), []
    with running_sandbox("too_many_requests") as here, requests.Session() as session:
        for number in range(40):
            with pytest.raises(RetryableError) as caught:
                here.client.post(body_of(), f"k{number}")
            waits.append(caught.value.retry_after)
            again = session.post(
                here.url + DROPS, headers={"Authorization": KEY, "cloudzero-idempotency-key": f"k{number}"}
            )
            value = again.headers.get("Retry-After", "")
            forms.add("none" if not value else "seconds" if value.isdigit() else "date")
    assert forms == {"none", "seconds", "date"}
    assert all(wait is None or 0 <= wait <= MAX_RETRY_AFTER for wait in waits)
    assert any(waits)


def responses_to(faults: FaultInjector, count: int, is_read: bool = False) -> list[tuple[str, int, bool, bytes]]:
    """The responses to so many bodies."""
    good = Response(200, b'{"connection":{"row_count":3}}')
    answers = [faults.apply(lambda: good, is_read) for _ in range(count)]
    return [(a.fault, a.status, a.is_cut, a.body) for a in answers]


def test_the_same_seed_gives_the_same_faults() -> None:
    slept: list[list[float]] = [[], []]
    first, second = (responses_to(FaultInjector(7, 0.5, 9.0, sleep=each.append), 300) for each in slept)
    assert first == second
    assert slept[0] == slept[1]
    assert 0 < max(slept[0]) <= 9.0
    assert {kind for kind, *_ in first} == {*KINDS, ""}
    assert first != responses_to(FaultInjector(8, 0.5, 0.0), 300)


def test_the_rate_is_the_share_of_faults_and_they_are_counted() -> None:
    faults = FaultInjector(3, 0.2, 0.0)
    kinds = [kind for kind, *_ in responses_to(faults, 1000)]
    assert 150 < len([kind for kind in kinds if kind]) < 250
    assert faults.counts == {kind: kinds.count(kind) for kind in KINDS}


def test_a_change_of_rate_or_a_read_affects_no_other_request() -> None:
    whole = responses_to(FaultInjector(5, 0.5, 0.0), 90)
    faults = FaultInjector(5, 0.5, 0.0, reads=True)
    parts = responses_to(faults, 30)
    responses_to(faults, 11, is_read=True)
    faults.rate = 0.0
    quiet = responses_to(faults, 30)
    faults.rate = 0.5
    parts += quiet + responses_to(faults, 30)
    assert {kind for kind, *_ in quiet} == {""}
    assert parts[:30] == whole[:30]
    assert parts[60:] == whole[60:]


def test_faults_can_be_switched_off_and_on() -> None:
    with running_sandbox("server_error_before", rate=0.0) as here:
        here.client.post(body_of(), "k1")
        here.faults.rate = 1.0
        with pytest.raises(RetryableError):
            here.client.post(body_of(), "k2")
        here.faults.rate = 0.0
        here.client.post(body_of(), "k3")
        assert here.faults.counts == {"server_error_before": 1}
        assert here.rows == 2 * ROWS


@pytest.mark.parametrize(("kind", "held"), [("latency_before", 0), ("latency_after", ROWS)])
def test_a_stream_is_busy_during_latency(kind: str, held: int) -> None:
    pause = Pause(threading.Event(), threading.Event())
    with running_sandbox(kind, sleep=pause) as here, client_of(here.url) as second:
        first = threading.Thread(target=here.client.post, args=(body_of(), "k1"))
        first.start()
        try:
            assert pause.entered.wait(30)
            here.faults.rate = 0.0
            assert here.rows == held
            for key in ("k2", "k1"):
                with pytest.raises(RetryableError, match="409"):
                    second.post(body_of(), key)
            assert here.sandbox.concurrent_requests_seen == 2
        finally:
            pause.go.set()
            first.join(30)
        assert here.rows == ROWS
        # Neither 409 is stored: one key gets the first response, the other is a new request.
        assert second.post(body_of(), "k1").row_count == ROWS
        assert here.rows == ROWS
        second.post(body_of(), "k2")
        assert here.rows == 2 * ROWS
        assert here.sandbox.concurrent_requests_seen == 2


SENDER = """
import sys, urllib.request
url, key, body = sys.argv[1:]
headers = {"Authorization": key, "cloudzero-idempotency-key": "k1"}
urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers))
"""


def test_the_request_of_a_killed_client_takes_effect(capfd: pytest.CaptureFixture[str]) -> None:
    pause = Pause(threading.Event(), threading.Event())
    with running_sandbox("latency_before", sleep=pause) as here:
        sender = subprocess.Popen([sys.executable, "-c", SENDER, here.url + DROPS, KEY, body_of().content.decode()])
        try:
            assert pause.entered.wait(30)
        finally:
            sender.kill()
            sender.wait(30)
            assert here.rows == 0
            pause.go.set()
        until(lambda: bool(here.sandbox.state()["requests"]))
        assert here.rows == ROWS
        here.faults.rate = 0.0
        assert here.client.post(body_of(), "k1").row_count == ROWS
        assert here.rows == ROWS
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("reset", [False, True])
def test_an_incomplete_request_has_no_effect_and_its_key_is_not_stored(
    reset: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    others = set(threading.enumerate())  # of servers of other tests

    def is_handling() -> bool:
        return any("process_request" in each.name for each in threading.enumerate() if each not in others)

    with running_sandbox(rate=0.0) as here:
        host, port = here.url.removeprefix("http://").split(":")
        body = body_of().content
        head = f"POST {DROPS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {KEY}\r\ncloudzero-idempotency-key: k1\r\n"
        with socket.create_connection((host, int(port)), 10) as sender:
            sender.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-10])
            if reset:
                until(is_handling)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                sender.shutdown(socket.SHUT_WR)
                assert sender.recv(1) == b""
        until(lambda: not is_handling())
        assert here.sandbox.state()["requests"] == []
        assert here.client.post(body_of(), "k1").row_count == ROWS
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut_before", UnknownOutcomeError),
        ("cut_after", UnknownOutcomeError),
        ("not_json", UnknownOutcomeError),
        ("too_many_requests", RetryableError),
        ("server_error_before", RetryableError),
        ("latency_before", None),
        ("server_error_after", None),
        ("wrong_row_count", None),
    ],
)
def test_reads_have_faults_only_if_enabled(kind: str, error: type[LoaderError] | None) -> None:
    for reads in (False, True):
        with running_sandbox(kind, rate=0.0, reads=reads) as here:
            here.client.post(body_of(), "k1")
            here.faults.rate = 1.0
            if reads and error:
                with pytest.raises(error):
                    here.client.read_month(MONTH)
                assert here.faults.counts == {kind: 1}
            else:
                assert len(here.client.read_month(MONTH)) == ROWS
            assert requests.get(here.url + "/state", timeout=10).status_code == 200


@pytest.mark.parametrize("kind", ["server_error_after", "wrong_row_count", "not_json"])
def test_the_response_to_a_rejected_body_is_not_distorted(kind: str) -> None:
    faults = FaultInjector(1, 1.0, 0.0, [kind])
    sandbox = AnyCostSandbox(KEY, Limits(month_rows=ROWS - 1), faults=faults)
    for content, status in ((b"{", 400), (None, 413), (body_of().content, 400)):
        assert sandbox.handle("POST", DROPS, {"Authorization": KEY}, content).status == status
    assert faults.counts == {kind: 0}


def test_a_wrong_key_and_validation_have_no_faults() -> None:
    with running_sandbox("cut_before") as here:
        assert here.client.validate(body_of().content) == []
        with AnyCost(Credentials(Secret("wrong"), "c1", here.url)) as stranger, pytest.raises(RejectedError):
            stranger.post(body_of(), "k0")
        assert here.faults.counts == {"cut_before": 0}


def test_the_state_and_the_page_show_the_faults() -> None:
    with running_sandbox("cut_after", "too_many_requests", rate=0.0) as here:
        here.client.post(body_of(), "k1")
        assert b"Faults injected" not in requests.get(here.url, timeout=10).content
        here.faults.rate = 1.0
        for number in range(20):
            outcome(lambda number=number: here.client.post(body_of(), f"t{number}"))  # type: ignore[misc]
        state = requests.get(here.url + "/state", timeout=10).json()
        assert state["trouble"] == here.faults.counts
        assert sum(state["trouble"].values()) == 20
        assert {(each["trouble"], each["status"]) for each in state["requests"]} == {
            ("", 200),
            ("cut_after", 200),
            ("too_many_requests", 429),
        }
        page = requests.get(here.url, timeout=10).text
        assert f"<td>cut after</td><td>{here.faults.counts['cut_after']}</td>" in page
    assert AnyCostSandbox(KEY).state()["trouble"] == {}


def hours_of(sandbox: AnyCostSandbox) -> dict[str, Any]:
    """The hours of the month in the state."""
    hours: dict[str, Any] = sandbox.state()["streams"]["c1"][MONTH]["hours"]
    return hours


def test_the_digest_of_an_hour_does_not_depend_on_the_order_of_rows() -> None:
    start = datetime(2024, 1, 15, tzinfo=timezone.utc)
    lines = [line(n % 2, resource=f"czrn:{n}", start=start) for n in range(6)]

    def digests(*bodies: list[Any]) -> dict[str, str]:
        sandbox = AnyCostSandbox(KEY)
        for part in bodies:
            ((body,),) = [delivery.bodies for delivery in body_groups(part, "sum")]
            assert sandbox.handle("POST", DROPS, {"Authorization": KEY}, body.content).status == 200
        return {name: hour["digest"] for name, hour in hours_of(sandbox).items()}

    by_hour = [sorted(orjson.dumps(each.values) for each in lines[n::2]) for n in range(2)]
    expected = {f"2024-01-15T0{n}:00:00Z": sha256(b"\n".join(rows)).hexdigest() for n, rows in enumerate(by_hour)}
    assert digests(lines) == digests(lines[::-1]) == digests(lines[3:], lines[:3]) == expected
    assert digests(lines[:4]) != expected
    assert digests(lines, lines[:1])["2024-01-15T01:00:00Z"] == expected["2024-01-15T01:00:00Z"]
    assert digests(lines, lines[:1])["2024-01-15T00:00:00Z"] != expected["2024-01-15T00:00:00Z"]


@pytest.mark.parametrize("seed", range(5))
def test_a_delivery_with_faults_stores_the_same_as_one_without(seed: int) -> None:
    lines = [line(n // 4, resource=f"czrn:{n}", start=datetime(2024, 1, 1, tzinfo=timezone.utc)) for n in range(48)]
    clean, ended = AnyCostSandbox(KEY), FakeTime()
    with running_sandbox(rate=0.6, seed=seed) as here:
        for part in range(0, 48, 4):
            hour = lines[part : part + 4]
            (delivery,) = body_groups(hour, "replace_hourly")
            clean.handle("POST", DROPS, {"Authorization": KEY}, delivery.bodies[0].content)
            deliver([delivery], here.client, ended.policy(timedelta(days=1)), lambda _: None)
        assert hours_of(here.sandbox) == hours_of(clean)
        assert here.sandbox.concurrent_requests_seen == 0
        assert sum(here.faults.counts.values()) > 0


@pytest.mark.parametrize(
    ("rate", "latency", "kinds"), [(-0.1, 0.0, KINDS), (1.1, 0.0, KINDS), (0.1, -1.0, KINDS), (1, 0, ()), (1, 0, "x")]
)
def test_invalid_arguments_are_rejected(rate: float, latency: float, kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="invalid faults"):
        FaultInjector(1, rate, latency, kinds)


def test_the_options_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[AnyCostSandbox] = []
    monkeypatch.setattr("loader.sandbox.server.run_sandbox", lambda sandbox, *_: started.append(sandbox))

    def start(*options: str) -> tuple[Limits, FaultInjector]:
        result = CliRunner().invoke(main, ["sandbox", *options])
        assert result.exit_code == 0, result.output
        faults = started[-1].faults
        assert faults is not None
        return started[-1].limits, faults

    limits, faults = start()
    assert (limits, faults.rate) == (Limits(), 0.0)
    limits, faults = start(
        "--month-rows", "10", "--month-mb", "2", "--body-mb", "0.5", "--trouble", "0.5", "--seed", "7"
    )
    assert (limits, faults.rate) == (Limits(500_000, 10, 2_000_000), 0.5)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert [kind for kind, *_ in responses_to(faults, 50)] == [
        kind for kind, *_ in responses_to(FaultInjector(7, 0.5, 0.0), 50)
    ]
    assert start("--lift-limits", "--month-rows", "10")[0] == Limits.none()
    for wrong in (("--trouble", "1.5"), ("--body-mb", "0"), ("--month-rows", "0")):
        assert CliRunner().invoke(main, ["sandbox", *wrong]).exit_code == 2


def test_the_request_log_of_a_cut_before_has_no_status() -> None:
    with running_sandbox("cut_before") as here:
        outcome(lambda: here.client.post(body_of(), "k1"))
        (request,) = here.sandbox.state()["requests"]
        assert (request["status"], request["trouble"], request["rows"]) == (0, "cut_before", 0)
        assert "<td>none</td><td>cut before</td>" in requests.get(here.url, timeout=10).text
        assert json.loads(requests.get(here.url + "/state", timeout=10).content)["streams"] == {}
