"""CLOUDZERO_API_URL, and the one spelling under which the push log knows a host."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from loader.errors import ConfigurationError

ALLOW_HTTP = "CLOUDZERO_ALLOW_HTTP_HOST"  # the host that http:// may be used with, other than this machine
DEFAULT_API_URL = "https://api.cloudzero.com"
DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = "127.0.0.1"
URL_FORM = "CLOUDZERO_API_URL must be a URL of the form https://host[:port], without user name, password and query."


@dataclass(frozen=True)
class _Url:
    """The parts of a URL, each in its normal form. `port` is None for the default port of the scheme."""

    scheme: str
    host: str
    port: int | None
    path: str

    def origin(self, host: str | None = None) -> str:
        """Scheme, host and port, with this host instead of its own if it is given."""
        name = self.host if host is None else host
        shown = f"[{name}]" if ":" in name else name
        return f"{self.scheme}://{shown}" + ("" if self.port is None else f":{self.port}")

    @property
    def is_loopback(self) -> bool:
        """Whether the host is a name or an address of this machine."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_api_url(environ: Mapping[str, str]) -> str:
    """CLOUDZERO_API_URL in its normal form, by default CloudZero's own.

    Scheme and host are in lower case (a name outside ASCII as its IDNA form), without a dot at the end of the host,
    without the default port, and without a slash at the end.

    Raises:
        ConfigurationError: it is not a URL, has a user name, a query or CloudZero's own path, or would send the key
            unencrypted to another machine.
    """
    try:
        url = _parsed(environ.get("CLOUDZERO_API_URL", "").strip() or DEFAULT_API_URL)
    except ValueError as error:
        raise ConfigurationError(URL_FORM) from error
    if re.search(r"/v2(/|$)", url.path):
        raise ConfigurationError("CLOUDZERO_API_URL must not contain /v2: the loader adds the path itself.")
    allowed = environ.get(ALLOW_HTTP, "").strip().lower().rstrip(".")
    if url.scheme == "http" and not url.is_loopback and url.host != allowed:
        raise ConfigurationError(
            f"CLOUDZERO_API_URL would send the API key unencrypted to {url.host}: use https://, or set"
            f" {ALLOW_HTTP}={url.host} if that is intended."
        )
    return url.origin() + url.path


def place(api_url: str) -> str:
    """Scheme, host and port of a URL in one spelling, so that the same place has one name in the push log.

    `localhost` and `::1` are 127.0.0.1. A URL of the log that cannot be parsed is returned as it is.
    """
    try:
        url = _parsed(api_url)
    except ValueError:
        return api_url
    return url.origin(LOOPBACK if url.host in ("localhost", "::1") else None)


def _parsed(text: str) -> _Url:
    """The parts of a URL.

    Raises:
        ValueError: it is not a URL of the form `https://host[:port][/path]`.
    """
    if not re.fullmatch(r"(?i)https?://[^/@\s?#\\]+(/[^\s?#]*)?", text):
        raise ValueError("not a URL that the loader can use")
    parts = urlsplit(text)
    scheme, port = parts.scheme.lower(), parts.port
    if port == 0:
        raise ValueError("port 0 is not a port to connect to")
    return _Url(
        scheme,
        _normal_host(parts.hostname or ""),
        None if port == DEFAULT_PORTS[scheme] else port,
        parts.path.rstrip("/"),
    )


def _normal_host(host: str) -> str:
    """A host name in lower case and ASCII, or an address in its shortest form.

    Raises:
        ValueError: it is neither.
    """
    if ":" in host:
        return str(ip_address(host))
    name = host.encode("idna").decode("ascii").lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
        raise ValueError("not a host name")
    if re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", name):
        # The short, octal and hexadecimal spellings that the operating system resolves, such as 127.1.
        try:
            return socket.inet_ntoa(socket.inet_aton(name))
        except OSError as error:
            raise ValueError("not an IPv4 address") from error
    return name
