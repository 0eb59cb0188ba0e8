"""The checks that `loader check --deep` adds: everything is read, and compared with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from loader.audit import reconcile
from loader.audit.consistency import read_lines_and_hours
from loader.config.settings import Stream
from loader.delivery.push_log import Entry, PushLog, accepted_entries, streams
from loader.errors import GuardError
from loader.hours import Window, iso
from loader.lines import NO_LINES, HourSummary, LinesAndCost
from loader.money import decimal_text, total_usd
from loader.warehouse.base import Warehouse
from loader.warehouse.full_read import read_tables, require_full_length

EVERYTHING = Window(datetime(2000, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc))


@dataclass(frozen=True)
class DeepChecks:
    """Each method is one check: it returns what it found, or raises.

    Attributes:
        open: opens the warehouse to read.
        configured: the streams that the environment names.
    """

    open: Callable[[], AbstractContextManager[Warehouse]]
    configured: tuple[Stream, ...] = ()

    def tables(self) -> str:
        """Every value of every table can be read.

        Raises:
            ConfigurationError: a table is damaged, or cannot be read.
        """
        with self.open() as warehouse:
            if warehouse.target.type == "duckdb":
                require_full_length(warehouse, Path(str(warehouse.target.options.get("path", ""))))
            found = read_tables(warehouse)
        return f"{len(found)} tables with {sum(found.values()):,} rows can be read"

    def lines(self) -> str:
        """The lines of each hour are those that `cbf_hours` says.

        Raises:
            GuardError: an hour differs.
            ConfigurationError: as `Warehouse.batches`.
        """
        with self.open() as warehouse:
            found = read_lines_and_hours(warehouse)
        lines = found.lines
        if wrong := found.different:
            one, other = lines.get(wrong[0], NO_LINES), found.hours.get(wrong[0], NO_LINES)
            raise GuardError(
                f"cbf_lines and cbf_hours disagree on {len(wrong):,} hour(s), the first {iso(wrong[0])}: {_text(one)}"
                f" against {_text(other)}. Run `dbt run`; after a manual change, `dbt run --full-refresh --select"
                " cbf_hours`."
            )
        total = sum(count for count, _ in lines.values()), total_usd(cost for _, cost in lines.values())
        return f"{_text(total)} in {len(lines):,} hours, as in cbf_hours"

    def source(self) -> tuple[str, bool]:
        """The spend logs that are left are summed, and the sums are in the lines.

        Returns:
            What was found, and whether it needs attention.

        Raises:
            GuardError: sums and lines differ.
            ConfigurationError: as `Warehouse.batches`, or the source cannot be read.
        """
        with self.open() as warehouse:
            days = reconcile.days(warehouse, EVERYTHING, None)
        wrong = [each for each in days if each["hours"] - each["left_out"] != each["lines"]]
        if wrong:
            difference = total_usd(each["hours"] - each["left_out"] - each["lines"] for each in wrong)
            raise GuardError(
                f"int_usage__hourly and cbf_lines differ by ${decimal_text(difference)} on {len(wrong):,} day(s), the"
                f" first {wrong[0].day}: run `dbt build`."
            )
        late = [each for each in days if each["spend_logs"] - each["rejected"] > each["hours"]]
        if late:
            missing = total_usd(each["spend_logs"] - each["rejected"] - each["hours"] for each in late)
            return (
                f"${decimal_text(missing)} of spend logs is not summed, the first of {late[0].day}: run `dbt run`",
                True,
            )
        return f"${decimal_text(total_usd(each['spend_logs'] for each in days))} of spend logs, all summed", False

    def push_log(self) -> str:
        """The log has only rows that a push writes, and they agree with the hours that they are about.

        Raises:
            ConfigurationError: a row has a value that no push writes, or as `Warehouse.batches`.
            GuardError: a row says that the current lines of an hour were sent, but with another number or cost.
        """
        count = 0
        with self.open() as warehouse:
            logged = streams(warehouse)
            for stream in logged:
                entries = list(accepted_entries(PushLog(warehouse, stream).records()))
                count += len(entries)
                # Which lines are sent to a stream that is not configured is not known.
                for each in (known for known in self.configured if known == stream):
                    with warehouse.of_stream(each.name):
                        _require_same({hour.start: hour for hour in warehouse.hours()}, entries)
        return f"{count:,} accepted hours in {len(logged)} stream(s)"


def _require_same(hours: Mapping[datetime, HourSummary], entries: Iterable[Entry]) -> None:
    """Entries with the fingerprint of the current lines of their hour have their number and cost."""
    for entry in entries:
        hour = hours.get(entry.hour)
        if hour is None or not hour.line_count or hour.fingerprint != entry.fingerprint:
            continue
        logged, current = (entry.line_count, entry.cost), (hour.line_count, hour.cost)
        if logged != current:
            raise GuardError(
                f"push_log was changed by hand: for {iso(entry.hour)} it has the fingerprint of the current"
                f" {_text(current)}, but {_text(logged)}. Restore a copy with `loader restore`, or delete the rows of"
                " this hour, which is then sent again."
            )


def _text(amounts: LinesAndCost) -> str:
    return f"{amounts[0]:,} lines of ${decimal_text(amounts[1])}"
