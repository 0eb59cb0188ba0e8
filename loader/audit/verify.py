"""Reads a month back from AnyCost and compares it, hour by hour, with the view and with the push log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from loader.delivery.push_log import HourRecord
from loader.lines import EMPTY_FINGERPRINT, NO_LINES, HourSummary, LinesAndCost

ADJUSTMENT: LinesAndCost = (1, Decimal(0))  # the line of no cost that replaces an hour without lines


@dataclass(frozen=True)
class HourDifference:
    """An hour (UTC) on which CloudZero, the view and the push log disagree: lines and USD of each, and the reason.

    `sent` is None for an hour that is not in the push log. `fixed_by_resending`: sending the hour again fixes it.
    """

    hour: datetime
    at_cloudzero: LinesAndCost
    in_view: LinesAndCost
    sent: LinesAndCost | None
    verdict: str
    fixed_by_resending: bool


def compare(
    held: Mapping[datetime, LinesAndCost],
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
        at_cloudzero, in_view = held.get(hour, NO_LINES), lines.get(hour, NO_LINES)
        is_emptied = entry is not None and entry.fingerprint == EMPTY_FINGERPRINT and in_view == NO_LINES
        if at_cloudzero == in_view or (is_emptied and at_cloudzero in (NO_LINES, ADJUSTMENT)):
            continue
        sent = (entry.line_count, entry.cost) if entry else None
        verdict = _verdict(at_cloudzero, in_view, sent, record)
        differences.append(HourDifference(hour, at_cloudzero, in_view, sent, *verdict))
    return differences


def _verdict(
    at_cloudzero: LinesAndCost, in_view: LinesAndCost, sent: LinesAndCost | None, record: HourRecord | None
) -> tuple[str, bool]:
    """Why an hour differs, and whether sending it again fixes that."""
    if record is not None and not record.is_settled:
        return "the last push of this hour had no certain outcome", True
    if at_cloudzero == NO_LINES and sent is None:
        return "never sent", True
    if at_cloudzero == NO_LINES:
        return "missing at CloudZero, which had accepted it", True
    if sent is None and in_view == NO_LINES:
        return "only CloudZero has this hour; from another exporter?", False
    if sent is None:
        return "not sent from this warehouse: from another exporter, or the push log was lost", True
    if at_cloudzero == sent and in_view[1] < sent[1]:
        return "the view has less than was sent: retention, or a lost table?", False
    if at_cloudzero == sent:
        return "changed since it was sent: pending", True
    return "changed at CloudZero since it was accepted: by another exporter, or by a sum?", True
