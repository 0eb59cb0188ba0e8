"""The OpenAPI description as an HTML page, without scripts or external resources."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

from loader.service.login import html_page


def docs_page(description: dict[str, Any]) -> HTMLResponse:
    """Render the page.

    Args:
        description: the OpenAPI description, as served by /openapi.json.
    """
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    parts = [
        f"<h1>{title}</h1><p>For programs: <a href='/openapi.json'>/openapi.json</a>. Send the key as"
        " <code>Authorization: Bearer …</code>.</p>"
    ]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>")
            parts += [_fields(schema) for schema in _bodies(operation, description)]
            parts.append(f"<table>{''.join(map(_response, operation['responses'].items()))}</table>")
    return html_page("".join(parts), title)


def _bodies(operation: dict[str, Any], description: dict[str, Any]) -> list[dict[str, Any]]:
    contents = operation.get("requestBody", {}).get("content", {}).values()
    names = [content["schema"]["$ref"].rpartition("/")[2] for content in contents]
    return [description["components"]["schemas"][name] for name in names]


def _fields(schema: dict[str, Any]) -> str:
    """The fields of a body: name, default, description."""
    rows = (
        f"<tr><td><code>{escape(name)}</code></td><td><code>{escape(json.dumps(field.get('default')))}</code></td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    )
    return f"<table>{''.join(rows)}</table><p>Responses:</p>"


def _response(response: tuple[str, dict[str, Any]]) -> str:
    status, details = response
    return f"<tr><td><code>{escape(status)}</code></td><td>{escape(details['description'])}</td></tr>"
