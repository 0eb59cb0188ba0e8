"""Reads a month back from AnyCost and compares it, hour by hour, with the view and with the push log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation

from loader.delivery.push_log import HourRecord
from loader.errors import UnknownOutcomeError
from loader.lines import COST_COLUMN, EMPTY_FINGERPRINT, HOUR_COLUMN, HourSummary

NOTHING = (0, Decimal(0))
Amount = tuple[int, Decimal]  # lines, USD


@dataclass(frozen=True)
class Difference:
    """An hour (UTC) on which CloudZero, the view and the push log do not agree: lines and USD of each, and why.

    `sent` is None for an hour that the push log knows nothing of. `mends` when sending the hour again puts it right.
    """

    hour: datetime
    held: Amount
    lines: Amount
    sent: Amount | None
    verdict: str
    mends: bool


def held_by_hour(rows: Iterable[Mapping[str, str]]) -> dict[datetime, Amount]:
    """What AnyCost gave back, summed by hour.

    Raises:
        UnknownOutcomeError: a row without a time or a cost that can be read.
    """
    held: dict[datetime, Amount] = {}
    for row in rows:
        try:
            text = row[HOUR_COLUMN]
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            hour = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
            count, cost = held.get(hour, NOTHING)
            held[hour] = (count + 1, cost + Decimal(row[COST_COLUMN]))
        except (KeyError, ValueError, InvalidOperation, AttributeError, TypeError) as error:
            raise UnknownOutcomeError("CloudZero gave back a row whose time or cost cannot be read.") from error
    return held


def compare(
    held: Mapping[datetime, Amount],
    hours: Iterable[HourSummary],
    records: Mapping[datetime, HourRecord],
    complete_until: datetime,
) -> list[Difference]:
    """The hours that differ, oldest first.

    Args:
        held: what AnyCost holds of the month.
        hours: what cbf_hours has of it.
        records: the push log of it.
        complete_until: hours from here on are not complete, so that nothing can be said of them yet.
    """
    lines = {hour.start: (hour.line_count, hour.cost) for hour in hours if hour.line_count}
    differences = []
    for hour in sorted({*held, *lines, *records}):
        if hour >= complete_until and hour not in held:
            continue
        record = records.get(hour)
        entry = record.accepted if record else None
        theirs, ours = held.get(hour, NOTHING), lines.get(hour, NOTHING)
        sent = (entry.line_count, entry.cost) if entry else None
        if (
            entry
            and entry.fingerprint == EMPTY_FINGERPRINT
            and ours == NOTHING
            and theirs in (NOTHING, (1, Decimal(0)))
        ):
            continue
        if theirs == ours:
            continue
        differences.append(Difference(hour, theirs, ours, sent, *_verdict(theirs, ours, sent, record)))
    return differences


def _verdict(theirs: Amount, ours: Amount, sent: Amount | None, record: HourRecord | None) -> tuple[str, bool]:
    """Why an hour differs, and whether sending it again is the mend."""
    if record is not None and not record.is_settled:
        return "the last push of this hour had no certain outcome", True
    if theirs == NOTHING and sent is None:
        return "never sent", True
    if theirs == NOTHING:
        return "lost at CloudZero: it was accepted", True
    if sent is None and ours == NOTHING:
        return "only CloudZero has this hour; another exporter's?", False
    if sent is None:
        return "not sent from here: another exporter's, or a push log that was lost", True
    if theirs == sent and ours[1] < sent[1]:
        return "the view has less than was sent: retention, or a lost table?", False
    if theirs == sent:
        return "changed since it was sent: pending", True
    return "changed at CloudZero since it was accepted: another exporter's, or a sum?", True
