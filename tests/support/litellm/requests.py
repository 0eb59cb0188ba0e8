"""Spend logs for tests, in LiteLLM's formats."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb

Row = dict[str, Any]


def spend_log(request_id: str, start: datetime, **values: Any) -> Row:
    """One row of "LiteLLM_SpendLogs": a gpt-4o request of team-123, with `values` replacing the defaults."""
    start = start.astimezone(timezone.utc).replace(tzinfo=None)
    row: Row = {
        "request_id": request_id,
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "spend": 0.002,
        "total_tokens": 150,
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "startTime": start.isoformat(timespec="milliseconds"),
        "endTime": (start + timedelta(seconds=2)).isoformat(timespec="milliseconds"),
        "created_at": (start + timedelta(seconds=9)).isoformat(timespec="milliseconds"),
        "updated_at": (start + timedelta(seconds=9)).isoformat(timespec="milliseconds"),
        "model": "gpt-4o",
        "model_group": "gpt-4o",
        "custom_llm_provider": "openai",
        "user": "",
        "team_id": "team-123",
        "organization_id": None,
        "end_user": None,
        "metadata": {},
        "request_tags": [],
        "status": "success",
        "agent_id": None,
    }
    return row | values


def write(rows: Sequence[Row], folder: Path, kind: str, name: str = "logs") -> None:
    """Write rows in a file format that LiteLLM users have; `payload_files` writes one file per request."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "jsonl":
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "json":
        (folder / f"{name}.json").write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    elif kind == "payload":
        lines = "".join(json.dumps(payload(row)) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    elif kind == "payload_files":
        for index, row in enumerate(rows):
            (folder / f"{name}-{index}.json").write_text(json.dumps(payload(row), indent=2), encoding="utf-8")
    elif kind == "csv":
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(_flat(row) for row in rows)
    elif kind == "parquet":
        write(rows, folder, "jsonl", "to_convert")
        with duckdb.connect() as connection:
            connection.read_json(str(folder / "to_convert.jsonl"), format="newline_delimited").write_parquet(
                str(folder / f"{name}.parquet")
            )
        (folder / "to_convert.jsonl").unlink()
    else:
        raise AssertionError(kind)


def payload(row: Row) -> Row:
    """The StandardLoggingPayload of the same request."""
    names = dict(row["metadata"])
    names.setdefault("user_api_key_hash", row["api_key"])
    names.setdefault("user_api_key_team_id", row["team_id"])
    names.setdefault("user_api_key_user_id", row["user"] or None)
    names.setdefault("user_api_key_org_id", row["organization_id"])
    copied: tuple[str, ...] = (
        "call_type",
        "total_tokens",
        "prompt_tokens",
        "completion_tokens",
        "model",
        "model_group",
    )
    copied += ("custom_llm_provider", "status", "end_user", "request_tags", "agent_id")
    return {
        "id": row["request_id"],
        "response_cost": row["spend"],
        "startTime": _epoch(row["startTime"]),
        "endTime": _epoch(row["endTime"]),
        "metadata": names,
        "messages": [{"role": "user", "content": "never read"}],
        **{name: row[name] for name in copied},
    }


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def _flat(row: Row) -> Row:
    return {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()}
