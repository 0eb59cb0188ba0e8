"""Groups of Click options whose values a command gets as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])


def option_group(
    name: str, make: Callable[..., object], *options: Callable[[Any], Any]
) -> Callable[[Command], Command]:
    """A decorator that adds options to a command and passes their values as one object.

    Args:
        name: the command's parameter for the object.
        make: makes the object from the options' values, as keyword arguments.
        options: Click's option decorators, in the order in which --help lists them.
    """

    def decorate(command: Command) -> Command:
        def marker() -> None: ...

        for option in options:
            option(marker)
        names = [parameter.name for parameter in marker.__click_params__]  # type: ignore[attr-defined]

        @functools.wraps(command)
        def with_group(*arguments: Any, **values: Any) -> Any:
            values[name] = make(**{each: values.pop(each) for each in names})
            return command(*arguments, **values)

        decorated: Any = with_group
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
