"""A process that appends and projects until it is killed, and says what it knows.

`python -m tests.event_sourcing.child <file> <first>` appends batch number `first` and the ones after
it, three events each, and projects them into views in the same file. Each line that it writes is a
fact: "confirmed" comes after the confirm, "shown" after the commit of the view.
"""

from __future__ import annotations

import os
import sys

import anyio

from eip_ref.event_sourcing import Projection, Projector, Recorded, SQLiteEventStore, View
from eip_ref.message import Message
from eip_ref.storage import SQLiteStore

BATCH = 3
STREAMS = 5


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def count(view: View, event: Recorded) -> None:
    """Not idempotent: a repetition would be counted."""
    view.put(event.stream, view.get(event.stream, 0) + 1)


COUNTS = Projection("counts", {"OrderPlaced": count})


async def produce(store: SQLiteEventStore, number: int) -> None:
    while True:
        stream = f"customer-{number % STREAMS}"
        batch = [Message({"batch": number}, "OrderPlaced", id=f"{number}/{n}") for n in range(BATCH)]
        appended = await store.append(stream, batch, expected=number // STREAMS * BATCH)
        say("confirmed", number, appended.position)
        number += 1


async def project(store: SQLiteEventStore, views: SQLiteStore) -> None:
    projector = Projector(views, COUNTS, batch=7)
    while True:
        await store.wait(after=projector.position)
        say("shown", await projector.catch_up(store))


async def main(path: str, first: int) -> None:
    async with SQLiteEventStore(path) as store, anyio.create_task_group() as group:
        with SQLiteStore(store.database) as views:
            group.start_soon(produce, store, first)
            group.start_soon(project, store, views)
            await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
