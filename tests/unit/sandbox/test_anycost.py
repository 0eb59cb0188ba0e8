"""The sandbox follows the rules that CloudZero documents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from loader.cloudzero.bodies import body_groups
from loader.cloudzero.client import AnyCost
from loader.config.settings import Credentials, Secret
from loader.errors import ConfigurationError, RejectedError
from loader.sandbox.anycost import ROOT, AnyCostSandbox, Limits, ParsedBody, Response, StreamKey
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.builders import line

KEY = "key-0815"
DROPS = f"{ROOT}/c1/billing_drops"
Row = dict[str, str]


def row(hour: int = 0, cost: str = "1.5", values: Row | None = None) -> Row:
    """A row of 15 January 2024."""
    return {"time/usage_start": f"2024-01-15T{hour:02}:00:00Z", "cost/cost": cost} | (values or {})


def body(*rows: Row, operation: str | None = "replace_hourly", month: str | None = "2024-01-01T00:00:00Z") -> bytes:
    """A body."""
    named = {"month": month, "operation": operation, "data": rows}
    return json.dumps({k: v for k, v in named.items() if v is not None}).encode()


def post(sandbox: AnyCostSandbox, content: bytes, path: str = DROPS, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a POST."""
    sent = {"Authorization": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = sandbox.handle("POST", path, sent, content)
    return answer.status, json.loads(answer.body)


def rows_held(sandbox: AnyCostSandbox, month: str = "2024-01", **headers: str) -> list[Row]:
    """The rows that the sandbox returns."""
    sent = {"Authorization": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = sandbox.handle("GET", f"{DROPS}/{month}", sent, None)
    rows: list[Row] = json.loads(answer.body)["billing_drop"] if answer.status == 200 else []
    return rows


@pytest.fixture
def sandbox() -> AnyCostSandbox:
    """An empty sandbox."""
    return AnyCostSandbox(KEY)


@pytest.mark.parametrize("key", ["", "wrong", f"Bearer {KEY}", KEY.upper()])
def test_a_wrong_key_is_rejected(sandbox: AnyCostSandbox, key: str) -> None:
    status, answer = post(sandbox, body(row()), Authorization=key)
    assert status == 403
    assert set(answer) == {"message"}
    assert sandbox.state()["streams"] == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (body(month=None), "data"),
        (body(row(), month=None), "has no month"),
        (body(row(), month="2024-01"), "month"),
        (body(row(), operation="delete"), "operation"),
        (body(row(), row(cost="1e-12")), "row 1, cost/cost"),
        (body(row(cost="1,000")), "row 0, cost/cost"),
        (body({"cost/cost": "1"}), "time/usage_start"),
        (
            json.dumps({"month": "2024-01-01T00:00:00Z", "data": [row() | {"cost/cost": 1}]}).encode(),
            "row 0, cost/cost",
        ),
        (body(row(values={"resource/colour": "red"})), "resource/colour"),
        (body(row(values={"resource/tag:a b": "x"})), "resource/tag:a b"),
        (body(row(values={"lineitem/type": "Spend"})), "row 0, lineitem/type"),
        (body(row(), row() | {"time/usage_start": "2024-02-01T00:00:00Z"}), "row 1, time/usage_start"),
        (body(row() | {"time/usage_start": "2024-01-31T23:30:00-01:00"}), "2024-01"),
        (body(row() | {"time/usage_start": "2024-01-15T14:30:00Z"}), "not on the hour"),
        (body(row() | {"time/usage_start": "2024-01-32T00:00:00Z"}), "row 0, time/usage_start"),
        (body(row() | {"time/usage_start": "0001-01-01T00:00:00+05:00"}), "row 0, time/usage_start"),
        (body(row(), month="2024-13-01T00:00:00Z"), "month"),
        (body(row() | {"usage/amount": ""}), "row 0, usage/amount"),
        (b"[]", "body"),
    ],
)
def test_an_invalid_body_is_rejected_with_the_row_and_column(
    sandbox: AnyCostSandbox, content: bytes, words: str
) -> None:
    status, answer = post(sandbox, content)
    assert (status, set(answer["error"])) == (400, {"message", "type"})
    assert words in answer["error"]["message"]
    assert sandbox.state()["streams"] == {}
    validated, verdict = post(sandbox, content, f"{ROOT}/validate_billing_drop")
    assert validated == 200
    assert verdict["connection"]["is_valid"] is False
    assert words in verdict["connection"]["errors"][0]


def test_a_body_over_the_size_limit_is_rejected() -> None:
    content = body(row())
    assert post(AnyCostSandbox(KEY, Limits(body_bytes=len(content))), content)[0] == 200
    status, answer = post(AnyCostSandbox(KEY, Limits(body_bytes=len(content) - 1)), content)
    assert (status, set(answer)) == (413, {"message"})


def test_a_body_too_large_to_be_read_is_413(sandbox: AnyCostSandbox) -> None:
    for path in (DROPS, f"{ROOT}/validate_billing_drop"):
        assert sandbox.handle("POST", path, {"Authorization": KEY}, None).status == 413


@pytest.mark.parametrize("path", ["/v2/elsewhere", f"{DROPS}/2024-01", f"{ROOT}//billing_drops", f"{DROPS}/../c2"])
def test_a_post_to_an_unknown_path_is_404_and_stores_nothing(sandbox: AnyCostSandbox, path: str) -> None:
    assert post(sandbox, body(row()), path)[0] == 404
    assert sandbox.state()["streams"] == {}


@pytest.mark.parametrize("limits", [Limits(month_rows=2), Limits(month_bytes=130)])
def test_a_month_that_would_exceed_a_limit_stays_unchanged(limits: Limits) -> None:
    sandbox = AnyCostSandbox(KEY, limits)
    assert post(sandbox, body(row(1), row(2)))[0] == 200
    before = rows_held(sandbox)
    assert post(sandbox, body(row(3)))[0] == 400
    assert rows_held(sandbox) == before
    assert post(sandbox, body(row(1, "9")))[0] == 200


def test_the_three_operations(sandbox: AnyCostSandbox) -> None:
    assert post(sandbox, body(row(1), row(2), row(2)))[1]["connection"]["row_count"] == 3
    post(sandbox, body(row(2, "7")))
    assert [r["cost/cost"] for r in rows_held(sandbox)] == ["1.5", "7"]
    post(sandbox, body(row(2, "8"), operation="sum"))
    assert [r["cost/cost"] for r in rows_held(sandbox)] == ["1.5", "7", "8"]
    post(sandbox, body(row(5), operation="replace_drop"))
    assert rows_held(sandbox) == [row(5)]


def test_a_body_without_an_operation_replaces_the_month(sandbox: AnyCostSandbox) -> None:
    post(sandbox, body(row(1)))
    post(sandbox, body(row(2), operation=None))
    assert rows_held(sandbox) == [row(2)]


def test_a_repeated_idempotency_key_gets_the_first_response_even_an_error(sandbox: AnyCostSandbox) -> None:
    headers = {"Authorization": KEY, "cloudzero-idempotency-key": "k1"}
    first = sandbox.handle("POST", DROPS, headers, body(row(), operation="sum"))
    again = sandbox.handle("POST", DROPS, headers | {"Authorization": "wrong"}, b"anything")
    assert again.body == first.body
    assert len(rows_held(sandbox)) == 1
    wrong = headers | {"cloudzero-idempotency-key": "k2"}
    refused = sandbox.handle("POST", DROPS, wrong, b"{")
    assert sandbox.handle("POST", DROPS, wrong, body(row())).body == refused.body
    assert refused.status == 400
    other_path = sandbox.handle("POST", f"{ROOT}/c2/billing_drops", headers, body(row()))
    assert other_path.status == 200
    assert other_path.body != first.body


def test_a_test_key_has_separate_streams_for_an_hour() -> None:
    now = datetime(2024, 1, 15, tzinfo=timezone.utc)
    sandbox = AnyCostSandbox(KEY, clock=lambda: now)
    post(sandbox, body(row()), cloudzero_test_key="t1")
    assert rows_held(sandbox) == rows_held(sandbox, cloudzero_test_key="t2") == []
    assert rows_held(sandbox, cloudzero_test_key="t1") == [row()]
    now += timedelta(hours=1)
    assert rows_held(sandbox, cloudzero_test_key="t1") == []


def test_months_are_listed_and_unknown_ones_are_404(sandbox: AnyCostSandbox) -> None:
    _, answer = post(sandbox, body(row(1), row(2)))
    listed = sandbox.handle("GET", DROPS, {"Authorization": KEY}, None)
    assert json.loads(listed.body) == {
        "billing_drops": [{"drop_id": answer["connection"]["drop_id"], "month": "2024-01", "row_count": 2}]
    }
    for path in (f"{DROPS}/2024-02", "/v2/elsewhere", f"{DROPS}/2024-01/more"):
        assert sandbox.handle("GET", path, {"Authorization": KEY}, None).status == 404


def test_sums_are_exact(sandbox: AnyCostSandbox) -> None:
    post(sandbox, body(row(1, "0.1"), row(1, "0.2"), row(1, "0.000000000000000001")))
    assert sandbox.state()["streams"]["c1"]["2024-01"]["cost"] == "0.300000000000000001"


def test_the_state_needs_no_key_and_contains_none(sandbox: AnyCostSandbox) -> None:
    post(sandbox, body(row(values={"resource/id": "<script>"})))
    page, state = (sandbox.handle("GET", path, {}, None) for path in ("/", "/state"))
    assert page.content_type.startswith("text/html")
    assert b"<script" not in page.body
    assert b"2024-01-15T00:00:00Z" in page.body
    assert json.loads(state.body)["streams"]["c1"]["2024-01"]["rows"] == 1
    assert KEY.encode() not in page.body + state.body + repr(sandbox).encode()


class Slow(AnyCostSandbox):
    """A sandbox whose requests wait until they are released."""

    def __init__(self) -> None:
        super().__init__(KEY)
        self.entered, self.go = threading.Event(), threading.Event()

    def _apply(self, body: ParsedBody, stream: StreamKey) -> Response:
        self.entered.set()
        assert self.go.wait(30)
        return super()._apply(body, stream)


def test_a_stream_is_free_again_after_a_rejected_request(sandbox: AnyCostSandbox) -> None:
    assert post(sandbox, b"{")[0] == 400
    assert post(sandbox, body(row()))[0] == 200
    assert sandbox.concurrent_requests_seen == 0


def test_concurrent_requests_are_counted_and_rejected() -> None:
    sandbox = Slow()
    first = threading.Thread(target=post, args=(sandbox, body(row(1))))
    first.start()
    assert sandbox.entered.wait(30)
    assert post(sandbox, body(row(2)))[0] == 409
    sandbox.go.set()
    first.join()
    assert sandbox.concurrent_requests_seen == 1
    assert rows_held(sandbox) == [row(1)]
    assert post(sandbox, body(row(2)), f"{ROOT}/c2/billing_drops")[0] == 200


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """A sandbox with a small limit, on a socket."""
    with serve_sandbox(AnyCostSandbox(KEY, Limits(body_bytes=1000))) as server:
        yield server


def test_over_http(server: SandboxServer) -> None:
    headers = {"Authorization": KEY}
    with requests.Session() as session:
        assert session.post(server.url + DROPS, body(row()), headers=headers).json()["connection"]["row_count"] == 1
        assert session.post(server.url + DROPS, body(*[row()] * 5000), headers=headers).status_code == 413
        assert session.get(f"{server.url}{DROPS}/2024-01", headers=headers).json() == {"billing_drop": [row()]}
        assert session.get(server.url + "/").headers["Content-Type"].startswith("text/html")
        assert session.get(server.url + "/state").json()["requests"][-1]["status"] == 200
    assert server.url.startswith("http://127.0.0.1:")


def test_the_loaders_client_over_http(server: SandboxServer) -> None:
    hours = list(body_groups([line(n, resource=f"czrn:{n}") for n in range(2)], "replace_hourly"))
    (drop,) = hours[0].bodies
    with AnyCost(Credentials(Secret("wrong"), "c1", server.url)) as stranger, pytest.raises(RejectedError, match="403"):
        stranger.post(drop, "k0")
    with AnyCost(Credentials(Secret(KEY), "c1", server.url)) as client:
        assert client.read_month("2024-01") == []
        assert client.validate(drop.content) == []
        assert client.read_month("2024-01") == []
        assert "not JSON" in client.validate(b"{")[0]
        first = client.post(drop, "k1")
        assert client.post(drop, "k1") == first
        assert client.post(drop, "k2").drop_id != first.drop_id
        assert client.read_month("2024-01") == [line(n, resource=f"czrn:{n}").values for n in range(2)]
        with pytest.raises(RejectedError, match="413"):
            client.validate(b" " * 1001)


def test_a_port_in_use_is_a_configuration_error(server: SandboxServer) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with (
        pytest.raises(ConfigurationError, match="Choose another --port"),
        serve_sandbox(AnyCostSandbox(KEY), port=port),
    ):
        pass


DROP = st.tuples(
    st.sampled_from(["replace_hourly", "sum", "replace_drop"]), st.lists(st.integers(0, 4), min_size=1, max_size=6)
)


@given(st.lists(DROP, max_size=12))
def test_any_sequence_of_bodies_is_stored_by_the_rules(drops: list[tuple[str, list[int]]]) -> None:
    sandbox = AnyCostSandbox(KEY)
    model: dict[int, list[str]] = {}
    for number, (operation, hours) in enumerate(drops):
        rows = [(hour, f"{number}.{index}") for index, hour in enumerate(hours)]
        assert post(sandbox, body(*(row(h, c) for h, c in rows), operation=operation))[0] == 200
        if operation == "replace_drop":
            model.clear()
        if operation == "replace_hourly":
            for hour in hours:
                model.pop(hour, None)
        for hour, cost in rows:
            model.setdefault(hour, []).append(cost)
    expected = [row(hour, cost) for hour in sorted(model) for cost in model[hour]]
    assert rows_held(sandbox) == expected
    months = sandbox.state()["streams"].get("c1", {})
    total = sum((Decimal(cost) for costs in model.values() for cost in costs), Decimal(0))
    assert sum((Decimal(month["cost"]) for month in months.values()), Decimal(0)) == total
