"""Finds the first invalid row of a rejected body, which CloudZero's error message does not always name.

The body is first checked against CloudZero's published schema
(docs.cloudzero.com/reference/createoneanycoststreamconnectionbillingdrop). If that finds nothing, the row is found by
bisection with CloudZero's validation, which stores nothing.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Protocol

from loader.cloudzero.bodies import Body
from loader.errors import LoaderError, RejectedError


class Validator(Protocol):
    """The part of the AnyCost client that is used here."""

    def validate(self, body: bytes) -> list[str]:
        """The errors of a body; nothing is stored."""


def first_bad_row(body: Body, client: Validator, rejection: RejectedError) -> str:
    """A sentence that names the first invalid row of a body rejected with 400; empty if none is found.

    Args:
        body: the rejected body.
        client: for the validation. If it fails, for example because the key lacks the scope, the result is empty.
        rejection: why the body was rejected.
    """
    if rejection.status != 400:
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
    return (
        f"The first invalid row is number {index + 1} of {len(rows)}, of {row['time/usage_start']}, {name}: {problem}."
    )


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
        found = problems(first, end)
        if not found:
            return None
        while end - first > 1:
            middle = (first + end) // 2
            if left := problems(first, middle):
                end, found = middle, left
            else:
                first, found = middle, problems(middle, end)
        return (first, found[0][:200]) if found else None
    except LoaderError:
        return None
