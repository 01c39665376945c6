"""What a circuit breaker costs, as ratios within one run: `python -m benchmarks.circuit_breaker`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel

from benchmarks.core import best, line
from eip_ref.circuit_breaker import (
    BreakerOpen,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    LastCalls,
    LastSeconds,
    Policy,
)
from eip_ref.lab.clock import simulate

Work = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """The least that a call can do."""


async def a_turn() -> None:
    """The least that a call can do that gives others their turn, as every real call does."""
    await anyio.lowlevel.checkpoint()


async def bare(count: int, work: Work) -> None:
    for _ in range(count):
        await work()


async def through_a_breaker(count: int, work: Work, policy: Policy) -> None:
    protected = CircuitBreaker("payments", policy=policy)(work)
    for _ in range(count):
        await protected()


async def rejected(count: int) -> None:
    breaker = CircuitBreaker("payments")
    breaker.force_open()
    for _ in range(count):
        with suppress(BreakerOpen):
            await breaker.call(nothing)


def main() -> None:
    count = 20_000
    row, ring = ConsecutiveFailures(5), FailureRate(0.5, LastCalls(100))
    rolling = FailureRate(0.5, LastSeconds(60))
    empty = best(lambda: anyio.run(bare, count, nothing))
    turn = best(lambda: anyio.run(bare, count, a_turn))

    def protected(work: Work, policy: Policy, many: int = count) -> float:
        return best(lambda: anyio.run(through_a_breaker, many, work, policy))

    line("a call that does nothing", protected(nothing, row), count, "a bare await of it", empty)
    line("a call that takes a turn, failures in a row", protected(a_turn, row), count, "a bare await", turn)
    line("the same, rate over the last 100 calls", protected(a_turn, ring), count, "a bare await", turn)
    line("the same, rate over the last 60 seconds", protected(a_turn, rolling), count, "a bare await", turn)
    line("a rejected call", best(lambda: anyio.run(rejected, count)), count, "a bare await of a turn", turn)
    one, ten = protected(a_turn, rolling), protected(a_turn, rolling, 10 * count)
    line("ten times as many calls", ten, 10 * count, "the same, for one", 10 * one)
    listening = best(lambda: simulate(through_a_breaker, count, a_turn, row))
    line("a call in a simulation, with its trace", listening, count, "a bare await of a turn", turn)


if __name__ == "__main__":
    main()
