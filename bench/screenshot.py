"""Takes docs/page.png, the screenshot in the README: the page with the data of `make demo`, in Chromium.

Run `make demo`, then `.venv/bin/python -m bench.screenshot`.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from loader.config.profiles import read_target
from loader.service.page import make_router
from loader.warehouse.base import open_warehouse
from tests.service.browser import chromium, open_page, served

ROOT = Path(__file__).parent.parent
SCREENSHOT = ROOT / "docs/page.png"
HEIGHT = 985  # down to the calendar and the pushes, without the table of lines


def main() -> None:
    """Take the screenshot."""
    file = ROOT / "demo/spend.duckdb"
    if not file.is_file():
        raise SystemExit("There is no demo/spend.duckdb: run `make demo` first.")
    target = read_target(None, "dev", dict(os.environ) | {"LOADER_DUCKDB_PATH": str(file)}, ROOT)
    app = FastAPI()
    app.include_router(make_router(lambda: open_warehouse(target, 5, print), [], lambda: None))
    with served(app) as url, chromium() as browser, open_page(browser, url) as visit:
        visit.page.wait_for_selector("#chart canvas")
        clip = {"x": 0, "y": 0, "width": 1280, "height": HEIGHT}
        visit.page.screenshot(path=SCREENSHOT, full_page=True, clip=clip)  # type: ignore[arg-type]
    print(f"{SCREENSHOT.relative_to(ROOT)}: {SCREENSHOT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
