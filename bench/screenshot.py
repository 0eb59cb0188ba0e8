"""docs/page.png, the README's picture: the page over what `make demo` left in demo/, in the machine's Chromium.

Run `make demo`, then `.venv/bin/python -m bench.screenshot`.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from loader.config.profiles import read_target
from loader.service.page import make_router
from loader.warehouse.base import open_warehouse
from tests.service.browser import chromium, served, visit

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/page.png"
HEIGHT = 985  # as far as the calendar and the pushes go; the lines below are but a table


def main() -> None:
    """Take the picture."""
    file = ROOT / "demo/spend.duckdb"
    if not file.is_file():
        raise SystemExit("There is no demo/spend.duckdb: run `make demo` first.")
    target = read_target(None, "dev", dict(os.environ) | {"LOADER_DUCKDB_PATH": str(file)}, ROOT)
    app = FastAPI()
    app.include_router(make_router(lambda: open_warehouse(target, 5, print), [], lambda: None))
    with served(app) as url, chromium() as browser, visit(browser, url) as seen:
        seen.page.wait_for_selector("#chart canvas")
        clip = {"x": 0, "y": 0, "width": 1280, "height": HEIGHT}
        seen.page.screenshot(path=PICTURE, full_page=True, clip=clip)  # type: ignore[arg-type]
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
