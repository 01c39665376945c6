"""A call with fallbacks: live when the dependency answers, and else the first fallback that has something.

A fallback stands outside the breaker: that has counted the failure already, and an answer from here
is no success of the dependency. It is for failures of the dependency and for rejected calls only;
the caller's own errors, and cancellation, come out as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from ..trace import Kind, record
from .breaker import CircuitBreaker
from .states import CallRejected, Verdict

__all__ = [
    "Answer",
    "BadResult",
    "Fallback",
    "FallbackFailed",
    "NoFallback",
    "Protected",
    "Source",
    "Unavailable",
]


class Source(StrEnum):
    """Where an answer comes from."""

    LIVE = "live"
    CACHED = "cached"
    DEGRADED = "degraded"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class Answer:
    """A value that says where it comes from, so that nobody takes yesterday's price for today's."""

    value: Any
    source: Source = Source.LIVE
    age: float = 0.0  #: seconds since the dependency said so
    cause: Exception | None = None  #: why it is not live

    @property
    def stale(self) -> bool:
        """Whether the dependency said so once, but not now."""
        return self.source is Source.CACHED


class BadResult(Exception):
    """The dependency answered, and the breaker's predicates call that answer a failure."""

    def __init__(self, breaker: str, result: object) -> None:
        super().__init__(f"{breaker} answered {result!r}, which counts as a failure")
        self.result = result


class NoFallback(Exception):
    """This fallback has nothing to offer for this call: the next one is asked."""


class FallbackFailed(Exception):
    """The fallback itself went wrong: `first` is why it was needed, `own` is what it raised."""

    def __init__(self, fallback: object, first: Exception, own: Exception) -> None:
        name = type(fallback).__name__
        super().__init__(f"the fallback {name} raised {own!r}; it was needed because of {first!r}")
        self.first = first
        self.own = own


class Unavailable(Exception):
    """For the client: not now; try again after `retry_after` seconds."""

    def __init__(self, dependency: str, retry_after: float) -> None:
        super().__init__(f"{dependency} is not available; try again in {retry_after:.1f} s")
        self.dependency = dependency
        self.retry_after = retry_after


class Fallback(Protocol):
    """Something to answer with."""

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> Answer:
        """An answer to the call with `args` that failed with `cause`. Raises `NoFallback` to pass."""
        ...

    def learn(self, value: Any, args: tuple[Any, ...]) -> None:
        """The dependency has answered this call."""
        ...


class Protected:
    """A call through a breaker, with fallbacks that are asked in turn.

        price = Protected(breaker, ask_for_price, Cached(max_age=600), FailFast())
        answer = await price("tea")         # Answer(value=…, source=live | cached | …, age=…)

    When no fallback has anything to offer, the failure comes out as it was. Raises `FallbackFailed`
    when a fallback goes wrong, and what `FailFast` raises.
    """

    def __init__(
        self, breaker: CircuitBreaker, function: Callable[..., Awaitable[Any]], *fallbacks: Fallback
    ) -> None:
        self._breaker = breaker
        self._function = function
        self._fallbacks = fallbacks

    async def __call__(self, *args: Any) -> Answer:
        """Call `function(*args)` through the breaker, or fall back."""
        outcomes = self._breaker.outcomes
        try:
            value = await self._breaker.call(self._function, *args)
        except Exception as error:
            rejected = isinstance(error, CallRejected) and error.breaker == self._breaker.name
            if not rejected and outcomes.of_error(error) is not Verdict.FAILURE:
                raise
            answer = await self._fall_back(error, args)
            if answer is None:
                raise
            return answer
        match outcomes.of_result(value):
            case Verdict.FAILURE:
                answer = await self._fall_back(BadResult(self._breaker.name, value), args)
                return Answer(value) if answer is None else answer
            case Verdict.SUCCESS:
                for fallback in self._fallbacks:
                    fallback.learn(value, args)
        return Answer(value)

    async def _fall_back(self, cause: Exception, args: tuple[Any, ...]) -> Answer | None:
        for fallback in self._fallbacks:
            try:
                answer = await fallback.answer(cause, args)
            except NoFallback:
                continue
            except Unavailable as clear:
                raise clear from cause
            except Exception as own:
                raise FallbackFailed(fallback, cause, own) from own
            age = f", {answer.age:g} s old" if answer.stale else ""
            record(Kind.NOTE, self._breaker.name, text=f"answered {answer.source}{age}: {cause!r}")
            return answer
        return None
