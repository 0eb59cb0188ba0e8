"""What a dry run and a push answer to a program: the JSON shapes of LiteLLM's own CloudZero endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from loader.hours import iso
from loader.lines import AMOUNT_COLUMN, COST_COLUMN, HOUR_COLUMN, HourSummary, Line
from loader.money import decimal_text, total_usd

if TYPE_CHECKING:
    from loader.delivery.push import Push
    from loader.delivery.retry import Sent

TAG_PREFIX = "resource/tag:"


def summary_of(hours: Sequence[HourSummary]) -> dict[str, object]:
    """The totals of whole hours, with the keys of LiteLLM's dry run. The cost (USD) is exact."""
    return {
        "total_cost": orjson.Fragment(decimal_text(total_usd(hour.cost for hour in hours))),
        "total_tokens": sum(hour.tokens for hour in hours),
        "total_records": sum(hour.line_count for hour in hours),
    }


def dry_run_answer(lines: Sequence[Line], hours: Sequence[HourSummary]) -> dict[str, object]:
    """The answer of LiteLLM's `POST /cloudzero/dry-run`: some lines, and the totals of all hours."""
    return {
        "message": "CloudZero dry run export completed successfully.",
        "status": "success",
        "dry_run_data": {
            "usage_data": [_usage(line) for line in lines],
            "cbf_data": [orjson.Fragment(line.data) for line in lines],
            "summary": summary_of(hours),
        },
    }


def push_answer(push: Push) -> dict[str, object]:
    """The answer of LiteLLM's `POST /cloudzero/export`, with what was sent and what was held back."""
    return pushes_answer([push], push.sent)


def pushes_answer(pushes: Sequence[Push], sent: Sent) -> dict[str, object]:
    """The same for pushes to several streams, which together have sent `sent`."""
    plans = [push.plan for push in pushes if push.plan is not None]
    return {
        "message": "CloudZero export completed successfully" if any(p.hours for p in plans) else "Nothing to send",
        "status": "success",
        "summary": {
            "hours": sent.hours,
            "lines": sent.lines,
            "bytes": sent.bytes,
            "cost": decimal_text(sent.cost),
            "drops": sent.drops,
            "seconds": round(sum(push.seconds for push in pushes), 3),
        },
        "held_back": [
            {"hour": iso(each.hour), "kind": each.kind, "reason": each.reason}
            for plan in plans
            for each in plan.held_back
        ],
    }


def _usage(line: Line) -> dict[str, object]:
    """A line with LiteLLM's names: its tags, and spend (USD) and tokens as numbers."""
    values = line.values
    tags = {name[len(TAG_PREFIX) :]: value for name, value in values.items() if name.startswith(TAG_PREFIX)}
    counts = {name: int(tags.pop(name)) for name in ("prompt_tokens", "completion_tokens") if name in tags}
    return {
        "hour": values[HOUR_COLUMN],
        **tags,
        "spend": orjson.Fragment(values[COST_COLUMN]),
        **counts,
        "total_tokens": int(values.get(AMOUNT_COLUMN, "0")),
    }
