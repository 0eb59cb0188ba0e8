"""The schedule keeps its interval when the clock is corrected."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

from loader.service.schedule import FixedIntervalTrigger, make_schedule

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 20, 12, 10, tzinfo=timezone.utc)


def test_the_fixed_times_continue_before_the_start_if_the_clock_was_set_back() -> None:
    trigger = FixedIntervalTrigger(seconds=3600, start_date=START, timezone=timezone.utc)
    first_run = START - HOUR - timedelta(seconds=30)
    assert trigger.get_next_fire_time(first_run, first_run) == START
    assert trigger.get_next_fire_time(START, START) == START + HOUR
    earlier = START - timedelta(days=30, minutes=5)
    assert trigger.get_next_fire_time(earlier, earlier) == START - timedelta(days=30)


def test_a_run_that_is_due_in_the_far_future_starts_now() -> None:
    ran = threading.Event()
    schedule = make_schedule(ran.set, HOUR)
    (job,) = schedule.get_jobs()
    job.modify(next_run_time=datetime.now(timezone.utc) + timedelta(days=30))
    schedule.start()
    try:
        assert ran.wait(30)
    finally:
        schedule.shutdown()
