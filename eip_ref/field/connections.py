"""Reaching a system: it may be gone, it may come in parts, and an exchange with it comes to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, ClassVar, Self, TypeVar, cast

import anyio

from ..signal import Signal
from ..trace import Kind, record

__all__ = ["Adapter", "Waiting", "reaching", "unbroken"]

T = TypeVar("T")

GOODBYE = 2.0  #: seconds for what is under way, when an adapter is left
NAMELESS = (asyncio.CancelledError, Exception)  #: what clients raise at those whose connection they close


class reaching:
    """Turn what a client raises when its system is gone into a ConnectionError, which says why."""

    def __init__(self, name: str, lost: tuple[type[Exception], ...]) -> None:
        self._name, self._lost = name, lost

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _explain(self._name, self._lost, error)


def _explain(name: str, lost: tuple[type[Exception], ...], error: BaseException | None) -> None:
    if isinstance(error, lost):
        raise ConnectionError(f"{name}: {str(error) or type(error).__name__}") from error


class Adapter(ABC):
    """A way to a system, open between the two ends of `async with Kind(url, "orders") as …`.

    Whoever enters it once more meanwhile, or uses it outside, gets a RuntimeError, and nothing is opened.
    When it is left, whoever waits for something is told, and what is under way has `GOODBYE` seconds to
    end. Then it can be entered again.
    """

    name: str
    _lost: ClassVar[tuple[type[Exception], ...]]  #: what the client raises when the system is gone
    _parts: AsyncExitStack | None = None  # what closes with it
    _waiting: Waiting  # for what may never come
    _under_way = 0  # exchanges with the system
    _ended: Signal  # one of them

    @abstractmethod
    async def _open(self, parts: AsyncExitStack) -> None:
        """Open its parts one after the other: when one is not to be had, those before it are closed."""

    async def __aenter__(self) -> Self:
        if self._parts is not None:
            raise RuntimeError(f"{self.name} is open already: enter it once, and share it")
        self._parts, self._waiting, self._ended = AsyncExitStack(), Waiting(RuntimeError), Signal()
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
        self._waiting.end(f"{self.name} was left")
        with anyio.CancelScope(shield=True), suppress(ConnectionError, *self._lost):  # what is lost is closed
            with anyio.move_on_after(GOODBYE):
                while self._under_way:
                    await self._ended.wait()
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

    def _reaching(self) -> Exchange:
        """Within it the system is asked, in the loop's own thread. Raises RuntimeError when not open."""
        self._must_be_open()
        return Exchange(self)

    def _explain(self, error: BaseException) -> None:
        """Raise in our words what the client raises, if that says that the system has gone."""
        _explain(self.name, self._lost, error)
        if not self.is_open and type(error) in NAMELESS and not _task().cancelling():
            raise ConnectionError(f"{self.name} was left meanwhile") from error


class Exchange:
    """One question to the system, or several, with their answers."""

    __slots__ = ("_adapter",)

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def __enter__(self) -> None:
        self._adapter._under_way += 1

    def __exit__(self, kind: object, error: BaseException | None, place: object) -> None:
        adapter = self._adapter
        adapter._under_way -= 1
        if not adapter.is_open:
            adapter._ended.notify_all()
        if error is not None:
            adapter._explain(error)


class Waiting:
    """Tasks that wait for what may end: each is cancelled then, and gets this error in its place.

    A cancel scope for each of them would do so too, and costs a client as quick as that of NATS a tenth.
    """

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self.ended = ""  #: why nothing more comes
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> None:
        if self.ended:
            raise self._error(self.ended)
        self._tasks.add(_task())

    def __exit__(self, kind: object, error: BaseException | None, place: object) -> None:
        task = _task()
        self._tasks.discard(task)
        if self.ended:
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
