"""Finds rows of the push log that no push has written, before anything is decided from them.

The table is append-only for the loader, but anybody with the right to write to the warehouse can edit it.
"""

from __future__ import annotations

from collections.abc import Sequence

from loader.errors import ConfigurationError
from loader.warehouse.base import Warehouse

OUTCOMES = ("begun", "accepted", "refused", "unknown", "without_effect")
FIRST, LAST = "cast('2000-01-01 00:00:00' as timestamp)", "cast('2100-01-01 00:00:00' as timestamp)"
LARGEST = 10**15  # lines or bytes of an hour
NOT_A_NUMBER = "('NaN', 'Infinity', '-Infinity')"  # values of PostgreSQL's numeric
TEXT = "{text_type}"  # as the engine calls it
PROBLEMS = {
    "sequence": "sequence is null or sequence < 1",
    "usage_hour": (
        f"usage_hour is null or usage_hour < {FIRST} or usage_hour >= {LAST}"
        " or extract(minute from usage_hour) <> 0 or extract(second from usage_hour) <> 0"
    ),
    "outcome": f"outcome is null or outcome not in ({', '.join(repr(each) for each in OUTCOMES)})",
    "recorded_at": f"recorded_at is null or recorded_at < {FIRST} or recorded_at >= {LAST}",
    "line_count": f"line_count < 0 or line_count > {LARGEST}",
    "byte_count": f"byte_count < 0 or byte_count > {LARGEST}",
    "cost_usd": f"cast(cost_usd as {TEXT}) in {NOT_A_NUMBER}",
    "cost_of_all_streams_usd": f"cast(cost_of_all_streams_usd as {TEXT}) in {NOT_A_NUMBER}",
    "connection_id": "connection_id is null",
    "api_url": "api_url is null",
}


def require_valid(warehouse: Warehouse, where: str = "", parameters: Sequence[object] = ()) -> None:
    """Fail if a row of the push log has a value that no push writes.

    Args:
        warehouse: opened in any way.
        where: a where clause that selects the rows of one stream; empty for all streams.
        parameters: its parameters.

    Raises:
        ConfigurationError: there is such a row; with its sequence, the column, and what to do. Or as
            `Warehouse.batches`.
    """
    problems = {column: each.replace(TEXT, warehouse.text_type) for column, each in PROBLEMS.items()}
    found = ", ".join(
        f"min(case when {problem} then coalesce(sequence, 0) end) as in_{column}"
        for column, problem in problems.items()
    )
    statement = f"""
        select
            sum(case when {" or ".join(problems.values())} then 1 else 0 end) as invalid_rows,
            count(*) - count(distinct connection_id || ' ' || api_url || ' ' || cast(sequence as {warehouse.text_type}))
                as repeated_rows,
            {found}
        from {warehouse.relation("push_log")} {where}
    """  # noqa: S608
    for invalid, repeated, *sequences in warehouse.rows(statement, tuple(parameters)):
        for column, sequence in zip(problems, sequences, strict=True):
            if sequence is not None:
                others = f" (and {int(invalid) - 1:,} more)" if invalid > 1 else ""
                raise _edited(f"the row with sequence {sequence or 'null'}{others} has no valid {column}")
        if repeated:
            raise _edited(f"{int(repeated):,} row(s) have the sequence of another row of their stream")


def _edited(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"push_log was changed by hand or is damaged: {what}. Restore a copy with `loader restore`, or delete the rows"
        " of these hours, which are then sent again."
    )
