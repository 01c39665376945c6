"""Fallbacks: what to answer when the dependency cannot. Four of them, and every answer says which it is.

*Left out:* writing the cache to disk, and refreshing it while the dependency is well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from copy import deepcopy
from typing import Any

import anyio

from ..message import Message
from ..message_queue import Queue
from .protected import Answer, NoFallback, Source, Unavailable
from .states import CallRejected

__all__ = ["Cached", "Degraded", "FailFast", "QueueForLater"]


class _LearnsNothing:
    def learn(self, value: Any, args: tuple[Any, ...]) -> None:
        """Live answers are of no use to this fallback."""


class Cached:
    """The last good answer to the same question, with its age, at most `max_age` seconds old.

    It keeps the `size` answers that came last; `key` makes of the arguments what the answer depends
    on. Nobody shares what they can change: answers are copied.
    """

    def __init__(
        self, *, max_age: float, size: int = 1_000, key: Callable[..., Hashable] = lambda *args: args
    ) -> None:
        if max_age <= 0 or size < 1:
            raise ValueError(f"a cache needs an age above 0 s and a size of 1, not {max_age:g} s and {size}")
        self._max_age = max_age
        self._size = size
        self._key = key
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def learn(self, value: Any, args: tuple[Any, ...]) -> None:
        key = self._key(*args)
        self._kept[key] = anyio.current_time(), deepcopy(value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> Answer:
        at, value = self._kept.get(self._key(*args), (None, None))
        if at is None or (age := anyio.current_time() - at) > self._max_age:
            raise NoFallback
        return Answer(deepcopy(value), Source.CACHED, age, cause)


class Degraded(_LearnsNothing):
    """A lesser answer, from an async function with the same arguments."""

    def __init__(self, function: Callable[..., Awaitable[Any]]) -> None:
        self._function = function

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> Answer:
        return Answer(await self._function(*args), Source.DEGRADED, cause=cause)


class QueueForLater(_LearnsNothing):
    """Put the work on a queue, and answer with the id of the message. Idempotent work only.

    The failed call may have had its effect, and a queue may deliver twice. So `key` makes of the
    arguments the idempotency key of the work, which becomes the message id; None means that the work
    must not be repeated, and then it is not queued. `body` makes the body, by default the arguments.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        key: Callable[..., str | None],
        body: Callable[..., Any] = lambda *args: list(args),
        type: str = "",
    ) -> None:
        self._queue = queue
        self._key = key
        self._body = body
        self._type = type

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> Answer:
        key = self._key(*args)
        if key is None:
            raise NoFallback
        await self._queue.put(Message(self._body(*args), id=key, type=self._type))
        return Answer(key, Source.QUEUED, cause=cause)


class FailFast(_LearnsNothing):
    """A clear error for the client: `Unavailable`, with the seconds after which to try again.

    `otherwise` is said where the breaker cannot know, as when the call was let in and failed.
    """

    def __init__(self, dependency: str, *, otherwise: float = 1.0) -> None:
        self._dependency = dependency
        self._otherwise = otherwise

    async def answer(self, cause: Exception, args: tuple[Any, ...]) -> Answer:
        after = cause.retry_after if isinstance(cause, CallRejected) else None
        raise Unavailable(self._dependency, self._otherwise if after is None else after)
