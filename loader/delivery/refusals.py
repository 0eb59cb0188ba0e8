"""Hours that CloudZero refuses, or that a guard stops, while a push sends everything else.

A refused body of several hours is split in half, and so on, until the refused hours are known. If nothing of it is
accepted, as for a month that is closed, splitting ends early.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from loader.cloudzero.bad_rows import Validator, first_bad_row
from loader.cloudzero.bodies import Body, BodyGroup, halves
from loader.errors import GuardError, LoaderError, RejectedError
from loader.hours import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

# A status that is about the rows of a body: another body, or a part of this one, may be accepted.
ABOUT_ROWS = frozenset({None, 400, 413, 422})
TOO_LARGE = 413
# A status that is about the key or the URL: every body gets it. Two in a row are enough to know.
ABOUT_ACCESS = frozenset({*range(300, 400), 401, 402, 403, 405, 407})
MAX_REFUSALS_OF_ACCESS = 2
# Refusals of one body and its parts, without any part accepted, until the body counts as refused as a whole: the body,
# its halves and its quarters.
MAX_REFUSALS_OF_BODY = 7
MAX_REFUSALS_OF_SIZE = 15  # the same for a body that is too large for a proxy: down to its eighths
MAX_REFUSALS_OF_PUSH = 60  # from then on, no refused body is split
MAX_ROWS_NAMED = 3  # each can take some 20 requests for validation
MAX_NAMED = 5  # refusals that a message describes


class SentSoFar(Protocol):
    """The part of `loader.delivery.retry.Sent` that messages use."""

    hours: int
    lines: int


class RefusedBodyError(RejectedError):
    """CloudZero refused a body, and did not store it, apart from a redirect, which does not say so.

    Attributes:
        body: the body of the group that was refused.
    """

    def __init__(self, error: RejectedError, body: Body) -> None:
        super().__init__(str(error), error.status, error.may_be_stored)
        self.body = body


class Problems:
    """What was refused or prevented in one delivery, and whether to go on."""

    def __init__(self, client: Validator) -> None:
        self.hours: set[datetime] = set()
        self._client = client
        self._refusals: list[tuple[BodyGroup, str]] = []
        self._guards: list[tuple[BodyGroup, GuardError]] = []
        self._rows_named = 0
        self._of_access = 0  # refusals because of the key or URL, in a row
        self._of_body = 0  # refusals of the current body and its parts
        self._of_push = 0
        self._may_be_stored = False
        self._is_part_accepted = False  # whether a part of the current body was accepted

    def __bool__(self) -> bool:
        return bool(self._refusals or self._guards)

    @property
    def concern_all(self) -> bool:
        """Whether CloudZero refuses the key or the URL, so that nothing else would be accepted either."""
        return self._of_access >= MAX_REFUSALS_OF_ACCESS

    def next_body(self) -> None:
        """A body is about to be sent that is not a part of one that was refused."""
        self._of_body, self._is_part_accepted = 0, False

    def accepted(self) -> None:
        """Count a body that was accepted."""
        self._of_access, self._is_part_accepted = 0, True

    def refused(self, group: BodyGroup, error: RefusedBodyError) -> Sequence[BodyGroup]:
        """Count a refusal, and return the parts to try instead; none if the hours of the group are refused."""
        self._of_access = self._of_access + 1 if error.status in ABOUT_ACCESS else 0
        if error.may_be_stored:  # a redirect, which every body would get, and after which nothing is certain
            self._of_access, self._may_be_stored = MAX_REFUSALS_OF_ACCESS, True
        self._of_body += 1
        self._of_push += 1
        parts = halves(group) if error.status in ABOUT_ROWS and self._may_split(group, error) else None
        if parts is not None:
            return parts
        row = first_bad_row(error.body, self._client, error) if self._rows_named < MAX_ROWS_NAMED else ""
        self._rows_named += bool(row)
        self._refusals.append((group, f"{error} {row}".rstrip(". ")))
        self.hours.update(group.hours)
        return ()

    def _may_split(self, group: BodyGroup, error: RejectedError) -> bool:
        if group.operation == "replace_drop" or self._of_push >= MAX_REFUSALS_OF_PUSH:
            return False
        limit = MAX_REFUSALS_OF_SIZE if error.status == TOO_LARGE else MAX_REFUSALS_OF_BODY
        return self._is_part_accepted or self._of_body < limit

    def prevented(self, group: BodyGroup, error: GuardError) -> None:
        """Count hours that a guard stopped before they were sent."""
        self._guards.append((group, error))
        self.hours.update(group.hours)

    def error(self, sent: SentSoFar, left: str) -> LoaderError:
        """One error for everything that was refused or prevented.

        Args:
            sent: what was accepted.
            left: which hours were not tried; empty if all others were sent.
        """
        message = f"{self.describe()} Sent: {sent.hours} hours, {sent.lines} lines.{left}"
        return RejectedError(message) if self._refusals else GuardError(message)

    def describe(self) -> str:
        """The hours and the reasons, in one sentence for each."""
        found: list[str] = []
        if self._refusals:
            count = len({hour for group, _ in self._refusals for hour in group.hours})
            named = "; ".join(f"{hours_of(group)} ({reason})" for group, reason in self._refusals[:MAX_NAMED])
            more = f"; and {len(self._refusals) - MAX_NAMED} more" if len(self._refusals) > MAX_NAMED else ""
            stored = (
                "An hour of several bodies may be stored in part; running the same command again replaces it."
                if any(len(group.bodies) > 1 for group, _ in self._refusals)
                else if_stored(self._refusals[-1][0].operation)
                if self._may_be_stored
                else "Nothing of it was stored."
            )
            found.append(
                f"CloudZero refused {count:,} hour{'' if count == 1 else 's'}: {named}{more}. {stored} Refused hours"
                " stay pending, and the next push tries them again."
            )
        found += [f"Not sent: {hours_of(group)}: {error}" for group, error in self._guards[:MAX_NAMED]]
        return " ".join(found)

    def __str__(self) -> str:
        return f" {self.describe()}" if self else ""


def if_stored(operation: str) -> str:
    """What to do about a body that may or may not have been stored."""
    if operation == "sum":
        return "It may have been added: check CloudZero's rows of those hours before you send them again."
    return "Running the same command again is safe: it sends the whole hours again."


def hours_of(group: BodyGroup) -> str:
    """The hours of a group, for messages."""
    first, last = group.hours[0], group.hours[-1]
    return f"the hour {iso(first)}" if first == last else f"the hours {iso(first)} to {iso(last)}"
