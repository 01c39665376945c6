"""Tuning as an experiment, of lesson 10b: calls at a steady rate, an outage, and a score of two numbers."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import anyio

from ...circuit_breaker import CallRejected, CircuitBreaker
from ...lab import Faults
from ...trace import Kind, Trace, acting, record

__all__ = ["Score", "score", "steady_calls"]

SERVICE = "service"


async def steady_calls(
    breaker: CircuitBreaker | None,
    every: float = 0.25,
    sick: tuple[float, float] = (0.0, 0.0),
    seconds: float = 120.0,
    errors: float = 0.0,
    takes: float = 0.1,
) -> None:
    """Make a call every `every` seconds. Between `sick` all fail, else a share `errors` by chance."""
    chance = Faults().random(SERVICE)

    async def work() -> None:
        ill = sick[0] <= anyio.current_time() < sick[1]
        unlucky = chance.random() < errors
        await anyio.sleep(takes)
        if ill or unlucky:
            raise ConnectionError("no answer")

    async def call() -> None:
        well, end = not sick[0] <= anyio.current_time() < sick[1], "failed"
        with suppress(ConnectionError):
            try:
                await (breaker.call(work) if breaker else work())
                end = "answered"
            except CallRejected:
                end = "refused"
        record(Kind.EFFECT, SERVICE, effect=end, well=well)

    async with anyio.create_task_group() as group:
        with acting("shop"):
            for _ in range(round(seconds / every)):
                group.start_soon(call)
                await anyio.sleep(every)


class Score(NamedTuple):
    """The two costs of a breaker. Less is better."""

    made_in_vain: int  #: calls that were made while the service was sick
    refused_in_vain: int  #: calls that were refused while the service was well

    def __str__(self) -> str:
        return f"{self.made_in_vain} made in vain, {self.refused_in_vain} refused in vain"


def score(trace: Trace) -> Score:
    """Count both from the trace of a run."""
    ends = [(event.data["effect"], event.data["well"]) for event in trace.filter(Kind.EFFECT)]
    made = sum(end != "refused" and not well for end, well in ends)
    return Score(made, sum(end == "refused" and well for end, well in ends))
