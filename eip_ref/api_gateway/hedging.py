"""Hedging: when an answer takes long or fails, ask once more, and take whichever answer comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import anyio
import anyio.abc

from .. import values
from ..trace import Kind, record

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hedging:
    """Ask again after `delay` seconds without an answer, and again, at most `max_extra` times.

    A failure for which `on_error` is true does not wait for the delay: the next call begins at once, as
    with gRPC's non-fatal status codes. By default there is none. `dispose` is awaited with each answer
    that nobody will use: one that came when another had won, or when the caller had gone.
    """

    delay: float
    max_extra: int = 1
    dispose: Callable[[Any], Awaitable[object] | object] | None = None
    on_error: Callable[[Exception], bool] = lambda error: False

    def __post_init__(self) -> None:
        values.duration("delay", self.delay, zero=False)
        values.count("max_extra", self.max_extra)
        values.must_not_be_async("on_error", self.on_error)


@overload
async def hedged(
    call: Callable[[int], Awaitable[T]], hedging: Hedging, may: Callable[[], bool] = ...
) -> T: ...
@overload
async def hedged(call: Callable[[int], T], hedging: Hedging, may: Callable[[], bool] = ...) -> T: ...
async def hedged(call: Callable[[int], Any], hedging: Hedging, may: Callable[[], bool] = lambda: True) -> Any:
    """The first success of `call(0)`, `call(1)`, …; the losers are cancelled and awaited.

    Only for calls that may happen twice. Each call after the first is made only when `may()` says so.
    When all calls that were made fail, the error of the first comes out. `call` may be plain or async.
    """
    values.must_not_be_async("may", may)
    race = _Race(call, hedging)
    try:
        async with anyio.create_task_group() as group:
            race.start(group)
            for _ in range(hedging.max_extra):
                with anyio.move_on_after(hedging.delay):
                    await race.news.wait()
                if race.over or not may():
                    break
                race.start(group)
    except BaseException as error:  # the caller has gone, and with it the use of an answer that had come
        await race.dispose_of_winner()
        if isinstance(error, ExceptionGroup):  # of one: what `may` or `on_error` raised
            raise error.exceptions[0] from None
        raise
    if race.winner is None:
        raise race.errors[min(race.errors)]
    return race.winner[0]


class _Race:
    def __init__(self, call: Callable[[int], Any], hedging: Hedging) -> None:
        self.news: anyio.Event  # it is over, or the next call may begin
        self.over = False  # somebody has won, or all have failed
        self.winner: tuple[Any] | None = None
        self.errors: dict[int, Exception] = {}
        self._call = call
        self._hedging = hedging
        self._started = 0

    def start(self, group: anyio.abc.TaskGroup) -> None:
        self.news = anyio.Event()
        group.start_soon(self._run, self._started, group.cancel_scope)
        self._started += 1

    async def _run(self, number: int, others: anyio.CancelScope) -> None:
        try:
            answer = await values.finished(self._call(number))
        except Exception as error:
            self.errors[number] = error
            next_one = self._hedging.on_error(error)
            self.over |= not next_one and len(self.errors) == self._started
            if next_one or self.over:
                self.news.set()
            return
        if self.winner is not None:
            await self._throw_away(answer)
            return
        self.winner = (answer,)
        self.over = True
        self.news.set()
        others.cancel()

    async def dispose_of_winner(self) -> None:
        if self.winner is not None:
            await self._throw_away(self.winner[0])

    async def _throw_away(self, answer: Any) -> None:
        if self._hedging.dispose is not None:
            with anyio.CancelScope(shield=True):  # it must be closed although nobody waits any more
                try:
                    await values.finished(self._hedging.dispose(answer))
                except Exception as error:  # the race has its outcome, and this must not replace it
                    record(Kind.NOTE, "hedging", text=f"a loser could not be disposed of: {error!r}")
