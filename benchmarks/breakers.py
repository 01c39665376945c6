"""Our circuit breaker beside those of other libraries: `python -m benchmarks.breakers`.

First three probes, each in real time: what happens when 20 callers come while one call is allowed, when
calls from before an outage fail after the recovery, and when a caller gives up. Then the cost of a call
through a closed breaker: beside the quickest of the libraries, each with its failures in a row, and ours
with its other policies too.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

from benchmarks.core import line, peer
from eip_ref.circuit_breaker import (
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    LastCalls,
    LastSeconds,
    OpenDuration,
    Policy,
    SlowCallRate,
)

aiobreaker, circuitbreaker, purgatory, pybreaker = map(
    peer, ("aiobreaker", "circuitbreaker", "purgatory", "pybreaker")
)

Work = Callable[[], Awaitable[None]]
Call = Callable[[Work], Awaitable[object]]

AIM = 1.5  # times as long as the quickest library, at most
FAILURES, OPEN = 3, 0.05
CALLERS = 20


def ours(policy: Policy | None = None) -> Call:
    policy = policy or ConsecutiveFailures(FAILURES)
    return CircuitBreaker("payments", policy=policy, open_duration=OpenDuration(OPEN)).call


def of_purgatory() -> Call:
    factory: Any = purgatory.AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=OPEN)

    async def call(work: Work) -> None:
        async with await factory.get_breaker("payments"):
            await work()

    return call


def of_aiobreaker() -> Call:
    breaker: Any = aiobreaker.CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=OPEN))
    call: Call = breaker.call_async
    return call


def of_circuitbreaker() -> Call:
    breaker: Any = circuitbreaker.CircuitBreaker(
        failure_threshold=FAILURES, recovery_timeout=OPEN, name="payments"
    )

    async def call(work: Work) -> None:  # as its decorator does; `call_async` alone turns nobody away
        if breaker.opened:
            raise circuitbreaker.CircuitBreakerError(breaker)
        await breaker.call_async(work)

    return call


def of_pybreaker() -> Call:
    breaker: Any = pybreaker.CircuitBreaker(fail_max=FAILURES, reset_timeout=OPEN)
    call: Call = breaker.call_async
    return call


MAKERS: dict[str, Callable[[], Call]] = {
    "eip_ref": ours,
    f"purgatory {version('purgatory')}": of_purgatory,
    f"circuitbreaker {version('circuitbreaker')}": of_circuitbreaker,
    f"pybreaker {version('pybreaker')}": of_pybreaker,
    f"aiobreaker {version('aiobreaker')}": of_aiobreaker,
}
POLICIES: dict[str, Policy] = {
    "rate of the last 100": FailureRate(0.5, LastCalls(100)),
    "rate of 60 s": FailureRate(0.5, LastSeconds(60)),
    "slow calls of the last 100": SlowCallRate(0.5, LastCalls(100), slow_after=1),
}


async def fails() -> None:
    raise ConnectionError


async def works() -> None:
    """A call that does nothing."""


async def long() -> None:
    await asyncio.sleep(60)


async def turn() -> None:
    await asyncio.sleep(0)


async def tried(call: Call, work: Work) -> bool:
    """Whether the call was let through and went well."""
    try:
        await call(work)
    except Exception:
        return False
    return True


async def opened(call: Call) -> None:
    for _ in range(FAILURES):
        await tried(call, fails)


async def probe_half_open(call: Call) -> str:
    """How many of 20 callers reach the sick service when the open time is over."""
    await opened(call)
    await asyncio.sleep(2 * OPEN)
    reached = 0

    async def slow() -> None:
        nonlocal reached
        reached += 1
        await asyncio.sleep(OPEN)

    await asyncio.gather(*(tried(call, slow) for _ in range(CALLERS)))
    return f"{reached} of {CALLERS} let in"


async def probe_stale(call: Call) -> str:
    """Calls that began before the outage fail after the recovery: does the breaker open for them?"""

    async def stale() -> None:
        await asyncio.sleep(4 * OPEN)
        raise ConnectionError

    old = [asyncio.create_task(tried(call, stale)) for _ in range(FAILURES + 1)]
    await asyncio.sleep(0)
    await opened(call)
    await asyncio.sleep(2 * OPEN)
    await tried(call, works)
    recovered = await tried(call, works)
    await asyncio.gather(*old)
    closed = await tried(call, works)
    return "stays closed" if recovered and closed else "opens again" if recovered else "did not recover"


async def probe_cancelled(call: Call) -> str:
    """A caller gives up while its call is the one probe: is the next caller let in?"""
    await opened(call)
    await asyncio.sleep(2 * OPEN)
    probe = asyncio.ensure_future(call(long))
    await asyncio.sleep(OPEN / 5)
    probe.cancel()
    with suppress(asyncio.CancelledError):
        await probe
    return "next one let in" if await tried(call, works) else "next one rejected"


async def probe_impatient(call: Call) -> str:
    """Many callers give up on a service that is well: does the breaker open?"""
    for _ in range(4 * FAILURES):
        with suppress(Exception):
            await asyncio.wait_for(call(long), 0.002)
    return "stays closed" if await tried(call, works) else "opens"


PROBES: dict[str, Callable[[Call], Awaitable[str]]] = {
    "20 callers, 1 allowed": probe_half_open,
    "stale failures": probe_stale,
    "the probe's caller gives up": probe_cancelled,
    "12 callers give up": probe_impatient,
}


def table() -> None:
    """Print what each breaker does in each probe."""
    print(f"{'':<24}" + "".join(f"{name:<30}" for name in PROBES))
    for name, make in MAKERS.items():
        said = [asyncio.run(_fresh(make, probe)) for probe in PROBES.values()]
        print(f"{name:<24}" + "".join(f"{words:<30}" for words in said))


async def _fresh(make: Callable[[], Call], probe: Callable[[Call], Awaitable[str]]) -> str:
    return await probe(make())


async def calls(count: int, make: Callable[[], Call], work: Work) -> None:
    call = make()
    for _ in range(count):
        await call(work)


def costs(count: int = 500, rounds: int = 100) -> None:
    """Print the cost of a call that takes a turn through each closed breaker, beside the quickest library.

    The rounds take turns, and the processor's time is counted, so that all meet the same machine.
    """
    others = {name: make for name, make in MAKERS.items() if make is not ours}
    rates = {f"eip_ref, {name}": partial(ours, policy) for name, policy in POLICIES.items()}
    makers: dict[str, Callable[[], Call]] = {"eip_ref": ours, **rates, **others}
    spent = dict.fromkeys(makers, math.inf)
    for _ in range(rounds):
        for name, make in makers.items():
            start = time.process_time()
            asyncio.run(calls(count, make, turn))
            spent[name] = min(spent[name], time.process_time() - start)
    quickest = min(others, key=spent.__getitem__)
    for name, seconds in spent.items():
        line(name, seconds, count, quickest, spent[quickest], AIM if name == "eip_ref" else None)


def main() -> None:
    for noisy in ("asyncio", "tornado.application"):  # some let the errors of the probes get lost
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", RuntimeWarning)  # others forget to await what they turn away
    table()
    print()
    costs()


if __name__ == "__main__":
    main()
