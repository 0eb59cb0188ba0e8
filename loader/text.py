"""Text of unknown origin, such as a server's error message, made safe to show and to store."""

from __future__ import annotations

REPLACEMENT = "\ufffd"


def printable(text: str, keep: str = "") -> str:
    """The text without characters that a terminal acts on or that cannot be encoded.

    Control characters (also those that begin an escape sequence), bidirectional overrides and lone surrogates become
    U+FFFD.

    Args:
        text: any text.
        keep: characters to leave as they are, such as a line break.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else REPLACEMENT for each in text)


def one_line(text: str, limit: int = 500) -> str:
    """Printable text on one line, of at most `limit` characters; any white space becomes a single space."""
    return printable(" ".join(text.split()))[:limit]


def storable(text: str, limit: int = 1000) -> str:
    """At most `limit` characters that every database stores: printable ones, line breaks and tabs."""
    return printable(text[:limit], keep="\n\t")


def ascii_only(text: str) -> str:
    """The text with Python's escapes in place of characters outside ASCII."""
    return text.encode("ascii", "backslashreplace").decode()
