"""The push log of a stream whose URL was recorded in more than one spelling, and what is stored of an answer."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.config.profiles import read_target
from loader.config.settings import Stream
from loader.delivery.other_connections import held_elsewhere
from loader.delivery.push_log import ACCEPTED, UNKNOWN, Entry, HourRecord, PushLog, Written, merged, streams
from loader.hours import HOUR
from loader.warehouse.base import open_for_push
from tests.support.warehouse import START, BuiltWarehouse

URL, OLD = "https://host", "https://host:443"


def entry(fingerprint: str, hours: int = 0) -> Entry:
    return Entry(START + hours * HOUR, fingerprint, 1, Decimal("0.5"), 2)


def written(url: str, sequence: int, minutes: int, fingerprint: str, outcome: str = ACCEPTED) -> Written:
    return Written(url, sequence, START + timedelta(minutes=minutes), HourRecord(outcome, entry(fingerprint)))


@pytest.mark.parametrize(
    ("rows", "outcome", "fingerprint"),
    [
        ([written(OLD, 9, 0, "a")], ACCEPTED, "a"),
        ([written(OLD, 9, 0, "a"), written(URL, 11, 1, "b")], ACCEPTED, "b"),
        ([written(URL, 11, 1, "b", UNKNOWN), written(OLD, 9, 0, "a")], UNKNOWN, "b"),
        ([written(OLD, 9, 2, "a"), written(URL, 5, 1, "a")], ACCEPTED, "a"),
        # Both were written before there was one sequence, or the clocks disagree: which was last is not certain.
        ([written(OLD, 5, 2, "a"), written(URL, 9, 1, "b")], UNKNOWN, "a"),
        ([written(URL, 5, 2, "b"), written(OLD, 9, 1, "a")], UNKNOWN, "b"),
        ([written("https://host.", 9, 2, "a"), written(OLD, 5, 1, "b")], UNKNOWN, "a"),
    ],
)
def test_rows_of_several_spellings(rows: list[Written], outcome: str, fingerprint: str) -> None:
    for order in (rows, rows[::-1]):
        found = merged(order, URL)
        assert found.accepted is not None
        assert (found.outcome, found.accepted.fingerprint) == (outcome, fingerprint)


def test_rows_of_an_earlier_version_are_found_and_continued(warehouse: BuiltWarehouse) -> None:
    """An earlier version recorded the URL as it was configured."""
    stream, other = Stream("c", URL), Stream("d", URL)
    target = read_target(None, None, warehouse.project.environment())
    with open_for_push(target, stream, 30, 0, print) as opened:
        for each in (stream, other):
            log = PushLog(opened, each)
            log.begin()
            log.append([entry("a"), entry("b", 1)], "replace_hourly", ACCEPTED)
    warehouse.project.write(f"update cbf.push_log set api_url = '{OLD}'")
    with open_for_push(target, stream, 30, 0, print) as opened:
        log = PushLog(opened, stream)
        assert streams(opened) == [stream, other]
        assert [record.holds("a") for record in log.records().values()] == [True, False]
        last = log.begin()
        assert last is not None
        assert last.sequence == 2
        log.append([entry("c", 1)], "replace_hourly", ACCEPTED)
        ((_, elsewhere),) = [(each.connection_id, each.hours) for each in held_elsewhere(opened, URL, ["c"], {START})]
        assert elsewhere == 1
    with open_for_push(target, stream, 30, 0, print) as opened:
        records = PushLog(opened, stream).records()
        assert [record.holds(name) for record, name in zip(records.values(), "ac", strict=True)] == [True, True]
    assert warehouse.log("connection_id, api_url, sequence") == [
        ("c", URL, 3),
        ("c", OLD, 1),
        ("c", OLD, 2),
        ("d", OLD, 1),
        ("d", OLD, 2),
    ]


def test_nothing_in_an_answer_prevents_its_record(warehouse: BuiltWarehouse) -> None:
    stream = Stream("c", URL)
    with open_for_push(read_target(None, None, warehouse.project.environment()), stream, 30, 0, print) as opened:
        log = PushLog(opened, stream)
        log.begin()
        log.append(
            [entry("a")], "replace_hourly", ACCEPTED, drop_id="d\x00\ud800\u6f22", detail="\x1b[2J\udfff\x00" * 999
        )

        @settings(max_examples=40, deadline=None)
        @given(drop_id=st.text(st.characters()), detail=st.text(st.characters()))
        def append(drop_id: str, detail: str) -> None:
            log.append([entry("a")], "replace_hourly", UNKNOWN, drop_id=drop_id, detail=detail)

        append()
    assert warehouse.log("drop_id, length(detail)")[0] == ("d\ufffd\ufffd\u6f22", 1000)
