"""Share the sync

Repair · hard · 3 points · 15 minutes

Answer: async def accept(disk, inbox)
Called: Your `accept(disk, inbox)` for ten tills and 120 ms. A till sends its next order when the one
    before is confirmed. After 30 ms one of them closes. A sync takes 10 ms.
Promised: Whenever somebody pulls the plug, each order that was confirmed is on the disk. At least 40
    orders are confirmed in the 120 ms.
Hint: Which of write, sync and confirm tells the till that it may forget the order? What must be true
    before?
Hint: A sync takes as long for ten orders as for one. `inbox.take()` gives you all that have come.
Hint: Take the list, write each order of it, await one `disk.sync()`, and then confirm each order of the
    same list. What comes in the meantime waits in the inbox for the next turn.
Why: The confirm is the last of the three, and one sync serves all that were written before it began. What
    comes while it runs is not covered by it, so it waits for the next one, which begins at once.

confirmed-too-early: A “yes” that the disk had not heard. The order was confirmed before a sync of it. If
    somebody pulls the plug now, the till has crossed the order out and the disk does not have it.
written-during-the-sync: Written after the sync had begun. A sync makes durable what was written before it
    began. The order came later, so the disk has it only after the next one.
ended: `accept` came to its end. The orders that come later are taken by nobody, and their tills wait.
never-confirmed: An order is on the disk, and its till is never told. It waits, and sends no other order.
disk-is-idle: Right, and the disk stands idle. Orders wait for company, and no sync runs in the meantime.
too-slow: Right, and slow. Orders that wait at the same moment do not share a sync: each, or each few of
    them, pays for one of its own, and the others wait in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, acting, record
from .disk import Disk

__all__ = ["EXERCISE", "Inbox", "Put", "ten_tills"]

END = 0.120  #: seconds
ENOUGH = 40
CLOSES = 0.030  #: seconds, for the last till
LATER = 0.150  #: seconds after the end in which nothing is sent, and what is on the disk can be confirmed
BUSY = 8  #: syncs of 10 ms in that time


class Put:
    """An order that a till has sent. `confirm()` tells the till that it may forget it."""

    def __init__(self, order: str, confirmed: Callable[[str], None]) -> None:
        self.order = order
        self._confirmed = confirmed

    def confirm(self) -> None:
        """Tell the till. Idempotent."""
        self._confirmed(self.order)


class Inbox:
    """Orders that the tills have sent and nobody has taken."""

    def __init__(self) -> None:
        self._puts: list[Put] = []
        self._news = anyio.Event()

    async def take(self) -> list[Put]:
        """Take all that have come, in their order; wait until there is at least one."""
        while not self._puts:
            self._news = anyio.Event()
            await self._news.wait()
        await anyio.sleep(0)
        taken, self._puts = self._puts, []
        return taken


class _WatchedDisk(Disk):
    """A disk that knows of each order how many syncs had ended when it was written."""

    def __init__(self) -> None:
        super().__init__()
        self._syncs = 0
        self._before: dict[str, int] = {}

    def write(self, order: str) -> None:
        super().write(order)
        self._before.setdefault(order, self._syncs)
        record(Kind.NOTE, "disk", order, text=f"{order} is written")

    async def sync(self) -> None:
        await super().sync()
        self._syncs += 1
        record(Kind.NOTE, "disk", text=f"a sync ends; on the disk: {self.synced} orders")


def _mistake(disk: _WatchedDisk, order: str) -> str:
    """The name of the mistake when this order is confirmed now; "" when it is on the disk."""
    if order in disk.left("plug"):
        return ""
    before = disk._before.get(order, disk._syncs)
    return "written-during-the-sync" if disk._syncs > before else "confirmed-too-early"


async def ten_tills(accept: kit.Answer, seed: int) -> None:
    """Play ten tills that send orders, each a little after the confirm of its last; one till closes."""
    disk, inbox, random = _WatchedDisk(), Inbox(), Random(seed)
    confirmed: dict[str, str] = {}
    ended: list[float] = []
    numbers = iter(range(1, 10_000))

    async def till() -> None:
        while True:
            heard, order = anyio.Event(), f"order {next(numbers)}"

            def confirm(order: str, heard: anyio.Event = heard) -> None:
                if order not in confirmed:
                    confirmed[order] = _mistake(disk, order)
                    record(Kind.ACCEPTED, "broker", order)
                heard.set()

            await anyio.sleep(random.choice((0.001, 0.002, 0.003)))
            record(Kind.SENT, "broker", order, label=order)
            inbox._puts.append(Put(order, confirm))
            inbox._news.set()
            await heard.wait()

    async def closes() -> None:
        with anyio.move_on_after(CLOSES):
            await till()

    async def broker() -> None:
        await accept(disk, inbox)
        ended.append(anyio.current_time())

    async with kit.participants() as start:
        start("broker", broker)
        async with kit.participants() as open_till:
            for number in range(1, 11):
                with acting(f"till-{number}"):
                    open_till(f"till-{number}", till if number < 10 else closes)
            await anyio.sleep(END)
        in_time, syncs = len(confirmed), disk._syncs
        await anyio.sleep(LATER)
    waiting = [order for order in disk.left("plug") if order not in confirmed]
    kit.write_down(confirmed=confirmed, in_time=in_time, syncs=syncs, ended=ended, waiting=waiting)


def judge(trace: Trace) -> kit.Symptoms:
    night = kit.facts(trace)
    confirmed = night["confirmed"]
    for order, mistake in confirmed.items():
        if mistake:
            at = kit.when(trace.filter(Kind.ACCEPTED, message=order)[0])
            words = f"{order} was confirmed at {at}, and the disk did not have it."
            yield kit.seen(mistake, words, trace.filter(message=order))
    if night["in_time"] < ENOUGH:
        yield _slow(night)
    kit.require(trace, Kind.SENT, "no till sent an order.")


def _slow(night: dict[str, Any]) -> kit.Symptom:
    """Name what kept the broker from confirming enough."""
    confirmed, syncs = night["in_time"], night["syncs"]
    words = f"In 120 ms {confirmed} orders were confirmed, and {ENOUGH} were asked for."
    if night["ended"]:
        return kit.seen("ended", f"It ended at {night['ended'][0]:.3f} s. {words}")
    if night["waiting"]:
        order = night["waiting"][0]
        return kit.seen("never-confirmed", f"{order} is on the disk, and was not confirmed. {words}")
    mistake = "disk-is-idle" if syncs < BUSY else "too-slow"
    return kit.seen(mistake, f"{words} {syncs} syncs ended, and there was time for 11.")


EXERCISE = kit.exercise(__name__, __doc__, kit.play(ten_tills), judge)
