"""The delivery: what happens after each answer, and which hours may go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from loader.drops import Delivery, deliveries
from loader.errors import GuardError, LoaderError, RejectedError, RetryableError, UnknownOutcomeError, UsageError
from loader.push import MAX_MISCOUNTS, MAX_WAIT, Patience, Plan, Sent, deliver, lines_of, plan, require_complete
from loader.settings import Target
from loader.warehouse import Hour, Line, Warehouse
from loader.windows import HOUR, Window
from tests.loader.builders import FakeClient, FakeTime, line

NO_ANSWER = UnknownOutcomeError("No answer.")
BUSY = RetryableError("CloudZero answered 429.", retry_after=30.0, did_nothing=True)
BROKEN = RetryableError("CloudZero answered 500.")


def one(operation: str = "replace_hourly") -> list[Delivery]:
    """One body."""
    return list(deliveries([line()], operation))


def split() -> list[Delivery]:
    """One hour in three bodies."""
    found = list(deliveries([line(resource=f"czrn:{n:04}") for n in range(9)], "replace_hourly", max_bytes=500))
    assert [len(d.drops) for d in found] == [3]
    return found


def send(
    client: FakeClient, what: list[Delivery], time: FakeTime | None = None, give_up: float = 900
) -> tuple[Sent, list[str]]:
    """Deliver; what was sent and said."""
    said: list[str] = []
    return deliver(what, client, (time or FakeTime()).patience(timedelta(seconds=give_up)), said.append), said


@pytest.mark.parametrize("error", [NO_ANSWER, BUSY, BROKEN, RejectedError("CloudZero answered 400: row 0.")])
def test_giving_up_names_the_hour_and_what_went_before(error: LoaderError) -> None:
    client = FakeClient([None, *[error] * 50])
    with pytest.raises(type(error)) as caught:
        send(
            client,
            [*one(), *list(deliveries([line(2)], "replace_hourly")), *list(deliveries([line(3)], "replace_hourly"))],
        )
    assert str(error) in str(caught.value)
    assert "Stopped at the hour 2024-02-01T00:00:00Z." in str(caught.value)
    assert "Sent before it: 1 hours, 1 lines." in str(caught.value)
    assert all(drop.hours[0] != line(3).hour for drop, _ in client.sent)


def test_a_refusal_is_final() -> None:
    client = FakeClient([RejectedError("no")])
    with pytest.raises(RejectedError, match="Nothing of that was stored"):
        send(client, one())
    assert len(client.sent) == 1


@pytest.mark.parametrize("doubt", [NO_ANSWER, BROKEN])
def test_a_refusal_after_a_doubt_does_not_claim_that_nothing_was_stored(doubt: UnknownOutcomeError) -> None:
    client = FakeClient([doubt, RejectedError("CloudZero answered 403.")])
    with pytest.raises(UnknownOutcomeError, match=r"403\. An earlier try of it may have been stored") as caught:
        send(client, one())
    assert "Nothing of that was stored" not in str(caught.value)
    assert len(client.sent) == 2


def test_a_refusal_after_429_is_still_a_refusal() -> None:
    with pytest.raises(RejectedError, match="Nothing of that was stored"):
        send(FakeClient([BUSY, RejectedError("no")]), one())


def test_a_refusal_within_a_split_hour_says_that_it_may_be_stored_in_part() -> None:
    client = FakeClient([None, RejectedError("no")])
    with pytest.raises(RejectedError, match="may be stored in part; the same command, run again, replaces it"):
        send(client, split())
    assert client.operations == ["replace_hourly", "sum"]


def test_what_was_sent_before_is_told_delivery_by_delivery() -> None:
    told: list[Delivery] = []
    first, second = one(), list(deliveries([line(5)], "replace_hourly"))
    with pytest.raises(RejectedError):
        deliver([*first, *second], FakeClient([None, RejectedError("no")]), FakeTime().patience(), print, told.append)
    assert told == first


def test_no_answer_repeats_the_key() -> None:
    client = FakeClient([NO_ANSWER, NO_ANSWER])
    sent, said = send(client, one())
    assert (sent.hours, sent.lines, sent.drops) == (1, 1, 1)
    assert len(client.keys) == 3
    assert len(set(client.keys)) == 1
    assert len(said) == 2


@pytest.mark.parametrize("error", [BUSY, BROKEN])
def test_an_error_answer_takes_a_new_key(error: RetryableError) -> None:
    client = FakeClient([error, error])
    send(client, one())
    assert len(set(client.keys)) == 3


def test_retry_after_is_honoured_and_waits_grow() -> None:
    time = FakeTime()
    send(FakeClient([BUSY, BROKEN, BROKEN, BROKEN]), one(), time)
    assert time.slept == [30.0, 2.0, 4.0, 8.0]


def test_a_retry_after_beyond_the_budget_ends_it_at_once() -> None:
    time = FakeTime()
    with pytest.raises(RetryableError):
        send(FakeClient([BUSY]), one(), time, give_up=10)
    assert time.slept == []


def test_a_wrong_row_count_is_a_doubt_and_then_an_error() -> None:
    client = FakeClient([0])
    send(client, one())
    assert len(set(client.keys)) == 2
    stubborn = FakeClient([0] * 50)
    with pytest.raises(UnknownOutcomeError, match="0 rows of a body of 1"):
        send(stubborn, one())
    assert len(stubborn.sent) == MAX_MISCOUNTS


@pytest.mark.parametrize("error", [NO_ANSWER, BUSY, BROKEN, 99])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_any_doubt_in_a_split_hour_begins_at_its_first_body(error: LoaderError | int, at: int) -> None:
    client = FakeClient([*[None] * at, error])
    sent, _ = send(client, split())
    whole = ["replace_hourly", "sum", "sum"]
    assert client.operations == whole[: at + 1] + whole
    assert len(set(client.keys)) == len(client.keys)
    assert sent.lines == 9


def test_a_plain_sum_is_not_added_twice() -> None:
    unsure = FakeClient([BROKEN])
    with pytest.raises(RetryableError, match="It may have been added"):
        send(unsure, one("sum"))
    assert len(unsure.sent) == 1
    nothing_done = FakeClient([BUSY])
    send(nothing_done, one("sum"))
    assert len(set(nothing_done.keys)) == 2
    no_answer = FakeClient([NO_ANSWER])
    send(no_answer, one("sum"))
    assert len(set(no_answer.keys)) == 1


@pytest.mark.parametrize("then", [BUSY, BROKEN])
def test_a_plain_sum_takes_no_new_key_after_a_try_without_an_answer(then: RetryableError) -> None:
    # The first try may have been stored; under a new key it would be added again.
    client = FakeClient([NO_ANSWER, then])
    with pytest.raises(RetryableError, match="It may have been added"):
        send(client, one("sum"))
    assert len(client.keys) == 2
    assert len(set(client.keys)) == 1


def test_a_plain_sum_with_a_wrong_row_count_is_not_sent_again() -> None:
    client = FakeClient([0])
    with pytest.raises(RetryableError, match="It may have been added"):
        send(client, one("sum"))
    assert len(client.sent) == 1


@pytest.mark.parametrize(
    ("tries", "asked_for", "jitter", "seconds"),
    [(0, None, 1.0, 1), (0, None, 0.0, 0.5), (3, None, 1.0, 8), (3, 20.0, 1.0, 20), (3, 1.0, 1.0, 8)],
)
def test_waits(tries: int, asked_for: float | None, jitter: float, seconds: float) -> None:
    assert Patience(jitter=lambda: jitter).wait(tries, asked_for) == seconds


@pytest.mark.parametrize("tries", [6, 50, 1000])
def test_waits_stop_growing(tries: int) -> None:
    assert Patience(jitter=lambda: 1.0).wait(tries, None) == MAX_WAIT


class FakeWarehouse(Warehouse):
    """Hours of so many lines each, from 2024-01-15T00:00Z on."""

    def __init__(self, counts: list[int], built: datetime) -> None:
        super().__init__(Target("t", "fake", "s", {}))
        self.counts, self.built, self.windows = counts, built, list[Window]()

    def built_at(self) -> datetime:
        """As given."""
        return self.built

    def hours(self, window: Window | None = None) -> list[Hour]:
        """As given."""
        found = [Hour(FIRST + n * HOUR, count, Decimal(count), count) for n, count in enumerate(self.counts) if count]
        return [hour for hour in found if window is None or window.start <= hour.start < window.end]

    def lines(self, window: Window | None = None, newest: int | None = None) -> Iterator[Line]:
        """As given."""
        assert window is not None
        assert newest is None
        self.windows.append(window)
        for hour in self.hours(window):
            yield from (line(start=hour.start, resource=f"czrn:{n}") for n in range(hour.line_count))

    def rows(self, statement: str, parameters: Any = ()) -> Iterator[tuple[Any, ...]]:
        """Not used."""
        raise AssertionError(statement, parameters)

    def column_names(self, relation: str) -> list[str]:
        """Not used."""
        raise AssertionError(relation)


FIRST = datetime(2024, 1, 15, tzinfo=timezone.utc)
DAY = Window(FIRST, FIRST + 24 * HOUR)


def chosen(
    warehouse: FakeWarehouse, window: Window = DAY, operation: str = "replace_hourly", **options: Any
) -> list[int]:
    """The hours of the day that a plan takes."""
    return [hour.start.hour for hour in plan(warehouse, window, operation, **options).hours]


def test_only_hours_that_ended_before_dbt_ran_are_complete() -> None:
    warehouse = FakeWarehouse([1, 0, 2, 3], built=FIRST + 3.5 * HOUR)
    made = plan(warehouse, DAY, "replace_hourly")
    assert [hour.start.hour for hour in made.hours] == [0, 2]
    assert made.incomplete == (FIRST + 3 * HOUR,)
    assert chosen(warehouse, include_incomplete=True) == [0, 2, 3]


def test_limit_takes_the_newest_whole_hours() -> None:
    warehouse = FakeWarehouse([5, 3, 2, 9], built=FIRST + 3 * HOUR)
    assert chosen(warehouse, limit=2) == [2]
    assert chosen(warehouse, limit=5) == [1, 2]
    assert chosen(warehouse, limit=9) == [1, 2]
    assert chosen(warehouse, limit=10) == [0, 1, 2]
    with pytest.raises(GuardError, match="an hour is sent whole or not at all"):
        chosen(warehouse, limit=1)
    assert chosen(FakeWarehouse([], built=FIRST), limit=1) == []


def test_replace_drop_takes_one_whole_complete_month() -> None:
    month = Window(FIRST.replace(day=1), FIRST.replace(month=2, day=1))
    done = FakeWarehouse([1], built=FIRST + timedelta(days=30))
    assert chosen(done, month, "replace_drop") == [0]
    for window in (DAY, Window(month.start, month.end + HOUR), Window(month.start + HOUR, month.end)):
        with pytest.raises(UsageError, match="exactly one UTC month"):
            plan(done, window, "replace_drop")
    with pytest.raises(UsageError):
        plan(done, month, "replace_drop", limit=5)
    with pytest.raises(GuardError, match="not complete"):
        plan(FakeWarehouse([1], built=FIRST), month, "replace_drop")


def made(built: datetime, incomplete: tuple[datetime, ...] = (), window: Window = DAY) -> Plan:
    """A plan without hours."""
    return Plan(window, (), incomplete, built)


def test_stale_models_stop_the_push() -> None:
    with pytest.raises(GuardError, match=r"last built at 2024-01-15T03:00:00Z, before the hour 2024-01-15T04:00:00Z"):
        require_complete(made(FIRST + 3 * HOUR), now=FIRST + 5.5 * HOUR, named=True)
    require_complete(made(FIRST + 5 * HOUR), now=FIRST + 5.5 * HOUR, named=True)
    require_complete(made(FIRST + 100 * HOUR), now=FIRST + 500 * HOUR, named=True)


def test_a_running_hour_alone_stops_a_push_of_times_but_not_of_words() -> None:
    running = made(
        FIRST + 5.5 * HOUR, incomplete=(FIRST + 5 * HOUR,), window=Window(FIRST + 5 * HOUR, FIRST + 6 * HOUR)
    )
    with pytest.raises(GuardError, match="--include-incomplete"):
        require_complete(running, now=FIRST + 5.6 * HOUR, named=False)
    require_complete(running, now=FIRST + 5.6 * HOUR, named=True)


def test_lines_are_read_in_slices_of_whole_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.push.SLICE_LINES", 4)
    warehouse = FakeWarehouse([3, 1, 2, 0, 9, 1], built=FIRST + 5 * HOUR)
    found = [each.hour.hour for each in lines_of(warehouse, plan(warehouse, DAY, "replace_hourly"))]
    assert found == [0] * 3 + [1] + [2] * 2 + [4] * 9
    assert [(w.start.hour, w.end.hour) for w in warehouse.windows] == [(0, 2), (2, 3), (4, 5)]


def test_lines_of_hours_that_are_not_in_the_plan_are_left_out() -> None:
    warehouse = FakeWarehouse([1, 2, 3], built=FIRST + 5 * HOUR)
    full = plan(warehouse, DAY, "replace_hourly")
    gap = Plan(DAY, (full.hours[0], full.hours[2]), (), full.built_at)
    assert [each.hour.hour for each in lines_of(warehouse, gap)] == [0] + [2] * 3
    assert list(lines_of(warehouse, Plan(DAY, (), (), full.built_at))) == []
