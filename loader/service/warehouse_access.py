"""How the threads of the service share the warehouse.

DuckDB locks its file between processes only. Within one process, a file that is open for reading cannot be opened for
writing, and two writers would not notice each other. The service therefore allows one run or export at a time, and on
DuckDB no reads while it is in progress; readers fall back to the last result they have.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from loader.errors import LockedError
from loader.runs.run import Job
from loader.warehouse.base import Warehouse, open_warehouse

BUSY = "A run or an export of this service is in progress: try again when it has finished."


class WarehouseAccess:
    """A read-write lock: one run or export at a time, and on DuckDB no readers meanwhile."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._blocks_readers = job.target.type == "duckdb"
        self._changed = threading.Condition()
        self._readers = 0
        self._is_taken = False

    @contextmanager
    def open_for_reading(self, wait: float = 0.0) -> Iterator[Warehouse]:
        """Open the warehouse for reading.

        Args:
            wait: seconds to wait for a run or export of this service, and again for another process that uses the
                DuckDB file.

        Raises:
            LockedError: it is still in use after that time.
            ConfigurationError: as `open_warehouse`.
        """
        with self._changed:
            if self._blocks_readers and not self._changed.wait_for(lambda: not self._is_taken, wait):
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
    def exclusive(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the exclusive right to run dbt or to push. On DuckDB, readers that have started finish first.

        Args:
            wait: seconds to wait for another run or export of this service.

        Raises:
            LockedError: another one is still in progress after that time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_taken, wait):
                raise LockedError(BUSY)
            self._is_taken = True
        try:
            with self._changed:
                # No new reader can start now, and none takes long.
                self._changed.wait_for(lambda: not (self._blocks_readers and self._readers), self._job.lock_timeout)
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()
