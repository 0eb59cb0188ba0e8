"""The project's macros in plain Jinja, for macros that query nothing: rendering one with dbt takes seconds."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

from jinja2 import Template
from jinja2.sandbox import SandboxedEnvironment

MACROS = Path(__file__).parents[2] / "macros"
MACRO = re.compile(r"{%-? macro (\w+)\((.*?)\).*?{%-? endmacro -?%}", re.DOTALL)
FOLDERS = ("vars", "runs", "dimensions", "streams", "litellm", "providers", "engine")


@cache
def macro_sources() -> dict[str, str]:
    """The text of each macro by name."""
    files = (path for folder in FOLDERS for path in (MACROS / folder).glob("*.sql"))
    return {found[1]: found[0] for path in files for found in MACRO.finditer(path.read_text(encoding="utf-8"))}


@cache
def compiled(name: str) -> CodeType:
    """A macro as Python."""
    return SandboxedEnvironment(extensions=["jinja2.ext.do"]).compile(macro_sources()[name])


class CompilationError(Exception):
    """Raised by `exceptions.raise_compiler_error`."""


class _ReturnedError(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class _Var:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __call__(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def has_var(self, name: str) -> bool:
        return name in self._values


def _return(value: Any) -> None:
    raise _ReturnedError(value)


def _raise(message: str) -> None:
    raise CompilationError(message)


class Macros:
    """`macros.project_var('x')` calls a macro as one of dbt does, with `variables` as vars and this engine's dispatch."""

    def __init__(
        self, variables: Mapping[str, Any], engine: str = "duckdb", schema: str = "cbf", database: str = "spend"
    ) -> None:
        self._environment = SandboxedEnvironment(extensions=["jinja2.ext.do"])
        self._environment.globals.update(
            {
                "return": _return,
                "var": _Var(variables),
                "exceptions": SimpleNamespace(raise_compiler_error=_raise),
                "modules": SimpleNamespace(re=re, datetime=datetime),
                "adapter": SimpleNamespace(dispatch=lambda name, _: getattr(self, f"{engine}__{name}")),
                "execute": False,
                "flags": SimpleNamespace(WHICH="parse"),
                "target": {"name": "dev", "schema": schema, "database": database},
                "invocation_args_dict": {"vars": dict(variables)},
                "tojson": json.dumps,
                "env_var": lambda _, default: default,
            }
        )
        self._environment.globals.update({name: self._callable(name) for name in macro_sources()})

    def __getattr__(self, name: str) -> Any:
        return self._environment.globals[name]

    def _callable(self, name: str) -> Any:
        modules: list[Any] = []

        def call(*arguments: Any) -> Any:
            if not modules:
                template = Template.from_code(self._environment, compiled(name), self._environment.globals)
                modules.append(template.module)
            try:
                return getattr(modules[0], name)(*arguments)
            except _ReturnedError as returned:
                return returned.value

        return call
