"""The login form, which gives a browser its cookie. A single page without external resources."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from loader.service.auth import COOKIE, COOKIE_SECONDS, Authenticator
from loader.service.login_attempts import LoginAttempts

STYLE = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{max-width:56rem;margin:2rem auto;padding:0 1rem}form{display:flex;gap:.5rem;flex-wrap:wrap}"
    "input{flex:1 1 16rem}input,button{font:inherit;padding:.5rem}"
    "pre{overflow-x:auto;padding:.75rem;border:1px solid;border-radius:.4rem}td{padding-right:1rem;vertical-align:top}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` the browser would send `Origin: null` with the form
    "Cache-Control": "no-store",
}
FORM = """<h1>litellm-cbf</h1>
<form method="post" action="/login"><input type="password" name="key" aria-label="Key" placeholder="LOADER_MASTER_KEY"
autocomplete="current-password" required autofocus><button>Log in</button></form>"""


def html_page(
    body: str, title: str = "litellm-cbf", status: int = 200, headers: dict[str, str] | None = None
) -> HTMLResponse:
    """A small HTML page: title and body are HTML, not text."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    text = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
    return HTMLResponse(text, status, HEADERS | (headers or {}))


def make_router(authenticator: Authenticator) -> APIRouter:
    """The routes `/login` and `/logout`."""
    router = APIRouter(include_in_schema=False)
    attempts = LoginAttempts()

    @router.get("/login")
    async def form() -> Response:
        return RedirectResponse("/", 303) if authenticator.is_disabled else html_page(FORM)

    @router.post("/login")
    async def login(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        host = request.client.host if request.client else ""
        if seconds := attempts.wait(host):
            # Before the key is looked at: otherwise the response would still say which key is right.
            text = f"{FORM}<p role='alert'>Too many wrong keys: try again in {seconds} s.</p>"
            return html_page(text, status=429, headers={"Retry-After": str(seconds)})
        if not authenticator.is_key(fields.get("key", [""])[0].strip()):
            attempts.failed(host)
            return html_page(f"{FORM}<p role='alert'>The key is wrong.</p>", status=401)
        response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
        response.set_cookie(
            COOKIE,
            authenticator.cookie(),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @router.get("/logout")
    async def logout() -> Response:
        response = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    return router
