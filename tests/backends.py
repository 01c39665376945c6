"""Every promise is tested on two schedulers: asyncio in virtual time, and trio, which shuffles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from eip_ref.lab.clock import simulate
from eip_ref.trace import Trace, recording

Scenario = Callable[[], Awaitable[Any]]
Play = Callable[[Scenario], Trace]


def on_virtual_asyncio(scenario: Scenario) -> Trace:
    return simulate(scenario)


def on_trio(scenario: Scenario) -> Trace:
    async def main() -> Trace:
        with recording() as recorder, anyio.fail_after(1_000_000):
            result = await scenario()
        return Trace(recorder.events, result=result)

    return anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


everywhere = pytest.mark.parametrize("play", [on_virtual_asyncio, on_trio])
