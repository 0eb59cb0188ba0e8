"""Settings from environment variables: CloudZero credentials, directly or from a file, time zone and durations."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from loader.config.api_url import place, read_api_url
from loader.errors import ConfigurationError, UsageError

CONNECTION_ID = "CLOUDZERO_CONNECTION_ID"
VARS = "LOADER_VARS"  # dbt vars for each dbt that the loader runs
CONNECTION_ID_FORMAT = r"(?i)conn[._-].+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
MAX_CONNECTION_ID = 48  # characters; a UUID has 36
# LiteLLM's own wording, from "Missing Credentials Error" in its documentation of the CloudZero integration.
MISSING_CREDENTIALS = (
    "CloudZero configuration missing. Please set CLOUDZERO_API_KEY and CLOUDZERO_CONNECTION_ID environment variables."
)


class Secret:
    """Text that is never shown: str, repr and format give `***`. Not a dataclass, because `asdict` would reveal it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the code that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"


@dataclass(frozen=True, order=True)
class Stream:
    """One AnyCost stream: a connection at a host. `api_url` has scheme, host and port only, as `place` spells them.

    The host is part of the identity, so that lines sent to a sandbox do not count as sent to CloudZero.
    """

    connection_id: str
    api_url: str
    name: str = field(default="", compare=False)  # its name in var streams; empty for the default stream

    def __str__(self) -> str:
        return f"{self.connection_id} at {self.api_url}"


@dataclass(frozen=True)
class Credentials:
    """The API key, connection and URL to send to. `name` is the stream's name in var streams, empty for the default."""

    api_key: Secret
    connection_id: str
    api_url: str
    name: str = ""

    @property
    def stream(self) -> Stream:
        """The stream that these credentials belong to."""
        return _stream(self.connection_id, self.api_url, self.name)


def read_streams(environ: Mapping[str, str] = os.environ) -> list[Stream]:
    """The streams set by CLOUDZERO_CONNECTION_ID, CLOUDZERO_CONNECTION_ID_<NAME> and CLOUDZERO_API_URL.

    The API key is not needed. The default stream, which has no name, comes first.

    Raises:
        ConfigurationError: a connection id or the URL is invalid, or two streams have the same connection id.
    """
    api_url = read_api_url(environ)
    found: dict[str, str] = {}
    for variable in sorted(environ):
        value = environ[variable].strip()
        if not value or not (named := re.fullmatch(rf"{CONNECTION_ID}(?:_([A-Z0-9_]+))?", variable)):
            continue
        _require_no_key(variable, value, environ.get("CLOUDZERO_API_KEY", "").strip())
        if value in (".", "..") or not re.fullmatch(r"[A-Za-z0-9._~-]+", value):
            raise ConfigurationError(
                f"{variable} is not a valid connection id: it may contain letters, digits and . _ ~ - only."
            )
        if value in found.values():
            raise ConfigurationError(
                f"{variable} is also the connection id of another stream. Each stream needs its own connection,"
                " because sending an hour replaces what the connection held for that hour."
            )
        found[(named[1] or "").lower()] = value
    return [_stream(connection_id, api_url, name) for name, connection_id in found.items()]


def read_credentials(environ: Mapping[str, str] = os.environ) -> Credentials:
    """The first of `read_all_credentials`: the only one unless there are several streams.

    Raises:
        ConfigurationError: as `read_all_credentials`.
    """
    return read_all_credentials(environ)[0]


def read_all_credentials(environ: Mapping[str, str] = os.environ) -> list[Credentials]:
    """Credentials from CLOUDZERO_API_KEY (or its file), the connection ids and CLOUDZERO_API_URL, if set.

    Returns:
        One for each of `read_streams`, and at least one.

    Raises:
        ConfigurationError: the key or every connection id is missing, as `read_secret`, or as `read_streams`.
    """
    api_key, streams = read_secret(environ, "CLOUDZERO_API_KEY"), read_streams(environ)
    if api_key is None or not streams:
        raise ConfigurationError(MISSING_CREDENTIALS)
    for each in streams:  # once more: the key may come from a file
        _require_no_key(f"{CONNECTION_ID}_{each.name.upper()}".rstrip("_"), each.connection_id, api_key.reveal())
    return [Credentials(api_key, each.connection_id, read_api_url(environ), each.name) for each in streams]


def read_secret(environ: Mapping[str, str], name: str) -> Secret | None:
    """The secret in the variable `name`, or in the file that `<name>_FILE` names; None when neither is set.

    Surrounding white space is removed, because editors end a file with a newline. An empty variable counts as not
    set, because Compose files and Kubernetes manifests pass missing values as empty ones. An empty file is an error.

    Raises:
        ConfigurationError: both are set, the file cannot be read or is empty, or the secret has characters that are
            not allowed in an HTTP header. No message contains any part of the secret.
    """
    value, path = environ.get(name, "").strip(), environ.get(f"{name}_FILE", "").strip()
    if value and path:
        # Even if both are equal now: after the next key rotation one of them would be stale.
        raise ConfigurationError(f"{name} and {name}_FILE are both set: unset one of them.")
    source = name
    if path:
        source = f"{name}_FILE={path}"
        try:
            value = Path(path).read_text(encoding="utf-8-sig").strip()
        except (OSError, ValueError) as error:
            # ValueError: the file is not UTF-8, or the path contains a NUL.
            raise ConfigurationError(f"{source} cannot be read: {type(error).__name__}.") from error
        if not value:
            raise ConfigurationError(f"{source} is empty: write the secret into the file.")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`":
        raise ConfigurationError(f"{source} has quotes around it, which would be sent as part of it: remove them.")
    if value and not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ConfigurationError(f"{source} contains spaces or characters that are not allowed in an HTTP header.")
    return Secret(value) if value else None


def _require_no_key(variable: str, connection_id: str, api_key: str) -> None:
    """Stop before an API key is used as a connection id: unlike a key, that is shown and stored.

    Neither format is documented. LiteLLM's page has `cz_api_…` and `conn_…`; many connection ids are UUIDs.

    Raises:
        ConfigurationError: the value looks like a key. The message does not contain it.
    """
    if _looks_like_a_key(connection_id, api_key):
        raise ConfigurationError(
            f"{variable} looks like an API key: are CLOUDZERO_API_KEY and {variable} swapped? Nothing was stored."
        )


def _looks_like_a_key(connection_id: str, api_key: str) -> bool:
    if re.fullmatch(CONNECTION_ID_FORMAT, connection_id):
        return connection_id == api_key
    return bool(
        connection_id == api_key
        or re.match(r"(?i)(cz|sk|api|key|bearer)[_-]", connection_id)
        or re.fullmatch(CONNECTION_ID_FORMAT, api_key)
        or len(connection_id) > MAX_CONNECTION_ID
    )


def _stream(connection_id: str, api_url: str, name: str) -> Stream:
    return Stream(connection_id, place(api_url), name)


def read_dbt_vars(given: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, object]:
    """The dbt vars of LOADER_VARS and of --vars, which wins for each name. Both are YAML mappings, as dbt's --vars is.

    Args:
        given: value of --vars.
        environ: the environment variables.

    Raises:
        UsageError: --vars is not a YAML mapping.
        ConfigurationError: LOADER_VARS is not one.
    """
    found: dict[str, object] = {}
    for source, text, error in ((VARS, environ.get(VARS), ConfigurationError), ("--vars", given, UsageError)):
        if not (text or "").strip():
            continue
        import yaml

        try:
            content = yaml.safe_load(text or "")
        except yaml.YAMLError:
            content = None
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise error(f"{source} must be a YAML mapping of vars, such as '{{litellm_schema: litellm}}'.")
        found |= content
    return found


def read_timezone(environ: Mapping[str, str] = os.environ) -> ZoneInfo:
    """CLOUDZERO_TIMEZONE, by default UTC. It applies to the named windows of --window only; lines are always UTC.

    Raises:
        ConfigurationError: it is not an IANA time zone.
    """
    name = environ.get("CLOUDZERO_TIMEZONE", "").strip() or "UTC"
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"CLOUDZERO_TIMEZONE={name} is not a valid time zone: use an IANA name such as America/New_York."
        ) from error


def parse_duration(text: str) -> timedelta:
    """A duration written as `90s`, `15m`, `2h` or a number of seconds.

    Raises:
        UsageError: the text is not a valid duration, or too long for a timedelta.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match:
        raise UsageError(f"{text!r} is not a valid duration: write it as 90s, 15m or 2h.")
    try:
        return timedelta(seconds=float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]])
    except OverflowError as error:
        raise UsageError(f"{text!r} is too long for a duration: write it as 90s, 15m or 2h.") from error
