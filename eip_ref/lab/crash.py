"""Crashes: a life is the set of tasks that one participant runs, and it can end at any await.

Cancelling a task is not a crash: `except` and `finally` blocks still run, and can still send,
acknowledge and write. When a life ends, its tasks are never stepped again: no line of them runs,
exactly as when the machine loses power. All that other participants hold stays as it is.

*Left out:* what an operating system does for a dead process, such as closing its connections.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import inspect
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from typing import Any

from ..signal import orphans

_life: ContextVar[Life | None] = ContextVar("life", default=None)
_dead: ContextVar[list[Coroutine[Any, Any, Any]]] = ContextVar("dead")
_laid_out: ContextVar[list[Coroutine[Any, Any, Any]] | None] = ContextVar("laid out", default=None)


def begin_without_lives() -> list[Coroutine[Any, Any, Any]]:
    """From here on nobody lives yet, as a simulation begins. Returns where the coroutines of the dead go."""
    dead: list[Coroutine[Any, Any, Any]] = []
    _life.set(None)
    orphans.set(None)
    _dead.set(dead)
    return dead


class Life:
    """The tasks of one participant, from its start to its crash."""

    def __init__(
        self, *, dies_at_step: int | None = None, last_words: Callable[[], None] | None = None
    ) -> None:
        self.over = False
        self.steps = 0  #: how often one of the tasks was run on from an await
        self._tasks: dict[asyncio.Task[Any], Coroutine[Any, Any, Any]] = {}
        self._dies_at_step = dies_at_step
        self._last_words = last_words
        self._orphans: dict[object, Callable[[], object]] = {}

    @staticmethod
    def current(context: Context | None = None) -> Life | None:
        """The life that a task made here belongs to; `context` is the task's, if not this one."""
        life = context.get(_life) if context is not None else _life.get()
        return None if life is None or life.over else life

    @contextmanager
    def begins(self) -> Iterator[None]:
        """Tasks started inside belong to this life, and so do the tasks that they start."""
        token, waiting = _life.set(self), orphans.set(self._orphans)
        try:
            yield
        finally:
            orphans.reset(waiting)
            _life.reset(token)

    def end(self) -> None:
        """Crash: none of the tasks runs on. Idempotent."""
        if self.over:
            return
        self.over = True
        if self._last_words:
            self._last_words()
        for leave in list(self._orphans.values()):
            leave()
        _dead.get().extend(self._tasks.values())
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()  # wakes it, so that it sees the end

    def adopt(self, task: asyncio.Task[Any], coro: Coroutine[Any, Any, Any]) -> None:
        """This task runs `coro` as a part of this life, until it ends by itself."""
        self._tasks[task] = coro
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        if not self.over:
            del self._tasks[task]

    async def guard(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run `coro` until this life is over."""
        return await self._steps(coro)

    @types.coroutine
    def _steps(self, coro: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        while True:
            self.steps += 1
            if self.steps == self._dies_at_step:
                self.end()
            if self.over:
                return None
            try:
                waits_for = coro.send(None) if error is None else coro.throw(error)
            except StopIteration as stop:
                return stop.value
            try:
                yield waits_for
                error = None
            except BaseException as thrown:
                error = thrown


def frames(coro: Any) -> list[types.FrameType]:
    """The frames of a waiting coroutine, from the outermost to where it waits."""
    found: list[types.FrameType] = []
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
        if frame is None:
            break
        if frame.f_code is Life._steps.__code__:
            coro = frame.f_locals["coro"]
            continue
        found.append(frame)
        coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
    return found


def bury(coros: Iterable[object]) -> None:
    """Leave these suspended for ever: what is dead or will not end is never closed.

    Closing a coroutine runs its `finally` blocks, and with an `except` that catches everything it may
    run on without end, now that no loop is there to wait for. So each keeps its memory, about 90 kB.
    """
    for coro in coros:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(coro))


def lay_out(dead: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Bury the dead of a simulation, or leave that to `closing_the_dead`."""
    laid_out = _laid_out.get()
    if laid_out is None:
        bury(dead)
    else:
        laid_out.extend(dead)


@contextmanager
def closing_the_dead() -> Iterator[None]:
    """Close the dead of all simulations inside, when all is over and nothing is recorded any more.

    For who runs many simulations of code that ends when it is closed. What does not end is buried.
    """
    dead: list[Coroutine[Any, Any, Any]] = []
    token = _laid_out.set(dead)
    try:
        yield
    finally:
        _laid_out.reset(token)
        for coro in dead:
            with suppress(BaseException):  # whatever its last blocks raise, where no loop runs
                _forget_what_never_began(coro)
                coro.close()
        bury(coro for coro in dead if inspect.getcoroutinestate(coro) != inspect.CORO_CLOSED)


def _forget_what_never_began(coro: Coroutine[Any, Any, Any]) -> None:
    """Close what anyio's task was to await, or Python says one day that nobody has awaited it."""
    if inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
        for held in gc.get_referents(*gc.get_referents(coro)):
            if inspect.iscoroutine(held):
                held.close()
