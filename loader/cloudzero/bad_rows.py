"""Which row of a refused body is to blame. CloudZero's own message need not say so.

First the published schema of the body (docs.cloudzero.com/reference/createoneanycoststreamconnectionbillingdrop) is
asked here; what it lets pass is halved and halved again through CloudZero's validation, which stores nothing.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Protocol

from loader.cloudzero.bodies import Body
from loader.errors import LoaderError


class Validator(Protocol):
    """What this needs of AnyCost."""

    def validate(self, body: bytes) -> list[str]:
        """What is wrong with a body; nothing is stored."""


def first_bad_row(body: Body, client: Validator, refusal: str) -> str:
    """Name the first bad row of a body that was refused with 400, or nothing when no row alone is to blame.

    Args:
        body: the body.
        client: whose validation is asked; when it fails (the key may lack its scope), nothing more is asked.
        refusal: what the body was refused with.
    """
    if "answered 400" not in refusal:
        return ""
    import orjson

    content = orjson.loads(body.content)
    rows = content["data"]
    found = _by_schema(content) or _by_validation(content, client)
    if found is None:
        return ""
    index, problem = found
    row = rows[index]
    name = row.get("resource/id") or row.get("lineitem/description", "")
    return f"The first bad row is number {index + 1} of {len(rows)}, of {row['time/usage_start']}, {name}: {problem}."


def _by_schema(body: dict[str, Any]) -> tuple[int, str] | None:
    import jsonschema_rs
    import orjson

    schema = orjson.loads(resources.files("loader").joinpath("billing_drop.schema.json").read_bytes())
    problems = jsonschema_rs.validator_for(schema).iter_errors(body)
    rows = [
        (
            int(problem.instance_path[1]),
            f"{'/'.join(map(str, problem.instance_path[2:]))} {problem.message[:200]}".strip(),
        )
        for problem in problems
        if len(problem.instance_path) > 1 and problem.instance_path[0] == "data"
    ]
    return min(rows, default=None)


def _by_validation(body: dict[str, Any], client: Validator) -> tuple[int, str] | None:
    import orjson

    def problems(first: int, end: int) -> list[str]:
        return client.validate(orjson.dumps({**body, "data": body["data"][first:end]}))

    first, end = 0, len(body["data"])
    try:
        said = problems(first, end)
        if not said:
            return None
        while end - first > 1:
            middle = (first + end) // 2
            if left := problems(first, middle):
                end, said = middle, left
            else:
                first, said = middle, problems(middle, end)
        return (first, said[0][:200]) if said else None
    except LoaderError:
        return None
