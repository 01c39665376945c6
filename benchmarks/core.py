"""What the laboratory costs, as ratios within one run: `make bench`.

Each line compares two ways of doing the same thing on the same machine, one after the other, and
takes the best of several rounds. Ratios travel between machines; seconds do not.

A stream hands over one object. The queue checks that the message could be written to a disk, keeps a copy,
grants a lease with a timer, gives out another copy, settles, and keeps the counts. The line "no event loop"
is these rules alone, without the two turns of the loop that a stream takes too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import anyio

from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.trace import Kind, record, recording

ROUNDS = 5
AIM = 3.0  #: times as long as the bare primitive beneath, at most


class Line(NamedTuple):
    """One comparison."""

    what: str
    micros: float  #: microseconds for one
    ratio: float
    beside: str
    aim: float | None  #: the largest ratio that is well; None where the line is only told


LINES: list[Line] = []  #: all that were told so far, for `benchmarks.plot`


def peer(name: str) -> Any:
    """A library to compare with. Raises ModuleNotFoundError, which says how to get it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{name} is not installed; `make bench` installs it", name=name) from error


def best(work: Callable[[], object]) -> float:
    """The seconds of the fastest of several rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def noted(kind: str, where: str, message: str = "", **data: object) -> None:
    """What a call with the same arguments costs when it does nothing."""


def calls(count: int, call: Callable[..., None]) -> None:
    for number in range(count):
        call(Kind.SENT, "orders", "m1", label="order", key=None, number=number)


def recorded(count: int) -> None:
    with recording(time.perf_counter):
        calls(count, record)


async def sleeps(count: int) -> None:
    for _ in range(count):
        await anyio.sleep(0.001)


def small_simulations(count: int) -> None:
    for _ in range(count):
        simulate(anyio.sleep, 1)


def small_real_runs(count: int) -> None:
    for _ in range(count):
        asyncio.run(asyncio.sleep(0))


def real_time_switches(count: int) -> None:
    async def turns() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    asyncio.run(turns())


async def through_a_stream(count: int) -> None:
    send, receive = anyio.create_memory_object_stream[Message](count)
    with send, receive:
        for number in range(count):
            await send.send(Message(number, id="m"))
            await receive.receive()


async def through_a_queue(count: int) -> None:
    async with MessageQueue("orders") as queue:
        for number in range(count):
            await queue.put(Message(number, id="m"))
            await (await queue.receive()).ack()


async def through_a_queue_at_once(count: int) -> None:
    async with MessageQueue("orders") as queue:
        for number in range(count):
            queue.put_nowait(Message(number, id="m"))
            queue.ack_nowait(queue.receive_nowait())


async def to_many_at_a_stream(count: int, waiting: int) -> None:
    """Each of those who wait takes its share and waits again."""
    send, receive = anyio.create_memory_object_stream[Message](count)

    async def take() -> None:
        while True:
            await receive.receive()

    with send, receive:
        async with anyio.create_task_group() as group:
            for _ in range(waiting):
                group.start_soon(take)
            await anyio.sleep(0.01)
            for number in range(count):
                await send.send(Message(number, id="m"))
            group.cancel_scope.cancel()


async def to_many_at_a_queue(count: int, waiting: int) -> None:
    async with MessageQueue("orders") as queue:

        async def take() -> None:
            while True:
                await (await queue.receive()).ack()

        async with anyio.create_task_group() as group:
            for _ in range(waiting):
                group.start_soon(take)
            await anyio.sleep(0.01)
            for number in range(count):
                await queue.put(Message(number, id="m"))
            await queue.join()
            group.cancel_scope.cancel()


def line(what: str, seconds: float, count: int, beside: str, other: float, aim: float | None = AIM) -> None:
    """Tell what `count` of something took in all, and how many times as long as `other` that is."""
    told = Line(what, seconds / count * 1e6, seconds / other, beside, aim)
    LINES.append(told)
    print(f"{what:<46} {told.micros:8.2f} µs   {told.ratio:5.1f} × {beside}")


def main() -> None:
    count = 20_000
    nothing = best(lambda: calls(count, noted))
    line("record(), nobody listens", best(lambda: calls(count, record)), count, "an empty call", nothing)
    line("record(), somebody listens", best(lambda: recorded(count)), count, "an empty call", nothing)
    turn = best(lambda: real_time_switches(count))
    line("a timer in virtual time", best(lambda: simulate(sleeps, count)), count, "a turn of asyncio", turn)
    few = count // 100
    run = best(lambda: small_real_runs(few))
    line("a simulation of one sleep", best(lambda: small_simulations(few)), few, "asyncio.run of one", run)
    stream = best(lambda: anyio.run(through_a_stream, count))
    queue = best(lambda: anyio.run(through_a_queue, count))
    line("put, receive and ack, nobody listens", queue, count, "a bare anyio stream", stream, aim=2.5)
    ten = best(lambda: anyio.run(through_a_queue, 10 * count))
    line("the same with ten times as many messages", ten, 10 * count, "the line above, for one", 10 * queue)
    at_once = best(lambda: anyio.run(through_a_queue_at_once, count))
    line("put, receive and ack, no event loop", at_once, count, "a bare anyio stream", stream, aim=None)
    puts, waiting = 1_000, 500
    stream = best(lambda: anyio.run(to_many_at_a_stream, puts, waiting))
    queue = best(lambda: anyio.run(to_many_at_a_queue, puts, waiting))
    line("put, receive and ack while 500 wait", queue, puts, "a bare anyio stream", stream)


if __name__ == "__main__":
    main()
