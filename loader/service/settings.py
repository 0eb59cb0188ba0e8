"""What the service is told: by the environment, and by --host and --port."""

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
    """Where to listen, how often to run, and the key that is asked for; without one only loopback may be served."""

    host: str
    port: int
    interval: timedelta
    master_key: Secret | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to say at the start."""
        said = []
        if self.master_key is None:
            said.append(
                "LOADER_MASTER_KEY is not set: everybody on this machine may read what is shown and start an export,"
                " and only loopback is served."
            )
        if self.interval < DEFAULT_INTERVAL:
            said.append(
                f"CLOUDZERO_EXPORT_INTERVAL_MINUTES={minutes(self.interval)}: less than 60 is not recommended, for"
                " only whole hours are sent."
            )
        return tuple(said)


def read_service_settings(host: str, port: int, environ: Mapping[str, str] = os.environ) -> ServiceSettings:
    """LOADER_MASTER_KEY or its file, and CLOUDZERO_EXPORT_INTERVAL_MINUTES (default 60).

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        environ: where the rest comes from.

    Raises:
        ConfigurationError: one of them cannot be read, or others than this machine would be served without a key.
    """
    key = read_secret(environ, "LOADER_MASTER_KEY")
    if key is None and not is_loopback(host):
        raise ConfigurationError(
            f"Without LOADER_MASTER_KEY (or LOADER_MASTER_KEY_FILE) only loopback is served, and --host {host} is none:"
            " set a key, or leave --host out."
        )
    return ServiceSettings(host, port, _interval(environ), key)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name counts only when it is `localhost`."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def minutes(interval: timedelta) -> int:
    """An interval as it stands in the environment."""
    return int(interval.total_seconds() // 60)


def _interval(environ: Mapping[str, str]) -> timedelta:
    text = environ.get("CLOUDZERO_EXPORT_INTERVAL_MINUTES", "").strip()
    if not text:
        return DEFAULT_INTERVAL
    most = minutes(LONGEST_INTERVAL)
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise ConfigurationError(
            f"CLOUDZERO_EXPORT_INTERVAL_MINUTES={text[:20]!r} is no number of minutes from 1 to {most}."
        )
    return timedelta(minutes=int(text))
