"""A page in headless Chromium, and everything that it did wrong: console errors, dialogs, requests to another host."""

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
    """A browser of the machine's own; nothing is downloaded. Without one the test is skipped, in .ci/run it fails."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing = "The page is tested in Chromium, which is not here: apt-get install chromium"
        (pytest.fail if os.environ.get("CI_NEEDS_CHROMIUM") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        # Its sandbox needs rights that containers do not give; the page is our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app on a free port of loopback; its URL."""
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
    """A page that is open, and what it did that it must not do."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """What a reader sees there."""
        return " ".join(self.page.locator(selector).inner_text().split())

    def texts(self, selector: str) -> list[str]:
        """What a reader sees in each of them."""
        return [" ".join(each.split()) for each in self.page.locator(selector).all_inner_texts()]

    def refresh(self) -> None:
        """What the page does each minute, now."""
        with self.page.expect_response("**/api/overview"):
            self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        # Not wait_for_function: it evaluates text in the page, which the page's own policy forbids.
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def settled(self) -> Visit:
        """Wait until something is shown."""
        self.page.wait_for_selector("#main:not([hidden]), #problem:not([hidden])")
        return self


@contextmanager
def visit(browser: Browser, url: str, *, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """Open the page; whatever it did wrong until the block ends fails the test."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    found = Visit(page)
    host = urlsplit(url).netloc

    def dismissed(dialog: Dialog) -> None:
        found.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def asked(request: Request) -> None:
        if urlsplit(request.url).netloc != host:
            found.faults.append(f"foreign: {request.url}")

    page.on("console", lambda said: found.faults.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: found.faults.append(f"error: {error}"))
    page.on("dialog", dismissed)
    page.on("request", asked)
    page.goto(url)
    yield found.settled()
    context.close()
    assert found.faults == []
