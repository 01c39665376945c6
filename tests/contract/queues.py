"""The queues that keep the contract, and what its tests do with them.

An implementation joins by adding its class to QUEUES, and to `make` if it needs more than a name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from eip_ref.durable_queue import SQLiteQueue
from eip_ref.message import Message
from eip_ref.message_queue import Empty, Lease, MessageQueue, Queue, QueueClosed

from .second_process import TwoProcesses

__all__ = ["QUEUES", "TICK", "AnyQueue", "Make", "TwoOpeners", "bodies", "letters", "make"]


class TwoOpeners:
    """A durable queue that two have open: what the one is given the other hands out, and the one settles."""

    def __init__(self, path: Path, name: str, **settings: Any) -> None:
        self.one, self.two = (SQLiteQueue(path, name, **settings) for _ in range(2))

    async def __aenter__(self) -> Self:
        await self.one.__aenter__()
        await self.two.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.two.__aexit__(*error)
        await self.one.__aexit__(*error)

    async def receive(self, **settings: Any) -> Lease:
        lease = await self.two.receive(**settings)
        lease.queue = self.one
        return lease

    async def receive_batch(self, max_messages: int, **settings: Any) -> list[Lease]:
        leases = await self.two.receive_batch(max_messages, **settings)
        for lease in leases:
            lease.queue = self.one
        return leases

    def receive_nowait(self, **settings: Any) -> Lease:
        return self.two.receive_nowait(**settings)

    def close(self) -> None:
        self.one.close()
        self.two.close()

    def __len__(self) -> int:
        return len(self.two)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.one, name)


KEEPERS = [MessageQueue, SQLiteQueue, TwoOpeners, TwoProcesses]
QUEUES = pytest.mark.parametrize("make", KEEPERS, indirect=True)
AnyQueue = MessageQueue | SQLiteQueue
Make = Callable[..., AnyQueue]
TICK = 0.001


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes queues of one class; those that live in a file have one to themselves in each test.

    No power fails here, so nothing has to be written through to the disk.
    """
    made: Make = request.param
    return made if made is MessageQueue else partial(made, tmp_path / "queues.db", synchronous="OFF")


async def bodies(queue: Queue) -> list[Any]:
    """Receive and ack everything that is ready now."""
    found: list[Any] = []
    while True:
        try:
            lease = await queue.receive(timeout=0)
        except (Empty, QueueClosed):
            return found
        found.append(lease.message.body)
        await lease.ack()


async def letters(queue: AnyQueue) -> list[Message]:
    """The dead letters, taken out."""
    assert queue.dead_letters is not None
    found: list[Message] = []
    while True:
        try:
            lease = await queue.dead_letters.receive(timeout=0)
        except (Empty, QueueClosed):
            return found
        found.append(lease.message)
        await lease.ack()
