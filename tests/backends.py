"""Every promise is tested on two schedulers: asyncio in virtual time, and trio, which shuffles.

A test that is an `async def` runs on both (see `conftest.py`); one marked `@virtual_time_only` runs on
the first. `recorded()` is what has happened until then. A test that compares whole runs, or looks at
how one ends, takes `play` instead and is marked `@everywhere`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from eip_ref.lab.clock import simulate
from eip_ref.signal import alone
from eip_ref.trace import Trace, _recorder, recording

__all__ = [
    "Play",
    "Scenario",
    "everywhere",
    "in_two_runs",
    "on_asyncio",
    "on_trio",
    "on_virtual_asyncio",
    "recorded",
    "virtual_time_only",
]

Scenario = Callable[[], Awaitable[Any]]
Play = Callable[[Scenario], Trace]


def on_virtual_asyncio(scenario: Scenario) -> Trace:
    return simulate(scenario)


def on_asyncio(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """The test as one that runs on asyncio alone, in real time."""

    def run() -> None:
        anyio.run(test, backend="asyncio")

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def on_trio(scenario: Scenario) -> Trace:
    async def main() -> Trace:
        alone.set(True)
        with recording() as recorder, anyio.fail_after(1_000_000):
            result = await scenario()
        return Trace(recorder.events, result=result)

    return anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def in_two_runs(first: Callable[[], Any], second: Callable[[], Any]) -> None:
    """Each run has a clock of its own, and that of the second is far behind."""
    for scenario, start in ((first, 60_000.0), (second, 7_200.0)):
        clock = MockClock(autojump_threshold=0)
        clock.jump(start)
        trio.run(scenario, clock=clock)


def recorded() -> Trace:
    """The trace of the test that runs, up to here."""
    recorder = _recorder.get()
    assert recorder is not None
    return recorder.trace


SCHEDULERS = [on_virtual_asyncio, on_trio]
everywhere = pytest.mark.parametrize("play", SCHEDULERS)
virtual_time_only = pytest.mark.virtual_time_only
