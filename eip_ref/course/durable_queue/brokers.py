"""Brokers for the exercise of the lying broker: three that keep the promise, and five that break it.

A broker lives on a disk that outlives it. `start` reads the disk, `kill` ends the process.

*Left out:* files. What is on the disk is a dictionary here, and a sync is 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio

from ...trace import Kind, record

__all__ = ["Broker", "Delivery"]

LEASE = 10.0  #: seconds
SYNC = 0.010  #: seconds


@dataclass(frozen=True)
class Delivery:
    """An order that a worker has for ten seconds: its id, its text, and how often it was delivered."""

    id: str
    body: str
    deliveries: int


@dataclass(frozen=True)
class _Row:
    number: int
    id: str
    body: str
    deliveries: int = 0
    free_at: float = 0.0


class _Disk:
    def __init__(self) -> None:
        self.rows: dict[int, _Row] = {}
        self.ids: dict[str, int] = {}


class Broker:
    """Keeps orders over a kill. Its methods raise RuntimeError while it is down."""

    def __init__(self) -> None:
        self._disk = _Disk()
        self._up = False
        self._rows: dict[int, _Row] = {}
        self._ids: dict[str, int] = {}
        self._lives = 0

    async def start(self) -> None:
        """Start, with what is on the disk."""
        await anyio.sleep(SYNC)
        self._lives += 1
        self._rows, self._ids, self._up = dict(self._disk.rows), dict(self._disk.ids), True
        record(Kind.RESTARTED if self._lives > 1 else Kind.OPENED, "broker", role="participant")

    def kill(self) -> None:
        """End the process here and now; the disk stays."""
        self._must_be_up()
        self._up, self._rows, self._ids = False, {}, {}
        record(Kind.CRASHED, "broker", who="broker")

    async def stop(self) -> None:
        """End in good order."""
        await anyio.sleep(SYNC)
        self.kill()

    async def put(self, id: str, body: str) -> None:
        """Return when the order is confirmed. An id that is known adds nothing."""
        self._must_be_up()
        record(Kind.SENT, "orders", id, label=body)
        if id not in self._ids:
            number = len(self._ids) + 1
            self._ids[id], self._rows[number] = number, _Row(number, id, body)
            await self._sync()
        record(Kind.ACCEPTED, "orders", id)

    async def receive(self) -> Delivery | None:
        """Lend the next order for ten seconds; None when there is none now."""
        self._must_be_up()
        now = anyio.current_time()
        ready = [row for row in self._rows.values() if row.free_at <= now]
        if not ready:
            await anyio.sleep(SYNC)
            return None
        row = min(ready, key=lambda row: row.number)
        row = self._rows[row.number] = replace(row, deliveries=row.deliveries + 1, free_at=now + LEASE)
        await self._sync()
        record(Kind.DELIVERED, "orders", row.id, lease=None, deliveries=row.deliveries)
        return Delivery(row.id, row.body, row.deliveries)

    async def ack(self, delivery: Delivery) -> None:
        """Return when the order is forgotten."""
        self._must_be_up()
        for number in [number for number, row in self._rows.items() if row.id == delivery.id][:1]:
            del self._rows[number]
        await self._sync()
        record(Kind.ACKED, "orders", delivery.id, lease=None)

    async def _sync(self) -> None:
        rows, ids, life = dict(self._rows), dict(self._ids), self._lives
        await anyio.sleep(SYNC)
        if self._up and life == self._lives:
            self._disk.rows, self._disk.ids = rows, ids

    def _must_be_up(self) -> None:
        if not self._up:
            raise RuntimeError("the broker is down; start it first")


# Two more that keep the promise


class SharesSyncs(Broker):
    """Waits for company before it syncs."""

    async def _sync(self) -> None:
        await anyio.sleep(0.1)
        await super()._sync()


class GivesLeasesBack(Broker):
    """Lends everything again at once after a restart, as brokers do whose leases end with a connection."""

    async def start(self) -> None:
        await super().start()
        self._rows = {number: replace(row, free_at=0.0) for number, row in self._rows.items()}


# Those that break it


class SavesAtExit(Broker):
    async def _sync(self) -> None:
        await anyio.sleep(SYNC)

    async def stop(self) -> None:
        await super()._sync()
        self.kill()


class ConfirmsEarly(Broker):
    """Writes a put a second later, or with what it writes next."""

    def __init__(self) -> None:
        super().__init__()
        self._put_at = 0.0
        self._later = False

    async def put(self, id: str, body: str) -> None:
        self._put_at, self._later = anyio.current_time(), True
        await super().put(id, body)
        self._later = False

    async def _sync(self) -> None:
        await (anyio.sleep(0) if self._later else super()._sync())

    def kill(self) -> None:
        if anyio.current_time() >= self._put_at + 1:
            self._disk.rows, self._disk.ids = dict(self._rows), dict(self._ids)
        super().kill()


class ForgetsCounts(Broker):
    async def start(self) -> None:
        await super().start()
        self._rows = {number: replace(row, deliveries=0) for number, row in self._rows.items()}


class ForgetsIds(Broker):
    async def start(self) -> None:
        await super().start()
        self._ids = {f"forgotten {id}": number for id, number in self._ids.items()}


class ForgetsAcks(Broker):
    async def ack(self, delivery: Delivery) -> None:
        kept = dict(self._rows)
        await super().ack(delivery)
        self._disk.rows = kept
