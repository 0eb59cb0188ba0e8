"""Several AnyCost streams (var `streams`): which are meant, that none is forgotten, and a push for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from loader.config.settings import CONNECTION_ID
from loader.errors import (
    ConfigurationError,
    GuardError,
    LoaderError,
    LockedError,
    RejectedError,
    StoppedError,
    UnknownOutcomeError,
    UsageError,
)

if TYPE_CHECKING:
    from loader.stopping import StopSignal
    from loader.warehouse.base import Warehouse

DEFAULT = "default"  # what a user calls the stream that has no name
# Worst first: what may have happened weighs more than what surely did not.
BY_WEIGHT: tuple[type[LoaderError], ...] = (UnknownOutcomeError, RejectedError, ConfigurationError, GuardError)


class Named(Protocol):
    """What belongs to a stream: its credentials, or itself."""

    @property
    def name(self) -> str:
        """Of var streams; empty for the lines that no name takes."""


Given = TypeVar("Given", bound=Named)
Result = TypeVar("Result")


def title(name: str) -> str:
    """What a user calls a stream."""
    return name or DEFAULT


def chosen(given: Sequence[Given], only: str | None) -> list[Given]:
    """All of them, or the one that --stream names.

    Raises:
        UsageError: there is none of this name.
    """
    found = [each for each in given if only is None or title(each.name) == only]
    if not found:
        known = ", ".join(title(each.name) for each in given)
        raise UsageError(
            f"--stream {only!r} is none of: {known}. The environment names them: {CONNECTION_ID}_<NAME>, and"
            f" {CONNECTION_ID} for {DEFAULT}."
        )
    return found


def require_known(warehouse: Warehouse, given: Iterable[Named], only: str) -> None:
    """Stop when neither the environment nor cbf_hours knows the stream that --stream names.

    A look at lines needs no connection id, so that names can be looked at before there are any.

    Raises:
        UsageError: it is unknown.
    """
    names = {"", *(each.name for each in given), *_names(warehouse)}
    if only not in map(title, names):
        raise UsageError(
            f"--stream {only!r} is none of: {', '.join(map(title, sorted(names)))}. cbf_hours and the environment"
            f" ({CONNECTION_ID}_<NAME>) name them."
        )


def _names(warehouse: Warehouse, condition: str = "") -> list[str]:
    """The streams that cbf_hours speaks of, in order; empty for the lines that no name takes."""
    hours = warehouse.relation("cbf_hours")
    statement = f"select distinct coalesce(stream, '') from {hours} {condition} order by 1"  # noqa: S608
    return [name for (name,) in warehouse.rows(statement)]


def require_ids(warehouse: Warehouse, given: Iterable[Named]) -> None:
    """Stop when there are lines of a stream that the environment has no connection id for.

    Raises:
        MissingIdError: which, and what to set.
    """
    known = {each.name for each in given}
    for name in _names(warehouse, "where line_count > 0"):
        if name not in known:
            variable = f"{CONNECTION_ID}_{name.upper()}" if name else CONNECTION_ID
            raise MissingIdError(
                f"The stream {title(name)} has lines, but {variable} is not set, which says where they go (var streams"
                " in dbt_project.yml). Nothing was sent."
            )


class MissingIdError(ConfigurationError):
    """A stream without a connection id: nothing is sent to any."""


def for_each(
    given: Sequence[Given],
    work: Callable[[Given], Result],
    say: Callable[[str], None],
    stop: StopSignal | None = None,
) -> list[Result]:
    """Do something for each stream, one after the other. One that fails does not keep the others from it.

    Args:
        given: the streams.
        work: what to do.
        say: hears of each that failed, where there are several.
        stop: asks for an end, also when none of the work looked at it.

    Raises:
        LoaderError: the only one failed; of several that failed one error, of the kind that weighs most.
        LockedError: all that failed were locked.
        StoppedError: an end was asked for; the rest was left.
    """
    results: list[Result] = []
    failures: list[tuple[Given, LoaderError]] = []
    for number, each in enumerate(given):
        if stop is not None and stop.is_set:
            raise StoppedError(f"Stopped by {stop.name}.{_not_begun(given[number:])}", stop.number)
        try:
            results.append(work(each))
        except StoppedError as error:
            raise StoppedError(f"{error}{_not_begun(given[number + 1 :])}", error.signal_number) from error
        except MissingIdError:
            raise
        except LoaderError as error:
            if len(given) == 1:
                raise
            say(f"Stream {title(each.name)}: {error}")
            failures.append((each, error))
    if failures:
        raise _together(failures, len(given))
    return results


def _not_begun(left: Sequence[Named]) -> str:
    return f" Not begun: {', '.join(title(each.name) for each in left)}." if left else ""


def _together(failures: Sequence[tuple[Named, LoaderError]], count: int) -> LoaderError:
    """One error for those of `count` streams that failed, with the words of the first of the kind that weighs most."""
    if all(isinstance(error, LockedError) for _, error in failures):
        kind: type[LoaderError] = LockedError
    else:
        found = (kind for kind in BY_WEIGHT if any(isinstance(error, kind) for _, error in failures))
        kind = next(found, GuardError)
    first, reason = next((pair for pair in failures if isinstance(pair[1], kind)), failures[0])
    names = ", ".join(title(each.name) for each, _ in failures)
    others = " The others are done." if len(failures) < count else ""
    return kind(f"{len(failures)} of {count} streams failed: {names}.{others} {title(first.name)}: {reason}")
