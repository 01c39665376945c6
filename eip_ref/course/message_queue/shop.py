"""The shop that puts orders into a queue, in most scenarios of this lesson."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from ...message import Message
from ...message_queue import DeadLetterPolicy, Queue
from ...trace import acting

__all__ = ["PATIENT", "Handler", "put"]

Handler = Callable[[Message], Awaitable[None]]

PATIENT = DeadLetterPolicy(max_failures=1_000)
"""For queues whose messages shall not become dead letters by themselves."""


async def put(queue: Queue, orders: Iterable[str]) -> None:
    """Put a message for each of these orders into the queue, by the shop."""
    with acting("shop"):
        for order in orders:
            await queue.put(Message(order))
