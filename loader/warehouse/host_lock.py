"""A lock that one process of a user holds on this host: a locked file, released when the process ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loader.errors import ConfigurationError, LockedError


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the lock files, by specifications.freedesktop.org/basedir-spec: XDG_STATE_HOME or its default."""
    given = environ.get("XDG_STATE_HOME", "")
    # By the specification, a relative path is ignored.
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "state") / "litellm-cbf"


@contextmanager
def host_lock(name: str, connection_id: str, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of this name until the block ends.

    Args:
        name: the name of the lock, with any characters.
        connection_id: the connection, for messages.
        wait: seconds to wait for another process.
        say: called with a message for the user when it has to wait.

    Raises:
        LockedError: another process still holds the lock.
        ConfigurationError: the file cannot be created or locked.
    """
    deadline, has_said_so = time.monotonic() + wait, False
    try:
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
        file = path.open("ab")
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(
            f"The lock file of the push cannot be created in ~/.local/state/litellm-cbf ({reason}): set"
            " XDG_STATE_HOME to a writable folder."
        ) from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"Another push to {connection_id} is in progress on this host, and CloudZero supports one at"
                        " a time for a stream: try again when it has finished, or wait for it with --wait."
                    ) from error
            except OSError as error:
                raise ConfigurationError(
                    f"{path} cannot be locked: {error.strerror or type(error).__name__}."
                ) from error
            if not has_said_so:
                say(f"Waiting for another push to {connection_id}.")
                has_said_so = True
            time.sleep(0.2)
        yield
