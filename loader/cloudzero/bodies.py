"""Splits lines into request bodies for AnyCost. Pure functions, no I/O.

The rules are CloudZero's (docs.cloudzero.com/docs/anycost-send-stream-data): a body is at most 5 MB of uncompressed
JSON, all its rows are of one month, and `replace_hourly` replaces every hour that occurs in the body. So an hour is
never split over two `replace_hourly` bodies: the second would delete the rows of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from loader.errors import GuardError
from loader.hours import iso, month_start
from loader.lines import Line
from loader.money import total_usd

MAX_BODY_BYTES = 4_999_999
TAIL = b"]}"


@dataclass(frozen=True)
class Share:
    """The part of a UTC hour that is in a body or group of bodies: its row count, cost in USD, and bytes as JSON."""

    hour: datetime
    row_count: int
    cost: Decimal
    byte_count: int


@dataclass(frozen=True)
class Body:
    """One request body: its JSON (`content`), the first hour of its UTC month, and its share of each hour."""

    month: datetime
    operation: str
    shares: tuple[Share, ...]
    content: bytes = field(repr=False)

    @property
    def hours(self) -> tuple[datetime, ...]:
        """The UTC hours that it has rows of."""
        return tuple(share.hour for share in self.shares)

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return sum(share.row_count for share in self.shares)

    @property
    def cost(self) -> Decimal:
        """Total cost in USD."""
        return total_usd(share.cost for share in self.shares)


@dataclass(frozen=True)
class BodyGroup:
    """Bodies that are accepted or resent together.

    Either one body of whole hours, or all bodies of one hour that is too large for one body. If the outcome of any of
    them is unknown, all are sent again from the first, which replaces what the others added.
    """

    bodies: tuple[Body, ...]

    @property
    def hours(self) -> tuple[datetime, ...]:
        """The UTC hours that it has rows of."""
        return self.bodies[0].hours

    @property
    def shares(self) -> tuple[Share, ...]:
        """The share of each hour, over all bodies."""
        first, *others = self.bodies
        if not others:
            return first.shares
        (share,) = first.shares
        for body in others:
            more = body.shares[0]
            share = Share(
                share.hour, share.row_count + more.row_count, share.cost + more.cost, share.byte_count + more.byte_count
            )
        return (share,)

    @property
    def operation(self) -> str:
        """AnyCost's operation of the first body: replace_hourly, replace_drop or sum."""
        return self.bodies[0].operation

    @property
    def row_count(self) -> int:
        """Number of rows over all bodies."""
        return sum(body.row_count for body in self.bodies)

    @property
    def cost(self) -> Decimal:
        """Total cost in USD over all bodies."""
        return total_usd(body.cost for body in self.bodies)

    @property
    def byte_count(self) -> int:
        """Bytes of JSON over all bodies."""
        return sum(len(body.content) for body in self.bodies)


@dataclass
class _PartialBody:
    """Rows collected for a body."""

    rows: list[bytes] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    size: int = 0  # bytes of the rows and the commas between them

    def add(self, hour: _HourPart) -> None:
        self.rows += hour.rows
        self.shares.append(Share(hour.start, len(hour.rows), hour.cost, hour.size - len(hour.rows)))
        self.size += hour.size

    def body(self, operation: str) -> Body:
        month = month_start(self.shares[0].hour)
        return Body(month, operation, tuple(self.shares), _head(month, operation) + b",".join(self.rows) + TAIL)


@dataclass
class _HourPart:
    """Rows of one hour, no more than fit into one body."""

    start: datetime
    rows: list[bytes] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    size: int = 0  # bytes of the rows and the commas between them

    def own_body(self, operation: str) -> Body:
        part = _PartialBody()
        part.add(self)
        return part.body(operation)


def body_groups(lines: Iterable[Line], operation: str, max_bytes: int = MAX_BODY_BYTES) -> Iterator[BodyGroup]:
    """Split lines into groups of bodies.

    Args:
        lines: grouped by hour, oldest hour first.
        operation: replace_hourly, replace_drop or sum. With replace_drop, the lines must be of one month and only the
            first body has that operation: the following ones add hours to the month that the first one emptied.
        max_bytes: maximum size of a body.

    Raises:
        GuardError: a single line is larger than a body may be.
    """
    after_first = "replace_hourly" if operation == "replace_drop" else operation
    pending = _PartialBody()
    for hour, lines_of_hour in groupby(lines, key=lambda line: line.hour):
        room = max_bytes - len(_head(hour, "replace_hourly")) - len(TAIL)
        parts = list(_parts(hour, lines_of_hour, room))
        other_month = bool(pending.shares) and month_start(pending.shares[0].hour) != month_start(hour)
        if pending.rows and (other_month or len(parts) > 1 or pending.size + parts[0].size > room):
            yield BodyGroup((pending.body(operation),))
            operation, pending = after_first, _PartialBody()
        if len(parts) == 1:
            pending.add(parts[0])
        elif operation == "sum":
            # Rows added by a sum are never replaced: resending from the first body would add its rows twice.
            yield from (BodyGroup((part.own_body("sum"),)) for part in parts)
        else:
            yield BodyGroup((parts[0].own_body(operation), *(part.own_body("sum") for part in parts[1:])))
            operation = after_first
    if pending.rows:
        yield BodyGroup((pending.body(operation),))


def halves(group: BodyGroup) -> tuple[BodyGroup, BodyGroup] | None:
    """The hours of a body in two bodies of half as many hours each; None if it cannot be split between hours."""
    if len(group.bodies) > 1 or len(group.hours) < 2:
        return None
    (body,) = group.bodies
    middle = len(body.shares) // 2
    first, second = body.shares[:middle], body.shares[middle:]
    head = _head(body.month, body.operation)
    cut = len(head) + sum(share.byte_count + share.row_count for share in first)  # after the comma
    contents = (body.content[: cut - 1] + TAIL, head + body.content[cut:])
    left, right = (
        BodyGroup((Body(body.month, body.operation, shares, content),))
        for shares, content in zip((first, second), contents, strict=True)
    )
    return left, right


def _head(month: datetime, operation: str) -> bytes:
    return b'{"month":"%b","operation":"%b","data":[' % (iso(month_start(month)).encode(), operation.encode())


def _parts(hour: datetime, lines: Iterable[Line], room: int) -> Iterator[_HourPart]:
    """The rows of one hour in parts of at most `room` bytes. Nearly every hour has one part."""
    part = _HourPart(hour)
    for line in lines:
        row = line.data
        size = len(row) + 1
        if size > room:
            raise GuardError(
                f"One line of {iso(hour)} is {size:,} bytes, more than the maximum size of a body:"
                f" {row[:160].decode(errors='replace')}"
            )
        if part.rows and part.size + size > room:
            yield part
            part = _HourPart(hour)
        part.rows.append(row)
        part.size += size
        part.cost += line.cost
    yield part
