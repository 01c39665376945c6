"""Exercise: a handler takes longer than its lease; keep the lease, and stop when it is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from random import Random

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play, require
from ...autograder.forms import async_function
from ...lab.wording import plural
from ...message import Message
from ...message_queue import Lease, MessageQueue, Settled
from ...trace import Kind, Trace, acting, record, whoami
from .shop import PATIENT, Handler, before, effects, happens, name_of, ranked, seen, story, when

__all__ = ["KEEP_THE_LEASE", "slow_reports"]

LEASE = 10.0  #: seconds
LONG, CUT_OFF = "report 17", "report 18"  #: one that takes long, and one whose worker loses its connection
LINE = "line"  #: the `where` of the note that says that the line to the queue is cut

RAN_OUT = Mistake(
    "lease-ran-out",
    "The lease ran out while the work went on",
    "The queue cannot tell a slow worker from a dead one. It knows only that the lease is over, and hands "
    "the report out again: now two workers do the same work. At the very instant at which it ends, a lease "
    "is over.",
)
WORKS_ON = Mistake(
    "works-without-a-lease",
    "Worked on after the lease was lost",
    "“Stale” means that somebody else may have the report by now. What a worker finishes after that is "
    "done twice.",
)
TOO_FAR = Mistake(
    "lease-too-long",
    "Took a lease far into the future",
    "A long lease is kept by a dead worker too. The queue can hand the report out again only when the lease "
    "is over, and until then nobody works on it.",
)
BEATS_ON = Mistake(
    "heartbeat-goes-on",
    "Did not come back when the handler had ended",
    "The worker cannot take the next report before `work_on` returns. Something in it is still running.",
)
NOT_ACKED = Mistake(
    "never-acked",
    "Did the work and never acknowledged it",
    "The queue cannot see the work. Without an ack the lease runs out, and the report is made once more.",
)
MISTAKES = (TOO_FAR, RAN_OUT, WORKS_ON, NOT_ACKED, BEATS_ON)


class _CutOff(MessageQueue):
    """A queue to which the line of one worker is cut for a while: what it says arrives late."""

    def __init__(self, name: str, cut: float, mended: float) -> None:
        super().__init__(name, lease=LEASE, policy=PATIENT)
        self.cut, self.mended = cut, mended

    async def _arrives(self, lease: Lease) -> None:
        now = anyio.current_time()
        if lease.message.body == CUT_OFF and lease.deliveries == 1 and self.cut <= now < self.mended:
            await anyio.sleep(self.mended - now)

    async def ack(self, lease: Lease) -> Settled:
        await self._arrives(lease)
        return await super().ack(lease)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        await self._arrives(lease)
        return await super().nack(lease, delay=delay, reason=reason)

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        await self._arrives(lease)
        return await super().extend(lease, seconds)


async def slow_reports(work: Callable[[Lease, Handler], Awaitable[object]], seed: int) -> None:
    """Two workers write three reports; the line of one of them to the queue is cut for a while."""
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
        happens(message, "written")

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            await work(lease, write)
            record(Kind.FINISHED, whoami(), lease.message.id, lease=lease.token)

    async with _CutOff("reports", cut, cut + 15) as queue, anyio.create_task_group() as group:
        with acting("shop"):
            for report in takes:
                await queue.put(Message(report))
        for name in ("worker-1", "worker-2"):
            with acting(name):
                group.start_soon(worker, name=name)
        await anyio.sleep_until(cut)
        record(Kind.NOTE, LINE, text="the line of worker-2 is cut")
        with anyio.move_on_after(75):
            await queue.join()
            await anyio.sleep(LEASE)
        group.cancel_scope.cancel()


def judge(trace: Trace) -> list[Diagnosis]:
    require(trace, Kind.NOTE, "the line was never cut.", where=LINE)
    found = [*_too_far(trace), *_ran_out(trace), *_works_on(trace), *_not_acked(trace), *_beats_on(trace)]
    if not found:
        require(trace, Kind.EXPIRED, "no worker ever lost its lease.")
    return ranked(found, MISTAKES)


def _too_far(trace: Trace) -> Iterator[Diagnosis]:
    for event in trace.filter(Kind.EXTENDED, Kind.DELIVERED):
        ahead = event.data["until"] - event.at
        if ahead > 1.5 * LEASE:
            report = name_of(trace, event.message)
            words = f"The lease on {report} was extended by {ahead:.0f} s at {when(event)}."
            yield seen(TOO_FAR, words, story(trace, event.message))


def _ran_out(trace: Trace) -> Iterator[Diagnosis]:
    labels = {e.message: e.data["label"] for e in trace.filter(Kind.SENT)}
    for event in trace.filter(Kind.EXPIRED):
        first = not before(trace, event, Kind.EXPIRED)
        if (labels[event.message] != CUT_OFF or not first) and not before(trace, event, Kind.EFFECT):
            report = name_of(trace, event.message)
            words = f"{event.who} worked on {report}, and its lease ran out at {when(event)}."
            yield seen(RAN_OUT, words, story(trace, event.message))


def _works_on(trace: Trace) -> Iterator[Diagnosis]:
    for effect in effects(trace):
        taken = [e for e in before(trace, effect, Kind.DELIVERED) if e.who == effect.who][-1]
        lost = [e for e in before(trace, effect, Kind.EXPIRED) if e.data["lease"] == taken.data["lease"]]
        if lost:
            report = name_of(trace, effect.message)
            words = (
                f"{effect.who} lost its lease on {report} at {when(lost[0])} and wrote it at {when(effect)}."
            )
            yield seen(WORKS_ON, words, story(trace, effect.message))


def _not_acked(trace: Trace) -> Iterator[Diagnosis]:
    acked = trace.messages(Kind.ACKED)
    for message in dict.fromkeys(trace.messages(Kind.ACCEPTED)):
        written = len(effects(trace, message))
        if message not in acked and written:
            words = f"{name_of(trace, message)} was written {plural(written, 'time')} and never acknowledged."
            yield seen(NOT_ACKED, words, story(trace, message)[:12])


def _beats_on(trace: Trace) -> Iterator[Diagnosis]:
    stopped = [e for e in trace.filter(Kind.CANCELLED) if e.at < trace.end]  # later ones, by the scenario
    for ended in (*effects(trace), *stopped):
        returns = trace.filter(Kind.FINISHED, message=ended.message, who=ended.who)
        back = next((e for e in returns if e.at >= ended.at), None)
        if back is None or back.at - ended.at > 1:
            late = f"returned only at {when(back)}" if back else "never returned"
            report = name_of(trace, ended.message)
            words = f"{ended.who} was done with {report} at {when(ended)}, and `work_on` {late}."
            yield seen(BEATS_ON, words, story(trace, ended.message)[:12])


KEEP_THE_LEASE = Exercise(
    name="message_queue/keep_the_lease",
    title="Keep the lease while you work",
    points=3,
    minutes=11,
    difficulty=2,
    kind="extend",
    answer="work_on",
    form=async_function("lease", "handle"),
    called=(
        "Your `work_on(lease, handle)` by two workers on three reports. Leases are 10 seconds long. Report "
        "17 takes about twice that. Over report 18 the line between its worker and the queue is cut for 15 "
        "seconds, so that each call to the queue comes back late."
    ),
    promised=(
        "While the queue can be reached, no lease runs out under a worker. A worker that has lost its lease "
        "does not finish the work. `work_on` acknowledges what is done, and returns as soon as the handler "
        "has ended. No lease is taken for more than 15 seconds ahead."
    ),
    hints=(
        "Two things must go on at the same time: the handler, and something that says “still here” to the "
        "queue. What does `lease.extend()` answer when the lease is over?",
        "Start a task in a task group that extends the lease, sleeps for a third of it, and does so again. "
        "When the answer is false, cancel the task group's scope: that stops the handler too. When the "
        "handler has returned, cancel it as well.",
        "`async with anyio.create_task_group() as group:` start `beat`, `await handle(lease.message)`, "
        "`await lease.ack()`, `group.cancel_scope.cancel()`. In `beat`: `while await lease.extend(): await "
        "anyio.sleep(lease.seconds / 3)`, and after the loop `group.cancel_scope.cancel()`.",
    ),
    explanation=(
        "The heartbeat runs beside the handler in one task group. Each of the two ends the other: the "
        "handler when it is done, the heartbeat when the lease is lost. If the process dies, the heartbeat "
        "dies with it."
    ),
    run=play(slow_reports),
    judge=judge,
)
