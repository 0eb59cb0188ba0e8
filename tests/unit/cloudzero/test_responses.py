"""What answers say: whatever a server sends, the outcome is a receipt or an error of the loader that can be recorded."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loader.cloudzero import responses
from loader.cloudzero.bodies import body_groups
from loader.cloudzero.client import AnyCost, Receipt
from loader.cloudzero.responses import rows_by_hour
from loader.config.settings import Credentials, Secret
from loader.delivery.retry import Journal, RetryPolicy, deliver
from loader.errors import LoaderError, RejectedError, RetryableError, UnknownOutcomeError
from loader.lines import LinesAndCost
from tests.support.builders import FakeTime, line
from tests.support.wire import Wire, answering, http

KEY = "key-0815"
(GROUP,) = body_groups([line()], "replace_hourly")
(BODY,) = GROUP.bodies
DEEP = "[" * 200_000 + "]" * 200_000


class Scripted:
    """A server that sends `answer` and closes, and a client of it."""

    def __init__(self) -> None:
        self.answer = b""

    def __call__(self, connection: socket.socket, _: bytes) -> None:
        connection.sendall(self.answer)

    def post(self, wire: Wire) -> Receipt:
        with AnyCost(Credentials(Secret(KEY), "conn", wire.url), (10.0, 10.0)) as client:
            return client.post(BODY, "k1")


@pytest.fixture(scope="module")
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def wire(scripted: Scripted) -> Iterator[Wire]:
    with answering(scripted) as wire:
        yield wire


def outcome(scripted: Scripted, wire: Wire, answer: bytes) -> Receipt | LoaderError:
    scripted.answer = answer
    try:
        return scripted.post(wire)
    except LoaderError as error:
        return error


@pytest.mark.parametrize(
    "count",
    ["Infinity", "-Infinity", "NaN", "1e400", "36.9", "true", '"36"', "null", "[]", "{}", "9" * 5000, '"\\u0661"'],
)
def test_a_row_count_that_is_not_a_whole_number(count: str, scripted: Scripted, wire: Wire) -> None:
    found = outcome(scripted, wire, http(f'{{"connection": {{"drop_id": "d", "row_count": {count}}}}}'))
    assert isinstance(found, RetryableError)
    assert not found.did_nothing


@pytest.mark.parametrize(("count", "expected"), [("36", 36), ("36.0", 36), ("-1", -1), ("0", 0)])
def test_a_row_count(count: str, expected: int, scripted: Scripted, wire: Wire) -> None:
    found = outcome(scripted, wire, http(f'{{"connection": {{"row_count": {count}}}}}'))
    assert found == Receipt("", expected)


@pytest.mark.parametrize(
    ("drop_id", "expected"),
    [
        ('"d\\u0000\\ud800 x"', "d\ufffd\ufffd x"),
        ('"\\u001b[2J\\u202e"', "\ufffd[2J\ufffd"),
        ('"a\\n\\tb"', "a b"),
        (f'"{KEY}"', "***"),
        (f'"{"x" * 9999}"', "x" * 200),
        ("17", "17"),
        ("true", ""),
        ("null", ""),
        ('["d"]', ""),
    ],
)
def test_a_drop_id(drop_id: str, expected: str, scripted: Scripted, wire: Wire) -> None:
    content = f'{{"connection": {{"drop_id": {drop_id}, "row_count": 1}}}}'
    assert outcome(scripted, wire, http(content)) == Receipt(expected, 1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_the_encoding_of_an_answer(encoding: str, scripted: Scripted, wire: Wire) -> None:
    content = '{"connection": {"drop_id": "d\u00e9", "row_count": 1}}'.encode(encoding)
    found = outcome(scripted, wire, http(content, Content_Type="application/json; charset=no-such"))
    assert found == Receipt("d\ufffd" if encoding == "latin-1" else "d\u00e9", 1)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("content", [DEEP, '{"connection":' * 50_000, f'{{"error": {{"message": {DEEP}}}}}'])
def test_nested_brackets(status: int, content: str, scripted: Scripted, wire: Wire) -> None:
    found = outcome(scripted, wire, http(content, status))
    assert isinstance(found, RejectedError if status == 400 else RetryableError)
    assert len(str(found)) < 700


@pytest.mark.parametrize("status", [400, 403, 429, 500, 302, 201])
def test_messages_are_printable(status: int, scripted: Scripted, wire: Wire) -> None:
    message = f"no\x1b]0;title\x07 \u202e \x9b2J \ud800 \x00 {KEY} M\u00fcller"
    for content in (json.dumps({"error": {"message": message}}), message.encode("utf-8", "surrogatepass")):
        found = outcome(scripted, wire, http(content, status))
        assert isinstance(found, LoaderError)
        assert str(found).isprintable()
        assert KEY not in str(found)
        assert "M\u00fcller" in str(found)


@pytest.mark.parametrize("status", [101, 102, 103, 201, 202, 204, 206, 600, 999])
def test_other_statuses_do_not_say_that_nothing_was_stored(status: int, scripted: Scripted, wire: Wire) -> None:
    found = outcome(scripted, wire, http('{"connection": {"drop_id": "d", "row_count": 1}}', status))
    assert isinstance(found, UnknownOutcomeError)
    assert not found.did_nothing
    assert found.may_be_in_progress == (status < 200 or status == 202)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://user:secret@login.example/path?token=x", r"\(a redirect to https://login.example: set"),
        ("/elsewhere", r"\(a redirect: set CLOUDZERO_API_URL"),
        ("http://[", r"\(a redirect: set"),
        ("https://a\udcff\udc9b.example", r"\(a redirect"),
        ("", r"\(a redirect: set"),
    ],
)
def test_a_redirect_may_have_stored_the_body(location: str, words: str, scripted: Scripted, wire: Wire) -> None:
    answer = http("", 302, Location="PLACE").replace(b"PLACE", location.encode("utf-8", "surrogateescape"))
    with pytest.raises(RejectedError, match=words) as caught:
        raise outcome(scripted, wire, answer)  # type: ignore[misc]
    assert caught.value.may_be_stored
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


class Recorded(Journal):
    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def failed(self, group: Any, outcome: str, detail: str) -> None:  # noqa: ARG002
        self.outcomes.append(outcome)


def test_a_push_that_is_redirected_ends_at_once_and_does_not_say_that_nothing_was_stored(
    scripted: Scripted, wire: Wire
) -> None:
    scripted.answer = http("", 303, Location="https://elsewhere.example/")
    journal = Recorded()
    with (
        AnyCost(Credentials(Secret(KEY), "conn", wire.url)) as client,
        pytest.raises(RejectedError, match="Running the same command again is safe") as caught,
    ):
        deliver([GROUP], client, FakeTime().policy(), print, journal)
    assert "Nothing of it was stored" not in str(caught.value)
    assert journal.outcomes == ["unknown"]


def test_an_internal_error_is_recorded_as_an_unknown_outcome() -> None:
    class Broken:
        def post(self, body: Any, key: str) -> Receipt:
            raise ZeroDivisionError(body, key)

        def validate(self, body: bytes) -> list[str]:
            raise AssertionError(body)

        def hours_of_month(self, month: str) -> dict[datetime, LinesAndCost]:
            raise AssertionError(month)

    journal = Recorded()
    with pytest.raises(ZeroDivisionError):
        deliver([GROUP], Broken(), RetryPolicy(), print, journal)
    assert journal.outcomes == ["unknown"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.sampled_from(
    [
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 3, 4",
        "Transfer-Encoding: chunked",
        "Content-Encoding: gzip",
        "Content-Encoding: deflate, br, zstd, gzip, x, y",
        "Content-Type: text/html; charset=\xff",
        "Retry-After: inf",
        "Retry-After: nan",
        "Retry-After: -1e999",
        "Retry-After: Thu, 99 Foo 99999999999999999999 99:99:99 +9999",
        "Retry-After: Mon, 01 Jan 0001 00:00:00 +2300",
        "Location: http://[::",
        "Set-Cookie: \x1b=\xff; expires=x; domain=.; path=;;;",
        "Connection: keep-alive",
        " folded",
        ":",
        "\xff\xfe: \x00",
    ]
).map(lambda text: text.encode("latin-1"))
RESPONSES = st.builds(
    lambda status, headers, content: b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", content]),
    st.integers(-1, 1000).map(lambda status: b"%d Any" % status) | st.sampled_from([b"200", b"", b"200 \xff", b"2 00"]),
    st.lists(HEADERS, max_size=3),
    st.binary(max_size=60)
    | st.builds(
        lambda member: json.dumps(member).encode("utf-8", "surrogatepass"),
        JSON_VALUES
        | st.fixed_dictionaries({"connection": JSON_VALUES})
        | st.fixed_dictionaries(
            {"connection": st.fixed_dictionaries({"drop_id": JSON_VALUES, "row_count": JSON_VALUES})}
        )
        | st.fixed_dictionaries({"error": st.fixed_dictionaries({"message": JSON_VALUES})}),
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=RESPONSES | st.binary(max_size=200))
@example(answer=b"")
@example(answer=b"\r\n\r\n")
@example(answer=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}")
@example(answer=b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n{}")
def test_any_bytes_are_an_answer_or_an_error(answer: bytes, scripted: Scripted, wire: Wire) -> None:
    found = outcome(scripted, wire, answer)
    if isinstance(found, Receipt):
        assert (type(found.row_count), found.drop_id.isprintable()) == (int, True)
    else:
        assert str(found).isprintable()
        assert KEY not in str(found)
        RetryPolicy().wait(0, found) if isinstance(found, UnknownOutcomeError) else None


@given(st.text(max_size=40))
def test_any_retry_after(value: str) -> None:
    found = responses.retry_after(value)
    assert found is None or found >= 0


ROWS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=12) | st.integers() | st.none()), max_size=6)


@given(rows=ROWS, before=JSON_VALUES, cuts=st.lists(st.integers(0, 400), max_size=9), indent=st.sampled_from([None, 1]))
def test_rows_are_read_whatever_the_chunks(rows: list[Any], before: Any, cuts: list[int], indent: int | None) -> None:
    whole = {"before": before if before == before else 0, "number": 12.5, "billing_drop": rows, "last": 17}
    try:
        json.dumps(whole, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, UnicodeEncodeError):  # infinite, or a lone surrogate
        return
    content = json.dumps(whole, indent=indent, ensure_ascii=bool(indent)).encode()
    places = sorted({0, *(cut for cut in cuts if cut < len(content)), len(content)})
    chunks = [content[first:last] for first, last in pairwise(places)]
    assert list(responses.month_rows(chunks)) == rows


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"billing_drop": {}}',
        '{"billing_drop": null}',
        '{"billing_drop": [1]}',
        '{"billing_drop": [{}',
        '{"billing_drop": [{}]',
        '{"billing_drop": [{},]}',
        '{"billing_drop": [{} {}]}',
        '{"billing_drop": [{}]} x',
        '{"billing_drop": [{}], "billing_drop": []}',
        '{"billing_drop": [{"a": NaN}]}',
        '{"billing_drop" [{}]}',
        '{"x": 1,}',
        '{"billing_drop": [{"a": ' + DEEP + "}]}",
        '{"billing_drop": [{"a": "' + "x" * 3_000_000 + '"}]}',
        '{"billing_drop": [{"a": "\\udc00"}]}',
    ],
)
def test_what_is_not_the_rows_of_a_month(content: str) -> None:
    chunks = (content[at : at + 100_000].encode() for at in range(0, len(content), 100_000))
    with pytest.raises(RetryableError, match="billing_drop"):
        list(responses.month_rows(chunks))


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"time/usage_start": "2026-11-01T00:00:00Z", "cost/cost": "NaN"},
        {"time/usage_start": "2026-11-01T00:00:00Z", "cost/cost": "sNaN"},
        {"time/usage_start": "2026-11-01T00:00:00Z", "cost/cost": "-Infinity"},
        {"time/usage_start": "2026-11-01T00:00:00Z", "cost/cost": "1e999999999"},
        {"time/usage_start": "2026-11-01T00:00:00Z", "cost/cost": [1]},
        {"time/usage_start": ["x"], "cost/cost": "1"},
        {"time/usage_start": 17, "cost/cost": "1"},
        {"time/usage_start": "0001-01-01T00:00:00+14:00", "cost/cost": "1"},
        {"time/usage_start": "soon", "cost/cost": "1"},
    ],
)
def test_rows_without_a_time_or_a_cost(row: dict[str, Any]) -> None:
    with pytest.raises(UnknownOutcomeError):
        rows_by_hour([row])
