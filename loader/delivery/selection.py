"""Which hours a command covers, and which of them a push sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from loader.errors import UsageError
from loader.hours import END_OF_TIME, Window


@dataclass(frozen=True)
class AllHours:
    """Every hour in the warehouse, from `since` (UTC) on if it is given."""

    since: datetime | None = None

    @property
    def window(self) -> Window | None:
        """The hours as a window; None when nothing bounds them."""
        return None if self.since is None else Window(self.since, END_OF_TIME)


@dataclass(frozen=True)
class InWindow:
    """The hours of a window.

    Attributes:
        window: the hours.
        by_name: whether a name such as `today` selected them. The hour in progress is then left out without an error.
        is_cut: whether --since removed a part of the window.
    """

    window: Window
    by_name: bool = False
    is_cut: bool = False


@dataclass(frozen=True)
class Pending:
    """Every complete hour, from `since` (UTC) on, that differs from what CloudZero accepted for it."""

    since: datetime | None = None


HourFilter = AllHours | InWindow | Pending


@dataclass(frozen=True)
class Selection:
    """The hours that a push sends, and how.

    Attributes:
        hours: a window, or what is pending.
        operation: AnyCost's `replace_hourly`, `replace_drop` or `sum`.
        include_incomplete: also send hours that have not ended, or had not when dbt last summed them.
        limit: send at most this many lines, as whole hours.
        allow_shrink: also send hours that cost less than CloudZero accepted.
        allow_full_month: also send hours that their month has no room for.
        only: keep to these hours (UTC), whether or not they have lines.

    Raises:
        UsageError: these do not go together.
    """

    hours: Window | Pending
    operation: str = "replace_hourly"
    include_incomplete: bool = False
    limit: int | None = None
    allow_shrink: bool = False
    allow_full_month: bool = False
    only: frozenset[datetime] | None = None

    def __post_init__(self) -> None:
        if self.operation == "replace_drop" and (
            self.window is None or not self.window.is_whole_month() or self.limit is not None
        ):
            raise UsageError(
                "--operation replace_drop replaces a whole month at CloudZero. It takes exactly one UTC month, such as"
                " --start 2024-01-01 --end 2024-02-01, and no --limit"
                + (f"; the window is {self.window}." if self.window else ", and not --window pending.")
            )
        if self.operation == "sum" and self.is_pending:
            raise UsageError("--window pending replaces hours and never adds to them: it takes no --operation sum.")
        if self.include_incomplete and self.is_pending:
            raise UsageError("Only complete hours are pending: --window pending takes no --include-incomplete.")

    @property
    def is_pending(self) -> bool:
        """Whether it selects what is pending."""
        return isinstance(self.hours, Pending)

    @property
    def window(self) -> Window | None:
        """The window; None for what is pending."""
        return self.hours if isinstance(self.hours, Window) else None

    def may_send(self, hour: datetime) -> bool:
        """Whether --since leaves an hour (UTC) to this project; every hour, for a window."""
        return not isinstance(self.hours, Pending) or self.hours.since is None or hour >= self.hours.since

    def includes(self, hour: datetime) -> bool:
        """Whether an hour (UTC) lies in the window, or may be pending."""
        if isinstance(self.hours, Window):
            return self.hours.start <= hour < self.hours.end
        return self.hours.since is None or hour >= self.hours.since
