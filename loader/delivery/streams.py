"""Several AnyCost streams (var `streams`): which to use, a check that none is missing, and work on each of them."""

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

DEFAULT = "default"  # the name that users give to the stream without a name
# Worst first: an outcome that is unknown is worse than one that is known.
BY_SEVERITY: tuple[type[LoaderError], ...] = (UnknownOutcomeError, RejectedError, ConfigurationError, GuardError)


class Named(Protocol):
    """A stream, or the credentials of one."""

    @property
    def name(self) -> str:
        """The name in var `streams`; empty for lines that belong to no named stream."""


NamedT = TypeVar("NamedT", bound=Named)
Result = TypeVar("Result")


def display_name(name: str) -> str:
    """The name of a stream as users write it."""
    return name or DEFAULT


def select_streams(given: Sequence[NamedT], only: str | None) -> list[NamedT]:
    """All of the streams, or the one that --stream names.

    Raises:
        UsageError: no stream has this name.
    """
    found = [each for each in given if only is None or display_name(each.name) == only]
    if not found:
        known = ", ".join(display_name(each.name) for each in given)
        raise UsageError(
            f"--stream {only!r} must be one of: {known}. The environment defines them: {CONNECTION_ID}_<NAME>, and"
            f" {CONNECTION_ID} for {DEFAULT}."
        )
    return found


def require_known(warehouse: Warehouse, given: Iterable[Named], only: str) -> None:
    """Stop when neither the environment nor cbf_hours knows the stream that --stream names.

    Reading lines needs no connection id, so streams can be looked at before any is configured.

    Raises:
        UsageError: it is unknown.
    """
    names = {"", *(each.name for each in given), *_names(warehouse)}
    if only not in map(display_name, names):
        raise UsageError(
            f"--stream {only!r} must be one of: {', '.join(map(display_name, sorted(names)))}. They are defined by"
            f" cbf_hours and by the environment ({CONNECTION_ID}_<NAME>)."
        )


def _names(warehouse: Warehouse, condition: str = "") -> list[str]:
    """The names of the streams in cbf_hours, in order; empty for lines that belong to no named stream."""
    hours = warehouse.relation("cbf_hours")
    statement = f"select distinct coalesce(stream, '') from {hours} {condition} order by 1"  # noqa: S608
    return [name for (name,) in warehouse.rows(statement)]


def require_connection_ids(warehouse: Warehouse, given: Iterable[Named]) -> None:
    """Stop when a stream has lines but no connection id in the environment.

    Raises:
        MissingConnectionIdError: names the stream, and the variable to set.
    """
    known = {each.name for each in given}
    for name in _names(warehouse, "where line_count > 0"):
        if name not in known:
            variable = f"{CONNECTION_ID}_{name.upper()}" if name else CONNECTION_ID
            raise MissingConnectionIdError(
                f"The stream {display_name(name)} has lines, but {variable} is not set. Set it to the connection id"
                " that they go to (var streams in dbt_project.yml). Nothing was sent."
            )


class MissingConnectionIdError(ConfigurationError):
    """A stream has no connection id: nothing is sent to any stream."""


def for_each(
    given: Sequence[NamedT],
    work: Callable[[NamedT], Result],
    say: Callable[[str], None],
    stop: StopSignal | None = None,
) -> list[Result]:
    """Do something for each stream, one after the other. A failure of one does not stop the others.

    Args:
        given: the streams.
        work: what to do.
        say: reports each failure when there are several streams.
        stop: ends it before the next stream.

    Raises:
        LoaderError: the only stream failed; for several failures one error, of the most severe kind.
        LockedError: all streams that failed were locked.
        StoppedError: a stop was requested; the remaining streams were not started.
    """
    results: list[Result] = []
    failures: list[tuple[NamedT, LoaderError]] = []
    for number, each in enumerate(given):
        if stop is not None and stop.is_set:
            raise StoppedError(f"Stopped by {stop.name}.{_not_begun(given[number:])}", stop.number)
        try:
            results.append(work(each))
        except StoppedError as error:
            raise StoppedError(f"{error}{_not_begun(given[number + 1 :])}", error.signal_number) from error
        except MissingConnectionIdError:
            raise
        except LoaderError as error:
            if len(given) == 1:
                raise
            say(f"Stream {display_name(each.name)}: {error}")
            failures.append((each, error))
    if failures:
        raise _combined_error(failures, len(given))
    return results


def _not_begun(left: Sequence[Named]) -> str:
    return f" Not started: {', '.join(display_name(each.name) for each in left)}." if left else ""


def _combined_error(failures: Sequence[tuple[Named, LoaderError]], count: int) -> LoaderError:
    """One error for all streams that failed, of `count`, with the message of the first one of the most severe kind."""
    if all(isinstance(error, LockedError) for _, error in failures):
        kind: type[LoaderError] = LockedError
    else:
        found = (kind for kind in BY_SEVERITY if any(isinstance(error, kind) for _, error in failures))
        kind = next(found, GuardError)
    first, reason = next((pair for pair in failures if isinstance(pair[1], kind)), failures[0])
    names = ", ".join(display_name(each.name) for each, _ in failures)
    others = " The others succeeded." if len(failures) < count else ""
    return kind(f"{len(failures)} of {count} streams failed: {names}.{others} {display_name(first.name)}: {reason}")
