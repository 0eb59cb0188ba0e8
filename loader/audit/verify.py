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
class HourDifference:
    """An hour (UTC) on which CloudZero, the view and the push log disagree: lines and USD of each, and the reason.

    `sent` is None for an hour that is not in the push log. `fixed_by_resending`: sending the hour again fixes it.
    """

    hour: datetime
    held: Amount
    lines: Amount
    sent: Amount | None
    verdict: str
    fixed_by_resending: bool


def held_by_hour(rows: Iterable[Mapping[str, str]]) -> dict[datetime, Amount]:
    """The rows that AnyCost returned, summed by hour.

    Raises:
        UnknownOutcomeError: the time or the cost of a row is missing or not valid.
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
            raise UnknownOutcomeError("CloudZero returned a row whose time or cost is not valid.") from error
    return held


def compare(
    held: Mapping[datetime, Amount],
    hours: Iterable[HourSummary],
    records: Mapping[datetime, HourRecord],
    complete_until: datetime,
) -> list[HourDifference]:
    """The hours that differ, oldest first.

    Args:
        held: what AnyCost holds of the month.
        hours: what cbf_hours has of it.
        records: the push log of it.
        complete_until: hours from here on are not complete and cannot be compared yet.
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
        differences.append(HourDifference(hour, theirs, ours, sent, *_verdict(theirs, ours, sent, record)))
    return differences


def _verdict(theirs: Amount, ours: Amount, sent: Amount | None, record: HourRecord | None) -> tuple[str, bool]:
    """Why an hour differs, and whether sending it again fixes that."""
    if record is not None and not record.is_settled:
        return "the last push of this hour had no certain outcome", True
    if theirs == NOTHING and sent is None:
        return "never sent", True
    if theirs == NOTHING:
        return "missing at CloudZero, which had accepted it", True
    if sent is None and ours == NOTHING:
        return "only CloudZero has this hour; from another exporter?", False
    if sent is None:
        return "not sent from this warehouse: from another exporter, or the push log was lost", True
    if theirs == sent and ours[1] < sent[1]:
        return "the view has less than was sent: retention, or a lost table?", False
    if theirs == sent:
        return "changed since it was sent: pending", True
    return "changed at CloudZero since it was accepted: by another exporter, or by a sum?", True
