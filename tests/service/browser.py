"""A page in headless Chromium that records console messages, errors, dialogs and requests to other hosts."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium; nothing is downloaded. Without one the test is skipped, or fails in .ci/run."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing = "Chromium is not installed, which the tests of the page need: apt-get install chromium"
        (pytest.fail if os.environ.get("CI_NEEDS_CHROMIUM") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        # Chromium's sandbox needs privileges that containers lack; only this project's page is opened.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve the app on a free loopback port; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Visit:
    """An open page, and what it did that is not allowed."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """The visible text of the element."""
        return " ".join(self.page.locator(selector).inner_text().split())

    def texts(self, selector: str) -> list[str]:
        """The visible text of each element."""
        return [" ".join(each.split()) for each in self.page.locator(selector).all_inner_texts()]

    def refresh(self) -> None:
        """Trigger the refresh that the page does every minute."""
        with self.page.expect_response("**/api/overview"):
            self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        # Not wait_for_function, which evaluates a string in the page: its Content-Security-Policy forbids that.
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def wait_until_shown(self) -> Visit:
        """Wait until the page shows data or a problem."""
        self.page.wait_for_selector("#main:not([hidden]), #problem:not([hidden])")
        return self


@contextmanager
def open_page(browser: Browser, url: str, *, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """Open the page. At the end of the block, the test fails if the page did something that is not allowed."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    visit = Visit(page)
    host = urlsplit(url).netloc

    def on_dialog(dialog: Dialog) -> None:
        visit.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def on_request(request: Request) -> None:
        if urlsplit(request.url).netloc != host:
            visit.faults.append(f"other host: {request.url}")

    page.on("console", lambda message: visit.faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: visit.faults.append(f"error: {error}"))
    page.on("dialog", on_dialog)
    page.on("request", on_request)
    page.goto(url)
    yield visit.wait_until_shown()
    context.close()
    assert visit.faults == []
