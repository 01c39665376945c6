"""Coalescing: many who ask for the same at the same time are answered by one call."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import anyio
import anyio.abc

from .. import values
from ..tasks import background
from ..trace import Kind, record
from .spans import in_time, on_its_own, part_of, span

Key = tuple[str, Hashable]


class Coalesced(NamedTuple):
    """An answer, and the news whether it was for one caller alone."""

    value: Any
    shared: bool  #: others asked for the same, and got it too


@dataclass(eq=False, slots=True)
class _Flight:
    id: str
    landed: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    callers: int = 0
    waiting: int = 0
    copies: list[Any] = field(default_factory=list)  #: of the answer, one for each who waited at its end
    error: Exception | None = None


class Coalescer:
    """One call per user and key in flight: whoever asks for the same meanwhile waits for its answer.

    The call belongs to nobody who waits. It has `timeout` seconds, whatever the deadline of the first who
    asked, and goes on when that one leaves; it is cancelled when all have left. Each gets a copy of the
    value, or its error. Nothing is kept: who asks after the end begins a call anew. It is for calls that
    only read. Use it as `async with Coalescer(timeout=1) as coalescer:`.
    """

    def __init__(self, name: str = "coalescer", *, timeout: float) -> None:
        self.name = values.name("name", name)
        self._timeout = values.duration("timeout", timeout, zero=False)
        self._flights: dict[Key, _Flight] = {}
        self._stack = AsyncExitStack()
        self._tasks: anyio.abc.TaskGroup | None = None

    def __len__(self) -> int:
        """The number of calls that are in flight."""
        return len(self._flights)

    @property
    def is_open(self) -> bool:
        """True inside its block."""
        return self._tasks is not None

    async def __aenter__(self) -> Self:
        if self.is_open:
            raise RuntimeError(f"{self.name} is open already: enter it once")
        self._tasks = await self._stack.enter_async_context(background())
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        self._tasks = None
        return await self._stack.__aexit__(*error)

    async def call(self, user: str, key: Hashable, function: Callable[[], Any]) -> Coalesced:
        """Return or raise what `function()`, plain or async, does for the same user and key.

        `user` is whoever may see the answer; nobody else's call is joined. Where a value cannot be copied,
        all but one ask for themselves. Raises `GatewayTimeout` when the call's own time is over, and
        RuntimeError outside the block.
        """
        if self._tasks is None:
            raise RuntimeError(f"{self.name} is not open: use it as `async with`")
        place, identity = (values.name("user", user), key), part_of(self.name)
        if (flight := self._flights.get(place)) is None:
            flight = self._flights[place] = _Flight(identity)
            self._tasks.start_soon(self._fly, place, flight, function, name=identity)
        else:
            record(Kind.DUPLICATE, self.name, identity, of=flight.id)
        flight.callers += 1
        await self._landing(flight, place)
        if flight.error is not None:
            raise flight.error
        if flight.copies:
            return Coalesced(flight.copies.pop(0), flight.callers > 1)
        return Coalesced(await values.finished(function()), False)

    async def _landing(self, flight: _Flight, place: Key) -> None:
        """Wait for the end of a call. The last who leaves before ends it, and sees it ended."""
        flight.waiting += 1
        try:
            await flight.landed.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.landed.is_set():
                self._forget(place, flight)
                flight.scope.cancel()
                with anyio.CancelScope(shield=True):
                    await flight.landed.wait()

    async def _fly(self, place: Key, flight: _Flight, function: Callable[[], Any]) -> None:
        on_its_own()
        until = anyio.current_time() + self._timeout
        flight.error = RuntimeError(f"{self.name} was closed before there was an answer")
        try:
            with (
                flight.scope,
                span(self.name, flight.id, until=until),
                in_time(until, f"{self.name} had no answer within {self._timeout:g} s"),
            ):
                self._hand_out(flight, await values.finished(function()))
        except Exception as error:
            flight.error = error
        finally:
            self._forget(place, flight)
            flight.landed.set()

    def _forget(self, place: Key, flight: _Flight) -> None:
        if self._flights.get(place) is flight:
            del self._flights[place]

    def _hand_out(self, flight: _Flight, value: Any) -> None:
        """Copy the value for all who wait, before one of them has it and can change it."""
        flight.error, flight.copies = None, [value]
        try:
            flight.copies += [values.copied(value) for _ in range(1, flight.waiting)]
        except Exception as error:
            record(Kind.NOTE, self.name, flight.id, text=f"the answer cannot be shared: {error!r}")
