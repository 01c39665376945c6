"""What backpressure costs beside the bare primitives beneath it, as ratios within one run.

A buffer is compared with an anyio memory stream of the same size, which keeps no account; a token
bucket and credit with a bare await of one turn.
"""

from __future__ import annotations

from random import Random

import anyio
import anyio.lowlevel

from eip_ref.backpressure import Buffer, Credit, TokenBucket
from eip_ref.message import Message

from .core import best, line

SIZE = 100


async def through_a_stream(count: int) -> None:
    send, receive = anyio.create_memory_object_stream[Message](SIZE)
    with send, receive:
        for number in range(count):
            await send.send(Message(number, id="m"))
            await receive.receive()


async def through_a_buffer(count: int, when_full: str) -> None:
    buffer = Buffer("orders", SIZE, when_full=when_full, random=Random(1))
    for number in range(count):
        await buffer.put(Message(number, id="m", key="k"))
        await buffer.receive()


async def full_stream(count: int) -> None:
    """A sender that always waits for its reader."""
    send, receive = anyio.create_memory_object_stream[Message](1)

    async def produce() -> None:
        with send:
            for number in range(count):
                await send.send(Message(number, id="m"))

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        with receive:
            async for _ in receive:
                pass


async def full_buffer(count: int) -> None:
    buffer = Buffer("orders", 1, when_full="block")

    async def produce() -> None:
        with buffer:
            for number in range(count):
                await buffer.put(Message(number, id="m"))

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        async for _ in buffer:
            pass


async def dropping(count: int, when_full: str) -> None:
    buffer = Buffer("orders", SIZE, when_full=when_full, random=Random(1))
    for number in range(count):
        await buffer.put(Message(number, id="m", key=str(number % 200)))


async def turns(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def tokens(count: int) -> None:
    bucket = TokenBucket("payments", rate=1e9, burst=1e6)
    for _ in range(count):
        await bucket.take()


async def credits_(count: int) -> None:
    credit = Credit("billing", 1)
    for _ in range(count):
        await credit.take()
        credit.grant()


def main() -> None:
    count = 20_000
    bare = best(lambda: anyio.run(through_a_stream, count))
    for when_full in ("block", "latest per key", "sample"):
        ours = best(lambda w=when_full: anyio.run(through_a_buffer, count, w))  # type: ignore[misc]
        line(f"put and receive, {when_full}", ours, count, "a bare anyio stream", bare)
    block = best(lambda: anyio.run(through_a_buffer, count, "block"))
    ten = best(lambda: anyio.run(through_a_buffer, 10 * count, "block"))
    line("the first with ten times as many messages", ten, 10 * count, "the same, for one", 10 * block)
    waiting = best(lambda: anyio.run(full_stream, count))
    ours = best(lambda: anyio.run(full_buffer, count))
    line("a full buffer, whose sender waits", ours, count, "a full anyio stream", waiting)
    for when_full in ("drop oldest", "latest per key", "sample"):
        ours = best(lambda w=when_full: anyio.run(dropping, count, w))  # type: ignore[misc]
        line(f"a put that drops one, {when_full}", ours, count, "send and receive on a bare stream", bare)
    turn = best(lambda: anyio.run(turns, count))
    line("take a token that is there", best(lambda: anyio.run(tokens, count)), count, "a bare await", turn)
    line("take and grant credit", best(lambda: anyio.run(credits_, count)), count, "a bare await", turn)


if __name__ == "__main__":
    main()
