"""What a dry run and a push answer to a program: the JSON shapes of LiteLLM's own CloudZero endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import orjson

from loader.delivery.push import Push
from loader.delivery.retry import Sent
from loader.hours import iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, HourSummary, Line
from loader.money import decimal_text


def summary_of(hours: Sequence[HourSummary]) -> dict[str, object]:
    """The totals of whole hours, with the keys that LiteLLM's dry run has. The cost is exact."""
    return {
        "total_cost": orjson.Fragment(decimal_text(sum((hour.cost for hour in hours), Decimal(0)))),
        "total_tokens": sum(hour.tokens for hour in hours),
        "total_records": sum(hour.line_count for hour in hours),
    }


def push_answer(push: Push) -> dict[str, object]:
    """The shape that LiteLLM's `POST /cloudzero/export` answers with, and what was sent."""
    return pushes_answer([push], push.sent)


def pushes_answer(pushes: Sequence[Push], sent: Sent) -> dict[str, object]:
    """The same for pushes to several streams, which together have sent `sent`."""
    plans = [push.plan for push in pushes if push.plan is not None]
    return {
        "message": "CloudZero export completed successfully" if any(p.hours for p in plans) else "Nothing to send",
        "status": "success",
        "summary": {
            "hours": sent.hours, "lines": sent.lines, "bytes": sent.bytes, "cost": decimal_text(sent.cost),
            "drops": sent.drops, "seconds": round(sum(push.seconds for push in pushes), 3),
        },
        "held_back": [
            {"hour": iso(each.hour), "kind": each.kind, "reason": each.reason}
            for plan in plans for each in plan.held_back
        ],
    }  # fmt: skip


def dry_run_answer(lines: Sequence[Line], hours: Sequence[HourSummary]) -> dict[str, object]:
    """The shape that LiteLLM's `POST /cloudzero/dry-run` answers with."""
    return {
        "message": "CloudZero dry run export completed successfully.",
        "status": "success",
        "dry_run_data": {
            "usage_data": [_usage(line) for line in lines],
            "cbf_data": [orjson.Fragment(line.data) for line in lines],
            "summary": summary_of(hours),
        },
    }


def _usage(line: Line) -> dict[str, object]:
    """A line in LiteLLM's words: its tags, and spend and tokens as numbers."""
    values = line.values
    prefix = "resource/tag:"
    tags = {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
    counts = {name: int(tags.pop(name)) for name in ("prompt_tokens", "completion_tokens") if name in tags}
    return {
        "hour": values[HOUR_COLUMN],
        **tags,
        "spend": orjson.Fragment(values[COST_COLUMN]),
        **counts,
        "total_tokens": int(values.get(AMOUNT_COLUMN, "0")),
    }
