"""An adapter is open between the two ends of its block, and nowhere else; no system is asked here."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch

import anyio
import pytest

from eip_ref.field import Adapter
from eip_ref.field.connections import GOODBYE
from eip_ref.message import Message
from eip_ref.trace import Kind, recording
from tests.backends import on_asyncio, virtual_time_only

from .test_settings import URL, adapters

ARGUMENTS = {  #: of whatever asks a system, by name
    "message": Message(17),
    "topic": "orders",
    "pattern": "orders.*",
    "offset": 0,
    "before": 1,
    "stream": "order-17",
    "events": [Message(17, type="OrderPlaced")],
    "after": 0,
    "group": "billing",
    "name": "billing",
}
ASKS_NOBODY = {"ack", "nack", "reject", "extend"}  #: without a lease, and leases end with the block
HAS_NOT = [("RabbitStreamLog", "forget")]  #: open or not

ADAPTERS = [each for each in adapters() if issubclass(each, Adapter)]
each_adapter = pytest.mark.parametrize("made", ADAPTERS, ids=lambda made: made.__name__)


def _questions() -> Iterator[Any]:
    """What asks the system, of each adapter: its coroutines, its groups and its properties."""
    for made in ADAPTERS:
        for name, member in inspect.getmembers(made):
            asks = inspect.iscoroutinefunction(member) or name == "group"
            if name.startswith("_") or name in ASKS_NOBODY or (made.__name__, name) in HAS_NOT:
                continue
            if asks or name in ("first", "end"):
                yield pytest.param(made, name, id=f"{made.__name__}.{name}")


async def _ask(adapter: Any, name: str) -> None:
    """Ask with the arguments that it must have."""
    question = getattr(adapter, name)
    if not callable(question):
        return
    needed = [each.name for each in inspect.signature(question).parameters.values() if _is_needed(each)]
    asked = question(**{each: ARGUMENTS[each] for each in needed})
    if hasattr(asked, "__aenter__"):
        async with asked:
            pass
    else:
        await asked


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def test_every_adapter_is_one() -> None:
    """Whatever reaches a system at a URL opens and closes by the rules of all, or is no adapter."""
    assert len(ADAPTERS) >= 16
    assert [each for each in adapters() if not issubclass(each, Adapter)] == []


@pytest.mark.parametrize(("made", "name"), list(_questions()))
async def test_who_asks_outside_is_told_how_to_open_it(made: Any, name: str) -> None:
    """Before and after: nothing hangs, nothing is said in the trace, and nothing opens by itself."""
    adapter = made(URL, "orders")
    for _ in range(2):
        with (
            recording() as recorder,
            pytest.raises(RuntimeError, match=r"orders.* is not open; use it inside"),
        ):
            await _ask(adapter, name)
        assert not recorder.trace
        with patch.object(made, "_open", _opens_nothing):
            async with adapter:
                pass


@each_adapter
async def test_who_enters_it_twice_gets_no_second_connection(made: Any) -> None:
    """Another task that shares it goes on; left, it can be opened again, and each opening is told."""
    opened: list[object] = []

    async def opens(self: object, parts: AsyncExitStack) -> None:
        opened.append(self)
        parts.callback(opened.remove, self)

    adapter = made(URL, "orders")
    with recording() as recorder, patch.object(made, "_open", opens):
        for _ in range(2):
            async with adapter:
                with pytest.raises(RuntimeError, match="orders is open already"):
                    await adapter.__aenter__()
                assert opened == [adapter]
            assert opened == []
        with pytest.raises(RuntimeError, match="orders is not open"):
            await adapter.__aexit__(None, None, None)
    assert [(event.kind, event.where) for event in recorder.trace] == [(Kind.OPENED, "orders")] * 2


@each_adapter
async def test_what_cannot_be_opened_as_a_whole_is_closed(made: Any) -> None:
    """Also when somebody cancels it, and also when a part cannot be closed because its system has gone."""
    closed: list[str] = []

    async def close(part: str) -> None:
        await anyio.lowlevel.checkpoint()
        closed.append(part)
        raise ConnectionError(part)

    async def fails(self: object, parts: AsyncExitStack) -> None:
        parts.push_async_callback(close, "connection")
        parts.push_async_callback(close, "channel")
        if len(closed) == 0:
            raise ValueError("no such name")
        await anyio.sleep_forever()

    adapter = made(URL, "orders")
    with recording() as recorder, patch.object(made, "_open", fails):
        with pytest.raises(ValueError, match="no such name"):
            await adapter.__aenter__()
        with anyio.move_on_after(0.01):
            await adapter.__aenter__()
    assert closed == ["channel", "connection"] * 2
    assert not adapter.is_open
    assert not recorder.trace


async def _opens_nothing(self: object, parts: AsyncExitStack) -> None: ...


class Line(Adapter):
    """A line to nowhere, which ends what is under way when it is closed, as clients do."""

    _lost = (LookupError,)

    def __init__(self, closes_with: BaseException | None) -> None:
        self.name = "orders"
        self.says: list[str] = []
        self._closes_with = closes_with

    async def _open(self, parts: AsyncExitStack) -> None:
        self._closed = anyio.Event()
        parts.callback(self._hang_up)

    def _hang_up(self) -> None:
        self.says.append("closed")
        self._closed.set()

    async def ask(self, seconds: float) -> None:
        with self._reaching():
            with anyio.move_on_after(seconds):
                await self._closed.wait()
                if self._closes_with is not None:
                    raise self._closes_with
        self.says.append("answered")

    async def hear(self) -> None:
        with self._waiting, self._reaching():
            await self.ask(math.inf)


async def test_what_is_under_way_ends_before_it_is_closed() -> None:
    """A put that a task has begun is confirmed, though the block is left meanwhile."""
    async with anyio.create_task_group() as tasks, Line(None) as line:
        tasks.start_soon(line.ask, 1.5)
        await anyio.sleep(1)
        left = anyio.current_time()
    assert line.says == ["answered", "closed"]
    assert anyio.current_time() - left == pytest.approx(0.5)


@virtual_time_only
@pytest.mark.parametrize("how", [asyncio.CancelledError(), Exception(), LookupError("gone")], ids=repr)
async def test_what_does_not_end_is_told_that_it_was_left(how: BaseException) -> None:
    """Some clients cancel it, whom nobody has asked to, and some raise an error without a name."""
    told: list[str] = []

    async def ask(line: Line) -> None:
        with pytest.raises(ConnectionError, match="orders"):
            await line.ask(math.inf)
        await anyio.sleep(1)
        told.append("goes on")

    async with anyio.create_task_group() as tasks, Line(how) as line:
        tasks.start_soon(ask, line)
        await anyio.sleep(1)
        left = anyio.current_time()
    assert anyio.current_time() - left == pytest.approx(GOODBYE + 1)
    assert (line.says, told) == (["closed"], ["goes on"])


@on_asyncio
async def test_who_is_cancelled_while_it_is_left_is_cancelled() -> None:
    """And is not told of an end that it has not waited for."""
    outcomes: list[str] = []

    async def hear(line: Line, scope: anyio.CancelScope) -> None:
        with scope:
            await line.hear()
        outcomes.append("cancelled" if scope.cancelled_caught else "answered")

    async with anyio.create_task_group() as tasks:
        line, scope = Line(None), anyio.CancelScope()
        async with line:
            tasks.start_soon(hear, line, scope)
            while not line._under_way:
                await anyio.sleep(0)
            scope.cancel()
    assert outcomes == ["cancelled"]
