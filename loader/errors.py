"""The loader's errors, each with its exit code.

Functions raise these; only `loader.cli` turns them into a line on stderr and an exit code. A message says what is
wrong, with what, and how to fix it. No message may contain a secret.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The exit codes of the loader. 1 is Python's: an uncaught exception, which is a bug in the loader.

    A loader that was ended by a signal exits as shells expect: 130 after Ctrl-C (SIGINT), 143 after SIGTERM.
    """

    DONE = 0
    USAGE = 2
    CONFIGURATION = 3
    REJECTED = 4
    UNKNOWN_OUTCOME = 5
    GUARD = 6


class LoaderError(Exception):
    """Base class of all errors that are reported to the user."""

    exit_code: ClassVar[ExitCode]


class UsageError(LoaderError):
    """The arguments make no sense, such as a window in the future or a start after its end."""

    exit_code = ExitCode.USAGE


class ConfigurationError(LoaderError):
    """The profile, target, views, database, a file or the credentials are missing or wrong."""

    exit_code = ExitCode.CONFIGURATION


class DestinationError(ConfigurationError):
    """No request can be sent to CLOUDZERO_API_URL: its certificate, the URL or the proxy is wrong. Nothing was sent."""


class ConnectionLostError(ConfigurationError):
    """The database closed a connection that was in use. Connecting again may help."""


class RejectedError(LoaderError):
    """CloudZero rejected the request (400, 403, 404, 413, …). Sending it again would get the same response.

    Attributes:
        status: the HTTP status of the response; None if CloudZero's validation found an error and answered 200.
        may_be_stored: the response does not say whether the body was stored: a redirect.
    """

    exit_code = ExitCode.REJECTED

    def __init__(self, message: str, status: int | None = None, may_be_stored: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.may_be_stored = may_be_stored


class UnknownOutcomeError(LoaderError):
    """There was no response, or an unreadable one: the body may or may not have been stored.

    Attributes:
        may_be_in_progress: CloudZero may still be processing the request, so the next one has to wait.
        did_nothing: certainly nothing was stored: the request was never sent, or the response says so (429).
    """

    exit_code = ExitCode.UNKNOWN_OUTCOME

    def __init__(self, message: str, may_be_in_progress: bool = False, did_nothing: bool = False) -> None:
        super().__init__(message)
        self.may_be_in_progress = may_be_in_progress
        self.did_nothing = did_nothing


class RetryableError(UnknownOutcomeError):
    """CloudZero responded without a definite outcome (408, 409, 425, 429, 5xx): retry with a new idempotency key.

    Attributes:
        retry_after: seconds that the `Retry-After` header asks to wait; None without the header.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        did_nothing: bool = False,
        may_be_in_progress: bool = False,
    ) -> None:
        super().__init__(message, may_be_in_progress, did_nothing)
        self.retry_after = retry_after


class GuardError(LoaderError):
    """Stopped to protect the bill: an hour is incomplete, a cost has shrunk, or a month is full."""

    exit_code = ExitCode.GUARD


class LockedError(GuardError):
    """Another process holds the lock of the stream or the database file. Nothing was started."""


class StoppedError(LoaderError):
    """Stopped by SIGTERM or Ctrl-C. Work in progress was finished, or recorded as unknown; the rest was not started."""

    exit_code = ExitCode.UNKNOWN_OUTCOME

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
