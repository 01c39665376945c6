"""Both ends of a conversation in one block, for the lessons and exercises about request–reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ...lab import Faults
from ...lab.faults import Latency
from ...message import Handler, Message
from ...request_reply import Replier, Requestor

__all__ = ["answering"]


@asynccontextmanager
async def answering(
    handle: Handler,
    *,
    name: str,
    asker: str,
    told: bool = True,
    loss: float = 0.0,
    latency: Latency = 0.0,
    **settings: Any,
) -> AsyncIterator[Requestor]:
    """Let `handle` answer for as long as the block runs; gives the end of `asker`, who can ask it.

    The ways there and back lose a share `loss` of the messages. With `told=False` the deadline stays with
    the asker. `settings` are those of `Replier`. Leaving the block waits for what has been begun.
    """
    chance = Faults()

    async def send(attempt: Message) -> None:
        await there.send(attempt if told else attempt.copy(deadline=None))

    async def hear(reply: Message) -> None:
        await requestor.receive(reply)

    async def serve(attempt: Message) -> None:
        await replier.receive(attempt)

    back = chance.link(f"{name} to {asker}", hear, loss=loss, latency=latency)
    there = chance.link(f"{asker} to {name}", serve, loss=loss, latency=latency)
    replier = Replier(handle, back.send, name=name, **{"concurrency": 1000, "grace": 600.0, **settings})
    with Requestor(send, name=asker) as requestor:
        async with back, replier, there:
            yield requestor
