"""A process that works with a durable queue and a log until it is killed, and says what it knows.

`python -m tests.durable_queue.child <file> <first> <seed>` puts orders from number `first` on and
handles them. Each line that it writes is a fact: a "confirmed" only after the confirm, an "acking"
before the ack and an "acked" after it.
"""

from __future__ import annotations

import os
import sys
from random import Random

import anyio

from eip_ref.durable_queue import SQLiteLog, SQLiteQueue
from eip_ref.message import Message
from eip_ref.message_queue import DeadLetterPolicy


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def produce(queue: SQLiteQueue, log: SQLiteLog, number: int) -> None:
    while True:
        message = Message({"order": number}, id=f"order-{number}", key=f"customer {number % 5}")
        await queue.put(message)
        say("confirmed", message.id)
        say("logged", message.id, await log.append(message))
        number += 1


async def consume(queue: SQLiteQueue, chance: Random) -> None:
    while True:
        lease = await queue.receive()
        say("delivered", lease.message.id, lease.token)
        choice = chance.random()
        if choice < 0.7:
            say("acking", lease.message.id)
            if await lease.ack():
                say("acked", lease.message.id)
        elif choice < 0.9:
            await lease.nack(delay=0)


async def main(path: str, first: int, seed: int) -> None:
    chance = Random(seed)
    queue = SQLiteQueue(path, "orders", lease=0.02, dedup=100_000, policy=DeadLetterPolicy(max_failures=3))
    log = SQLiteLog(queue.database, "journal", dedup=100_000)
    async with queue, log, anyio.create_task_group() as group:
        group.start_soon(produce, queue, log, first)
        group.start_soon(consume, queue, chance)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
