"""A lock that one process of a user holds on a host, in a file of its own; it ends with the process."""

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
    """Where such files lie: $XDG_STATE_HOME or ~/.local/state (specifications.freedesktop.org/basedir-spec)."""
    given = environ.get("XDG_STATE_HOME", "")
    # The specification: a relative path counts as none.
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "state") / "litellm-cbf"


@contextmanager
def host_lock(name: str, stream: str, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of this name until the block ends.

    Args:
        name: what is locked, of any characters.
        stream: what it is called in messages.
        wait: seconds to wait for another process.
        say: where to tell that it waits.

    Raises:
        LockedError: another process holds it.
        ConfigurationError: the file cannot be made.
    """
    deadline, told = time.monotonic() + wait, False
    try:
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
        file = path.open("ab")
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(
            f"The lock of the push cannot be made in ~/.local/state/litellm-cbf ({reason}): set XDG_STATE_HOME to a"
            " folder that may be written to."
        ) from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"Another push to {stream} is under way on this host: CloudZero takes one at a time for a"
                        " stream. Try again when it has ended, or wait for it with --wait."
                    ) from error
            except OSError as error:
                raise ConfigurationError(
                    f"{path} cannot be locked: {error.strerror or type(error).__name__}."
                ) from error
            if not told:
                say(f"Waiting for another push to {stream}.")
                told = True
            time.sleep(0.2)
        yield
