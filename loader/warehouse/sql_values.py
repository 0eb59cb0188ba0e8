"""Values as SQL literals, for engines used through dbt, whose adapters have no common style of parameters.

`literal` is the only place where a value is turned into SQL. Before it sends any other value, `any_dbt` checks that the
engine returns `AWKWARD_TEXT` unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal

# The placeholder of a value. It cannot occur in a name or in other SQL text.
PLACEHOLDER = "\0"
# Contains what quoting, formatting (%s, {}, ?, :name), templates, comments or statement splitting could misinterpret.
AWKWARD_TEXT = "a'b''c\\'d\\\\e\"f`g%s%%h{i}{{j}}?k:l;m--n/*o*/\n\tp\\n$1é漢\U0001f600 \\"
USD_PLACES = 18
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(\.\d+)?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?")


def literal(value: object, backslash_escapes: bool) -> str:
    """One value as an SQL literal.

    Args:
        value: text, an int, a Decimal with at most 18 decimal places, a datetime (UTC if it has no zone), or None.
            NUL characters are removed from a text, because engines handle them differently.
        backslash_escapes: whether the engine treats a backslash in a string literal as an escape, as Spark does,
            unlike standard SQL.

    Raises:
        TypeError: the value is of another type, including bool and float.
        ValueError: the Decimal is not finite, or has more than 18 decimal places.
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
    """A statement with a literal in place of each PLACEHOLDER.

    Raises:
        TypeError, ValueError: as `literal`, or the numbers of values and placeholders differ.
    """
    first, *rest = statement.split(PLACEHOLDER)
    pairs = zip(parameters, rest, strict=True)
    return first + "".join(literal(value, backslash_escapes) + text for value, text in pairs)


def parsed(text: str) -> datetime:
    """Parse a timestamp that an engine has cast to text. Digits below a microsecond are cut off.

    Returns:
        A datetime, aware only if the text has an offset.

    Raises:
        ValueError: the text is not a timestamp.
    """
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a timestamp")
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
    """A Decimal in digits, without an exponent."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a finite number")
    digits = format(value, "f")
    if len(digits.partition(".")[2].rstrip("0")) > USD_PLACES:
        raise ValueError(f"{digits} has more than {USD_PLACES} decimal places")
    return digits
