"""Run a command and write its seconds and its peak memory to a file: `python -m bench.peak_memory FILE COMMAND…`.

A process of its own, because Linux counts the peak of whoever starts a process as the peak of the process: a
benchmark that has made 10,000,000 rows itself would find its own memory in every figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """See above. Ends as the command ends."""
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = {"seconds": time.perf_counter() - began, "peak_mb": usage.ru_maxrss / 1024}
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
