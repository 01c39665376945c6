"""Two groups that follow one log: billing at once, search at its own pace, and search goes back."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from ...durable_queue import ConsumerGroup, SQLiteLog
from ...message import Message
from ...storage import OffsetGone
from ...trace import acting

__all__ = ["two_groups"]

ORDERS = 120
BILLING = 0.1  #: seconds for an order


async def two_groups(seconds: float, rewind_at: int, keep: int) -> None:
    """Append an order each second. Search needs `seconds` for one, and goes back after `rewind_at`.

    The log keeps the last `keep` seconds, or everything for 0.
    """
    with TemporaryDirectory(prefix="eip-") as folder:
        path = Path(folder, "orders")
        async with SQLiteLog(path, "orders", keep_seconds=keep or None, synchronous="OFF") as log:
            billing, search = ConsumerGroup(log, "billing"), ConsumerGroup(log, "search")
            async with anyio.create_task_group() as tasks:
                for group, pause in ((billing, BILLING), (search, seconds)):
                    with acting(group.name):
                        tasks.start_soon(_follow, group, pause)
                await _append(log, search, rewind_at)
                tasks.cancel_scope.cancel()


async def _append(log: SQLiteLog, search: ConsumerGroup, rewind_at: int) -> None:
    for number in range(1, ORDERS + 1):
        with acting("shop"):
            await log.append(Message(f"order {number}"))
        await anyio.sleep(1)
        if number == rewind_at:
            await search.seek(log.first)


async def _follow(group: ConsumerGroup, pause: float) -> None:
    while True:
        try:
            (found,) = await group.read(limit=1)
        except OffsetGone as gone:
            await group.seek(gone.first)  # what was before is never read
            continue
        await anyio.sleep(pause)
        if group.position > found.offset:  # nobody has gone back in the meantime
            await group.commit(found.offset + 1)
