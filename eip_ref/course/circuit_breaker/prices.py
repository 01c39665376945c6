"""Prices while the price service is away, of lesson 10b: twenty questions, and a price that changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from ...circuit_breaker import (
    Cached,
    CircuitBreaker,
    ConsecutiveFailures,
    FailFast,
    OpenDuration,
    Predicates,
    SourcedValue,
    Unavailable,
    with_fallback,
)
from ...trace import Kind, Trace, record

__all__ = ["a_price_changes", "answers", "twenty_questions"]

Price = Callable[[str], Awaitable[int]]
Ask = Callable[[str], Awaitable[Any]]
PRICES = {"green": 10, "black": 12, "white": 15, "mate": 9}
TEAS = ("green", "black", "white", "moon")
LATER = ("green", "black", "white", "mate", "green", "black", "white", "green")


def _breaker() -> CircuitBreaker:
    return CircuitBreaker(
        "prices",
        policy=ConsecutiveFailures(3),
        open_duration=OpenDuration(10),
        predicates=Predicates(neutral=LookupError),
    )


async def twenty_questions(make: Callable[[CircuitBreaker, Price], Ask]) -> list[str]:
    """Ask for twenty prices, one every 1.5 s, with what `make(breaker, price)` makes; return what was said.

    From 5 s on the service is away. There is no tea of the moon: the service says `LookupError`.
    """

    async def price(tea: str) -> int:
        await anyio.sleep(0.1)
        if anyio.current_time() > 5:
            raise ConnectionError("nobody answers")
        if tea not in PRICES:
            raise LookupError(f"no {tea} tea")
        return PRICES[tea]

    ask, said = make(_breaker(), price), []
    for number in range(20):
        tea = TEAS[number] if number < 4 else LATER[number % len(LATER)]
        try:
            answer = _in_words(await ask(tea))
        except (Unavailable, ConnectionError, LookupError) as error:
            answer = f"{type(error).__name__}: {error}"
        said.append(f"{anyio.current_time():4.1f} s  {tea:6} {answer}")
        await anyio.sleep(number * 1.5 + 1.5 - anyio.current_time())
    return said


def _in_words(answer: object) -> str:
    if not isinstance(answer, SourcedValue):
        return str(answer)
    return f"{answer.value}, {answer.source}" + (f", {answer.age:.0f} s old" if answer.stale else "")


async def a_price_changes(max_age: float) -> None:
    """Ask for one price each second for 100 s. The service is away from 10 s to 85 s.

    At 32 s the price changes. A cached price is good for `max_age` seconds.
    """

    def true_price() -> int:
        return 10 if anyio.current_time() < 32 else 13

    async def price(tea: str) -> int:
        if 10 <= anyio.current_time() < 85:
            raise ConnectionError("nobody answers")
        return true_price()

    ask = with_fallback(_breaker(), price, Cached(max_age=max_age), FailFast("prices"))
    for _ in range(100):
        try:
            said = await ask("green")
            end = str(said.source) if said.value == true_price() else "wrong"
            record(Kind.EFFECT, "shop", effect=end, age=said.age)
        except Unavailable:
            record(Kind.EFFECT, "shop", effect="try again", age=0.0)
        await anyio.sleep(1)


def answers(trace: Trace, end: str) -> int:
    """The number of answers that ended so: live, cached, wrong, try again."""
    return len(trace.filter(Kind.EFFECT, test=lambda event: event.data["effect"] == end))
