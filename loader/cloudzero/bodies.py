"""Lines to bodies for AnyCost. Pure: nothing is read or sent here.

The rules are CloudZero's (docs.cloudzero.com/docs/anycost-send-stream-data): a body is at most 5 MB of uncompressed
JSON, all of it in one month, and `replace_hourly` replaces every hour that occurs in the body. So an hour is never
spread over two `replace_hourly` bodies: the second would delete the first one's rows.
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

MAX_BODY_BYTES = 4_999_999
TAIL = b"]}"


@dataclass(frozen=True)
class Share:
    """What one body, or one delivery, holds of a UTC hour: its rows, their USD and their bytes as JSON."""

    hour: datetime
    row_count: int
    cost: Decimal
    byte_count: int


@dataclass(frozen=True)
class Body:
    """One body, and what it holds of each hour."""

    month: datetime
    operation: str
    shares: tuple[Share, ...]
    content: bytes = field(repr=False)

    @property
    def hours(self) -> tuple[datetime, ...]:
        """The UTC hours that it holds rows of."""
        return tuple(share.hour for share in self.shares)

    @property
    def row_count(self) -> int:
        """Rows over all hours."""
        return sum(share.row_count for share in self.shares)

    @property
    def cost(self) -> Decimal:
        """USD over all hours."""
        return sum((share.cost for share in self.shares), Decimal(0))


@dataclass(frozen=True)
class BodyGroup:
    """The bodies that stand or fall together.

    One body of whole hours, or all bodies of one hour that is too large for one. After any doubt about one of them,
    the first is sent again: it replaces what the others added.
    """

    bodies: tuple[Body, ...]

    @property
    def hours(self) -> tuple[datetime, ...]:
        """The UTC hours that this delivers."""
        return self.bodies[0].hours

    @property
    def shares(self) -> tuple[Share, ...]:
        """What it holds of each hour, over all bodies."""
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
        """What AnyCost is asked to do with the hours."""
        return self.bodies[0].operation

    @property
    def row_count(self) -> int:
        """Rows over all bodies."""
        return sum(body.row_count for body in self.bodies)

    @property
    def cost(self) -> Decimal:
        """USD over all bodies."""
        return sum((body.cost for body in self.bodies), Decimal(0))

    @property
    def byte_count(self) -> int:
        """Bytes over all bodies."""
        return sum(len(body.content) for body in self.bodies)


@dataclass
class _Part:
    """Rows on their way into a body."""

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
    """Rows of one hour, as many as fit into a body."""

    start: datetime
    rows: list[bytes] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    size: int = 0  # bytes of the rows and the commas between them

    def alone(self, operation: str) -> Body:
        part = _Part()
        part.add(self)
        return part.body(operation)


def body_groups(lines: Iterable[Line], operation: str, max_bytes: int = MAX_BODY_BYTES) -> Iterator[BodyGroup]:
    """Cut lines, which come hour by hour, into bodies of at most `max_bytes` bytes.

    `replace_drop`, which is for one month, stands on the first body only: the ones after it add hours to the month
    that it wiped.

    Raises:
        GuardError: one line alone is larger than a body may be.
    """
    after_first = "replace_hourly" if operation == "replace_drop" else operation
    pending = _Part()
    for hour, lines_of_hour in groupby(lines, key=lambda line: line.hour):
        room = max_bytes - len(_head(hour, "replace_hourly")) - len(TAIL)
        parts = list(_parts(hour, lines_of_hour, room))
        other_month = bool(pending.shares) and month_start(pending.shares[0].hour) != month_start(hour)
        if pending.rows and (other_month or len(parts) > 1 or pending.size + parts[0].size > room):
            yield BodyGroup((pending.body(operation),))
            operation, pending = after_first, _Part()
        if len(parts) == 1:
            pending.add(parts[0])
        elif operation == "sum":
            # Nothing replaces what a sum has added, so beginning again at the first part would add it twice.
            yield from (BodyGroup((part.alone("sum"),)) for part in parts)
        else:
            yield BodyGroup((parts[0].alone(operation), *(part.alone("sum") for part in parts[1:])))
            operation = after_first
    if pending.rows:
        yield BodyGroup((pending.body(operation),))


def _head(month: datetime, operation: str) -> bytes:
    return b'{"month":"%b","operation":"%b","data":[' % (iso(month_start(month)).encode(), operation.encode())


def _parts(hour: datetime, lines: Iterable[Line], room: int) -> Iterator[_HourPart]:
    """One hour's rows in parts of at most `room` bytes: one part for nearly every hour."""
    part = _HourPart(hour)
    for line in lines:
        row = line.data
        size = len(row) + 1
        if size > room:
            raise GuardError(
                f"One line of {iso(hour)} is {size:,} bytes, more than a body may hold:"
                f" {row[:160].decode(errors='replace')}"
            )
        if part.rows and part.size + size > room:
            yield part
            part = _HourPart(hour)
        part.rows.append(row)
        part.size += size
        part.cost += line.cost
    yield part
