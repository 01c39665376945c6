"""Coalescing: many who ask for the same at the same time are answered by one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from ..trace import Kind, record
from .spans import part_of

__all__ = ["Coalescer"]

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Flight:
    leader: str  #: the id of the leader's call
    ended: anyio.Event = field(default_factory=anyio.Event)
    followers: int = 0
    value: Any = None
    error: Exception | None = None
    abandoned: bool = True  #: until it ends with a value that can be copied, or an error


class Coalescer:
    """One call per user and key in flight: the first to ask leads, and those who come meanwhile follow.

    Followers get a copy of the leader's value, or its error. Nothing is kept: who asks after the end
    leads a call of their own. It is for calls that only read.
    """

    def __init__(self, name: str = "coalescer") -> None:
        self.name = name
        self._flights: dict[tuple[str, Hashable], _Flight] = {}

    def __len__(self) -> int:
        """The number of calls that are in flight."""
        return len(self._flights)

    async def call(self, user: str, key: Hashable, function: Callable[[], Awaitable[T]]) -> T:
        """Return or raise what `function()` does, or did for the same user and key when this was called.

        `user` is whoever may see the answer; nobody else's call is joined. When the leader is
        cancelled, a follower takes over and calls its own `function`.
        """
        identity = part_of(self.name)
        while (flight := self._flights.get((user, key))) is not None:
            record(Kind.DUPLICATE, self.name, identity, of=flight.leader)
            flight.followers += 1
            await flight.ended.wait()
            if flight.error is not None:
                raise flight.error
            if not flight.abandoned:
                value: T = deepcopy(flight.value)
                return value
        return await self._lead((user, key), _Flight(identity), function)

    async def _lead(
        self, key: tuple[str, Hashable], flight: _Flight, function: Callable[[], Awaitable[T]]
    ) -> T:
        self._flights[key] = flight
        try:
            value = await function()
        except Exception as error:
            flight.error = error
            raise
        else:
            self._keep(flight, value)
            return value
        finally:
            del self._flights[key]
            flight.ended.set()

    def _keep(self, flight: _Flight, value: object) -> None:
        """Keep a copy for those who follow; without one they ask for themselves."""
        if not flight.followers:
            return
        try:
            flight.value, flight.abandoned = deepcopy(value), False
        except Exception as error:
            record(Kind.NOTE, self.name, flight.leader, text=f"the answer cannot be shared: {error!r}")
