"""Read the trace of a bad night

Predict · medium · 2 points · 8 minutes

Answer: def read_the_trace()
Called: The broker of that night, once more, and a look at what it had on its disk in the morning.
Promised: Your three orders are those of the run.
Hint: Only what was synced is there in the morning. And a sync covers what was written before it began.
Hint: Compare three times for each order: when it was written, when a sync ended that had begun later, and
    when it was confirmed.
Hint: The second sync begins at 20 ms and ends at 30 ms. Which orders were written after 20 ms? Which of
    them was confirmed before the plug was pulled, and which one will its till send again although the disk
    has it?
Why: m4 was confirmed at 24 ms, and only a sync that began later could have brought it to the disk. m3 was
    synced at 30 ms, and its confirm was still under way. m5 was written and never confirmed: its till
    sends it again, and nothing is lost.

not-the-lost-one: Another order is lost. Lost is an order that was confirmed, so that the till has
    forgotten it, and that is not on the disk.
not-the-doubled-one: Another order may be there twice. That is an order which the disk has, and whose till
    has heard no confirm, so that it sends again.
not-the-harmless-one: Another order is gone and does no harm. Its till has heard no confirm, and the disk
    does not have it: it is sent again, and is there once.
no-prediction: An answer is missing or cannot be read. Each is the id of an order, such as "m1".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, record
from .disk import Disk

__all__ = ["EXERCISE", "a_bad_night"]


async def a_bad_night() -> list[str]:
    """Play a broker that confirms too early, until the plug is pulled at 33 ms; return what the disk has."""
    disk = Disk()

    async def put(order: str, write_at: float, confirm_at: float) -> None:
        await anyio.sleep_until(write_at)
        record(Kind.SENT, "broker", order, who="till")
        disk.write(order)
        record(Kind.NOTE, "cache", order, who="broker", text=f"{order} is written")
        await anyio.sleep_until(confirm_at)
        record(Kind.ACCEPTED, "broker", order, who="broker")

    async def sync() -> None:
        for begin in (0.010, 0.020, 0.031):
            await anyio.sleep_until(begin)
            record(Kind.NOTE, "disk", who="broker", text="a sync begins")
            await disk.sync()
            record(Kind.NOTE, "disk", who="broker", text="a sync ends")

    times = {"m1": (2, 21), "m2": (5, 22), "m3": (12, 40), "m4": (23, 24), "m5": (25, 41)}
    with anyio.move_on_after(0.033):
        async with anyio.create_task_group() as group:
            group.start_soon(sync)
            for order, (written, confirmed) in times.items():
                group.start_soon(put, order, written / 1000, confirmed / 1000)
    record(Kind.CRASHED, "broker", who="broker")
    return disk.left("plug")


def _reading(confirmed: bool, there: bool) -> Callable[[Trace], Any]:
    """The one order of which both is so."""

    def read(trace: Trace) -> Any:
        heard, left = set(trace.messages(Kind.ACCEPTED)), set(trace.result)
        (found,) = (
            order
            for order in dict.fromkeys(trace.messages(Kind.SENT))
            if ((order in heard), (order in left)) == (confirmed, there)
        )
        return found

    return read


QUESTIONS = {"lost": (True, False), "twice": (False, True), "sent again": (False, False)}
MISTAKES = dict(
    zip(QUESTIONS, ("not-the-lost-one", "not-the-doubled-one", "not-the-harmless-one"), strict=True)
)


def an_order(question: str, said: object) -> str | None:
    return said if isinstance(said, str) else None


run = kit.ask(
    {name: kit.measured(a_bad_night, reading=_reading(*which)) for name, which in QUESTIONS.items()}, an_order
)

EXERCISE = kit.exercise(__name__, __doc__, run, kit.misread(MISTAKES), seeds=(1,))
