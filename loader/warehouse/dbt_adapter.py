"""Creates the adapter of a dbt target in this process, as dbt does, and reads its error messages."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from loader.config.profiles import Target
from loader.errors import ConfigurationError

_SECRET_NAME = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)
_HEADING = re.compile(r"[A-Z][a-z]+ Error")


def require_adapter(target: Target) -> None:
    """Check that the adapter is installed, without importing dbt, which takes seconds.

    Raises:
        ConfigurationError: it is not installed, or the target's type is not a valid name.
    """
    name = target.type
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigurationError(f"Target {target.name!r} is of type {name!r}, which is not a valid adapter name.")
    if find_spec(f"dbt.adapters.{name}") is None:
        raise ConfigurationError(
            f"Target {target.name!r} is of type {name!r}: pip install dbt-{name.replace('_', '-')}"
        )


def error_line(error: Exception, target: Target) -> str:
    """The first line of an error of dbt or a driver, without dbt's headings, trailing period, and secrets."""
    text = str(getattr(error, "msg", "") or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while len(lines) > 1 and _HEADING.fullmatch(lines[0]):
        lines.pop(0)
    line = lines[0].rstrip(". ")[:500] if lines else type(error).__name__
    for secret in sorted(_secrets(target.options), key=len, reverse=True):
        line = line.replace(secret, "***")
    return line


def make_adapter(target: Target) -> Any:
    """Create the target's adapter from its profile and project.

    It is not registered with dbt, which would keep one adapter of each type for the lifetime of the process.

    Raises:
        ConfigurationError: dbt rejects the profile or the project.
    """
    from dbt.adapters.factory import FACTORY
    from dbt.config.runtime import RuntimeConfig
    from dbt.flags import set_from_args
    from dbt.mp_context import get_mp_context
    from dbt_common.context import set_invocation_context
    from dbt_common.events.event_manager_client import cleanup_event_logger

    given = Namespace(
        project_dir=str(target.project_dir.resolve()),
        profiles_dir=str(target.profiles_dir.resolve()),
        profile=target.profile,
        target=target.name,
        threads=1,
        vars={},
        send_anonymous_usage_stats=False,
    )
    try:
        cleanup_event_logger()  # dbt would log to stdout, which is for data
        set_invocation_context(dict(os.environ))
        set_from_args(given, None)
        config = RuntimeConfig.from_args(given)
        make: Any = FACTORY.get_adapter_class_by_name(target.type)
        adapter = make(config, get_mp_context())
    except Exception as error:
        raise ConfigurationError(f"dbt rejects target {target.name!r}: {error_line(error, target)}.") from error
    _silence_pyspark()
    return adapter


def _silence_pyspark() -> None:
    """Stop PySpark from logging the Java stack trace of each failed statement, which it raises as an error anyway."""
    if "pyspark" in sys.modules:
        from pyspark.logger import PySparkLogger

        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            PySparkLogger.getLogger(name).disabled = True


def _secrets(options: Any, inside: bool = False) -> Iterator[str]:
    """All values of a profile whose key, or the key of a parent, looks like that of a secret."""
    if isinstance(options, dict):
        for name, value in options.items():
            yield from _secrets(value, inside or bool(_SECRET_NAME.search(str(name))))
    elif isinstance(options, list):
        for value in options:
            yield from _secrets(value, inside)
    elif inside and str(options):
        yield str(options)
