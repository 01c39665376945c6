"""Reaching a system: it may be gone, it may come in parts, and an exchange with it comes to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from typing import Any, ClassVar, Self, TypeVar, cast

import anyio

from ..signal import Signal
from ..trace import Kind, record

__all__ = ["Adapter", "Waiting", "reaching", "unbroken"]

T = TypeVar("T")


class reaching:
    """Turn what a client raises when its system is gone into a ConnectionError, which says why."""

    def __init__(self, name: str, lost: tuple[type[Exception], ...]) -> None:
        self._name, self._lost = name, lost

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._lost):
            raise ConnectionError(f"{self._name}: {str(error) or type(error).__name__}") from error


class Adapter(ABC):
    """A way to a system, open between the two ends of `async with Kind(url, "orders") as …`.

    Whoever enters it once more meanwhile, or uses it outside, gets a RuntimeError, and nothing is opened.
    Left, it can be entered again.
    """

    name: str
    _lost: ClassVar[tuple[type[Exception], ...]]  #: what the client raises when the system is gone
    _parts: AsyncExitStack | None = None  # what closes with it

    @abstractmethod
    async def _open(self, parts: AsyncExitStack) -> None:
        """Open its parts one after the other: when one is not to be had, those before it are closed."""

    async def __aenter__(self) -> Self:
        if self._parts is not None:
            raise RuntimeError(f"{self.name} is open already: enter it once, and share it")
        self._parts = AsyncExitStack()
        try:
            with self._reaching():
                await self._open(self._parts)
        except BaseException:
            await self._close()
            raise
        record(Kind.OPENED, self.name, who="", role="channel")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._must_be_open()
        await self._close()

    async def _close(self) -> None:
        parts, self._parts = self._parts, None
        with anyio.CancelScope(shield=True), suppress(ConnectionError, *self._lost):  # what is lost is closed
            await cast(AsyncExitStack, parts).aclose()

    @property
    def is_open(self) -> bool:
        """True between the two ends of `async with`."""
        return self._parts is not None

    def _must_be_open(self) -> AsyncExitStack:
        if self._parts is None:
            kind = type(self).__name__
            raise RuntimeError(f"{self.name} is not open; use it inside: async with {kind}(…) as …")
        return self._parts

    def _reaching(self) -> AbstractContextManager[None]:
        """Within it the system is asked. Raises RuntimeError at once where this is not open."""
        self._must_be_open()
        return reaching(self.name, self._lost)


class Waiting:
    """Tasks that wait for what may end: each is cancelled then, and gets this error in its place.

    A cancel scope for each of them would do so too, and costs a client as quick as that of NATS a tenth.
    """

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self.ended = ""  #: why nothing more comes
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gone = Signal()  # one of them

    def __enter__(self) -> None:
        if self.ended:
            raise self._error(self.ended)
        self._tasks.add(_task())

    def __exit__(self, kind: object, error: BaseException | None, place: object) -> None:
        task = _task()
        self._tasks.discard(task)
        if self.ended:
            self._gone.notify_all()
            is_cancelled = task.uncancel() > 0  # by somebody else too
            told = isinstance(error, (asyncio.CancelledError, Exception))  # whatever a client makes of it
            if told and not is_cancelled:
                raise self._error(self.ended) from None

    def end(self, why: str) -> None:
        """Nothing more comes. Idempotent."""
        if not self.ended:
            self.ended = why
            for task in self._tasks:
                task.cancel()

    async def gone(self) -> None:
        """Return when nobody waits any more."""
        while self._tasks:
            await self._gone.wait()


def _task() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())


async def unbroken(work: Awaitable[T], undo: Callable[[T], Awaitable[object]] | None = None) -> T:
    """Let an exchange with a server come to its end, whatever happens to the caller.

    Cancelled, it undoes what was done, where that is told.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[T] = loop.create_future()

    async def carry_out() -> T:
        answer = await work
        if not heard.done():
            heard.set_result(answer)  # a turn of the loop earlier than `asyncio.shield` would hear of it
        return answer

    task = loop.create_task(carry_out())
    task.add_done_callback(lambda task: heard.cancel())  # when it has failed: the task says how
    try:
        return await heard
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            answer = await task
            if undo is not None:
                await undo(answer)
        raise
