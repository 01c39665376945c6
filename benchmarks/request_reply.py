"""What a request costs beside a bare exchange over two anyio streams: `python -m benchmarks.request_reply`.

Ratios within one run, the best of several rounds. The bare exchange has no correlation, no deadline,
no bound, and only one caller at a time.
"""

from __future__ import annotations

from functools import partial

import anyio

from eip_ref.message import Message
from eip_ref.request_reply import Replier, Requestor

from .core import best, line


async def over_streams(count: int) -> None:
    ask, asked = anyio.create_memory_object_stream[Message](1)
    answer, answered = anyio.create_memory_object_stream[Message](1)

    async def reply() -> None:
        async for request in asked:
            await answer.send(request)

    with ask, asked, answer, answered:
        async with anyio.create_task_group() as group:
            group.start_soon(reply)
            for number in range(count):
                await ask.send(Message(number, id="m"))
                await answered.receive()
            group.cancel_scope.cancel()


async def echo(request: Message) -> object:
    return request.body


async def requests(count: int, callers: int = 1) -> None:
    async def caller(shop: Requestor) -> None:
        for number in range(count // callers):
            await shop.request(number, timeout=60)

    async def back(reply: Message) -> None:
        await shop.receive(reply)

    async with Replier(echo, back, name="stock") as stock:
        with Requestor(stock.receive, name="shop") as shop:
            async with anyio.create_task_group() as group:
                for _ in range(callers):
                    group.start_soon(caller, shop)


def main() -> None:
    count = 5_000
    bare = best(lambda: anyio.run(over_streams, count))
    one = best(lambda: anyio.run(requests, count))
    line("a request and its answer, nobody listens", one, count, "a bare exchange over streams", bare)
    ten = best(lambda: anyio.run(partial(requests, callers=10), count))
    line("the same with ten callers at a time", ten, count, "the line above", one)
    long = best(lambda: anyio.run(requests, 10 * count))
    line("the same with ten times as many", long, 10 * count, "the first line, for one", 10 * one)


if __name__ == "__main__":
    main()
