"""The interface of a progress bar."""

from __future__ import annotations


class Bar:
    """A progress bar that counts lines. This base class shows nothing."""

    def start(self, total_lines: int) -> None:
        """Set the total number of lines."""

    def advance(self, lines: int) -> None:
        """Count so many more lines as done."""
