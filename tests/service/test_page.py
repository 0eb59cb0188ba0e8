"""The page in a real browser, on a warehouse that is partly pushed to the sandbox."""

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
from loader.service.page import MEDIA_TYPES, OverviewCache, make_router
from loader.warehouse.base import Warehouse, open_for_push, open_warehouse
from tests.service.browser import chromium, open_page, served
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
    """Serve an app with only the page on loopback; yields its URL."""
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
    """Hours in every state, across the end of a month.

    From START: 0 to 2 sent, 3 changed since, 4 refused when sent again, 5 never sent, 6 cheaper than when sent,
    7 ended after the last dbt run, 8 in progress, 9 in the future.
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
    """The state of each hour, counted from START, without future hours and hours without usage."""
    cells = answer["overview"]["streams"][0]["calendar"]
    numbers = {f"{START + n * HOUR:%Y-%m-%dT%H:%M:%SZ}": n for n in range(-1000, 100)}
    return {numbers[cell["hour"]]: cell["state"] for cell in cells if cell["state"] not in ("none", "future")}


EXPECTED = {
    0: "sent",
    1: "sent",
    2: "sent",
    3: "changed",
    4: "failed",
    5: "pending",
    6: "held_back",
    7: "incomplete",
    8: "incomplete",
}


def test_totals_states_and_pushes(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(pushed.project, [stream]) as url, open_page(browser, url) as visit:
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

        # The same on the page.
        assert visit.text("#totals-head") == "≠ $7.10 not sent to CloudZero yet: Last 7 days"
        assert visit.texts("#findings li")[1] == "Last 7 days: $7.1 not sent yet."
        assert visit.texts(".period:nth-child(2) dl > div") == [
            "Source $7.700000000000000012",
            "=",
            "Lines $7.700000000000000012",
            f"{MINUS}$7.10",
            "Sent $0.600000000000000012",
        ]
        shown = visit.page.evaluate(
            "[...document.querySelectorAll('#calendar td.hour')].map(cell =>"
            " [cell.dataset.hour, cell.dataset.state, cell.title, cell.textContent])"
        )
        cells = {hour: (state, title, sign) for hour, state, title, sign in shown}
        for number, state in EXPECTED.items():
            assert cells[f"{START + number * HOUR:%Y-%m-%dT%H:%M:%SZ}"][0] == state
        late, refused = cells["2026-10-31T23:00:00Z"], cells["2026-11-01T00:00:00Z"]
        assert late[1:] == (
            f"31 Oct 23:00 UTC, changed since sent: sent as ${ONE}, $7.10 in 3 lines",
            "~",
        )
        assert refused[1:] == ("1 Nov 00:00 UTC, failed: CloudZero refused it, $0.10 in 2 lines", FAILED)
        # Every state that needs attention has its own sign, so that the colours are not needed.
        signs = Counter(sign for state, _, sign in cells.values() if state not in ("sent", "none"))
        assert signs == {"~": 1, FAILED: 1, "+": 1, "!": 1, "/": 2}
        assert visit.text("#calendar-summary") == "1 failed, 1 held back, 1 changed since sent, 1 pending."

        # The latest pushes, newest first, and the gauges.
        failed, sent = visit.texts("#pushes tbody tr")
        assert failed.endswith("failed 1 refused: no <b>room</b> 0 of 1 0 $0.00")
        assert sent.endswith("accepted 6 12 $0.60")
        assert [(each["month"], each["rows"]) for each in one["months"]] == [("2026-11", 4), ("2026-10", 8)]
        assert "8 of 1,000,000" in visit.text("#limits")

        # The legend of the chart: by model, by team, tokens.
        assert visit.texts("#legend tbody tr") == ["gpt-4o $7.80 100%"]
        visit.page.locator("#by span", has_text="Team").click()
        assert [row.split()[-2:] for row in visit.texts("#legend tbody tr")] == [
            ["$7.00", "90%"],
            ["$0.80", "10%"],
            ["$0.000000000000000012", "0.0%"],
        ]
        visit.page.locator("#measure span", has_text="Tokens").click()
        assert visit.text("#usage-head") == "Tokens by hour last 7 days, 30 tokens"
        assert visit.page.locator("#chart canvas").count() == 1
        assert len(visit.texts("#lines tbody tr")) == 15


def test_totals_agree_once_everything_is_sent(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    warehouse.put({number: [A, B] for number in range(6)})
    with page_of(warehouse.project, [stream]) as url, open_page(browser, url) as visit:
        assert visit.text("#totals-head") == "≠ $0.60 not sent to CloudZero yet: Last 7 days"
        visit.page.evaluate("window.before = document.querySelector('#lines tbody')")
        assert warehouse.project.loader("push", "--window", "pending", "--settle-for", "0s").code == 0
        visit.refresh()
        expect(visit.page.locator("#totals-head")).to_contain_text("to the last digit")
        assert visit.text("#calendar-summary") == "CloudZero has the current lines of every complete hour."
        # Parts without changes are not rendered again, so that nothing flickers.
        assert visit.page.evaluate("window.before === document.querySelector('#lines tbody')")
        pushed = overview(url)["overview"]["streams"][0]["totals"][0]
        assert (pushed["agree"], pushed["left_out"], pushed["findings"]) == (True, "0", [])


def test_excluded_providers_are_not_a_difference(warehouse: BuiltWarehouse, stream: Stream) -> None:
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
    assert month["findings"] == ["$0.2 of providers that the vars leave out"]


def test_rejected_requests_come_first_on_the_page(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    warehouse.put({number: [A, B] for number in range(4, 6)})
    assert warehouse.project.loader("push", "--window", "pending", "--settle-for", "0s").code == 0
    with page_of(warehouse.project, [stream]) as url, open_page(browser, url) as visit:
        assert visit.text("#totals-head") == "= Source, lines and CloudZero agree to the last digit"
    warehouse.project.write(
        "insert into cbf.int_usage__rejected_hours (usage_hour, rejection_reason, request_count, cost_usd, example_request_id)"
        " values (timestamp '2026-10-31 20:00:00', 'no_cost', 1, 0, 'bad-1')"
    )
    with page_of(warehouse.project, [stream]) as url, open_page(browser, url) as visit:
        assert "1 request ($0) was rejected and not sent: 1 no_cost ($0), such as bad-1" in visit.text("#problem")
        assert "agree" not in visit.text("#totals-head")


def test_names_are_never_parsed_as_html(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    evil = "<img src=x onerror=alert(1)>"
    warehouse.put({5: [Usage("<script>alert(2)</script>", "1", "<svg onload=alert(3)>")]})
    warehouse.project.write(f"update cbf.int_usage__hourly set model = '{evil}', cloud_provider = '{evil}'")
    with page_of(warehouse.project, [stream]) as url, open_page(browser, url) as visit:
        assert evil in visit.text("#legend")
        assert evil in visit.text("#lines")
        visit.page.locator("#chart .u-over").hover(position={"x": 500, "y": 50})
        visit.page.locator("#by span", has_text="Team").click()
        assert "<svg onload=alert(3)>" in visit.text("#legend")
        inside = "document.querySelectorAll('main img, main script, main svg, [onerror], [onload]').length"
        assert visit.page.evaluate(inside) == 0
        # Even if an inline script got onto the page, it would not run.
        policy = requests.get(url, timeout=30).headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_no_horizontal_scrolling(pushed: BuiltWarehouse, stream: Stream, browser: Browser, width: int) -> None:
    name = "bedrock/" + "a-very-long-model-name-without-spaces" * 4
    pushed.project.write(f"update cbf.int_usage__hourly set model = '{name}', team_alias = '{name}'")
    with page_of(pushed.project, [stream]) as url, open_page(browser, url, width=width) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = (
            "[...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll, .hidden, .tip, .minor') &&"
            f" each.getBoundingClientRect().right > {width}).map(each => each.outerHTML.slice(0, 80))"
        )
        assert visit.page.evaluate(beyond) == []


@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_colour_schemes_contrast_and_keyboard(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    def luminance(colour: str) -> float:
        red, green, blue = (
            ((value / 255) / 12.92) if value <= 10 else (((value / 255) + 0.055) / 1.055) ** 2.4
            for value in map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    with page_of(pushed.project, [stream]) as url:
        for scheme in ("light", "dark"):
            with open_page(browser, url, scheme=scheme) as visit:
                style = "selector => getComputedStyle(document.querySelector(selector))"
                paper = luminance(visit.page.evaluate(f"({style})('body').backgroundColor"))
                assert (paper > 0.9) == (scheme == "light")
                for selector in ("body", ".quiet", "#findings", ".verdict .mark", "#pushes .bad", "#pushes .ok"):
                    ink = luminance(visit.page.evaluate(f"({style})('{selector}').color"))
                    ratio = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
                    assert ratio >= 4.5, (scheme, selector, ratio)

        with open_page(browser, url) as visit:
            # All hours are one tab stop; the arrow keys move between them.
            assert visit.page.locator("#calendar [tabindex='0']").count() == 1
            visit.page.locator("#calendar [tabindex='0']").focus()
            assert visit.text("#cell").startswith("1 Nov 04:00 UTC, incomplete: it has not ended yet")
            visit.page.keyboard.press("ArrowLeft")
            assert visit.text("#cell").startswith(
                "1 Nov 03:00 UTC, incomplete: it has ended, but dbt has not run since"
            )
            visit.page.keyboard.press("ArrowDown")
            assert visit.text("#cell") == "31 Oct 03:00 UTC, no usage"
            # Each control and table has a name.
            names = visit.page.evaluate(
                "[...document.querySelectorAll('input')].map(each => each.labels[0]?.textContent.trim())"
            )
            assert names == ["Cost", "Tokens", "Model", "Team"]
            assert visit.page.locator("#chart").get_attribute("aria-label") is not None
            assert visit.page.locator("[role=meter]").first.get_attribute("aria-valuetext") is not None


# Numbers of tokens and how the page shows them.
SHORT = {
    0: "0",
    7: "7",
    10: "10",
    100: "100",
    999: "999",
    1_000: "1k",
    1_004: "1k",
    1_005: "1.01k",
    1_500: "1.5k",
    10_000: "10k",
    12_340: "12.3k",
    15_040: "15k",
    100_000: "100k",
    150_400: "150k",
    999_499: "999k",
    999_500: "1M",
    999_999: "1M",
    1_000_000: "1M",
    1_234_567: "1.23M",
    200_000_000: "200M",
    999_999_999: "1B",
    100_000_000_000: "100B",
    1_000_000_000_000: "1000B",
}


def test_large_numbers_are_abbreviated(tmp_path: Path, browser: Browser) -> None:
    # No warehouse: only the static file is needed.
    with page_of(Project(tmp_path), []) as url, open_page(browser, url) as visit:
        shortened = visit.page.evaluate(
            "numbers => import('/static/format.js').then(({ short }) => numbers.map(short))", list(SHORT)
        )
    assert dict(zip(SHORT, shortened, strict=True)) == SHORT


def test_empty_warehouse_is_explained(warehouse: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(warehouse.project, []) as url, open_page(browser, url) as visit:
        assert visit.text("#problem").startswith("No usage yet: the models are built")
        assert visit.text("#totals-head") == "≠ Nothing has been sent yet"
    with page_of(warehouse.project, [stream]) as url, open_page(browser, url, width=375) as visit:
        assert "No usage to compare" in visit.text("#totals-head")
        assert visit.text("#no-usage") == "No lines in the last 7 days."
        assert visit.texts("#lines td") == ["No lines in the last 7 days."]
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 375


def test_missing_models_are_explained(warehouse: BuiltWarehouse, browser: Browser) -> None:
    warehouse.project.write("drop table cbf.cbf_as_of cascade")
    with page_of(warehouse.project, []) as url, open_page(browser, url) as visit:
        notice = visit.text("#problem")
        assert notice.startswith("The warehouse cannot be read. The views are not in schema 'cbf'")
        assert "run dbt build with the same profile" in notice
        assert notice.endswith("There is no earlier data to show.")
        assert overview(url)["overview"] is None


def test_missing_duckdb_file_is_explained(tmp_path: Path, browser: Browser) -> None:
    with page_of(Project(tmp_path), []) as url, open_page(browser, url) as visit:
        assert "does not exist: run dbt build" in visit.text("#problem")


@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_locked_duckdb_file_shows_the_previous_data(pushed: BuiltWarehouse, stream: Stream, browser: Browser) -> None:
    with page_of(pushed.project, [stream]) as url, open_page(browser, url) as visit:
        program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('locked', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", program, str(pushed.project.duckdb_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout and holder.stdin
            assert holder.stdout.readline() == b"locked\n"
            visit.refresh()
            visit.page.wait_for_selector("#problem:not([hidden])")
            notice = visit.text("#problem")
            assert notice.startswith("The warehouse is in use. The DuckDB file")
            assert notice.endswith("Showing data from 1 Nov 04:30 UTC.")
            assert visit.page.locator("#calendar [data-state=changed]").count() == 1
            # A service that never read the warehouse has nothing to show.
            with page_of(pushed.project, [stream]) as other, open_page(browser, other) as new:
                assert new.text("#problem").endswith("There is no earlier data to show.")
            holder.stdin.close()
        visit.refresh()
        visit.page.wait_for_selector("#problem", state="hidden")


def test_concurrent_readers_get_the_previous_overview_without_waiting(warehouse: BuiltWarehouse) -> None:
    opened, go_on = threading.Event(), threading.Event()
    go_on.set()

    @contextmanager
    def slow_open() -> Iterator[Warehouse]:
        opened.set()
        assert go_on.wait(60)
        with opener(warehouse.project)() as found:
            yield found

    overviews = OverviewCache(slow_open, [], lambda: NOW, fresh_seconds=0)
    first = overviews.get()
    opened.clear()
    go_on.clear()
    reader = threading.Thread(target=overviews.get)
    reader.start()
    assert opened.wait(60)
    assert overviews.get() == first  # while the other thread is still reading
    go_on.set()
    reader.join()


def test_unreachable_service_is_explained(warehouse: BuiltWarehouse, browser: Browser) -> None:
    warehouse.put({5: [A]})
    with notice_after_the_service_stops(warehouse, browser) as notice:
        assert notice == ("The service does not respond; retrying every minute. Showing data from 1 Nov 04:30 UTC.")


@contextmanager
def notice_after_the_service_stops(warehouse: BuiltWarehouse, browser: Browser) -> Iterator[str]:
    with page_of(warehouse.project, []) as url, open_page(browser, url) as visit:
        visit.page.route("**/api/overview", lambda route: route.fulfill(status=204, body=""))
        visit.refresh()
        visit.page.wait_for_selector("#problem:not([hidden])")
        yield visit.text("#problem")


def test_hours_before_since_do_not_count_as_missing(pushed: BuiltWarehouse, stream: Stream) -> None:
    with page_of(pushed.project, [stream], since=START + 5 * HOUR) as url:
        answer = overview(url)
    month, days = answer["overview"]["streams"][0]["totals"]
    assert month["start"] == days["start"] == answer["overview"]["since"] == "2026-11-01T01:00:00Z"
    assert {n: state for n, state in states(answer).items() if n < 5} == {
        0: "sent",
        1: "sent",
        2: "sent",
        3: "before_since",
        4: "before_since",
    }


def test_without_configuration_all_streams_of_the_push_log_are_shown(
    pushed: BuiltWarehouse, stream: Stream, browser: Browser
) -> None:
    with page_of(pushed.project, []) as url:
        assert [each["connection_id"] for each in overview(url)["overview"]["streams"]] == [CONNECTION]
    other = Stream("other", "https://api.cloudzero.com")
    with page_of(pushed.project, [stream, other]) as url, open_page(browser, url) as visit:
        visit.page.select_option("#stream", label="other at https://api.cloudzero.com")
        # Nothing was sent to this stream, so all complete hours are pending.
        assert visit.text("#calendar-summary") == "7 pending."
        assert visit.texts("#pushes td") == ["No pushes in the last 31 days."]


def test_every_query_is_bounded_and_reads_are_cached(pushed: BuiltWarehouse, stream: Stream) -> None:
    queries: list[tuple[str, int]] = []

    @contextmanager
    def recording() -> Iterator[Warehouse]:
        with opener(pushed.project)() as warehouse:
            rows = warehouse.rows

            def record(statement: str, parameters: Any = ()) -> Iterator[tuple[Any, ...]]:
                queries.append((statement, len(parameters)))
                return rows(statement, parameters)

            warehouse.rows = record  # type: ignore[method-assign]
            yield warehouse

    app = FastAPI()
    app.include_router(make_router(recording, [stream], lambda: None, now=lambda: NOW))
    with served(app) as url:
        overview(url)
        count = len(queries)
        overview(url)
        assert len(queries) == count, "read again within a minute"
    for statement, parameters in queries:
        # No spend logs and no view on them; and of tables that grow with each request only a range of hours, apart from
        # the URLs of one connection, which an index has.
        assert not any(name in statement for name in ("spend_logs", '"stg_', '"base_', "reconciliation")), statement
        if any(name in statement for name in ('"int_usage__hourly"', '"cbf_lines"', '"push_log"')):
            assert parameters >= 2 or "limit 0" in statement or "distinct api_url" in statement, statement
    assert len(queries) < 30


def test_static_files_are_served_with_the_key_and_nothing_else(warehouse: BuiltWarehouse) -> None:
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
