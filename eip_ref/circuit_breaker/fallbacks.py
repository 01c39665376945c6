"""Fallbacks: what to answer when the dependency cannot. Four of them, and every answer says which it is.

A fallback stands outside the breaker: that has counted the failure already, and an answer from here
is no success of the dependency. It is for failures of the dependency and for rejected calls only;
the caller's own errors, and cancellation, come out as they are.

*Left out:* writing the cache to disk, and refreshing it while the dependency is well.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Any

import anyio

from .. import values
from ..bounded import LastN
from ..message import Message
from ..message_queue import Queue
from ..trace import Kind, record
from .breaker import CallRejected, CircuitBreaker
from .policies import Verdict

_log = logging.getLogger(__name__)


class Source(StrEnum):
    """The place that a value comes from."""

    LIVE = "live"
    CACHED = "cached"
    DEGRADED = "degraded"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value that says where it comes from, so that nobody takes yesterday's price for today's."""

    value: Any
    source: Source = Source.LIVE
    age: float = 0.0  #: seconds since the dependency said so
    cause: Exception | None = None  #: why it is not live

    @property
    def stale(self) -> bool:
        """True when the dependency said so once, but not now."""
        return self.source is Source.CACHED


class BadResult(Exception):
    """The dependency answered, and the breaker's predicates call that answer a failure."""

    def __init__(self, breaker: str, result: object) -> None:
        super().__init__(f"{breaker} answered {result!r}, which counts as a failure")
        self.result = result


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


class Fallback(ABC):
    """Something to answer with."""

    @abstractmethod
    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> SourcedValue | None:
        """Answer the call with `args` that failed with `cause`, or None: then the next one is asked."""

    def learn(self, value: Any, args: tuple[Any, ...]) -> None:  # noqa: B027 - most have nothing to learn
        """Hear that the dependency has answered this call."""


def with_fallback(
    breaker: CircuitBreaker, function: Callable[..., Any], *fallbacks: Fallback
) -> Callable[..., Awaitable[SourcedValue]]:
    """A call of `function` through a breaker, live when that answers, else by the first fallback that can.

        price = with_fallback(breaker, ask_for_price, Cached(max_age=600), FailFast("prices"))
        answer = await price("tea")         # SourcedValue(value=…, source=live | cached | …, age=…)

    When no fallback has anything to offer, the failure comes out as it was. The call raises
    `FallbackFailed` when a fallback goes wrong, and what `FailFast` raises.
    """
    predicates = breaker.predicates

    async def call(*args: Any) -> SourcedValue:
        try:
            value = await breaker.call(function, *args)
        except Exception as error:
            rejected = isinstance(error, CallRejected) and error.breaker == breaker.name
            if not rejected and predicates.judge(None, error) is not Verdict.FAILURE:
                raise
            answer = await _fall_back(breaker.name, fallbacks, error, args)
            if answer is None:
                raise
            return answer
        match predicates.judge(value):
            case Verdict.FAILURE:
                cause = BadResult(breaker.name, value)
                return await _fall_back(breaker.name, fallbacks, cause, args) or SourcedValue(value)
            case Verdict.SUCCESS:
                _learn(breaker.name, fallbacks, value, args)
        return SourcedValue(value)

    return call


async def _fall_back(
    where: str, fallbacks: tuple[Fallback, ...], cause: Exception, args: tuple[Any, ...]
) -> SourcedValue | None:
    for fallback in fallbacks:
        try:
            answer = await fallback.answer(cause, args)
        except Unavailable as clear:
            raise clear from cause
        except Exception as own:
            raise FallbackFailed(fallback, cause, own) from own
        if answer is not None:
            age = f", {answer.age:g} s old" if answer.stale else ""
            record(Kind.NOTE, where, text=f"answered {answer.source}{age}: {cause!r}")
            return answer
    return None


def _learn(where: str, fallbacks: tuple[Fallback, ...], value: Any, args: tuple[Any, ...]) -> None:
    """Tell every fallback; one that fails to learn is no reason to keep the answer from the caller."""
    for fallback in fallbacks:
        try:
            fallback.learn(value, args)
        except Exception as error:
            text = f"{type(fallback).__name__} did not learn the answer to {args!r}: {error!r}"
            record(Kind.NOTE, where, text=text)
            _log.warning(text, exc_info=error)


class Cached(Fallback):
    """The last good answer to the same question, with its age, at most `max_age` seconds old.

    It keeps the `capacity` answers that came last; `key` makes of the arguments what the answer depends
    on, whoever asks included. A partial answer, such as one under a short deadline, is kept out by a
    neutral predicate of the breaker. Nobody shares what they can change: answers are copied.
    """

    def __init__(
        self, *, max_age: float, capacity: int = 1_000, key: Callable[..., Hashable] = lambda *args: args
    ) -> None:
        values.must_not_be_async("key", key)
        self._max_age = values.duration("max_age", max_age, zero=False)
        self._key = key
        self._kept: LastN[Hashable, tuple[float, Any]] = LastN(values.count("capacity", capacity))

    def __len__(self) -> int:
        return len(self._kept)

    def learn(self, value: Any, args: tuple[Any, ...]) -> None:
        key = self._key(*args)
        self._kept[key] = anyio.current_time(), values.copied(value)
        self._kept.move_to_end(key)

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> SourcedValue | None:
        learnt, value = self._kept.get(self._key(*args), (-math.inf, None))
        age = anyio.current_time() - learnt
        if not 0 <= age <= self._max_age:  # below 0: learnt on the clock of another event loop
            return None
        return SourcedValue(values.copied(value), Source.CACHED, age, cause)


class Degraded(Fallback):
    """A lesser answer, from a function with the same arguments, plain or async."""

    def __init__(self, function: Callable[..., Awaitable[Any] | Any]) -> None:
        self._function = function

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> SourcedValue:
        value = await values.finished(self._function(*args))
        return SourcedValue(value, Source.DEGRADED, cause=cause)


@dataclass(frozen=True)
class QueueForLater(Fallback):
    """Put the work on a queue, and answer with the id of the message. Idempotent work only.

    The failed call may have had its effect, and a queue may deliver twice. So `key` makes of the
    arguments the idempotency key of the work, which becomes the message id; None means that the work
    must not be repeated, and then it is not queued. `body` makes the body, by default the arguments.
    """

    queue: Queue
    _: KW_ONLY
    key: Callable[..., str | None]
    body: Callable[..., Any] = lambda *args: list(args)
    type: str = ""

    def __post_init__(self) -> None:
        values.must_not_be_async("key", self.key)
        values.must_not_be_async("body", self.body)

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> SourcedValue | None:
        key = self.key(*args)
        if key is None:
            return None
        await self.queue.put(Message(self.body(*args), id=key, type=self.type))
        return SourcedValue(key, Source.QUEUED, cause=cause)


class FailFast(Fallback):
    """A clear error for the client: `Unavailable`, with the seconds after which to try again.

    `retry_after` is said where the breaker cannot know, as when the call was let in and failed.
    """

    def __init__(self, dependency: str, *, retry_after: float = 1.0) -> None:
        self._dependency = values.name("dependency", dependency)
        self._retry_after = values.duration("retry_after", retry_after)

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> SourcedValue:
        after = cause.retry_after if isinstance(cause, CallRejected) else None
        raise Unavailable(self._dependency, self._retry_after if after is None else after)
