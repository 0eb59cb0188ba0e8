"""Who may ask: a bearer key, or for the page a cookie that was had for it."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from loader.config.settings import Secret

COOKIE = "litellm_cbf"
COOKIE_SECONDS = 7 * 24 * 3600
bearer = HTTPBearer(auto_error=False, description="LOADER_MASTER_KEY")


class Doorkeeper:
    """Lets in who has the key; everybody, when there is none, for then only loopback is served.

    The cookie holds a time and its signature by the key, so nothing is kept here, and another key ends all of them.
    """

    def __init__(self, key: Secret | None, clock: Callable[[], float] = time.time) -> None:
        self._key = key.reveal().encode() if key else None
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return self._key is None

    def __call__(
        self, request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)] = None
    ) -> None:
        """A dependency of FastAPI's.

        Raises:
            HTTPException: 401; for a browser, the way to the form.
        """
        if self.is_open or (given and self.is_key(given.credentials)):
            return
        # Never for a POST: a cookie comes along whoever made the browser ask.
        if request.method in ("GET", "HEAD") and self.is_cookie(request.cookies.get(COOKIE, "")):
            return
        if request.method == "GET" and not given and "text/html" in request.headers.get("Accept", ""):
            raise HTTPException(303, headers={"Location": "/login", "Cache-Control": "no-store"})
        what = "That is not the key" if given else "A key is needed"
        raise HTTPException(
            401, f"{what}: send `Authorization: Bearer …` with LOADER_MASTER_KEY.", {"WWW-Authenticate": "Bearer"}
        )

    def is_key(self, given: str) -> bool:
        """Whether it is the key, in a time that says nothing of it, not even its length."""
        if self._key is None:
            return False
        digests = (hashlib.sha256(each).digest() for each in (given.encode(), self._key))
        return hmac.compare_digest(*digests)

    def cookie(self) -> str:
        """A cookie's value, good for COOKIE_SECONDS."""
        return self._signed(int(self._clock()) + COOKIE_SECONDS)

    def is_cookie(self, value: str) -> bool:
        """Whether we gave it, and it is still good."""
        found = re.fullmatch(r"([0-9]{1,12})\.[0-9a-f]{64}", value)
        if self._key is None or found is None:
            return False
        return hmac.compare_digest(value, self._signed(int(found[1]))) and int(found[1]) > self._clock()

    def _signed(self, until: int) -> str:
        assert self._key is not None  # noqa: S101
        signature = hmac.new(self._key, f"litellm-cbf page until {until}".encode(), hashlib.sha256).hexdigest()
        return f"{until}.{signature}"
