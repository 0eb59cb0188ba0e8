"""Whether a push log that was restored is older than what CloudZero holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from loader.audit.verify import ADJUSTMENT
from loader.delivery.push_log import HourRecord
from loader.hours import HOUR, month_start
from loader.lines import EMPTY_FINGERPRINT, LinesAndCost


def newest_months(records: Mapping[datetime, HourRecord], now: datetime) -> list[datetime]:
    """The months (UTC) to compare, oldest first: this one, the one before, and the newest in the log.

    Args:
        records: the push log of a stream.
        now: the current time (UTC).
    """
    this_month = month_start(now)
    return sorted({this_month, month_start(this_month - HOUR)} | {month_start(hour) for hour in list(records)[-1:]})


def newer_at_cloudzero(held: Mapping[datetime, LinesAndCost], records: Mapping[datetime, HourRecord]) -> list[datetime]:
    """The hours (UTC) that CloudZero holds with other lines than the log says were accepted, oldest first.

    Args:
        held: what CloudZero holds of some months.
        records: the push log of these months.
    """
    found = []
    for hour, amounts in sorted(held.items()):
        record = records.get(hour)
        entry = record.accepted if record else None
        is_emptied = entry is not None and entry.fingerprint == EMPTY_FINGERPRINT and amounts == ADJUSTMENT
        if entry is None or not (amounts == (entry.line_count, entry.cost) or is_emptied):
            found.append(hour)
    return found
