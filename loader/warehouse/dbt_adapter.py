"""The adapter of a dbt target, made in this process as dbt makes it; and what it says when something is wrong."""

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
    """Look whether the adapter is installed, without dbt, whose import takes seconds.

    Raises:
        ConfigurationError: it is not.
    """
    name = target.type
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigurationError(f"Target {target.name!r} is of type {name!r}, which is no name of a dbt adapter.")
    if find_spec(f"dbt.adapters.{name}") is None:
        raise ConfigurationError(
            f"Target {target.name!r} is of type {name!r}: pip install dbt-{name.replace('_', '-')}"
        )


def said(error: Exception, target: Target) -> str:
    """The first line of what dbt or a driver says, without dbt's headings, a point at its end, or a secret."""
    text = str(getattr(error, "msg", "") or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while len(lines) > 1 and _HEADING.fullmatch(lines[0]):
        lines.pop(0)
    line = lines[0].rstrip(". ")[:500] if lines else type(error).__name__
    for secret in sorted(_secrets(target.options), key=len, reverse=True):
        line = line.replace(secret, "***")
    return line


def make_adapter(target: Target) -> Any:
    """The target's adapter, made as dbt makes it, from the same profile and project.

    It is not registered with dbt, which keeps one adapter of a type for as long as the process lives.

    Raises:
        ConfigurationError: dbt does not take the profile or the project.
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
        cleanup_event_logger()  # stdout is for data
        set_invocation_context(dict(os.environ))
        set_from_args(given, None)
        config = RuntimeConfig.from_args(given)
        make: Any = FACTORY.get_adapter_class_by_name(target.type)
        adapter = make(config, get_mp_context())
    except Exception as error:
        raise ConfigurationError(f"dbt does not take target {target.name!r}: {said(error, target)}.") from error
    _quieten_pyspark()
    return adapter


def _quieten_pyspark() -> None:
    """PySpark writes Java's whole trace of each refused statement to stderr, besides raising what it says."""
    if "pyspark" in sys.modules:
        from pyspark.logger import PySparkLogger

        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            PySparkLogger.getLogger(name).disabled = True


def _secrets(options: Any, inside: bool = False) -> Iterator[str]:
    """All values of a profile whose names, or whose parents' names, sound secret."""
    if isinstance(options, dict):
        for name, value in options.items():
            yield from _secrets(value, inside or bool(_SECRET_NAME.search(str(name))))
    elif isinstance(options, list):
        for value in options:
            yield from _secrets(value, inside)
    elif inside and str(options):
        yield str(options)
