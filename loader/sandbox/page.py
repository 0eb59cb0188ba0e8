"""The sandbox's state as one page: no script, no external assets."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 0 auto; padding: 1rem } h1 { font-size: 1.4rem }
h2 { font-size: 1.1rem; margin-top: 2rem }
div { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid #8884; white-space: nowrap }
th:first-child, td:first-child { text-align: left } meter { width: 6rem; vertical-align: middle }
"""


def page(state: dict[str, Any]) -> str:
    """The HTML page for a state as returned by `AnyCostSandbox.state`."""
    parts = ["<h1>AnyCost sandbox</h1><p>What was sent to this sandbox. As JSON: <a href='/state'>/state</a></p>"]
    if not state["streams"]:
        parts.append("<p>Nothing yet.</p>")
    for connection, months in state["streams"].items():
        for name, month in months.items():
            parts.append(f"<h2>{escape(connection)}, {escape(name)}</h2>")
            parts.append(
                f"<p>${escape(month['cost'])} in {month['rows']:,} rows, {month['bytes']:,} bytes.<br>"
                f"Rows {_meter(month['rows_of_limit'])}"
                f" bytes {_meter(month['bytes_of_limit'])} of the month's limit.</p>"
            )
            hours = [
                [start, f"{hour['rows']:,}", f"${hour['cost']}"] for start, hour in reversed(month["hours"].items())
            ]
            parts.append(_table(["hour (UTC)", "rows", "cost"], hours))
    counts = [[_words(kind), f"{count:,}"] for kind, count in state["trouble"].items() if count]
    if counts:
        parts.append("<h2>Faults injected</h2>" + _table(["kind", "requests"], counts))
    requests = [
        [
            each["at"],
            f"{each['method']} {each['path']}",
            f"{each['bytes']:,}",
            f"{each['rows']:,}",
            str(each["status"] or "none"),
            _words(each["trouble"]),
        ]
        for each in reversed(state["requests"])
    ]
    parts.append(
        f"<h2>Requests, newest first</h2><p>Rejected as concurrent: {state['concurrent_requests_seen']:,}.</p>"
        + _table(["at", "request", "bytes", "rows", "status", "fault"], requests)
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>AnyCost sandbox</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _meter(share: float) -> str:
    return f"<meter min='0' max='1' high='0.8' value='{share}'></meter> {share:.1%}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<div><table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table></div>"
