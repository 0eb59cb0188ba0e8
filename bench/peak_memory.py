"""Run a command and write its duration and peak memory to a file: `python -m bench.peak_memory FILE COMMAND…`.

Runs as a process of its own, because on Linux the peak memory of a process starts at that of its parent: a benchmark
that has generated 10,000,000 rows would find its own memory in every result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command, and exit with its exit code."""
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    measured = {"seconds": time.perf_counter() - began, "peak_mb": usage.ru_maxrss / 1024}
    Path(sys.argv[1]).write_text(json.dumps(measured), encoding="utf-8")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
