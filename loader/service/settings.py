"""Settings of the service: from the environment, and from --host and --port."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from loader.config.settings import Secret, read_secret
from loader.errors import ConfigurationError

DEFAULT_INTERVAL = timedelta(minutes=60)
LONGEST_INTERVAL = timedelta(days=7)


@dataclass(frozen=True)
class ServiceSettings:
    """Where to listen, how often to run, and the key that requests need. Without a key only loopback is allowed."""

    host: str
    port: int
    interval: timedelta
    master_key: Secret | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings to print at startup."""
        warnings = []
        if self.master_key is None:
            warnings.append(
                "LOADER_MASTER_KEY is not set: every user of this machine can read the page and start an export, and"
                " only loopback is served."
            )
        if self.interval < DEFAULT_INTERVAL:
            warnings.append(
                f"CLOUDZERO_EXPORT_INTERVAL_MINUTES={minutes(self.interval)}: less than 60 is not recommended,"
                " because only whole hours are sent."
            )
        return tuple(warnings)


def read_service_settings(host: str, port: int, environ: Mapping[str, str] = os.environ) -> ServiceSettings:
    """Read LOADER_MASTER_KEY (or LOADER_MASTER_KEY_FILE) and CLOUDZERO_EXPORT_INTERVAL_MINUTES (default 60).

    Args:
        host: the address to listen on.
        port: the port; 0 picks a free one.
        environ: the environment to read.

    Raises:
        ConfigurationError: a setting is not valid, or there is no key and `host` is not loopback.
    """
    key = read_secret(environ, "LOADER_MASTER_KEY")
    if key is None and not is_loopback(host):
        raise ConfigurationError(
            f"Without LOADER_MASTER_KEY (or LOADER_MASTER_KEY_FILE) only loopback is served, and --host {host} is not"
            " loopback: set a key, or leave out --host."
        )
    return ServiceSettings(host, port, _interval(environ), key)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. Of host names, only `localhost` counts."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def minutes(interval: timedelta) -> int:
    """The interval in whole minutes, as in the environment."""
    return int(interval.total_seconds() // 60)


def _interval(environ: Mapping[str, str]) -> timedelta:
    text = environ.get("CLOUDZERO_EXPORT_INTERVAL_MINUTES", "").strip()
    if not text:
        return DEFAULT_INTERVAL
    longest = minutes(LONGEST_INTERVAL)
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not 1 <= int(text) <= longest:
        raise ConfigurationError(
            f"CLOUDZERO_EXPORT_INTERVAL_MINUTES={text[:20]!r} is not valid: it must be a whole number of minutes from 1"
            f" to {longest}."
        )
    return timedelta(minutes=int(text))
