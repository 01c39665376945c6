"""A disk with a cache before it, in virtual time, and a broker that writes to it.

What is *written* is in the cache of the operating system and survives the death of a process. What is
*synced* is on the disk and survives the power. A sync takes 10 ms, for one order as for a hundred.

*Left out:* disks that say “synced” and are not, blocks that are half written, and the price of a byte.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import anyio

from ...trace import Kind, Trace, acting, record

__all__ = ["Disk", "Outage", "outage", "what_was_left"]

NETWORK = 0.002  #: seconds that an order or a confirm is under way between till and broker


class Disk:
    """Orders that were written, and how many of them are synced."""

    def __init__(self, seconds: float = 0.010) -> None:
        self.written: list[str] = []  #: survive a kill
        self.synced = 0  #: so many of them, the first ones, survive the plug
        self._seconds = seconds
        self._one_at_a_time = anyio.Lock()

    def write(self, order: str) -> None:
        """Hand an order to the system: it takes no time, and the disk has not heard of it."""
        self.written.append(order)

    async def sync(self) -> None:
        """Return when all that was written before this call is on the disk."""
        async with self._one_at_a_time:
            there = len(self.written)
            await anyio.sleep(self._seconds)
            self.synced = there

    def left(self, death: str) -> list[str]:
        """The orders that are there after a "kill", or after somebody has pulled the "plug"."""
        return self.written if death == "kill" else self.written[: self.synced]


class _Put(NamedTuple):
    order: str
    confirmed: anyio.Event


class Broker:
    """Writes what comes in, at most `share` orders for one sync, and waits at most `wait` seconds for them.

    It confirms at "put", which is at once, at "write" or at "sync".
    """

    def __init__(self, disk: Disk, *, confirm: str, share: int, wait: float) -> None:
        self._disk, self._confirm, self._share, self._wait = disk, confirm, share, wait
        self._inbox: list[_Put] = []
        self._news = anyio.Event()

    async def put(self, order: str) -> None:
        """Return when the order is confirmed."""
        put = _Put(order, anyio.Event())
        self._inbox.append(put)
        self._news.set()
        if self._confirm != "put":
            await put.confirmed.wait()

    async def write(self) -> None:
        """Bring orders to the disk until cancelled."""
        while True:
            await self._until(1)
            with anyio.move_on_after(self._wait):
                await self._until(self._share)
            batch, self._inbox = self._inbox[: self._share], self._inbox[self._share :]
            for put in batch:
                self._disk.write(put.order)
                record(Kind.ACCEPTED, "cache", put.order, who="broker")
                if self._confirm == "write":
                    put.confirmed.set()
            await self._disk.sync()
            for put in batch:
                record(Kind.ACCEPTED, "disk", put.order, who="broker")
                put.confirmed.set()

    async def _until(self, size: int) -> None:
        while len(self._inbox) < size:
            self._news = anyio.Event()
            await self._news.wait()


class Outage(NamedTuple):
    """The outcome of an outage, in orders."""

    confirmed: int
    lost: int  #: confirmed, and not there afterwards
    doubled: int  #: there twice, since the till had heard no confirm and sent again
    per_second: float


async def outage(
    confirm: str = "sync",
    share: int = 1,
    wait: int = 0,
    tills: int = 20,
    death: str = "plug",
    at: int = 97,
    same_ids: bool = True,
) -> Outage:
    """Let tills send orders until the broker dies, after `at` ms; then each till sends its last one again.

    `wait` is in milliseconds too. A till sends its next order when it has heard the confirm of the last.
    With `same_ids` an order that is sent again has its old id, and the broker knows it.
    """
    disk, numbers = Disk(), count(1)
    sent: dict[str, str] = {}
    confirmed: list[str] = []
    broker = Broker(disk, confirm=confirm, share=share, wait=wait / 1000)

    async def till(name: str) -> None:
        while True:
            order = sent[name] = f"o{next(numbers)}"
            with acting(name):
                record(Kind.SENT, "broker", order, label=f"order {order[1:]}")
            await anyio.sleep(NETWORK)
            await broker.put(order)
            await anyio.sleep(NETWORK)
            confirmed.append(order)
            record(Kind.ACCEPTED, "broker", order, who=name)

    async with anyio.create_task_group() as group:
        group.start_soon(broker.write)
        for number in range(tills):
            group.start_soon(till, f"till-{number + 1}")
        await anyio.sleep(at / 1000)
        group.cancel_scope.cancel()
    record(Kind.CRASHED, "broker", who="broker")
    there, heard = set(disk.left(death)), set(confirmed)
    again = [order for order in sent.values() if order not in heard]
    doubled = 0 if same_ids else sum(order in there for order in again)
    return Outage(len(confirmed), len(heard - there), doubled, 1000 * len(confirmed) / at)


def what_was_left(trace: Trace) -> str:
    """An outage in words."""
    found: Outage = trace.result
    return (
        f"Confirmed: {found.confirmed} orders in {trace.end * 1000:.0f} ms, which is "
        f"{found.per_second:,.0f} a second. Lost, although confirmed: {found.lost}. "
        f"There twice, since the tills sent again: {found.doubled}."
    )
