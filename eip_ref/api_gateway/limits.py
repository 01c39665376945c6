"""Limits: how often a client may ask, and how many calls may be under way at a time."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from .. import values
from ..backpressure import TokenBucket
from ..bounded import LastN
from ..trace import Kind, record
from .edge import Header
from .errors import BulkheadFull, Overloaded, RateLimited

__all__ = ["Bulkhead", "LoadShedder", "RateLimit"]

_ROUNDING = 1e-9


class RateLimit:
    """At most `rate` requests a second of each client in the long run, and `burst` at once.

    `max_clients` are remembered, those that asked last. One that is forgotten begins anew with a full
    bucket, so let there be more of them than may ask in the time in which a bucket fills.
    """

    def __init__(self, *, rate: float, burst: int, max_clients: int = 10_000) -> None:
        self._rate = values.rate("rate", rate)
        self._burst = values.count("burst", burst)
        self._buckets = LastN[str, TokenBucket](values.count("max_clients", max_clients))

    def __len__(self) -> int:
        """The number of clients that are remembered."""
        return len(self._buckets)

    def check(self, client: str) -> None:
        """Count one request of the client. Raises `RateLimited` when it has asked too often."""
        bucket = self._bucket(client)
        try:
            bucket.take_nowait()
        except anyio.WouldBlock:
            raise RateLimited(client, (1 - bucket.tokens) / self._rate) from None

    def headers(self, client: str) -> list[Header]:
        """The limit, and what is left of it for the client, in the fields of the IETF's draft.

        They are those of draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4: `q` requests in `w`
        seconds, of which `r` are left for the next `t` seconds.
        """
        tokens = self._bucket(client).tokens
        left = max(0, math.floor(tokens + _ROUNDING))
        window, until_next = self._burst / self._rate, (left + 1 - tokens) / self._rate
        return [
            ("ratelimit-policy", f'"client";q={self._burst};w={math.ceil(window)}'),
            ("ratelimit", f'"client";r={left};t={math.ceil(until_next - _ROUNDING)}'),
        ]

    def _bucket(self, client: str) -> TokenBucket:
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = TokenBucket(f"limit of {client}", rate=self._rate, burst=self._burst)
            self._buckets[client] = bucket
        self._buckets.move_to_end(client)
        return bucket


class Bulkhead:
    """At most `max_concurrent` calls to one backend at a time, and `max_waiting` more that wait for a place.

    So a backend that hangs fills its own compartment, and not the whole ship.
    """

    def __init__(self, name: str, *, max_concurrent: int = 10, max_waiting: int = 0) -> None:
        self.name = values.name("name", name)
        self.max_concurrent = values.count("max_concurrent", max_concurrent)
        self._places = anyio.Semaphore(max_concurrent, fast_acquire=True)
        self._max_waiting = values.count("max_waiting", max_waiting, minimum=0)
        self._waiting = 0

    @property
    def under_way(self) -> int:
        """The number of calls that have a place now."""
        return self.max_concurrent - self._places.value

    @asynccontextmanager
    async def place(self, message: str = "") -> AsyncIterator[None]:
        """A place for as long as the block runs. Raises `BulkheadFull` at once when nothing is to be had."""
        if not self._places.value and self._waiting >= self._max_waiting:
            record(Kind.REFUSED, self.name, message, reason="bulkhead full")
            raise BulkheadFull(f"{self.name} has {self.max_concurrent} calls under way and may not have more")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


class LoadShedder:
    """Turns work away at the door when too many requests are under way: quicker than to fail it later."""

    def __init__(self, *, max_concurrent: int = 100) -> None:
        self._at_most = values.count("max_concurrent", max_concurrent)
        self.under_way = 0  #: now

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Let one request in. Raises `Overloaded` when there are too many."""
        if self.under_way >= self._at_most:
            raise Overloaded(f"{self._at_most} requests are under way; this one was not begun")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
