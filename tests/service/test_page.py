"""The page in a real browser, over a real warehouse that was partly pushed to the sandbox."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi import FastAPI, HTTPException
from playwright.sync_api import Browser, expect

from loader.config.profiles import read_target
from loader.config.settings import Stream
from loader.delivery.push_log import REFUSED, Entry, PushLog
from loader.hours import HOUR
from loader.sandbox.server import SandboxServer
from loader.service.page import MEDIA_TYPES, Overviews, make_router
from loader.warehouse.base import Warehouse, open_for_push, open_warehouse
from tests.service.browser import chromium, served, visit
from tests.support.anycost import CONNECTION, credentials
from tests.support.project import Project
from tests.support.warehouse import START, BuiltWarehouse, Usage

A, B, C = Usage("a", "0.1"), Usage("b", "0.000000000000000002"), Usage("c", "7")
NOW = START + timedelta(hours=8.5)
MINUS, FAILED = "\u2212", "\u00d7"
ONE = "0.100000000000000002"  # A and B


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opener(project: Project) -> Callable[[], AbstractContextManager[Warehouse]]:
    target = read_target(None, None, project.environment())
    return lambda: open_warehouse(target, 0, print)


@contextmanager
def page_of(
    project: Project, streams: list[Stream], now: datetime = NOW, since: datetime | None = None, fresh: float = 0
) -> Iterator[str]:
    """A tiny app with nothing but the page, on loopback."""
    app = FastAPI()
    app.include_router(
        make_router(
            opener(project), streams, require_key=lambda: None, since=since, now=lambda: now, fresh_seconds=fresh
        )
    )
    with served(app) as url:
        yield url


@pytest.fixture
def stream(warehouse: BuiltWarehouse, anycost: SandboxServer) -> Stream:
    warehouse.project.settings = credentials(anycost)
    return Stream(CONNECTION, anycost.url)


@pytest.fixture
def pushed(warehouse: BuiltWarehouse, stream: Stream) -> BuiltWarehouse:
    """Hours in every state, over the end of a month.

    From START: 0 to 2 sent, 3 late, 4 refused when it was sent again, 5 never sent, 6 shrunk, 7 not summed since its
    end, 8 running, 9 to come.
    """
    warehouse.put({number: [A, B] for number in (0, 1, 2, 3, 4, 6)})
    assert warehouse.project.loader("push", "--window", "pending", "--settle-for", "0s").code == 0
    warehouse.put({3: [A, B, C], 5: [A, B], 6: [A], 7: [A]})
    warehouse.project.write(f"update cbf.cbf_as_of set built_at = timestamp '{START + 7 * HOUR:%Y-%m-%d %H:%M:%S}'")
    target = read_target(None, None, warehouse.project.environment())
    with open_for_push(target, stream, 0, 0, print) as opened:
        log = PushLog(opened, stream)
        log.begin()
        fingerprint = opened.hours()[4].fingerprint
        log.append(
            [Entry(START + 4 * HOUR, fingerprint, 2, Decimal(ONE), 9)],
            "replace_hourly",
            REFUSED,
            detail="no <b>room</b>",
        )
    return warehouse


def overview(url: str) -> dict[str, Any]:
    reply = requests.get(f"{url}/api/overview", timeout=60)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def states(answer: dict[str, Any]) -> dict[int, str]:
    """Hour from START → state, of those that are neither to come nor without usage."""
    cells = answer["overview"]["streams"][0]["calendar"]
    numbers = {f"{START + n * HOUR:%Y-%m-%dT%H:%M:%SZ}": n for n in range(-1000, 100)}
    return {numbers[cell["hour"]]: cell["state"] for cell in cells if cell["state"] not in ("none", "future")}


EXPECTED = {
    0: "sent", 1: "sent", 2: "sent", 3: "changed", 4: "failed", 5: "pending", 6: "held_back", 7: "incomplete",
    8: "incomplete",
}  # fmt: skip


def test_totals_states_and_pushes_for_known_data(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(pushed.project, [stream]) as url, visit(browser, url) as seen:
        answer = overview(url)
        (one,) = answer["overview"]["streams"]
        month, days = one["totals"]
        # Hours 4, 5 and 6 are November's; hour 7 is not complete.
        assert (month["name"], month["source"], month["lines"]) == (
            "November 2026",
            "0.300000000000000004",
            "0.300000000000000004",
        )
        assert (month["sent"], month["sent_difference"], month["lines_difference"]) == (
            "0.200000000000000004",
            "-0.1",
            "0",
        )
        assert (days["source"], days["sent"], days["sent_difference"]) == (
            "7.700000000000000012",
            "0.600000000000000012",
            "-7.1",
        )
        assert (month["agree"], days["agree"], days["findings"]) == (False, False, ["$7.1 not sent yet"])
        assert states(answer) == EXPECTED
        assert len(one["calendar"]) == 31 * 24
        assert one["calendar"][-1]["state"] == "future"

        # The same, as a reader sees it.
        assert seen.text("#totals-head") == "≠ $7.10 is not at CloudZero yet: Last 7 days"
        assert seen.texts("#findings li")[1] == "Last 7 days: $7.1 not sent yet."
        assert seen.texts(".period:nth-child(2) dl > div") == [
            "Source $7.700000000000000012",
            "=",
            "Lines $7.700000000000000012",
            f"{MINUS}$7.10",
            "Sent $0.600000000000000012",
        ]
        shown = seen.page.evaluate(
            "[...document.querySelectorAll('#calendar td.hour')].map(cell =>"
            " [cell.dataset.hour, cell.dataset.state, cell.title, cell.textContent])"
        )
        told = {hour: (state, title, sign) for hour, state, title, sign in shown}
        for number, state in EXPECTED.items():
            assert told[f"{START + number * HOUR:%Y-%m-%dT%H:%M:%SZ}"][0] == state
        late, refused = told["2026-10-31T23:00:00Z"], told["2026-11-01T00:00:00Z"]
        assert late[1:] == (
            f"31 Oct 23:00 UTC, changed since sent: sent as ${ONE}, $7.10 in 3 lines",
            "~",
        )
        assert refused[1:] == ("1 Nov 00:00 UTC, failed: CloudZero refused it, $0.10 in 2 lines", FAILED)
        # Every state that is not fine has a sign of its own, so that nobody needs the colours.
        signs = Counter(sign for state, _, sign in told.values() if state not in ("sent", "none"))
        assert signs == {"~": 1, FAILED: 1, "+": 1, "!": 1, "/": 2}
        assert seen.text("#calendar-summary") == "1 failed, 1 held back, 1 changed since sent, 1 pending."

        # The last pushes, newest first, and the gauges.
        failed, sent = seen.texts("#pushes tbody tr")
        assert failed.endswith("failed 1 refused: no <b>room</b> 0 of 1 0 $0.00")
        assert sent.endswith("accepted 6 12 $0.60")
        assert [(each["month"], each["rows"]) for each in one["months"]] == [("2026-11", 4), ("2026-10", 8)]
        assert "8 of 1,000,000" in seen.text("#limits")

        # The chart's own words: by model, by team, tokens.
        assert seen.texts("#legend tbody tr") == ["gpt-4o $7.80 100 %"]
        seen.page.locator("#by span", has_text="Team").click()
        assert [row.split()[-3:] for row in seen.texts("#legend tbody tr")] == [
            ["$7.00", "90", "%"],
            ["$0.80", "10", "%"],
            ["$0.000000000000000012", "0.0", "%"],
        ]
        seen.page.locator("#measure span", has_text="Tokens").click()
        assert seen.text("#usage-head") == "Tokens by hour last 7 days, 30 tokens"
        assert seen.page.locator("#chart canvas").count() == 1
        assert len(seen.texts("#lines tbody tr")) == 15


def test_all_agree_once_all_is_sent(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    warehouse.put({number: [A, B] for number in range(6)})
    with page_of(warehouse.project, [stream]) as url, visit(browser, url) as seen:
        assert seen.text("#totals-head") == "≠ $0.60 is not at CloudZero yet: Last 7 days"
        seen.page.evaluate("window.before = document.querySelector('#lines tbody')")
        assert warehouse.project.loader("push", "--window", "pending", "--settle-for", "0s").code == 0
        seen.refresh()
        expect(seen.page.locator("#totals-head")).to_contain_text("to the last digit")
        assert seen.text("#calendar-summary") == "Every complete hour with usage is at CloudZero as it is now."
        # What has not changed was not made anew: nothing flickers.
        assert seen.page.evaluate("window.before === document.querySelector('#lines tbody')")
        # What is left out on purpose is said, and no difference.
        pushed = overview(url)["overview"]["streams"][0]["totals"][0]
        assert (pushed["agree"], pushed["left_out"], pushed["findings"]) == (True, "0", [])


def test_what_is_left_out_is_no_difference(warehouse: BuiltWarehouse, stream: Stream) -> None:
    warehouse.put({number: [A, B] for number in range(4, 6)})
    warehouse.project.write("update cbf.int_usage__hourly set provider = 'aws' where team_id = 'a'")
    warehouse.project.dbt("run", "--select", "cbf_lines", "cbf_hours", variables={"exclude_providers": ["aws"]})
    assert warehouse.project.loader("push", "--window", "pending", "--settle-for", "0s").code == 0
    with page_of(warehouse.project, [stream]) as url:
        month = overview(url)["overview"]["streams"][0]["totals"][0]
    assert (month["source"], month["left_out"], month["lines"]) == (
        "0.200000000000000004",
        "0.2",
        "0.000000000000000004",
    )
    assert month["agree"]
    assert month["findings"] == ["$0.2 of providers that are left out on purpose"]


def test_names_are_text_wherever_they_stand(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    evil = "<img src=x onerror=alert(1)>"
    warehouse.put({5: [Usage("<script>alert(2)</script>", "1", "<svg onload=alert(3)>")]})
    warehouse.project.write(f"update cbf.int_usage__hourly set model = '{evil}', cloud_provider = '{evil}'")
    with page_of(warehouse.project, [stream]) as url, visit(browser, url) as seen:
        assert evil in seen.text("#legend")
        assert evil in seen.text("#lines")
        seen.page.locator("#chart .u-over").hover(position={"x": 500, "y": 50})
        seen.page.locator("#by span", has_text="Team").click()
        assert "<svg onload=alert(3)>" in seen.text("#legend")
        inside = "document.querySelectorAll('main img, main script, main svg, [onerror], [onload]').length"
        assert seen.page.evaluate(inside) == 0
        # An inline script that got in all the same would not run.
        policy = requests.get(url, timeout=30).headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_no_width_scrolls_sideways(pushed: BuiltWarehouse, stream: Stream, browser: Browser, width: int) -> None:
    name = "bedrock/" + "a-very-long-model-name-without-any-blank" * 4
    pushed.project.write(f"update cbf.int_usage__hourly set model = '{name}', team_alias = '{name}'")
    with page_of(pushed.project, [stream]) as url, visit(browser, url, width=width) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = (
            "[...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll, .hidden, .tip, .minor') &&"
            f" each.getBoundingClientRect().right > {width}).map(each => each.outerHTML.slice(0, 80))"
        )
        assert seen.page.evaluate(beyond) == []


@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_dark_and_light_and_the_keyboard(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    def luminance(colour: str) -> float:
        red, green, blue = (
            ((value / 255) / 12.92) if value <= 10 else (((value / 255) + 0.055) / 1.055) ** 2.4
            for value in map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    with page_of(pushed.project, [stream]) as url:
        for scheme in ("light", "dark"):
            with visit(browser, url, scheme=scheme) as seen:
                style = "selector => getComputedStyle(document.querySelector(selector))"
                paper = luminance(seen.page.evaluate(f"({style})('body').backgroundColor"))
                assert (paper > 0.9) == (scheme == "light")
                for selector in ("body", ".quiet", "#findings", ".verdict .mark", "#pushes .bad", "#pushes .ok"):
                    ink = luminance(seen.page.evaluate(f"({style})('{selector}').color"))
                    ratio = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
                    assert ratio >= 4.5, (scheme, selector, ratio)

        with visit(browser, url) as seen:
            # One tab stop for all hours, then the arrow keys.
            assert seen.page.locator("#calendar [tabindex='0']").count() == 1
            seen.page.locator("#calendar [tabindex='0']").focus()
            assert seen.text("#cell").startswith("1 Nov 04:00 UTC, incomplete: it is still running")
            seen.page.keyboard.press("ArrowLeft")
            assert seen.text("#cell").startswith("1 Nov 03:00 UTC, incomplete: it has ended, but dbt has not run since")
            seen.page.keyboard.press("ArrowDown")
            assert seen.text("#cell") == "31 Oct 03:00 UTC, no usage"
            # Each control and table has a name.
            names = seen.page.evaluate(
                "[...document.querySelectorAll('input')].map(each => each.labels[0]?.textContent.trim())"
            )
            assert names == ["Cost", "Tokens", "Model", "Team"]
            assert seen.page.locator("#chart").get_attribute("aria-label") is not None
            assert seen.page.locator("[role=meter]").first.get_attribute("aria-valuetext") is not None


# Tokens → what the page says of them.
SHORT = {
    0: "0", 7: "7", 10: "10", 100: "100", 999: "999", 1_000: "1k", 1_004: "1k", 1_005: "1.01k", 1_500: "1.5k", 10_000: "10k",
    12_340: "12.3k", 15_040: "15k", 100_000: "100k", 150_400: "150k", 999_499: "999k", 999_500: "1M", 999_999: "1M",
    1_000_000: "1M", 1_234_567: "1.23M", 200_000_000: "200M", 999_999_999: "1B", 100_000_000_000: "100B",
    1_000_000_000_000: "1000B",
}  # fmt: skip


def test_large_numbers_are_short_and_of_the_right_size(tmp_path: Path, browser: Browser) -> None:
    # Without a warehouse: the page's own file is all that is asked.
    with page_of(Project(tmp_path), []) as url, visit(browser, url) as seen:
        said = seen.page.evaluate(
            "numbers => import('/static/format.js').then(({ short }) => numbers.map(short))", list(SHORT)
        )
    assert dict(zip(SHORT, said, strict=True)) == SHORT


def test_an_empty_warehouse_says_so(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(warehouse.project, []) as url, visit(browser, url) as seen:
        assert seen.text("#problem").startswith("No usage yet: the models are built")
        assert seen.text("#totals-head") == "≠ Nothing was ever sent"
    with page_of(warehouse.project, [stream]) as url, visit(browser, url, width=375) as seen:
        assert "No usage to compare" in seen.text("#totals-head")
        assert seen.text("#no-usage") == "No line in the last 7 days."
        assert seen.texts("#lines td") == ["No line in the last 7 days."]
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 375


def test_models_that_are_not_built_are_said_in_a_sentence(warehouse: BuiltWarehouse, browser: Browser) -> None:
    warehouse.project.write("drop table cbf.cbf_as_of cascade")
    with page_of(warehouse.project, []) as url, visit(browser, url) as seen:
        said = seen.text("#problem")
        assert said.startswith("The warehouse cannot be read. The views are not in schema 'cbf'")
        assert "run dbt build with the same profile" in said
        assert said.endswith("There is nothing to show yet.")
        assert overview(url)["overview"] is None


def test_no_duckdb_file_at_all(tmp_path: Path, browser: Browser) -> None:
    with page_of(Project(tmp_path), []) as url, visit(browser, url) as seen:
        assert "does not exist or is not accessible: run dbt build" in seen.text("#problem")


@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_a_locked_file_shows_the_last_known(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(pushed.project, [stream]) as url, visit(browser, url) as seen:
        program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", program, str(pushed.project.duckdb_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout and holder.stdin
            assert holder.stdout.readline() == b"held\n"
            seen.refresh()
            seen.page.wait_for_selector("#problem:not([hidden])")
            said = seen.text("#problem")
            assert said.startswith("The warehouse is in use. The DuckDB file")
            assert said.endswith("What you see is of 1 Nov 04:30 UTC.")
            assert seen.page.locator("#calendar [data-state=changed]").count() == 1
            # Nothing was ever read: still a sentence.
            with page_of(pushed.project, [stream]) as other, visit(browser, other) as new:
                assert new.text("#problem").endswith("There is nothing to show yet.")
            holder.stdin.close()
        seen.refresh()
        seen.page.wait_for_selector("#problem", state="hidden")


def test_who_looks_meanwhile_gets_the_last_known_at_once(warehouse: BuiltWarehouse) -> None:
    opened, go_on = threading.Event(), threading.Event()
    go_on.set()

    @contextmanager
    def slow() -> Iterator[Warehouse]:
        opened.set()
        assert go_on.wait(60)
        with opener(warehouse.project)() as found:
            yield found

    overviews = Overviews(slow, [], lambda: NOW, fresh_seconds=0)
    first = overviews.answer()
    opened.clear()
    go_on.clear()
    reader = threading.Thread(target=overviews.answer)
    reader.start()
    assert opened.wait(60)
    assert overviews.answer() == first  # and the other one still waits
    go_on.set()
    reader.join()


def test_a_service_that_is_gone_is_said(warehouse: BuiltWarehouse, browser: Browser) -> None:
    warehouse.put({5: [A]})
    with visit_of_a_service_that_ends(warehouse, browser) as said:
        assert said == (
            "The service does not answer; it is asked again each minute. What you see is of 1 Nov 04:30 UTC."
        )


@contextmanager
def visit_of_a_service_that_ends(warehouse: BuiltWarehouse, browser: Browser) -> Iterator[str]:
    with page_of(warehouse.project, []) as url, visit(browser, url) as seen:
        seen.page.route("**/api/overview", lambda route: route.fulfill(status=204, body=""))
        seen.refresh()
        seen.page.wait_for_selector("#problem:not([hidden])")
        yield seen.text("#problem")


def test_nothing_older_than_since_is_missed(pushed: BuiltWarehouse, stream: Stream) -> None:
    with page_of(pushed.project, [stream], since=START + 5 * HOUR) as url:
        answer = overview(url)
    month, days = answer["overview"]["streams"][0]["totals"]
    assert month["start"] == days["start"] == answer["overview"]["since"] == "2026-11-01T01:00:00Z"
    assert {n: state for n, state in states(answer).items() if n < 5} == {
        0: "sent", 1: "sent", 2: "sent", 3: "before_since", 4: "before_since",
    }  # fmt: skip


def test_streams_are_those_that_were_ever_sent_to(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(pushed.project, []) as url:
        assert [each["connection_id"] for each in overview(url)["overview"]["streams"]] == [CONNECTION]
    other = Stream("other", "https://api.cloudzero.com")
    with page_of(pushed.project, [stream, other]) as url, visit(browser, url) as seen:
        seen.page.select_option("#stream", label="other at https://api.cloudzero.com")
        # To another stream nothing was sent: all complete hours are pending.
        assert seen.text("#calendar-summary") == "7 pending."
        assert seen.texts("#pushes td") == ["No push in the last 31 days."]


def test_every_read_is_bounded(pushed: BuiltWarehouse, stream: Stream) -> None:
    asked: list[tuple[str, int]] = []

    @contextmanager
    def spied() -> Iterator[Warehouse]:
        with opener(pushed.project)() as warehouse:
            rows = warehouse.rows

            def spy(statement: str, parameters: Any = ()) -> Iterator[tuple[Any, ...]]:
                asked.append((statement, len(parameters)))
                return rows(statement, parameters)

            warehouse.rows = spy  # type: ignore[method-assign]
            yield warehouse

    app = FastAPI()
    app.include_router(make_router(spied, [stream], lambda: None, now=lambda: NOW))
    with served(app) as url:
        overview(url)
        count = len(asked)
        overview(url)
        assert len(asked) == count, "within a minute nothing is read again"
    for statement, parameters in asked:
        # Neither raw logs nor a view over them; and of what grows with each request only a range of hours.
        assert not any(name in statement for name in ("spend_logs", '"stg_', '"base_', "reconciliation")), statement
        if any(name in statement for name in ('"int_usage__hourly"', '"cbf_lines"', '"push_log"')):
            assert parameters >= 2 or "limit 0" in statement, statement
    assert len(asked) < 30


def test_its_own_files_and_nothing_else_and_each_with_the_key(warehouse: BuiltWarehouse) -> None:
    def no_key() -> None:
        raise HTTPException(401, "no key")

    closed = FastAPI()
    closed.include_router(make_router(opener(warehouse.project), [], no_key))
    with served(closed) as url:
        for path in ("/", "/api/overview", "/static/page.js", "/static/nothing"):
            assert requests.get(url + path, timeout=30).status_code == 401, path

    with page_of(warehouse.project, []) as url:
        for name, media_type in MEDIA_TYPES.items():
            reply = requests.get(f"{url}/static/{name}", timeout=30)
            assert (reply.status_code, reply.headers["Content-Type"]) == (200, media_type)
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            known = {"If-None-Match": reply.headers["ETag"]}
            again = requests.get(f"{url}/static/{name}", headers=known, timeout=30)
            assert (again.status_code, again.content) == (304, b"")
        for path in ("index.html", "nothing.js", "..%2Fpage.py", "%2e%2e/page.py"):
            assert requests.get(f"{url}/static/{path}", timeout=30, allow_redirects=False).status_code in (404, 307), (
                path
            )
        folder = Path(__file__).parents[2] / "loader/service/static"
        assert {each.name for each in folder.iterdir()} == {*MEDIA_TYPES, "index.html"}
        assert requests.get(url, timeout=30).headers["Cache-Control"] == "no-store"
        described = requests.get(f"{url}/openapi.json", timeout=30).json()
        assert list(described["paths"]) == ["/api/overview"]
