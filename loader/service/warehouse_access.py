"""How the service's own threads share the warehouse.

DuckDB's lock is between processes. Within one, a file that is open to read cannot be opened to write, and two that
write would not notice each other. So here one thread works (a run or an export) at a time, and on DuckDB nobody reads
meanwhile: whoever reads must be content with what was read last.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from loader.errors import LockedError
from loader.runs.run import Job
from loader.warehouse.base import Warehouse, open_warehouse

BUSY = "A run or an export of this service is under way: try again when it has ended."


class Access:
    """Lets one work, or on DuckDB several read."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._readers_wait = job.target.type == "duckdb"
        self._changed = threading.Condition()
        self._readers = 0
        self._is_working = False

    @contextmanager
    def to_read(self, wait: float = 0.0) -> Iterator[Warehouse]:
        """The warehouse, opened to read.

        Args:
            wait: seconds to wait for our own work, and as many for another process that uses a DuckDB file.

        Raises:
            LockedError: it is in use, and was after that time.
            ConfigurationError: as `open_warehouse`.
        """
        with self._changed:
            if self._readers_wait and not self._changed.wait_for(lambda: not self._is_working, wait):
                raise LockedError(BUSY)
            self._readers += 1
        try:
            with open_warehouse(self._job.target, wait, lambda _: None) as warehouse:
                yield warehouse
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def to_work(self, wait: float = 0.0) -> Iterator[None]:
        """The right to run dbt or to push, until the block ends. Readers are let finish first, on DuckDB.

        Args:
            wait: seconds to wait for other work of this service.

        Raises:
            LockedError: other work is under way, and was after that time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_working, wait):
                raise LockedError(BUSY)
            self._is_working = True
        try:
            with self._changed:
                # New ones are kept out already, and none takes long.
                self._changed.wait_for(lambda: not (self._readers_wait and self._readers), self._job.lock_timeout)
            yield
        finally:
            with self._changed:
                self._is_working = False
                self._changed.notify_all()
