"""Choose the guard

Choose · medium · 3 points · 10 minutes

Answer: def guard(route)
Called: Your `guard(route)` for 'window', 'stock', 'payments', 'search' and 'addresses'. Each route is
    played with the guard of your choice.
Promised: Each route keeps what its line in the table asks for.
Hint: Take one line at a time. What goes wrong: too many at once, a slow answer, an error, or too much work?
Hint: Which of these calls may happen twice? For the others nothing that calls again is right, and nothing
    that makes one call of two.
Hint: Many ask for the same in one instant: one call will do. A slow answer is helped by a second call, an
    error by another try. Work beyond what can be done is helped only by turning some of it away.
Why: A guard helps against one thing. Sharing helps when many want the same, a hedge against a slow answer,
    a retry against an error that is over quickly, a limit against too much work. What must happen once gets
    none of them.

no-such-guard (ValueError): There is no such guard. There are "share", "hedge", "retry", "turn away" and
    "none".
paid-twice: Something was done twice that must be done once. The first call had done it, though its answer
    was slow or lost.
done-once-for-two: Two payments became one. They looked the same, and both were meant.
window-breaks: The shop window breaks. Its service bears ten calls at a time, and sixty come in one
    instant.
too-slow: Too many answers are slow. Nothing fails on this route: an answer comes, now and then much too
    late.
too-much-work: Answers come when their customers have left. What comes is more than can be done, and second
    calls make it more.
errors-shown: Customers see errors. With the next call they would be over.
turned-away: Customers are turned away. They could be served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import anyio

from ...api_gateway import (
    Backend,
    BackendFailed,
    Bulkhead,
    BulkheadFull,
    Coalescer,
    GatewayError,
    Hedging,
    RetryBudget,
)
from ...autograder import kit
from ...circuit_breaker import CircuitBreaker, ConsecutiveFailures
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "a_route"]

GUARDS = ("share", "hedge", "retry", "turn away", "none")
ROUTES = ("window", "stock", "payments", "search", "addresses")
NEVER = 10**6
LIMIT = 20  #: requests in hand, where some are turned away

Ask = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]


class Service:
    """A service as it is on one route: places, times, errors, and what it has done."""

    def __init__(self, route: str, seed: int) -> None:
        self.route, self.done = route, 0
        self._chance = Random(f"{route}/{seed}")
        self._places = anyio.Semaphore(10 if route in ("window", "search") else NEVER)
        self._calls = 0

    async def call(self) -> str:
        self._calls += 1
        mine = self._calls
        if self.route == "window" and not self._places.value:
            raise BackendFailed("more calls than it can bear")
        async with self._places:
            await anyio.sleep(self._takes(mine))
        if self.route == "addresses" and mine % 8 == 5:
            raise BackendFailed("a passing error")
        if self.route == "payments" and mine % 8 == 5:
            raise BackendFailed("it was done, and the connection broke")
        return "done"

    def _takes(self, number: int) -> float:
        slow = {"stock": 3.0, "payments": 1.0}.get(self.route, 0.1)
        return 0.5 if self.route == "search" else slow if number % 10 == 4 else 0.1


async def a_route(guard: kit.Answer, route: str, seed: int) -> None:
    """Play one route with its guard."""
    chosen = guard(route)
    if chosen not in GUARDS:
        raise ValueError(f"for {route!r} you return {chosen!r}; there are {', '.join(GUARDS)}")
    service, waits = Service(route, seed), list[list[Any]]()

    async def once() -> str:
        service.done += 1  # what has begun goes on, although nobody waits
        return await service.call()

    async with Coalescer(timeout=60) as coalescer:
        ask = _guarded(chosen, route, coalescer)

        async def customer(number: int) -> None:
            came, end = anyio.current_time(), "error"
            user = {"window": "the shop", "payments": f"user {number // 2}"}.get(route, f"user {number}")
            try:
                with anyio.move_on_after(4.0):
                    end = "too late"
                    await ask(user, once)
                    end = "answered"
            except BulkheadFull:
                end = "turned away"
            except GatewayError:
                end = "error"
            waits.append([end, round(anyio.current_time() - came, 3)])

        async with anyio.create_task_group() as group:
            for number, pause in enumerate(_arrivals(route, seed)):
                group.start_soon(customer, number)
                await anyio.sleep(pause)
    kit.write_down(route=route, guard=chosen, waits=waits, done=service.done)


def _arrivals(route: str, seed: int) -> Sequence[float]:
    """The pauses after each customer."""
    chance = Random(f"arrivals {route}/{seed}")
    if route == "window":
        return [0.0] * 60
    if route == "search":
        return [chance.uniform(0.015, 0.025) for _ in range(160)]  # 50 a second, and 20 can be done
    if route == "payments":  # 30 of them in one instant, two of each user
        return [0.0] * 30 + [chance.uniform(0.01, 0.02) for _ in range(10)]
    return [chance.uniform(0.15, 0.25) for _ in range(40)]


def _guarded(chosen: str, route: str, coalescer: Coalescer) -> Ask:
    backend = Backend(
        route,
        timeout=NEVER,
        max_concurrent=NEVER,
        pauses=[0.05, 0.1] if chosen == "retry" else [],
        hedging=Hedging(delay=0.3) if chosen == "hedge" else None,
        budget=RetryBudget(share=1.0, spare=NEVER) if chosen in ("retry", "hedge") else None,
        breaker=CircuitBreaker(f"{route} breaker", policy=ConsecutiveFailures(NEVER)),
    )
    door = Bulkhead("door", max_concurrent=LIMIT if chosen == "turn away" else NEVER)

    async def ask(user: str, call: Callable[[], Awaitable[Any]]) -> Any:
        async def through() -> Any:
            return await backend.call(call, idempotent=True)

        with door.place():
            return await coalescer.call(user, route, through) if chosen == "share" else await through()

    return ask


def judge(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE):
        if "route" in note.data:
            for mistake, words in _faults(**{k: v for k, v in note.data.items() if k != "text"}):
                yield kit.seen(
                    mistake, f"`{note.data['route']}`, guarded by “{note.data['guard']}”: {words}."
                )


def _faults(route: str, guard: str, waits: list[list[Any]], done: int) -> list[tuple[str, str]]:
    count = len(waits)
    ends = [end for end, _ in waits]
    found = []
    if route == "payments":
        if done > count:
            found.append(("paid-twice", f"{count} were asked for, and {done} were done"))
        if done < count and "turned away" not in ends:
            found.append(("done-once-for-two", f"{count} were asked for, and {done} were done"))
    answered, turned_away, errors = (ends.count(end) for end in ("answered", "turned away", "error"))
    quick = sum(end == "answered" and wait <= 0.6 for end, wait in waits)
    if route == "window" and answered < count:
        found.append(("window-breaks", f"{answered} of {count} saw the window"))
    if route == "stock" and quick < count:
        found.append(("too-slow", f"{quick} of {count} answers came within 0.6 s"))
    if route == "search" and ends.count("too late") > 0:
        found.append(
            ("too-much-work", f"{ends.count('too late')} of {count} customers had left before their answer")
        )
    if route == "addresses" and errors:
        found.append(("errors-shown", f"{errors} of {count} customers saw an error"))
    if route != "search" and turned_away:
        found.append(("turned-away", f"{turned_away} of {count} customers were turned away"))
    return found


EXERCISE = kit.exercise(
    __name__, __doc__, kit.cases(a_route, lambda seed: ROUTES, judge), judge, seeds=(1, 2)
)
