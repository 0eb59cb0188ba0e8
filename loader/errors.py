"""Every way the loader can end, each with its own exit code.

Logic raises these; only `cli.py` turns one into a line on stderr and an exit code. A message says what is
wrong, with what, and how to mend it. No message may hold a secret.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the shell sees. 1 is left to Python: a crash, which is a defect of ours.

    A signal that ended the loader is told in the shell's own way: 130 after Ctrl-C, 143 after SIGTERM.
    """

    DONE = 0
    USAGE = 2
    CONFIGURATION = 3
    REFUSED = 4
    UNKNOWN_OUTCOME = 5
    GUARD = 6


class LoaderError(Exception):
    """Base of all errors that a user can meet."""

    exit_code: ClassVar[ExitCode]


class UsageError(LoaderError):
    """What was asked for makes no sense: a window in the future, a start after its end."""

    exit_code = ExitCode.USAGE


class ConfigurationError(LoaderError):
    """Profile, target, view, database, file or credentials are not there or not right."""

    exit_code = ExitCode.CONFIGURATION


class RejectedError(LoaderError):
    """CloudZero answered and will not take it: 400, 403, 404, 413. Trying again gives the same answer."""

    exit_code = ExitCode.REFUSED


class UnknownOutcomeError(LoaderError):
    """No answer came, or none that can be read: the drop may or may not have been stored.

    `under_way` when CloudZero may still be at work on the request, so that the next one has to wait for it.
    `did_nothing` when it is certain that nothing was stored: the request never left, or the answer says so (429).
    """

    exit_code = ExitCode.UNKNOWN_OUTCOME

    def __init__(self, message: str, under_way: bool = False, did_nothing: bool = False) -> None:
        super().__init__(message)
        self.under_way = under_way
        self.did_nothing = did_nothing


class RetryableError(UnknownOutcomeError):
    """CloudZero answered, but not with a certain outcome: a next try is right, and needs a new idempotency key.

    `retry_after` is what its `Retry-After` header asks for, in seconds, or None.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, did_nothing: bool = False, under_way: bool = False
    ) -> None:
        super().__init__(message, under_way, did_nothing)
        self.retry_after = retry_after


class GuardError(LoaderError):
    """Stopped before harm was done: an hour that is not complete, a cost that has shrunk, a month that is full."""

    exit_code = ExitCode.GUARD


class LockedError(GuardError):
    """Another process is at work on the same stream or file: nothing was begun."""


class StoppedError(LoaderError):
    """SIGTERM or Ctrl-C: what was begun has been ended or recorded as unknown, the rest was left."""

    exit_code = ExitCode.UNKNOWN_OUTCOME

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
