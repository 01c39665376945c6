"""Each mistake that breakers make is caught: by an experiment that measures it, or by an invariant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from eip_ref.circuit_breaker import (
    Breakers,
    Cached,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    HalfOpen,
    LastCalls,
    OpenDuration,
    Predicates,
    with_fallback,
)
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.breaker import breaker_legality
from tests.broken import circuit_breaker as broken

Experiment = Callable[[Any], Awaitable[object]]
MINUTE = 60.0


async def away() -> None:
    raise ConnectionError("nobody answers")


async def charge() -> str:
    await anyio.sleep(1)
    return "charged"


def made(make: Any, **settings: Any) -> CircuitBreaker:
    """Opens at the third failure in a row, for a minute."""
    settings.setdefault("policy", ConsecutiveFailures(3))
    half_open = HalfOpen(probe_timeout=10)
    breaker: CircuitBreaker = make(
        "payments", open_duration=OpenDuration(MINUTE), half_open=half_open, **settings
    )
    return breaker


async def let_in(breaker: CircuitBreaker) -> bool:
    try:
        await breaker.call(charge)
    except CallRejected:
        return False
    return True


async def opened(make: Any, **settings: Any) -> CircuitBreaker:
    breaker = made(make, **settings)
    for _ in range(3):
        breaker.admit().failure()
    return breaker


# The experiments: each returns what it saw


async def five_failures(make: Any) -> object:
    """The article's loop: five failures with a threshold of five."""
    breaker = CircuitBreaker("payments", policy=make(5))
    for _ in range(5):
        breaker.admit().failure()
    return breaker.state


async def what_is_said_about_a_failed_call(make: Any) -> object:
    """A call that was let in and failed, with an empty cache behind it."""
    protected = make(CircuitBreaker("payments"), away, Cached(max_age=60))
    try:
        return await protected()
    except ConnectionError:
        return "it failed"


async def callers_errors_and_departures(make: Any) -> object:
    """Three orders that are not valid, and three callers who give up."""
    breaker = made(make, predicates=Predicates(neutral=ValueError))
    for _ in range(3):
        with suppress(CallRejected):
            breaker.admit().judged(error=ValueError("no such order"))
        with anyio.move_on_after(0.5):
            await let_in(breaker)
    return breaker.state


async def an_hour_later(make: Any) -> object:
    """Open, and then an hour of virtual time."""
    breaker = await opened(make)
    await anyio.sleep(3600)
    return await let_in(breaker)


async def twenty_probes(make: Any) -> object:
    """Twenty calls at once on a half-open breaker that allows one."""
    breaker, came = await opened(make), []

    async def call() -> None:
        came.append(await let_in(breaker))

    await anyio.sleep(MINUTE + 1)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call)
    return sum(came)


async def stale_failures(make: Any) -> object:
    """Calls from before the outage that fail after the recovery."""
    breaker = made(make)
    slow = [breaker.admit() for _ in range(9)]
    for _ in range(3):
        breaker.admit().failure()
    await anyio.sleep(MINUTE + 1)
    await breaker.call(charge)
    for permit in slow:
        permit.failure()
    return breaker.state


async def stale_success(make: Any) -> object:
    """A call from before the outage that succeeds while the breaker is half-open."""
    breaker = made(make)
    slow = breaker.admit()
    for _ in range(3):
        breaker.admit().failure()
    await anyio.sleep(MINUTE + 1)
    breaker.admit()
    slow.success()
    return breaker.state


async def another_dependency(make: Any) -> object:
    """The payments are sick. The stock is not."""
    breakers = make(lambda name: CircuitBreaker(name, policy=ConsecutiveFailures(1)))
    breakers["payments"].admit().failure()
    return await let_in(breakers["stock"])


async def a_cancelled_probe(make: Any) -> object:
    """A caller gives up on the only probe; is there room for the next?"""
    breaker = await opened(make)
    await anyio.sleep(MINUTE + 1)
    with anyio.move_on_after(0.5):
        await breaker.call(charge)
    return await let_in(breaker)


async def a_busy_caller(make: Any) -> object:
    """One who tries every second; how long until it is let in?"""
    breaker, start = await opened(make), anyio.current_time()
    while not await let_in(breaker) and anyio.current_time() - start < 3600:
        await anyio.sleep(1)
    return round(anyio.current_time() - start)


async def a_success_that_completes_the_volume(make: Any) -> object:
    """Nine failures and a success, with a minimum of ten calls and a rate of a half."""
    breaker = made(make, policy=FailureRate(0.5, LastCalls(20), min_calls=10))
    for _ in range(9):
        breaker.admit().failure()
    breaker.admit().success()
    return breaker.state


async def one_failure_after_recovery(make: Any) -> object:
    """Open, half-open, closed, and then a single failure among those before."""
    breaker = await opened(make)
    await anyio.sleep(MINUTE + 1)
    await breaker.call(charge)
    breaker.admit().failure()
    return breaker.state


async def at_the_instant(make: Any) -> object:
    """A call at the very end of the open time."""
    breaker = await opened(make)
    await anyio.sleep(MINUTE)
    return await let_in(breaker)


async def a_lost_probe(make: Any) -> object:
    """A probe that is never settled, and an hour."""
    breaker = await opened(make)
    await anyio.sleep(MINUTE + 1)
    breaker.admit()
    await anyio.sleep(3600)
    return await let_in(breaker)


async def a_broken_pager(make: Any) -> object:
    """A callback that raises."""

    def page(change: object) -> None:
        raise RuntimeError("the pager is broken")

    try:
        return (await opened(make, on_change=page)).state
    except RuntimeError as error:
        return str(error)


async def what_the_callback_finds(make: Any) -> object:
    """The state of the breaker while the callback runs."""
    found: list[str] = []
    breaker: CircuitBreaker = made(make, on_change=lambda change: found.append(breaker.state))
    for _ in range(3):
        breaker.admit().failure()
    return found


CASES: list[tuple[Any, Any, Experiment, object]] = [
    (ConsecutiveFailures, broken.OpensAtMoreThan, five_failures, "open"),
    (with_fallback, broken.ClaimsACache, what_is_said_about_a_failed_call, "it failed"),
    (CircuitBreaker, broken.CountsTheCallersErrors, callers_errors_and_departures, "closed"),
    (CircuitBreaker, broken.WallClock, an_hour_later, True),
    (CircuitBreaker, broken.FreeForAll, twenty_probes, 1),
    (CircuitBreaker, broken.CountsStaleResults, stale_failures, "closed"),
    (CircuitBreaker, broken.CountsStaleResults, stale_success, "half-open"),
    (Breakers, broken.OneForAll, another_dependency, True),
    (CircuitBreaker, broken.KeepsTheSlot, a_cancelled_probe, True),
    (CircuitBreaker, broken.CountsRejections, a_busy_caller, 62),
    (CircuitBreaker, broken.LooksAtFailuresOnly, a_success_that_completes_the_volume, "open"),
    (CircuitBreaker, broken.KeepsItsCounts, one_failure_after_recovery, "closed"),
    (CircuitBreaker, broken.OpensUpTooEarly, at_the_instant, False),
    (CircuitBreaker, broken.WaitsForLostProbes, a_lost_probe, True),
    (CircuitBreaker, broken.LetsCallbacksFailTheCall, a_broken_pager, "open"),
    (CircuitBreaker, broken.TellsTooEarly, what_the_callback_finds, ["open"]),
]
NAMES = [f"{mistake.__name__}-{experiment.__name__}" for _, mistake, experiment, _ in CASES]


@pytest.mark.parametrize(("ours", "mistake", "experiment", "right"), CASES, ids=NAMES)
def test_every_mistake_is_caught(ours: Any, mistake: Any, experiment: Experiment, right: object) -> None:
    """The same experiment gives the right answer with our breaker, and another with the broken one."""
    assert simulate(partial(experiment, ours)).result == right
    assert simulate(partial(experiment, mistake)).result != right


@pytest.mark.parametrize(
    ("mistake", "experiment", "words"),
    [
        (broken.FreeForAll, twenty_probes, "half-open with 1 unsettled call (payments#4); the limit is 1"),
        (broken.CountsStaleResults, stale_failures, "that result was stale"),
        (broken.CountsStaleResults, stale_success, "that result was stale"),
    ],
)
def test_the_invariant_sees_it_in_the_trace(mistake: Any, experiment: Experiment, words: str) -> None:
    """It names the call, and holds on the trace of our breaker."""
    assert breaker_legality(simulate(partial(experiment, CircuitBreaker))) == []
    findings = breaker_legality(simulate(partial(experiment, mistake)))
    assert words in findings[0].words
