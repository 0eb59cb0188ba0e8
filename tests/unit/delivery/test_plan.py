"""Which hours a push sends, leaves out or holds back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from loader.config.profiles import Target
from loader.delivery.limits import explain
from loader.delivery.plan import Plan, plan, require_complete
from loader.delivery.plan_lines import lines_of
from loader.delivery.push_log import Entry, HourRecord
from loader.delivery.selection import Pending, Selection
from loader.errors import GuardError, UsageError
from loader.hours import HOUR, Window
from loader.lines import HourSummary, Line
from loader.warehouse.base import Warehouse
from tests.support.builders import line


class FakeWarehouse(Warehouse):
    """Hours with these numbers of lines, from 2024-01-15T00:00Z on."""

    def __init__(self, counts: list[int], built: datetime) -> None:
        super().__init__(Target("t", "fake", "s", {}))
        self.counts, self.built, self.windows = counts, built, list[Window]()

    def built_at(self) -> datetime:
        """The given time."""
        return self.built

    def hours(self, window: Window | None = None) -> list[HourSummary]:
        """The given hours."""
        found = [
            HourSummary(FIRST + n * HOUR, count, Decimal(count), count, f"f{count}")
            for n, count in enumerate(self.counts)
            if count
        ]
        return [hour for hour in found if window is None or window.start <= hour.start < window.end]

    def _read_lines(self, window: Window | None, clauses: str = "") -> Iterator[Line]:  # noqa: ARG002
        """Lines with the given counts."""
        assert window is not None
        self.windows.append(window)
        for hour in self.hours(window):
            yield from (line(start=hour.start, resource=f"czrn:{n}") for n in range(hour.line_count))

    def batches(self, statement: str, parameters: Any = ()) -> Iterator[list[tuple[Any, ...]]]:
        """Not used."""
        raise AssertionError(statement, parameters)

    def column_names(self, relation: str) -> list[str]:
        """Not used."""
        raise AssertionError(relation)

    def append(self, relation: str, columns: Any, rows: Any) -> None:
        """Not used."""
        raise AssertionError(relation, columns, rows)

    def now(self) -> datetime:
        """Not used."""
        raise AssertionError


FIRST = datetime(2024, 1, 15, tzinfo=timezone.utc)
DAY = Window(FIRST, FIRST + 24 * HOUR)


def chosen(
    warehouse: FakeWarehouse, window: Window = DAY, operation: str = "replace_hourly", **options: Any
) -> list[int]:
    """The hours of the day that a plan sends."""
    return [hour.start.hour for hour in plan(warehouse, Selection(window, operation, **options)).hours]


def test_only_hours_that_ended_before_dbt_ran_are_complete() -> None:
    warehouse = FakeWarehouse([1, 0, 2, 3], built=FIRST + 3.5 * HOUR)
    result = plan(warehouse, Selection(DAY))
    assert [hour.start.hour for hour in result.hours] == [0, 2]
    assert result.incomplete == (FIRST + 3 * HOUR,)
    assert chosen(warehouse, include_incomplete=True) == [0, 2, 3]


def test_a_limit_selects_the_newest_whole_hours() -> None:
    warehouse = FakeWarehouse([5, 3, 2, 9], built=FIRST + 3 * HOUR)
    assert chosen(warehouse, limit=2) == [2]
    assert chosen(warehouse, limit=5) == [1, 2]
    assert chosen(warehouse, limit=9) == [1, 2]
    assert chosen(warehouse, limit=10) == [0, 1, 2]
    with pytest.raises(GuardError, match="an hour is sent whole or not at all"):
        chosen(warehouse, limit=1)
    assert chosen(FakeWarehouse([], built=FIRST), limit=1) == []


def test_replace_drop_requires_one_whole_complete_month() -> None:
    month = Window(FIRST.replace(day=1), FIRST.replace(month=2, day=1))
    done = FakeWarehouse([1], built=FIRST + timedelta(days=30))
    assert chosen(done, month, "replace_drop") == [0]
    for window in (DAY, Window(month.start, month.end + HOUR), Window(month.start + HOUR, month.end)):
        with pytest.raises(UsageError, match="exactly one UTC month"):
            Selection(window, "replace_drop")
    with pytest.raises(UsageError):
        Selection(month, "replace_drop", limit=5)
    with pytest.raises(GuardError, match="not complete"):
        plan(FakeWarehouse([1], built=FIRST), Selection(month, "replace_drop"))


def empty_plan(built: datetime, incomplete: tuple[datetime, ...] = ()) -> Plan:
    """A plan without hours."""
    return Plan((), incomplete, built)


def test_stale_models_stop_the_push() -> None:
    with pytest.raises(GuardError, match=r"last built at 2024-01-15T03:00:00Z, before the hour 2024-01-15T04:00:00Z"):
        require_complete(empty_plan(FIRST + 3 * HOUR), DAY, now=FIRST + 5.5 * HOUR, by_name=True)
    require_complete(empty_plan(FIRST + 5 * HOUR), DAY, now=FIRST + 5.5 * HOUR, by_name=True)
    require_complete(empty_plan(FIRST + 100 * HOUR), DAY, now=FIRST + 500 * HOUR, by_name=True)


def test_a_window_of_the_running_hour_is_an_error_unless_it_was_selected_by_name() -> None:
    running, window = empty_plan(FIRST + 5.5 * HOUR, (FIRST + 5 * HOUR,)), Window(FIRST + 5 * HOUR, FIRST + 6 * HOUR)
    with pytest.raises(GuardError, match="--include-incomplete"):
        require_complete(running, window, now=FIRST + 5.6 * HOUR, by_name=False)
    require_complete(running, window, now=FIRST + 5.6 * HOUR, by_name=True)


def test_lines_are_read_in_slices_of_whole_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.delivery.plan_lines.SLICE_LINES", 4)
    warehouse = FakeWarehouse([3, 1, 2, 0, 9, 1], built=FIRST + 5 * HOUR)
    found = [each.hour.hour for each in lines_of(warehouse, plan(warehouse, Selection(DAY)))]
    assert found == [0] * 3 + [1] + [2] * 2 + [4] * 9
    assert [(w.start.hour, w.end.hour) for w in warehouse.windows] == [(0, 2), (2, 3), (4, 5)]


def test_hours_in_between_that_are_not_sent_are_not_read() -> None:
    warehouse = FakeWarehouse([1, 2, 3, 4], built=FIRST + 5 * HOUR)
    result = plan(warehouse, Selection(Pending()), records({1: held("f2", 2), 2: held("f3", 3)}))
    assert [each.hour.hour for each in lines_of(warehouse, result)] == [0] + [3] * 4
    assert [(w.start.hour, w.end.hour) for w in warehouse.windows[-2:]] == [(0, 1), (3, 4)]
    assert list(lines_of(warehouse, Plan((), (), FIRST))) == []


def _pending(since: datetime | None = None, **options: Any) -> Selection:
    return Selection(Pending(since), **options)


def held(fingerprint: str | None, cost: int, lines: int = 1, size: int = 100) -> HourRecord:
    """An hour that CloudZero accepted."""
    return HourRecord("accepted", Entry(FIRST, fingerprint, lines, Decimal(cost), size))


def records(by_hour: dict[int, HourRecord]) -> dict[datetime, HourRecord]:
    """A push log, by hours from FIRST on."""
    return {
        FIRST + hour * HOUR: replace(each, accepted=each.accepted and replace(each.accepted, hour=FIRST + hour * HOUR))
        for hour, each in sorted(by_hour.items())
    }


def pending(counts: list[int], by_hour: dict[int, HourRecord], **options: Any) -> tuple[list[int], list[int]]:
    """Hours that are pending, and those that are held back."""
    result = plan(FakeWarehouse(counts, built=FIRST + len(counts) * HOUR), _pending(**options), records(by_hour))
    return [hour.start.hour for hour in result.hours], [each.hour.hour for each in result.held_back]


def test_hours_are_pending_unless_cloudzero_certainly_holds_their_current_lines() -> None:
    counts = [1, 2, 3, 4, 5, 6]
    assert pending(counts, {}) == ([0, 1, 2, 3, 4, 5], [])
    assert pending(counts, {n: held(f"f{n + 1}", n + 1) for n in range(6)}) == ([], [])
    assert pending(
        counts,
        {
            0: held("f1", 1),
            1: held("f9", 1),  # has changed since
            2: HourRecord("unknown", held("f3", 3).accepted),  # a later try has no certain outcome
            3: HourRecord("begun", None),  # killed
            4: held(None, 5),  # added with sum: the content is unknown
            5: held("f6", 6),
        },
    ) == ([1, 2, 3, 4], [])


def test_the_hour_in_progress_is_not_pending() -> None:
    result = plan(FakeWarehouse([1, 2], built=FIRST + 1.5 * HOUR), Selection(Pending()))
    assert ([hour.start.hour for hour in result.hours], result.incomplete) == ([0], ())


def test_nothing_before_since_is_pending() -> None:
    assert pending([1, 2, 3, 4], {1: held("f9", 1)}, since=FIRST + 2 * HOUR) == ([2, 3], [])


def test_a_limit_selects_the_oldest_pending_hours() -> None:
    assert pending([5, 3, 2], {}, limit=8) == ([0, 1], [])
    with pytest.raises(GuardError, match="sent whole or not at all"):
        pending([5, 3, 2], {}, limit=4)


def test_an_hour_that_costs_less_is_held_back_unless_it_may_shrink() -> None:
    log = {0: held("f5", 5), 1: held("f9", 9), 2: held("f9", 3)}
    assert pending([5, 3, 4], log) == ([2], [1])
    assert pending([5, 3, 4], log, allow_shrink=True) == ([1, 2], [])
    result = plan(FakeWarehouse([5, 3, 4], built=FIRST + 3 * HOUR), Selection(DAY), records(log))
    assert [hour.start.hour for hour in result.hours] == [0, 2]
    assert "2024-01-15T01:00:00Z cost $9 when it was sent and now $3" in explain(result.held_back)


def test_an_emptied_hour_is_replaced_once_by_a_line_of_no_cost() -> None:
    free = {1: held("f1", 0)}
    assert pending([4, 0, 4], {0: held("f4", 4), 2: held("f4", 4), **free}) == ([1], [])
    assert pending([4, 0, 4], {0: held("f4", 4), 2: held("f4", 4), 1: held("empty", 0)}) == ([], [])
    # An hour that cost money is held back, because its lines may be lost.
    assert pending([4, 0], {0: held("f4", 4), 1: held("f1", 7)}) == ([], [1])
    assert pending([4, 0], {0: held("f4", 4), 1: held("f1", 7)}, allow_shrink=True) == ([1], [])
    # A rejected try stored nothing that would have to be replaced; one without a response may have.
    assert pending([4, 0], {0: held("f4", 4), 1: HourRecord("refused", None)}) == ([], [])
    assert pending([4, 0], {0: held("f4", 4), 1: HourRecord("unknown", None)}) == ([1], [])
    warehouse = FakeWarehouse([1, 0, 1], built=FIRST + 3 * HOUR)
    lines = list(lines_of(warehouse, plan(warehouse, Selection(Pending()), records(free))))
    assert [each.hour.hour for each in lines] == [0, 1, 2]
    assert b'"lineitem/type":"Adjustment"' in lines[1].data
    assert lines[1].cost == 0
    assert list(lines_of(warehouse, plan(warehouse, Selection(DAY, allow_shrink=True), records(free))))[1] == lines[1]


def test_lines_that_do_not_match_cbf_hours_stop_the_push() -> None:
    class Changing(FakeWarehouse):
        def _read_lines(self, window: Window | None, clauses: str = "") -> Iterator[Line]:
            yield from list(super()._read_lines(window, clauses))[:-1]

    warehouse = Changing([2, 1], built=FIRST + 2 * HOUR)
    with pytest.raises(GuardError, match=r"cbf_lines and cbf_hours disagree on the hour 2024-01-15T01:00:00Z"):
        list(lines_of(warehouse, plan(warehouse, Selection(Pending()))))


def test_a_month_without_room_holds_back_the_newest_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.delivery.limits.MONTH_ROWS", 10)
    log = {0: held("f4", 4, lines=4)}
    assert pending([4, 3, 3, 1], log) == ([1, 2], [3])
    assert pending([4, 3, 4, 1], log) == ([1], [2, 3])
    assert pending([4, 3, 4, 1], log, allow_full_month=True) == ([1, 2, 3], [])
    # Replacing an hour frees the room that it took.
    assert pending([9], {0: held("f8", 8, lines=8)}) == ([0], [])
    monkeypatch.setattr("loader.delivery.limits.MONTH_ROWS", 1000)
    monkeypatch.setattr("loader.delivery.limits.MONTH_BYTES", 1000)
    # The bytes per line are those of what was sent before: 100.
    assert pending([4, 3, 3, 1], {0: held("f4", 4, lines=4, size=400)}) == ([1, 2], [3])
    result = plan(FakeWarehouse([9] * 9, built=FIRST + 9 * HOUR), Selection(Pending()), {})
    assert len(result.held_back) > 0
    for word in ("bytes a line", "line_dimensions", "token_tags", "several streams", "--allow-full-month"):
        assert word in explain(result.held_back)


def test_replace_drop_removes_no_cost_unless_allowed() -> None:
    month = Window(FIRST.replace(day=1), FIRST.replace(month=2, day=1))
    warehouse = FakeWarehouse([2, 2], built=FIRST + timedelta(days=30))
    for log in ({5: held("f1", 1)}, {0: held("f1", 3)}):
        with pytest.raises(GuardError, match="would remove cost from 2024-01"):
            plan(warehouse, Selection(month, "replace_drop"), records(log))
        result = plan(warehouse, Selection(month, "replace_drop", allow_shrink=True), records(log))
        assert [hour.start.hour for hour in result.hours] == [0, 1]
    assert len(plan(warehouse, Selection(month, "replace_drop"), records({0: held("f1", 1)})).hours) == 2


def test_replace_drop_sends_a_whole_month_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.delivery.limits.MONTH_ROWS", 10)
    month = Window(FIRST.replace(day=1), FIRST.replace(month=2, day=1))
    warehouse = FakeWarehouse([4, 4, 4], built=FIRST + timedelta(days=30))
    # It would delete the hours that it has no room for.
    with pytest.raises(GuardError, match="a whole month or nothing, and 2024-01 would hold 12 of 10 lines"):
        plan(warehouse, Selection(month, "replace_drop"), records({n: held("f4", 4) for n in range(3)}))
    result = plan(warehouse, Selection(month, "replace_drop", allow_full_month=True))
    assert [hour.start.hour for hour in result.hours] == [0, 1, 2]


def test_only_the_selected_hours_are_read_for_a_repair() -> None:
    warehouse = FakeWarehouse([2, 3, 4], built=FIRST + 3 * HOUR)
    result = plan(warehouse, Selection(DAY, only=frozenset({FIRST, FIRST + 2 * HOUR})))
    assert [each.hour.hour for each in lines_of(warehouse, result)] == [0, 0, 2, 2, 2, 2]
    assert warehouse.windows == [Window(FIRST + n * HOUR, FIRST + (n + 1) * HOUR) for n in (0, 2)]


@pytest.mark.parametrize("options", [{"operation": "sum"}, {"operation": "replace_drop"}, {"include_incomplete": True}])
def test_options_that_do_not_go_with_pending(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="pending"):
        _pending(**options)
