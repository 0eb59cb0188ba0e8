"""Progress over lines, for whoever shows it."""

from __future__ import annotations


class Bar:
    """A progress bar over lines. This one shows nothing."""

    def start(self, total_lines: int) -> None:
        """Set how many lines there are."""

    def advance(self, lines: int) -> None:
        """Report that many more lines as done."""
