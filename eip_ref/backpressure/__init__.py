"""Backpressure: whoever is slow says so, and whoever is quick waits, gives up something, or helps.

The promise: what waits is bounded, always. When more comes than goes, one of four things happens,
chosen by name and never in silence. *Buffer*: keep it for a while; that moves time, and no more.
*Drop*: give up messages by a policy, each counted. *Throttle*: let the sender go no faster than the
receiver allows, by credit, by demand or by a token bucket. *Scale*: let more consumers work.

    async def a_burst_of_prices() -> None:
        for policy in ("drop newest", "drop oldest", "latest per key", "sample", "block"):
            buffer = Buffer("prices", 3, when_full=policy, random=Random(5))
            kept = []

            async def send(buffer: Buffer) -> None:
                with buffer:  # closes it at the end, which ends the reader's loop
                    for number, product in enumerate("tea milk bread milk bread milk bread milk".split()):
                        await buffer.put(Message(f"{product} {number}", key=product))

            async with anyio.create_task_group() as group:
                group.start_soon(send, buffer)
                await anyio.sleep(1)
                async for message in buffer:
                    kept.append(message.body)
                    await anyio.sleep(1)
            print(f"{policy:<15} {buffer.counts.dropped} dropped, kept {', '.join(kept)}")

Read `buffer.py` first, which ends with its drop policies; `credit.py` and `token_bucket.py` for
throttles; `autoscaler.py` for consumers that come and go.

*Left out:* backpressure across a network (TCP's window does it there), bounds in bytes, fair shares
for several senders, and starting machines instead of tasks.
"""

from ..signal import Disconnected
from .autoscaler import ConsumerPool, CountedQueue, Load, Scaler, Scaling
from .buffer import Buffer, BufferClosed, BufferCounts, BufferFull, Offer, WhenFull
from .credit import Credit, Demand
from .token_bucket import AboveBurst, Reservation, TokenBucket

__all__ = [
    "AboveBurst",
    "Buffer",
    "BufferClosed",
    "BufferCounts",
    "BufferFull",
    "ConsumerPool",
    "CountedQueue",
    "Credit",
    "Demand",
    "Disconnected",
    "Load",
    "Offer",
    "Reservation",
    "Scaler",
    "Scaling",
    "TokenBucket",
    "WhenFull",
]
