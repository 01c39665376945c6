"""Hedging: when an answer takes long, ask once more, and take whichever answer comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc

from .. import values
from ..trace import Kind, record

__all__ = ["Hedging", "hedged"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hedging:
    """BranchInput again after `after` seconds without an answer, and again, `most` times in all.

    `dispose` is awaited with each answer that nobody will use: one that came when another had won,
    or when the caller had gone.
    """

    delay: float
    max_extra: int = 1
    dispose: Callable[[Any], Awaitable[object] | object] | None = None

    def __post_init__(self) -> None:
        values.duration("delay", self.delay, zero=False)
        values.count("max_extra", self.max_extra)


async def hedged(
    call: Callable[[int], Awaitable[T]], hedging: Hedging, may: Callable[[], bool] = lambda: True
) -> T:
    """The first success of `call(0)`, `call(1)`, …; the losers are cancelled and awaited.

    Only for calls that may happen twice. Each call after the first is made only when `may()` says so.
    When all calls that were made fail, the error of the first comes out.
    """
    race = _Race(call, hedging.dispose)
    try:
        async with anyio.create_task_group() as group:
            race.start(group)
            for _ in range(hedging.max_extra):
                with anyio.move_on_after(hedging.delay):
                    await race.over.wait()
                if race.over.is_set() or not may():
                    break
                race.start(group)
    except BaseException:  # the caller has gone, and with it the use of an answer that had come
        await race.dispose_of_winner()
        raise
    if race.winner is None:
        raise race.errors[min(race.errors)]
    return race.winner[0]


class _Race(Generic[T]):
    def __init__(
        self, call: Callable[[int], Awaitable[T]], dispose: Callable[[Any], Awaitable[object] | object] | None
    ) -> None:
        self.over = anyio.Event()  # somebody has won, or all have failed
        self.winner: tuple[T] | None = None
        self.errors: dict[int, Exception] = {}
        self._call = call
        self._dispose = dispose
        self._started = 0

    def start(self, group: anyio.abc.TaskGroup) -> None:
        group.start_soon(self._run, self._started, group.cancel_scope)
        self._started += 1

    async def _run(self, number: int, others: anyio.CancelScope) -> None:
        try:
            answer = await self._call(number)
        except Exception as error:
            self.errors[number] = error
            if len(self.errors) == self._started:
                self.over.set()
            return
        if self.winner is not None:
            await self._throw_away(answer)
            return
        self.winner = (answer,)
        self.over.set()
        others.cancel()

    async def dispose_of_winner(self) -> None:
        if self.winner is not None:
            await self._throw_away(self.winner[0])

    async def _throw_away(self, answer: T) -> None:
        if self._dispose is not None:
            with anyio.CancelScope(shield=True):  # it must be closed although nobody waits any more
                try:
                    await values.finished(self._dispose(answer))
                except Exception as error:  # the race has its outcome, and this must not replace it
                    record(Kind.NOTE, "hedging", text=f"a loser could not be disposed of: {error!r}")
