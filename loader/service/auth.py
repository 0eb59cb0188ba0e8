"""Authentication: a bearer key, or for browsers a signed cookie that is issued in exchange for it."""

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


class Authenticator:
    """Accepts requests with the master key or a valid cookie. Without a key every request passes (loopback only).

    The cookie is an expiry time with a signature made from the key. The service stores no sessions, and changing the
    key invalidates all cookies.
    """

    def __init__(self, key: Secret | None, clock: Callable[[], float] = time.time) -> None:
        self._key = key.reveal().encode() if key else None
        self._clock = clock

    @property
    def is_disabled(self) -> bool:
        """Whether there is no key, so that no request needs one."""
        return self._key is None

    def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)] = None
    ) -> None:
        """FastAPI dependency.

        Raises:
            HTTPException: 401; for a browser, 303 to the login form.
        """
        if self.is_disabled or (credentials and self.is_key(credentials.credentials)):
            return
        # Never for a POST: a browser attaches the cookie whichever page triggered the request.
        if request.method in ("GET", "HEAD") and self.is_cookie(request.cookies.get(COOKIE, "")):
            return
        if request.method == "GET" and not credentials and "text/html" in request.headers.get("Accept", ""):
            raise HTTPException(303, headers={"Location": "/login", "Cache-Control": "no-store"})
        problem = "The key is wrong" if credentials else "A key is required"
        raise HTTPException(
            401, f"{problem}: send `Authorization: Bearer …` with LOADER_MASTER_KEY.", {"WWW-Authenticate": "Bearer"}
        )

    def is_key(self, candidate: str) -> bool:
        """Whether this is the key. Takes the same time for every candidate, whatever its length."""
        if self._key is None:
            return False
        digests = (hashlib.sha256(each).digest() for each in (candidate.encode(), self._key))
        return hmac.compare_digest(*digests)

    def cookie(self) -> str:
        """A cookie value that is valid for COOKIE_SECONDS."""
        return self._signed(int(self._clock()) + COOKIE_SECONDS)

    def is_cookie(self, value: str) -> bool:
        """Whether this cookie was issued with the current key and has not expired."""
        match = re.fullmatch(r"([0-9]{1,12})\.[0-9a-f]{64}", value)
        if self._key is None or match is None:
            return False
        return hmac.compare_digest(value, self._signed(int(match[1]))) and int(match[1]) > self._clock()

    def _signed(self, expires: int) -> str:
        assert self._key is not None  # noqa: S101
        signature = hmac.new(self._key, f"litellm-cbf page until {expires}".encode(), hashlib.sha256).hexdigest()
        return f"{expires}.{signature}"
