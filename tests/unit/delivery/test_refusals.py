"""What a push does after CloudZero has refused a body: everything else is sent, and the refused hours are named."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import orjson
import pytest

from loader.cloudzero.bodies import Body, BodyGroup, body_groups, halves
from loader.cloudzero.client import Receipt
from loader.delivery.refusals import MAX_REFUSALS_OF_ACCESS, MAX_REFUSALS_OF_BODY, MAX_REFUSALS_OF_SIZE
from loader.delivery.retry import Sent, deliver
from loader.errors import RejectedError, UnknownOutcomeError
from loader.hours import iso
from tests.support.builders import HOUR, FakeClient, FakeTime, line

MONTH = HOUR.replace(day=1, hour=0)


@dataclass
class ClosedHours(FakeClient):
    """Refuses every body that has one of these hours."""

    closed: frozenset[int] = frozenset()  # counted from MONTH
    status: int = 400
    accepted: set[int] = field(default_factory=set)

    def post(self, body: Body, key: str) -> Receipt:
        """Refuse, or store the hours."""
        hours = {(hour - MONTH) // timedelta(hours=1) for hour in body.hours}
        receipt = super().post(body, key)
        if hours & self.closed:
            raise RejectedError(f"CloudZero answered {self.status}: closed.", status=self.status)
        assert [row["time/usage_start"] for row in orjson.loads(body.content)["data"]] == [
            iso(MONTH + timedelta(hours=hour)) for hour in sorted(hours) for _ in range(2)
        ]
        self.accepted |= hours
        return receipt


def bodies(hours: range, operation: str = "replace_hourly") -> list[BodyGroup]:
    """Bodies of these hours, counted from MONTH, with two lines each: one body for each month."""
    rows = [line(hour, resource=f"czrn:{n}", start=MONTH) for hour in hours for n in range(2)]
    return list(body_groups(rows, operation))


def send(client: ClosedHours, groups: list[BodyGroup]) -> tuple[Sent, str]:
    """What was sent, and the message of the refusal."""
    sent = Sent()
    with pytest.raises(RejectedError) as caught:
        deliver(groups, client, FakeTime().policy(), lambda _: None, sent=sent)
    return sent, str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 410, 413, 422, 451])
def test_a_month_that_is_refused_does_not_stop_the_others(status: int) -> None:
    client = ClosedHours(closed=frozenset(range(48)), status=status)
    groups = bodies(range(0, 48)) + bodies(range(31 * 24, 31 * 24 + 30)) + bodies(range(60 * 24, 60 * 24 + 3))
    sent, message = send(client, groups)
    assert (sent.hours, sent.lines) == (33, 66)
    assert "CloudZero refused 48 hours: " in message
    assert "Nothing of it was stored." in message
    assert message.endswith("Sent: 33 hours, 66 lines.")
    # The month is not split down to its hours.
    assert len(client.sent) <= 3 + 2 * (MAX_REFUSALS_OF_SIZE if status == 413 else MAX_REFUSALS_OF_BODY)


@pytest.mark.parametrize("closed", [{0}, {99}, {3, 4}, {17, 71}])
def test_of_a_refused_body_only_the_refused_hours_are_left(closed: set[int]) -> None:
    client = ClosedHours(closed=frozenset(closed))
    sent, message = send(client, bodies(range(100)))
    assert client.accepted == set(range(100)) - closed
    assert sent.hours == 100 - len(closed)
    for hour in closed:
        assert iso(MONTH + timedelta(hours=hour)) in message


def test_a_body_that_is_too_large_for_a_proxy_goes_in_parts() -> None:
    class Small(FakeClient):
        def post(self, body: Body, key: str) -> Receipt:
            if len(body.content) > 2_000:
                raise RejectedError("CloudZero answered 413: too large.", status=413)
            return super().post(body, key)

    assert deliver(bodies(range(50)), Small(), FakeTime().policy(), lambda _: None).hours == 50


@pytest.mark.parametrize("status", [301, 401, 403, 405])
def test_a_refused_key_ends_the_push(status: int) -> None:
    client = ClosedHours(closed=frozenset(range(5000)), status=status)
    groups = [group for day in range(9) for group in bodies(range(day * 24, day * 24 + 2))]
    sent = Sent()
    with pytest.raises(RejectedError, match=r"Left: 14 hours from"):
        planned = [hour for group in groups for hour in group.hours]
        deliver(groups, client, FakeTime().policy(), lambda _: None, planned=planned, sent=sent)
    assert len(client.sent) == MAX_REFUSALS_OF_ACCESS


def test_one_403_does_not_stop_the_others() -> None:
    client = ClosedHours(closed=frozenset({0}), status=403)
    sent, _ = send(client, [*bodies(range(0, 2)), *bodies(range(5, 6)), *bodies(range(8, 9))])
    assert sent.hours == 2


def test_replace_drop_sends_nothing_after_its_first_body_was_refused() -> None:
    client = ClosedHours(closed=frozenset({0}))
    rows = [line(hour, resource=f"czrn:{n}", start=MONTH) for hour in range(40) for n in range(2)]
    groups = list(body_groups(rows, "replace_drop", max_bytes=2_000))
    assert len(groups) > 2
    sent, message = send(client, groups)
    assert (sent.hours, len(client.sent)) == (0, 1)
    assert "CloudZero refused" in message


def test_an_unknown_outcome_after_a_refusal_names_both() -> None:
    client = FakeClient([RejectedError("CloudZero answered 451.", status=451), *[UnknownOutcomeError("Silence.")] * 50])
    with pytest.raises(UnknownOutcomeError, match=r"Silence.*CloudZero refused 2 hours"):
        deliver([*bodies(range(0, 2)), *bodies(range(5, 6))], client, FakeTime().policy(), lambda _: None)


@pytest.mark.parametrize("operation", ["replace_hourly", "sum"])
def test_halves_are_the_body_in_two(operation: str) -> None:
    (group,) = bodies(range(5), operation)
    parts = halves(group)
    assert parts is not None
    assert [len(part.hours) for part in parts] == [2, 3]
    whole = orjson.loads(group.bodies[0].content)
    contents = [orjson.loads(part.bodies[0].content) for part in parts]
    assert [row for content in contents for row in content["data"]] == whole["data"]
    assert all(content | {"data": []} == whole | {"data": []} for content in contents)
    assert parts == tuple(group for part in (range(0, 2), range(2, 5)) for group in bodies(part, operation))
    assert halves(parts[0]) is not None
    assert halves(bodies(range(1))[0]) is None
