"""Three stories for a fuse, of lesson 10a: the service is repaired, is still sick, and news come late.

A fuse has `ask()`, which gives a token for a call or None, and `done(token, ok)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio

from ...circuit_breaker import CallRejected, CircuitBreaker, Permit

__all__ = ["FromTheReference", "failed_before", "repaired", "still_sick"]

Ends = Counter[str]
SERVED, FAILED, REFUSED = "served", "failed", "refused"


class FromTheReference:
    """A breaker of the reference as a fuse; its permits are the tokens."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker

    def ask(self) -> Permit | None:
        try:
            return self._breaker.admit()
        except CallRejected:
            return None

    def done(self, permit: Permit, ok: bool) -> None:
        if ok:
            permit.success()
        else:
            permit.failure()


async def _through(fuse: Any, seconds: float, well: bool, ends: Ends) -> None:
    token = fuse.ask()
    if token is not None:
        await anyio.sleep(seconds)
        fuse.done(token, well)
    ends[REFUSED if token is None else SERVED if well else FAILED] += 1


async def _calls(fuse: Any, at: float, count: int, every: float, seconds: float, well: bool) -> Ends:
    """Make so many calls from `at` on, one every `every` seconds, and say how they ended."""
    ends: Ends = Counter()
    await anyio.sleep(at - anyio.current_time())
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(_through, fuse, seconds, well, ends)
            await anyio.sleep(every)
    return ends


async def repaired(make: Callable[[], Any]) -> Ends:
    """Three calls fail. A minute later the service is well, and 20 customers come."""
    fuse = make()
    await _calls(fuse, 0, 3, 1, 0.1, False)
    return await _calls(fuse, 60, 20, 1, 0.1, True)


async def still_sick(make: Callable[[], Any]) -> Ends:
    """Three calls fail within a second. At 12 s the service is still sick, and 20 customers come at once."""
    fuse = make()
    await _calls(fuse, 0, 3, 0.3, 0.1, False)
    return await _calls(fuse, 12, 20, 0, 1.0, False)


async def failed_before(make: Callable[[], Any]) -> Ends:
    """As before, but the call at 12 s is served. Three calls from the very start fail at 13 s.

    From 14 s on 8 customers come, and the service is well.
    """
    fuse = make()
    async with anyio.create_task_group() as group:
        group.start_soon(_calls, fuse, 0, 3, 0, 13.0, False)
        await _calls(fuse, 0, 3, 0.3, 0.1, False)
        await _calls(fuse, 12, 1, 0, 0.1, True)
    return await _calls(fuse, 14, 8, 0.5, 0.1, True)
