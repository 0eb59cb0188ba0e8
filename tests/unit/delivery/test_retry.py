"""Delivery of bodies: what follows each response."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from loader.cloudzero.bodies import Body, BodyGroup, body_groups
from loader.cloudzero.client import Receipt
from loader.delivery.retry import MAX_MISCOUNTS, MAX_WAIT, Journal, RetryPolicy, Sent, deliver
from loader.errors import GuardError, LoaderError, RejectedError, RetryableError, StoppedError, UnknownOutcomeError
from loader.stopping import StopSignal
from tests.support.builders import FakeClient, FakeTime, line

NO_ANSWER = UnknownOutcomeError("No answer.")
BUSY = RetryableError("CloudZero answered 429.", retry_after=30.0, did_nothing=True)
BROKEN = RetryableError("CloudZero answered 500.")
REJECTED = RejectedError("CloudZero answered 403.", status=403)


def one(operation: str = "replace_hourly") -> list[BodyGroup]:
    """One body."""
    return list(body_groups([line()], operation))


def split() -> list[BodyGroup]:
    """One hour in three bodies."""
    found = list(body_groups([line(resource=f"czrn:{n:04}") for n in range(9)], "replace_hourly", max_bytes=500))
    assert [len(d.bodies) for d in found] == [3]
    return found


def send(
    client: FakeClient, groups: list[BodyGroup], time: FakeTime | None = None, give_up: float = 900
) -> tuple[Sent, list[str]]:
    """Deliver; what was sent, and the messages."""
    messages: list[str] = []
    return deliver(groups, client, (time or FakeTime()).policy(timedelta(seconds=give_up)), messages.append), messages


@pytest.mark.parametrize("error", [NO_ANSWER, BUSY, BROKEN])
def test_giving_up_names_the_hour_and_what_was_sent_before(error: LoaderError) -> None:
    client = FakeClient([None, *[error] * 50])
    with pytest.raises(type(error)) as caught:
        send(
            client,
            [*one(), *list(body_groups([line(2)], "replace_hourly")), *list(body_groups([line(3)], "replace_hourly"))],
        )
    assert str(error) in str(caught.value)
    assert "Stopped at the hour 2024-02-01T00:00:00Z." in str(caught.value)
    assert "Sent before it: 1 hours, 1 lines." in str(caught.value)
    assert all(drop.hours[0] != line(3).hour for drop, _ in client.sent)


def test_a_rejection_is_not_retried() -> None:
    client = FakeClient([RejectedError("no")])
    with pytest.raises(RejectedError, match="Nothing of it was stored"):
        send(client, one())
    assert len(client.sent) == 1


@pytest.mark.parametrize("unknown", [NO_ANSWER, BROKEN])
def test_a_rejection_after_an_unknown_outcome_does_not_claim_that_nothing_was_stored(
    unknown: UnknownOutcomeError,
) -> None:
    client = FakeClient([unknown, RejectedError("CloudZero answered 403.", status=403)])
    with pytest.raises(UnknownOutcomeError, match=r"403\. An earlier try of it may have been stored") as caught:
        send(client, one())
    assert "Nothing of it was stored" not in str(caught.value)
    assert len(client.sent) == 2


def test_a_rejection_after_a_429_is_still_a_rejection() -> None:
    with pytest.raises(RejectedError, match="Nothing of it was stored"):
        send(FakeClient([BUSY, RejectedError("no")]), one())


def test_a_rejection_within_a_split_hour_says_that_it_may_be_stored_in_part() -> None:
    client = FakeClient([None, RejectedError("no")])
    with pytest.raises(RejectedError, match="may be stored in part; running the same command again replaces it"):
        send(client, split())
    assert client.operations == ["replace_hourly", "sum"]


class RecordingJournal(Journal):
    """Records the calls."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.events: list[tuple[str, int]] = []
        self.stop_at = stop_at

    def begins(self, group: BodyGroup) -> None:
        if self.stop_at is not None and len(self.events) >= self.stop_at:
            raise GuardError("The month is full.")
        self.events.append(("begins", group.hours[0].hour))

    def accepted(self, group: BodyGroup, drop_id: str) -> None:
        self.events.append((f"accepted {drop_id}", group.hours[0].hour))

    def failed(self, group: BodyGroup, outcome: str, detail: str) -> None:
        assert detail
        self.events.append((outcome, group.hours[0].hour))


def events_of(
    answers: list[Exception | int | None], groups: list[BodyGroup] | None = None, stop_at: int | None = None
) -> list[str]:
    """The calls of the journal during a delivery."""
    journal = RecordingJournal(stop_at)
    try:
        deliver(groups or one(), FakeClient(answers), FakeTime().policy(), lambda _: None, journal)
    except LoaderError as error:
        journal.events.append((type(error).__name__, 0))
    return [event for event, _ in journal.events]


def test_the_journal_is_notified_before_and_after_each_try() -> None:
    assert events_of([]) == ["begins", "accepted drop"]
    assert events_of([NO_ANSWER]) == ["begins", "unknown", "begins", "accepted drop"]
    assert events_of([BUSY]) == ["begins", "without_effect", "begins", "accepted drop"]
    assert events_of([BROKEN, BUSY]) == ["begins", "unknown", "begins", "unknown", "begins", "accepted drop"]
    assert events_of([REJECTED]) == ["begins", "refused", "RejectedError"]
    assert events_of([NO_ANSWER, REJECTED]) == ["begins", "unknown", "begins", "unknown", "UnknownOutcomeError"]
    assert events_of([0, 1]) == ["begins", "unknown", "begins", "accepted drop"]
    # When a later body of a split hour fails, the hour may be stored in part.
    assert events_of([None, BUSY], split())[:2] == ["begins", "unknown"]
    assert events_of([None, REJECTED], split()) == ["begins", "unknown", "RejectedError"]


def test_a_try_that_the_journal_prevents_is_not_sent() -> None:
    client = FakeClient([])
    with pytest.raises(
        GuardError, match=r"the hour 2024-02-01T03:00:00Z: The month is full\. Sent: 1 hours, 1 lines\."
    ):
        deliver(
            [*one(), *list(body_groups([line(5)], "replace_hourly"))],
            client,
            FakeTime().policy(),
            lambda _: None,
            RecordingJournal(stop_at=2),
        )
    assert len(client.sent) == 1


def test_a_stop_finishes_the_body_in_flight_and_names_the_hours_that_are_left() -> None:
    stop = StopSignal()

    class Stopping(FakeClient):
        def post(self, body: Body, key: str) -> Receipt:
            stop.set()
            return super().post(body, key)

    client = Stopping()
    groups = [body_groups([line(n)], "replace_hourly") for n in range(3)]
    hours = [line(n).hour for n in range(3)]
    with pytest.raises(StoppedError, match=r"SIGTERM\. Sent: 1 hours, 1 lines\. Left: 2 hours from 2024-01-31T23"):
        deliver(
            [each for some in groups for each in some],
            client,
            replace(FakeTime().policy(), stop=stop),
            lambda _: None,
            planned=hours,
        )
    assert len(client.sent) == 1


@pytest.mark.parametrize(("error", "state"), [(NO_ANSWER, "may be stored"), (BUSY, "was not stored")])
def test_a_stop_between_two_tries_says_whether_the_body_may_be_stored(error: LoaderError, state: str) -> None:
    stop = StopSignal()
    client = FakeClient([error, error])
    policy = replace(FakeTime().policy(), sleep=lambda _: stop.set(), stop=stop)
    with pytest.raises(StoppedError, match=state):
        deliver(one(), client, policy, lambda _: None)
    assert len(client.sent) == 1


def test_a_second_signal_records_the_body_in_flight_as_unknown() -> None:
    journal, stop = RecordingJournal(), StopSignal()

    class Interrupted(FakeClient):
        def post(self, body: Body, key: str) -> Receipt:
            super().post(body, key)
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match="was being sent; it may be stored"):
        deliver(one(), Interrupted(), replace(FakeTime().policy(), stop=stop), lambda _: None, journal)
    assert [event for event, _ in journal.events] == ["begins", "unknown"]


def test_after_a_cut_connection_the_next_try_waits_until_the_request_has_certainly_ended() -> None:
    time = FakeTime()
    cut = UnknownOutcomeError("No answer: the connection was cut.", may_be_in_progress=True)
    send(FakeClient([cut, NO_ANSWER, cut]), one(), time)
    assert time.slept == [60.0, 2.0, 60.0]


def test_a_request_that_was_never_sent_had_no_effect() -> None:
    unreachable = UnknownOutcomeError("Connection refused.", did_nothing=True)
    assert events_of([unreachable]) == ["begins", "without_effect", "begins", "accepted drop"]
    with pytest.raises(RejectedError, match="Nothing of it was stored"):
        send(FakeClient([unreachable, REJECTED]), one())


def test_a_400_names_the_first_invalid_row_even_if_cloudzero_does_not() -> None:
    rows = [line(resource=f"czrn:{n}") for n in range(5)]
    rows[3] = line(resource="czrn:odd")
    (group,) = body_groups(rows, "replace_hourly")
    client = FakeClient([RejectedError("CloudZero answered 400: bad request.", status=400)], bad=b"czrn:odd")
    with pytest.raises(
        RejectedError, match=r"first invalid row is number 4 of 5, of 2024-01-31T22:00:00Z, czrn:odd: it is odd"
    ):
        send(client, [group])
    rows[1] = line(cost="1e-7", resource="czrn:1")
    (group,) = body_groups(rows, "replace_hourly")
    with pytest.raises(RejectedError, match="number 2 of 5, of 2024-01-31T22:00:00Z, czrn:1: cost/cost"):
        send(FakeClient([RejectedError("CloudZero answered 400: bad request.", status=400)]), [group])


@pytest.mark.parametrize("problem", [RejectedError("CloudZero answered 403.", status=403), NO_ANSWER, None])
def test_a_400_without_an_invalid_row_names_none(problem: LoaderError | None) -> None:
    client = FakeClient([RejectedError("CloudZero answered 400: the month is full.", status=400)], validation=problem)
    with pytest.raises(RejectedError) as caught:
        send(client, one())
    assert "first invalid row" not in str(caught.value)
    assert "the month is full" in str(caught.value)


def test_after_no_response_the_same_key_is_sent_again() -> None:
    client = FakeClient([NO_ANSWER, NO_ANSWER])
    sent, messages = send(client, one())
    assert (sent.hours, sent.lines, sent.drops) == (1, 1, 1)
    assert len(client.keys) == 3
    assert len(set(client.keys)) == 1
    assert len(messages) == 2


@pytest.mark.parametrize("error", [BUSY, BROKEN])
def test_after_an_error_response_a_new_key_is_sent(error: RetryableError) -> None:
    client = FakeClient([error, error])
    send(client, one())
    assert len(set(client.keys)) == 3


def test_retry_after_is_respected_and_waits_grow() -> None:
    time = FakeTime()
    send(FakeClient([BUSY, BROKEN, BROKEN, BROKEN]), one(), time)
    assert time.slept == [30.0, 2.0, 4.0, 8.0]


def test_a_retry_after_beyond_the_deadline_gives_up_at_once() -> None:
    time = FakeTime()
    with pytest.raises(RetryableError):
        send(FakeClient([BUSY]), one(), time, give_up=10)
    assert time.slept == []


def test_the_deadline_counts_from_the_first_failure_of_each_body() -> None:
    time = FakeTime()

    class Slow(FakeClient):
        def post(self, body: Body, key: str) -> Receipt:
            time.now += 600  # three bodies take longer than the 15 minutes of the policy
            return super().post(body, key)

    client = Slow([None, None, BUSY, None, BUSY])
    groups = [each for n in range(4) for each in body_groups([line(n)], "replace_hourly")]
    sent, messages = send(client, groups, time)
    assert (sent.hours, len(messages)) == (4, 2)
    assert time.slept == [30.0, 30.0]


def test_a_body_is_given_up_after_its_deadline() -> None:
    time = FakeTime()
    with pytest.raises(RetryableError):
        send(FakeClient([BUSY] * 50), one(), time, give_up=100)
    assert time.slept == [30.0] * 3


def test_a_signal_ends_the_retries_of_a_request() -> None:
    stop, asked = StopSignal(), list[float]()

    def ask() -> None:
        asked.append(0)
        stop.set()
        raise NO_ANSWER

    with pytest.raises(StoppedError, match="Stopped by SIGTERM: nothing was changed"):
        RetryPolicy(timedelta(seconds=2)).interrupted_by(stop).retry(ask, lambda _: None)
    assert len(asked) == 1


def test_a_wrong_row_count_is_retried_and_then_an_error() -> None:
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
    assert RetryPolicy(jitter=lambda: jitter).wait(tries, RetryableError("", retry_after=asked_for)) == seconds


@pytest.mark.parametrize("tries", [6, 50, 1000])
def test_waits_stop_growing(tries: int) -> None:
    assert RetryPolicy(jitter=lambda: 1.0).wait(tries, NO_ANSWER) == MAX_WAIT
