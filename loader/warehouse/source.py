"""What dbt found in the source when it last summed usage: where it looked, what it rejected, warned of and merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from loader.errors import ConfigurationError
from loader.money import decimal_text, total_usd
from loader.warehouse import run_log
from loader.warehouse.base import Warehouse
from loader.warehouse.unlogged import UnloggedDay, describe_unlogged, read_unlogged, require_logged

REASONS = ("rejection_reason", "warning", "merge_reason")  # columns of int_usage__rejected_hours, of which one is set


@dataclass(frozen=True)
class ReportedRequests:
    """Spend logs that are rejected, counted with a warning, or merged into another one, for one reason.

    Attributes:
        reason: the rejection reason, warning or merge reason.
        count: how many.
        cost: their USD, where it can be read.
        example: the id of one of them; empty if it has none.
        file: the file that holds this one; empty for a source of tables, and for all that are not rejected.
    """

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
        warned: the requests that are counted although something is unusual, by warning, most expensive first.
        merged: the spend logs that are merged into another one of the same request, by reason, most expensive first.
        rejected_files: the files of which no request was accepted, most expensive first.
        mixed_models: why the models are not of one run of dbt; empty if they are. See `run_log.mixed_models`.
        unlogged: the days of which LiteLLM's daily tables have more spend than its spend logs, oldest first.
    """

    description: str
    files: int | None
    rejected: tuple[ReportedRequests, ...] = ()
    warned: tuple[ReportedRequests, ...] = ()
    merged: tuple[ReportedRequests, ...] = ()
    rejected_files: tuple[RejectedFile, ...] = ()
    mixed_models: str = ""
    unlogged: tuple[UnloggedDay, ...] = ()

    @property
    def rejected_count(self) -> int:
        """Requests over all reasons."""
        return sum(each.count for each in self.rejected)

    @property
    def rejected_cost(self) -> Decimal:
        """USD over all reasons."""
        return total_usd(each.cost for each in self.rejected)

    @property
    def warned_count(self) -> int:
        """Requests over all warnings."""
        return sum(each.count for each in self.warned)

    @property
    def merged_count(self) -> int:
        """Merged spend logs over all reasons."""
        return sum(each.count for each in self.merged)

    @property
    def merged_cost(self) -> Decimal:
        """USD of the merged spend logs."""
        return total_usd(each.cost for each in self.merged)


UNKNOWN_SOURCE = Source("", None)  # for a warehouse that was built by an earlier version


def read_source(warehouse: Warehouse) -> Source:
    """Read what the last run of dbt recorded: queries on small tables, never on the source itself.

    Raises:
        ConfigurationError: the models are not built, or the database reported an error.
    """
    if "spend_log_source" not in warehouse.column_names("cbf_as_of"):
        return UNKNOWN_SOURCE
    description, files = "", None
    statement = f"select spend_log_source, spend_log_files from {warehouse.relation('cbf_as_of')}"  # noqa: S608
    for description, files in warehouse.rows(statement):  # noqa: B007
        pass
    found = _by_reason(warehouse)
    rejected, warned, merged = (found[column] for column in REASONS)
    count = None if files is None else int(files)
    files_rejected = _rejected_files(warehouse) if rejected else ()
    mixed, unlogged = run_log.mixed_models(run_log.read_runs(warehouse)), read_unlogged(warehouse)
    return Source(description, count, rejected, warned, merged, files_rejected, mixed, unlogged)


def _by_reason(warehouse: Warehouse) -> dict[str, tuple[ReportedRequests, ...]]:
    """What is counted under each reason of each column; nothing for a column that an earlier version lacks."""
    present = warehouse.column_names("int_usage__rejected_hours")
    columns = [column for column in REASONS if column in present]
    file = "source_file" if "source_file" in present else "null"
    # The first file, and the first id in it.
    example = f"min(coalesce({file}, '') || chr(31) || coalesce(example_request_id, ''))"
    statement = (
        f"select sum(request_count), {_sum_of_cost(warehouse)}, {example}, {', '.join(columns)}"  # noqa: S608
        f" from {warehouse.relation('int_usage__rejected_hours')} where request_count > 0 group by {', '.join(columns)}"
    )
    found: dict[str, list[ReportedRequests]] = {column: [] for column in REASONS}
    for count, cost, first, *reasons in warehouse.rows(statement):
        path, _, request_id = first.partition("\x1f")
        for column, reason in zip(columns, reasons, strict=True):
            if reason is not None:
                named = path if column == "rejection_reason" else ""
                found[column].append(ReportedRequests(reason, int(count), Decimal(cost), request_id, named))
    return {
        column: tuple(sorted(each, key=lambda one: (-one.cost, -one.count, one.reason)))
        for column, each in found.items()
    }


def _rejected_files(warehouse: Warehouse) -> tuple[RejectedFile, ...]:
    if "file_is_rejected" not in warehouse.column_names("int_usage__rejected_hours"):
        return ()
    statement = (
        f"select source_file, sum(request_count), {_sum_of_cost(warehouse)}, min(rejection_reason)"  # noqa: S608
        f" from {warehouse.relation('int_usage__rejected_hours')} where request_count > 0 and file_is_rejected"
        " group by source_file"
    )
    files = [
        RejectedFile(path, int(count), Decimal(cost), reason) for path, count, cost, reason in warehouse.rows(statement)
    ]
    return tuple(sorted(files, key=lambda each: (-each.cost, -each.count, each.path)))


def _sum_of_cost(warehouse: Warehouse) -> str:
    return f"cast(sum(coalesce(cost_usd, 0)) as {warehouse.text_type})"


def warnings(source: Source) -> list[str]:
    """What needs attention in the source: the glob matches no file, or requests were rejected or have a warning."""
    found = [source.mixed_models] if source.mixed_models else []
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
    if source.warned:
        found.append(
            f"{describe_warned(source.warned)}. The view spend_log_warnings lists them, and docs/operating.md says what"
            " each warning means."
        )
    if source.unlogged:
        found.append(f"{describe_unlogged(source.unlogged)}.")
    return found


def notes(source: Source) -> list[str]:
    """What is worth knowing and needs no attention: spend logs that are merged."""
    return [f"{describe_merged(source.merged)}. The view merged_spend_logs lists them."] if source.merged else []


def messages(source: Source) -> list[str]:
    """Notes and warnings, as the commands print them."""
    return [*notes(source), *(f"Warning: {warning}" for warning in warnings(source))]


def require_whole(source: Source) -> None:
    """Fail if spend of the source is certainly not in any line.

    Raises:
        ConfigurationError: no request of a file was accepted, or LiteLLM's daily tables have far more than its logs.
    """
    require_no_rejected_file(source)
    require_logged(source.unlogged)


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


def describe(rejected: Sequence[ReportedRequests]) -> str:
    """`3 requests ($12.5) were rejected and not sent: 2 no_start_time ($10), such as r-17; …`."""
    return f"{_total(rejected, 'request')} rejected and not sent: {_reasons(rejected)}"


def describe_warned(warned: Sequence[ReportedRequests]) -> str:
    """`3 requests ($12.5) were counted with a warning: 2 unreadable_metadata ($10), such as r-17; …`."""
    return f"{_total(warned, 'request')} counted with a warning: {_reasons(warned)}"


def describe_merged(merged: Sequence[ReportedRequests]) -> str:
    """`2 spend logs ($10) were merged into another one of the same request: 2 batch_poll ($10), such as batch_1`."""
    return f"{_total(merged, 'spend log')} merged into another one of the same request: {_reasons(merged)}"


def _total(found: Sequence[ReportedRequests], noun: str) -> str:
    count, cost = sum(each.count for each in found), total_usd(each.cost for each in found)
    return f"{count:,} {noun}{'' if count == 1 else 's'} (${decimal_text(cost)}) {'was' if count == 1 else 'were'}"


def _reasons(found: Sequence[ReportedRequests]) -> str:
    return "; ".join(
        f"{each.count:,} {each.reason} (${decimal_text(each.cost)})"
        + (f", such as {each.example or 'one'}" if each.example or each.file else "")
        + (f" in {each.file}" if each.file else "")
        for each in found
    )


def answer(source: Source) -> dict[str, object]:
    """The same as JSON; amounts as text with every digit."""
    return {
        "description": source.description,
        "files": source.files,
        "models_of_one_run": not source.mixed_models,
        "rejected_requests": source.rejected_count,
        "rejected_cost": decimal_text(source.rejected_cost),
        "rejected": [_answer(each, "reason") | {"file": each.file} for each in source.rejected],
        "warnings": [_answer(each, "warning") for each in source.warned],
        "merged": [_answer(each, "reason") for each in source.merged],
        "rejected_files": [
            {"file": each.path, "requests": each.count, "cost": decimal_text(each.cost), "reason": each.reason}
            for each in source.rejected_files
        ],
        "unlogged": [each.as_json() for each in source.unlogged],
    }


def _answer(found: ReportedRequests, key: str) -> dict[str, object]:
    return {key: found.reason, "requests": found.count, "cost": decimal_text(found.cost), "example": found.example}
