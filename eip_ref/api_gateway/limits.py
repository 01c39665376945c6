"""Limits: how often a client may ask, and how many calls may be under way at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from ..backpressure import TokenBucket
from ..trace import Kind, record
from .errors import BulkheadFull, Overloaded, RateLimited

__all__ = ["Bulkhead", "RateLimit", "Shedding"]


class RateLimit:
    """At most `rate` requests a second of each client in the long run, and `burst` at once.

    `clients` are remembered, those that asked last. One that is forgotten begins anew with a full
    bucket, so let `clients` be more than may ask in the time in which a bucket fills.
    """

    def __init__(self, *, rate: float, burst: int, clients: int = 10_000) -> None:
        if rate <= 0 or burst < 1 or clients < 1:
            raise ValueError(
                f"a rate limit needs a rate above 0, a burst of at least 1 and room for 1 client, "
                f"not {rate:g}, {burst} and {clients}"
            )
        self._rate = rate
        self._burst = burst
        self._clients = clients
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def check(self, client: str) -> None:
        """Count one request of the client. Raises `RateLimited` when it has asked too often."""
        bucket = self._buckets.pop(client, None)
        if bucket is None:
            bucket = TokenBucket(f"limit of {client}", rate=self._rate, burst=self._burst)
        self._buckets[client] = bucket
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        try:
            bucket.take_nowait()
        except anyio.WouldBlock:
            raise RateLimited(client, (1 - bucket.tokens) / self._rate) from None


class Bulkhead:
    """At most `at_most` calls to one backend at a time, and `waiting` more that wait for a place.

    So a backend that hangs fills its own compartment, and not the whole ship.
    """

    def __init__(self, name: str, *, at_most: int = 10, waiting: int = 0) -> None:
        if at_most < 1 or waiting < 0:
            raise ValueError(
                f"{name} needs room for at least 1 call, and 0 waiting; not {at_most}, {waiting}"
            )
        self.name = name
        self.at_most = at_most
        self._places = anyio.Semaphore(at_most, fast_acquire=True)
        self._may_wait = waiting
        self._waiting = 0

    @asynccontextmanager
    async def place(self, message: str = "") -> AsyncIterator[None]:
        """A place for as long as the block runs. Raises `BulkheadFull` at once when nothing is to be had."""
        if not self._places.value and self._waiting >= self._may_wait:
            record(Kind.REFUSED, self.name, message, reason="bulkhead full")
            raise BulkheadFull(f"{self.name} has {self.at_most} calls under way and may not have more")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


class Shedding:
    """Turns work away at the door when `at_most` requests are under way: quicker than to fail it later."""

    def __init__(self, *, at_most: int = 100) -> None:
        if at_most < 1:
            raise ValueError(f"at least 1 request must be let in, not {at_most}")
        self._at_most = at_most
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
