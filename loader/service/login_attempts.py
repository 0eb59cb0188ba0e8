"""Limits how many wrong keys the login form accepts."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from loader.service.addresses import client_network

MAX_NETWORKS = 1024  # beyond this number, the one that was seen longest ago is forgotten


@dataclass
class Failures:
    """Recent failures: each counts less over time and is forgotten after `limit * seconds`.

    Attributes:
        limit: how many failures in a row are allowed.
        seconds: the time after which one more is allowed.
    """

    limit: int
    seconds: float
    _count: float = 0.0
    _counted_at: float = 0.0

    def wait(self, now: float) -> int:
        """Whole seconds until the next attempt is allowed; 0 if it is allowed now."""
        surplus = self._current(now) - (self.limit - 1)
        return math.ceil(surplus * self.seconds) if surplus > 1e-9 else 0

    def add(self, now: float) -> None:
        """Count one more."""
        self._count, self._counted_at = self._current(now) + 1, now

    def _current(self, now: float) -> float:
        return max(0.0, self._count - (now - self._counted_at) / self.seconds)


class LoginAttempts:
    """Wrong keys, by the network of the client, and of all clients together.

    The second limit is for many addresses, and for addresses that a client makes up in X-Forwarded-For. While it is
    reached, nobody can log in for up to a second; the cookies of those who have logged in stay valid.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = Failures(limit=100, seconds=1.0)
        self._by_network: OrderedDict[str, Failures] = OrderedDict()

    def wait(self, host: str) -> int:
        """Whole seconds until a client may try a key; 0 if it may now."""
        now = self._clock()
        own = self._by_network.get(client_network(host))
        return max(self._all.wait(now), own.wait(now) if own else 0)

    def failed(self, host: str) -> None:
        """Count a wrong key."""
        network, now = client_network(host), self._clock()
        self._all.add(now)
        self._by_network.setdefault(network, Failures(limit=10, seconds=6.0)).add(now)
        self._by_network.move_to_end(network)
        if len(self._by_network) > MAX_NETWORKS:
            self._by_network.popitem(last=False)
