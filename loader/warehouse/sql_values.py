"""Values as SQL text, for engines that are reached through dbt: its adapters share no style of parameters.

`literal` is the only place where a value becomes SQL. `warehouse_dbt` asks each engine to read `AWKWARD` back before it
trusts it with anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal

# Stands where a value goes. No name and no text of SQL can hold it.
MARK = "\0"
# What quoting, formatting (%s, {}, ?, :name), templates, comments and splitting at semicolons could take for their own.
AWKWARD = "a'b''c\\'d\\\\e\"f`g%s%%h{i}{{j}}?k:l;m--n/*o*/\n\tp\\n$1é漢\U0001f600 \\"
USD_PLACES = 18
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(\.\d+)?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?")


def literal(value: object, backslash_escapes: bool) -> str:
    """One value as SQL.

    Args:
        value: text, an int, a Decimal of at most 18 places, a datetime (UTC when it has no zone), or None. A NUL in a
            text is left out: engines do not agree on it.
        backslash_escapes: whether the engine takes a backslash in a text for an escape, as Spark does and the SQL
            standard does not.

    Raises:
        TypeError: it is of another type; a bool and a float are.
        ValueError: the Decimal is no number, or would be rounded.
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        text = value.replace("\0", "")
        return f"'{_escaped(text) if backslash_escapes else _doubled(text)}'"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Decimal):
        return f"cast('{_digits(value)}' as decimal(38, {USD_PLACES}))"
    if isinstance(value, datetime):
        utc = value if value.tzinfo is None else value.astimezone(timezone.utc)
        return f"cast('{utc.replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}' as timestamp)"
    raise TypeError(f"no SQL for a {type(value).__name__}")


def bound(statement: str, parameters: Sequence[object], backslash_escapes: bool) -> str:
    """A statement with a literal in the place of each MARK.

    Raises:
        TypeError, ValueError: as `literal`; or there are more or fewer values than marks.
    """
    first, *rest = statement.split(MARK)
    pairs = zip(parameters, rest, strict=True)
    return first + "".join(literal(value, backslash_escapes) + text for value, text in pairs)


def parsed(text: str) -> datetime:
    """A timestamp that an engine wrote as text; without a zone unless it says one. Less than a microsecond is cut off.

    Raises:
        ValueError: it is none.
    """
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no timestamp")
    day, time, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day} {time or '00:00'}")
    moment = moment.replace(microsecond=int(f"{(fraction or '.')[1:7]:0<6}"))
    if zone is None:
        return moment
    if zone in ("Z", "UTC"):
        return moment.replace(tzinfo=timezone.utc)
    digits = zone[1:].replace(":", "")
    return moment.replace(tzinfo=datetime.strptime(f"{zone[0]}{digits:0<4}", "%z").tzinfo)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _doubled(text: str) -> str:
    return text.replace("'", "''")


def _digits(value: Decimal) -> str:
    """Without an exponent."""
    if not value.is_finite():
        raise ValueError(f"{value} is no number")
    digits = format(value, "f")
    if len(digits.partition(".")[2].rstrip("0")) > USD_PLACES:
        raise ValueError(f"{digits} has more than {USD_PLACES} places")
    return digits
