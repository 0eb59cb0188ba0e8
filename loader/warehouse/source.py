"""What dbt found in the source when it last summed usage: where it looked, and the requests that it rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from loader.errors import ConfigurationError
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse


@dataclass(frozen=True)
class RejectedRequests:
    """Requests that were rejected for one reason: how many, their USD where it can be read, and one id and file."""

    reason: str
    count: int
    cost: Decimal
    example: str
    file: str = ""


@dataclass(frozen=True)
class RejectedFile:
    """A file of which no request was accepted: how many it has, their USD where it can be read, and a reason."""

    path: str
    count: int
    cost: Decimal
    reason: str


@dataclass(frozen=True)
class Source:
    """The source as the last run of dbt found it.

    Attributes:
        description: such as `files matching exports/*.parquet`.
        files: how many files matched; None for a source of tables.
        rejected: the requests that are not sent, by reason, most expensive first.
        rejected_files: the files of which no request was accepted, most expensive first.
    """

    description: str
    files: int | None
    rejected: tuple[RejectedRequests, ...] = ()
    rejected_files: tuple[RejectedFile, ...] = ()

    @property
    def rejected_count(self) -> int:
        """Requests over all reasons."""
        return sum(each.count for each in self.rejected)

    @property
    def rejected_cost(self) -> Decimal:
        """USD over all reasons."""
        return total_usd(each.cost for each in self.rejected)


UNKNOWN_SOURCE = Source("", None)  # for a warehouse that was built by an earlier version


def read_source(warehouse: Warehouse) -> Source:
    """Read what the last run of dbt recorded: two queries on small tables, never on the source itself.

    Raises:
        ConfigurationError: the models are not built, or the database reported an error.
    """
    if "spend_log_source" not in warehouse.column_names("cbf_as_of"):
        return UNKNOWN_SOURCE
    description, files = "", None
    statement = f"select spend_log_source, spend_log_files from {warehouse.relation('cbf_as_of')}"  # noqa: S608
    for description, files in warehouse.rows(statement):  # noqa: B007
        pass
    names_files = "source_file" in warehouse.column_names("int_usage__rejected_hours")
    file = "min(source_file)" if names_files else "null"
    cost = f"cast(sum(coalesce(cost_usd, 0)) as {warehouse.text_type})"
    rejected_hours = f"from {warehouse.relation('int_usage__rejected_hours')} where request_count > 0"
    statement = (
        f"select rejection_reason, sum(request_count), {cost}, min(example_request_id), {file}"
        f" {rejected_hours} group by rejection_reason"
    )
    rejected = [
        RejectedRequests(reason, int(count), Decimal(cost), example or "", path or "")
        for reason, count, cost, example, path in warehouse.rows(statement)
    ]
    rejected.sort(key=lambda each: (-each.cost, -each.count, each.reason))
    rejected_files = []
    if rejected and names_files:
        statement = (
            f"select source_file, sum(request_count), {cost}, min(rejection_reason)"
            f" {rejected_hours} and file_is_rejected group by source_file"
        )
        rejected_files = [
            RejectedFile(path, int(count), Decimal(cost), reason)
            for path, count, cost, reason in warehouse.rows(statement)
        ]
        rejected_files.sort(key=lambda each: (-each.cost, -each.count, each.path))
    return Source(description, None if files is None else int(files), tuple(rejected), tuple(rejected_files))


def warnings(source: Source) -> list[str]:
    """What needs attention in the source: the glob matches no file, or requests were rejected."""
    found = []
    if source.files == 0:
        found.append(
            f"{source.description} do not exist: the glob matches no file, so no new usage can be summed."
            f" {_hint(source.description.partition('=')[2])}"
        )
    if source.rejected:
        found.append(
            f"{describe(source.rejected)}. The view rejected_spend_logs lists them, and docs/operating.md says what to"
            " do for each reason."
        )
    return found


def require_no_rejected_file(source: Source) -> None:
    """Fail if there are files of which no request was accepted.

    Raises:
        ConfigurationError: there are, with the names of up to three and what to do.
    """
    if not (files := source.rejected_files):
        return
    names = "; ".join(f"{each.path} ({each.count:,} {each.reason}, ${decimal_text(each.cost)})" for each in files[:3])
    more = f"; and {len(files) - 3:,} more" if len(files) > 3 else ""
    verb = "1 spend log file was" if len(files) == 1 else f"{len(files):,} spend log files were"
    raise ConfigurationError(
        f"{verb} rejected as a whole: {names}{more}. Everything else was summed. To fix: see the reason in"
        " docs/operating.md, then correct the file, or move it out of LITELLM_SPEND_LOGS, and run again."
    )


def _hint(path: str) -> str:
    """What is probably wrong with a glob that matches no file."""
    if "," in path:
        return "It has a comma: LITELLM_SPEND_LOGS takes one glob, not a list."
    if path.startswith("~"):
        return "It starts with ~, which only a shell replaces: write the path out."
    if Path(path).is_dir():
        folder = path.rstrip("/")
        return f"It is a folder: write {folder}/* for the files in it, or {folder}/**/* for those below it as well."
    if not any(each in path for each in "*?["):
        return "There is no such file. Set LITELLM_SPEND_LOGS to a path or a glob such as 'exports/*.parquet'."
    return "Set LITELLM_SPEND_LOGS to a glob such as 'exports/*.parquet', relative to the folder in which dbt runs."


def describe(rejected: Sequence[RejectedRequests]) -> str:
    """`3 requests ($12.5) were rejected and not sent: 2 no_start_time ($10), such as r-17; …`."""
    count, cost = sum(each.count for each in rejected), total_usd(each.cost for each in rejected)
    reasons = "; ".join(
        f"{each.count:,} {each.reason} (${decimal_text(each.cost)})"
        + (f", such as {each.example}" if each.example else "")
        + (f" in {each.file}" if each.file else "")
        for each in rejected
    )
    requests = "1 request" if count == 1 else f"{count:,} requests"
    return f"{requests} (${decimal_text(cost)}) {'was' if count == 1 else 'were'} rejected and not sent: {reasons}"


def answer(source: Source) -> dict[str, object]:
    """The same as JSON; amounts as text with every digit."""
    return {
        "description": source.description,
        "files": source.files,
        "rejected_requests": source.rejected_count,
        "rejected_cost": decimal_text(source.rejected_cost),
        "rejected": [
            {
                "reason": each.reason,
                "requests": each.count,
                "cost": decimal_text(each.cost),
                "example": each.example,
                "file": each.file,
            }
            for each in source.rejected
        ],
        "rejected_files": [
            {"file": each.path, "requests": each.count, "cost": decimal_text(each.cost), "reason": each.reason}
            for each in source.rejected_files
        ],
    }
