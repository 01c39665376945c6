"""The contract of `async with`: whatever has a block with tasks beside it, one case for each.

An exception of the block comes out as itself, a cancellation as a cancellation, and a second entering
while the first lasts is refused in words and harms nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from eip_ref.aggregator import Aggregator, by_size
from eip_ref.api_gateway import Coalescer
from eip_ref.durable_queue import SQLiteLog, SQLiteQueue
from eip_ref.lab import Link
from eip_ref.message_queue import Consumer, MessageQueue
from eip_ref.request_reply import Replier

Make = Callable[[Path], AbstractAsyncContextManager[Any]]

BLOCKS: dict[str, Make] = {
    "Aggregator": lambda _: Aggregator(print, complete=by_size(2), timeout=1, late=print),
    "Coalescer": lambda _: Coalescer(timeout=1),
    "Consumer": lambda _: Consumer(MessageQueue("q")),
    "Link": lambda _: Link("net", print, Random(1), Random(1)),
    "MessageQueue": lambda _: MessageQueue("q"),
    "Replier": lambda _: Replier(print, name="stock"),
    "SQLiteLog": lambda path: SQLiteLog(path / "log.db", "l"),
    "SQLiteQueue": lambda path: SQLiteQueue(path / "queue.db", "q"),
}
every_block = pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS.keys())


@every_block
async def test_an_exception_of_the_block_comes_out_as_itself(make: Make, tmp_path: Path) -> None:
    """Not in a group, though tasks run beside the block."""
    with pytest.raises(ZeroDivisionError):
        async with make(tmp_path):
            raise ZeroDivisionError


@every_block
async def test_a_cancelled_block_ends_as_cancelled(make: Make, tmp_path: Path) -> None:
    """At once, and what comes after it in the same scope does not run."""
    start = anyio.current_time()
    with anyio.move_on_after(1) as scope:
        async with make(tmp_path):
            await anyio.sleep(100)
        raise AssertionError("cancellation was taken for an end")
    assert scope.cancelled_caught
    assert anyio.current_time() - start < 10


@every_block
async def test_a_second_entering_is_refused_in_words(make: Make, tmp_path: Path) -> None:
    """And the first goes on as if nothing had been."""
    block = make(tmp_path)
    async with block:
        with pytest.raises(RuntimeError, match=r"is open already|runs already"):
            async with block:
                pass
        await anyio.sleep(0.1)
