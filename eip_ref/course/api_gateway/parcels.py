"""The parcels of an order, of lesson 11a: they come one by one, and the desk that collects them dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ...aggregator import SEQUENCE, Aggregate
from ...lab import Crash, Participant
from ...message import Message
from ...message_queue import MessageQueue
from ...storage import Store
from ...trace import Kind, Trace, acting, record

__all__ = ["a_death", "hand_out", "handed_out", "parcel"]


def parcel(number: int, order: int = 17) -> Message:
    """A parcel of an order. The same one has the same id, however often it is sent."""
    name = f"parcel {number}"
    return Message(name, id=f"{order}/{number}", correlation_id=f"order {order}", headers={SEQUENCE: number})


async def hand_out(group: Aggregate) -> None:
    """Hand the parcels of an order to the van."""
    parcels = [message.body for message in group.messages]
    record(Kind.EFFECT, "van", group.key, effect=group.why, parcels=parcels)


def handed_out(trace: Trace) -> list[str]:
    """The parcels that the van got, and when, in words."""
    return [
        f"{event.at:.0f} s: {', '.join(event.data['parcels'])} ({event.data['effect']})"
        for event in trace.filter(Kind.EFFECT, where="van")
    ]


async def a_death(desk: Callable[[MessageQueue, Store | None], Awaitable[None]], store: Store | None) -> None:
    """Send three parcels, at 0, 8 and 16 s. `desk(queue, store)` dies at 10 s, and is back at 11 s."""
    async with MessageQueue("parcels", lease=30) as queue, anyio.create_task_group() as group:
        process = Participant("desk", desk, (queue, store), (Crash(at=10, restart_after=1),))
        group.start_soon(process.run)
        with acting("pack room"):
            for number in (1, 2, 3):
                await queue.put(parcel(number))
                await anyio.sleep(8)
        await anyio.sleep(100)
        group.cancel_scope.cancel()
