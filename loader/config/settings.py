"""What the loader is told by the environment: CloudZero's credentials, also from a file, and times."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from loader.errors import ConfigurationError, UsageError

CONNECTION_ID = "CLOUDZERO_CONNECTION_ID"
DEFAULT_API_URL = "https://api.cloudzero.com"
# The sentence that LiteLLM's users know; LiteLLM's page, "Missing Credentials Error".
MISSING_CREDENTIALS = (
    "CloudZero configuration missing. Please set CLOUDZERO_API_KEY and CLOUDZERO_CONNECTION_ID environment variables."
)


class Secret:
    """Text that must not be shown: prints as `***` wherever it ends up. No dataclass: `asdict` would open it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"


@dataclass(frozen=True, order=True)
class Stream:
    """One AnyCost stream: a connection at a host. `api_url` is scheme, host and port only.

    The host is part of it, so that what was sent to a sandbox in a rehearsal is not taken for sent to CloudZero.
    """

    connection_id: str
    api_url: str
    name: str = field(default="", compare=False)  # of var streams; empty for the lines that no name takes

    def __str__(self) -> str:
        return f"{self.connection_id} at {self.api_url}"


@dataclass(frozen=True)
class Credentials:
    """Where to send, and with which key. `name` is the stream's in var streams."""

    api_key: Secret
    connection_id: str
    api_url: str
    name: str = ""

    @property
    def stream(self) -> Stream:
        """The stream that these are for."""
        return _stream(self.connection_id, self.api_url, self.name)


def read_streams(environ: Mapping[str, str] = os.environ) -> list[Stream]:
    """The streams that CLOUDZERO_CONNECTION_ID, CLOUDZERO_CONNECTION_ID_<NAME> and CLOUDZERO_API_URL name.

    No key is read. The one without a name comes first.

    Raises:
        ConfigurationError: one of them is none, or two streams have the same connection.
    """
    api_url = _api_url(environ)
    found: dict[str, str] = {}
    for variable in sorted(environ):
        value = environ[variable].strip()
        if not value or not (named := re.fullmatch(rf"{CONNECTION_ID}(?:_([A-Z0-9_]+))?", variable)):
            continue
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", value):
            raise ConfigurationError(f"{variable} holds characters that no connection id has.")
        if value in found.values():
            raise ConfigurationError(
                f"{variable} is the connection id of another stream as well: each needs its own, because"
                " an hour that is sent to it replaces what that hour held."
            )
        found[(named[1] or "").lower()] = value
    return [_stream(connection_id, api_url, name) for name, connection_id in found.items()]


def read_credentials(environ: Mapping[str, str] = os.environ) -> Credentials:
    """The first of `read_all_credentials`, which is all that most have.

    Raises:
        ConfigurationError: as `read_all_credentials`.
    """
    return read_all_credentials(environ)[0]


def read_all_credentials(environ: Mapping[str, str] = os.environ) -> list[Credentials]:
    """CLOUDZERO_API_KEY or its file, the connection ids and, for a proxy or the sandbox, CLOUDZERO_API_URL.

    Returns:
        One for each of `read_streams`, and at least one.

    Raises:
        ConfigurationError: the key or all ids are missing, the key cannot be read or sent, or as `read_streams`.
    """
    api_key, streams = read_secret(environ, "CLOUDZERO_API_KEY"), read_streams(environ)
    if api_key is None or not streams:
        raise ConfigurationError(MISSING_CREDENTIALS)
    return [Credentials(api_key, each.connection_id, _api_url(environ), each.name) for each in streams]


def read_secret(environ: Mapping[str, str], name: str) -> Secret | None:
    """The secret that the variable `name` holds, or the file that `<name>_FILE` names; None when neither is set.

    White space around it is no part of it: an editor ends a file with a newline. A variable that is set but empty
    counts as not set, as a Compose file or a manifest passes on what is missing. An empty file is a mistake.

    Raises:
        ConfigurationError: both are set, or the file cannot be read or is empty, or an HTTP header could not carry
            the secret. No message shows any of it.
    """
    value, path = environ.get(name, "").strip(), environ.get(f"{name}_FILE", "").strip()
    if value and path:
        # Also when they are equal today: after the next change of the key one of them is old.
        raise ConfigurationError(f"{name} and {name}_FILE are both set: unset one of them.")
    source = name
    if path:
        source = f"{name}_FILE={path}"
        try:
            value = Path(path).read_text(encoding="utf-8-sig").strip()
        except (OSError, ValueError) as error:
            # ValueError: no text, or a zero byte in the path.
            raise ConfigurationError(f"{source} cannot be read: {type(error).__name__}.") from error
        if not value:
            raise ConfigurationError(f"{source} is empty: write the secret into the file.")
    if value and not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ConfigurationError(f"{source} holds blanks or characters that no HTTP header can carry.")
    return Secret(value) if value else None


def _api_url(environ: Mapping[str, str]) -> str:
    api_url = (environ.get("CLOUDZERO_API_URL", "").strip() or DEFAULT_API_URL).rstrip("/")
    if not re.match(r"https?://[^/@\s]+(/\S*)?$", api_url):
        raise ConfigurationError("CLOUDZERO_API_URL is not a URL of the form https://host[:port], without user info.")
    return api_url


def _stream(connection_id: str, api_url: str, name: str) -> Stream:
    return Stream(connection_id, "/".join(api_url.split("/")[:3]).lower(), name)


def read_timezone(environ: Mapping[str, str] = os.environ) -> ZoneInfo:
    """CLOUDZERO_TIMEZONE, for the calendar words of --window only; lines are always UTC.

    Raises:
        ConfigurationError: it is no IANA time zone.
    """
    name = environ.get("CLOUDZERO_TIMEZONE", "").strip() or "UTC"
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"CLOUDZERO_TIMEZONE={name} is no time zone: use an IANA name such as America/New_York."
        ) from error


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `2h` or a bare number of seconds.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match:
        raise UsageError(f"{text!r} is no duration: write 90s, 15m or 2h.")
    try:
        return timedelta(seconds=float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]])
    except OverflowError as error:
        raise UsageError(f"{text!r} is too long a duration: write 90s, 15m or 2h.") from error
