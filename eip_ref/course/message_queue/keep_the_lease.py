"""Keep the lease while you work

Extend · medium · 3 points · 11 minutes

Answer: async def work_on(lease, handle)
Called: Your `work_on(lease, handle)` by two workers on three reports. Leases are 10 seconds long. Report 17
    takes about twice that. Over report 18 the line between its worker and the queue is cut for 15 seconds, so
    that each call to the queue comes back late.
Promised: While the queue can be reached, no lease runs out under a worker. A worker that hears that its
    lease is lost does not finish the work. `work_on` acknowledges what is done, and returns as soon as the
    handler has ended. No lease is taken for more than 15 seconds ahead.
Hint: Two things must go on at the same time: the handler, and something that says “still here” to the queue.
    What does `lease.extend()` answer when the lease is over?
Hint: Start a task in a task group that extends the lease, sleeps for a third of it, and does so again. When
    the answer is false, cancel the task group's scope: that stops the handler too. When the handler has
    returned, cancel it as well.
Hint: `async with anyio.create_task_group() as group:` start `beat`, `await handle(lease.message)`, `await
    lease.ack()`, `group.cancel_scope.cancel()`. In `beat`: `while await lease.extend(): await
    anyio.sleep(lease.seconds / 3)`, and after the loop `group.cancel_scope.cancel()`.
Why: The heartbeat runs beside the handler in one task group. Each of the two ends the other: the handler when
    it is done, the heartbeat when the lease is lost. If the process dies, the heartbeat dies with it.

lease-too-long: Took a lease far into the future. A long lease is kept by a dead worker too. The queue can
    hand the report out again only when the lease is over, and until then nobody works on it.
lease-ran-out: The lease ran out while the work went on. The queue cannot tell a slow worker from a dead one.
    It knows only that the lease is over, and hands the report out again: now two workers do the same work. At
    the very instant at which it ends, a lease is over.
works-without-a-lease: Worked on after the lease was lost. “Stale” means that somebody else may have the
    report by now. What a worker finishes after that is done twice.
never-acked: Did the work and never acknowledged it. The queue cannot see the work. Without an ack the lease
    runs out, and the report is made once more.
heartbeat-goes-on: Did not come back when the handler had ended. The worker cannot take the next report before
    `work_on` returns. Something in it is still running.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...lab.wording import plural
from ...message import Message
from ...message_queue import Lease, MessageQueue, Settled
from ...trace import Event, Kind, Trace, record, whoami
from .shop import PATIENT, put

__all__ = ["EXERCISE", "slow_reports"]

LEASE = 10.0  #: seconds
LONG, CUT_OFF = "report 17", "report 18"  #: one that takes long, and one whose worker loses its connection
CUT = 15.0  #: seconds for which its line is cut
LINE = "line"  #: the `where` of the note that says that the line to the queue is cut


class _CutOff(MessageQueue):
    """A queue to which the line of one worker is cut for a while: what it says arrives late."""

    def __init__(self, cut: float, mended: float) -> None:
        super().__init__("reports", lease=LEASE, policy=PATIENT)
        self._cut, self._mended = cut, mended

    async def _arrives(self, lease: Lease) -> None:
        now = anyio.current_time()
        if lease.message.body == CUT_OFF and lease.deliveries == 1 and self._cut <= now < self._mended:
            await anyio.sleep(self._mended - now)

    async def ack(self, lease: Lease) -> Settled:
        await self._arrives(lease)
        return await super().ack(lease)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        await self._arrives(lease)
        return await super().nack(lease, delay=delay, reason=reason)

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        await self._arrives(lease)
        return await super().extend(lease, seconds)


async def slow_reports(work: kit.Answer, seed: int) -> None:
    """Play two workers that write three reports; the line of one of them to the queue is cut for a while."""
    chance = Random(seed)
    cut = chance.uniform(2, 6)
    takes = {LONG: chance.uniform(16, 22), CUT_OFF: cut + 40, "report 19": 2.0}

    async def write(message: Message) -> None:
        record(Kind.STARTED, whoami(), message.id)
        try:
            await anyio.sleep(takes[message.body])
        except anyio.get_cancelled_exc_class():
            record(Kind.CANCELLED, whoami(), message.id)
            raise
        kit.happens(message, "written")

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            await work(lease, write)
            record(Kind.FINISHED, whoami(), lease.message.id, lease=lease.token)

    async with _CutOff(cut, cut + CUT) as queue, kit.participants() as start:
        await put(queue, takes)
        for name in ("worker-1", "worker-2"):
            start(name, worker)
        await anyio.sleep_until(cut)
        record(Kind.NOTE, LINE, text="the line of worker-2 is cut")
        with anyio.move_on_after(75):
            await queue.join()
            await anyio.sleep(LEASE)


def judge(trace: Trace) -> kit.Symptoms:
    kit.require(trace, Kind.NOTE, "the line was never cut.", where=LINE)
    mended = [event.at + CUT for event in trace.filter(Kind.NOTE, where=LINE)]
    for report in kit.journeys(trace):
        yield from _lease(report)
        for effect in report.effects:
            yield from _works_on(report, effect)
        if report.effects and not report.all(Kind.ACKED):
            times = plural(len(report.effects), "time")
            yield report.seen("never-acked", f"{report} was written {times} and never acknowledged.")
        # Those that are cancelled at the end are cancelled by the scenario.
        ends = [*report.effects, *(e for e in report.all(Kind.CANCELLED) if e.at < trace.end)]
        for ended in ends:
            yield from _beats_on(report, ended, mended if report.label == CUT_OFF else [])
    kit.require(trace, Kind.EXPIRED, "no worker ever lost its lease.")


def _lease(report: kit.Journey) -> kit.Symptoms:
    for event in report.all(Kind.EXTENDED, Kind.DELIVERED):
        ahead = event.data["until"] - event.at
        if ahead > 1.5 * LEASE:
            words = f"The lease on {report} was extended by {ahead:.0f} s at {kit.when(event)}."
            yield report.seen("lease-too-long", words)
    allowed = 1 if report.label == CUT_OFF else 0
    for event in report.all(Kind.EXPIRED)[allowed:]:
        if not report.before(event, Kind.EFFECT):
            words = f"{event.who} worked on {report}, and its lease ran out at {kit.when(event)}."
            yield report.seen("lease-ran-out", words)


def _works_on(report: kit.Journey, effect: Event) -> kit.Symptoms:
    taken = [e for e in report.before(effect, Kind.DELIVERED) if e.who == effect.who][-1]
    for lost in report.before(effect, Kind.EXPIRED):
        if lost.data["lease"] == taken.data["lease"]:
            late = f"at {kit.when(lost)} and wrote it at {kit.when(effect)}"
            yield report.seen("works-without-a-lease", f"{effect.who} lost its lease on {report} {late}.")


def _beats_on(report: kit.Journey, ended: Event, mended: list[float]) -> kit.Symptoms:
    """Whoever wants to settle over a line that is cut waits until it is mended."""
    returns = [e for e in report.all(Kind.FINISHED) if e.who == ended.who and e.at >= ended.at]
    if not returns or returns[0].at - max([ended.at, *mended]) > 1:
        late = f"returned only at {kit.when(returns[0])}" if returns else "never returned"
        words = f"{ended.who} was done with {report} at {kit.when(ended)}, and `work_on` {late}."
        yield report.seen("heartbeat-goes-on", words)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(slow_reports), judge)
