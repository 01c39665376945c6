"""Exercise: a worker acknowledges too early; mend it, so that no order is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from random import Random

import anyio

from ...autograder.exercise import Diagnosis, Ending, Exercise, Mistake, play, require
from ...autograder.forms import async_function
from ...lab.wording import seconds
from ...message import Message
from ...message_queue import MessageQueue, Queue
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT, Handler, before, die, effects, happens, mortal, name_of, ranked, seen, story, when

__all__ = ["MEND_THE_WORKER", "a_hard_shift"]

PAUSE = 0.5  #: seconds: an order that fails again sooner than this was tried in a hot loop
PATIENCE = 60.0  #: seconds for four orders of one second each

ACK_ON_RECEIVE = Mistake(
    "ack-on-receive",
    "Acknowledged before the work was done",
    "After an ack the queue forgets the message. Whatever happens to the worker from then on happens to "
    "the only copy: if it dies or is stopped, nobody will try again.",
)
ACK_AFTER_FAILURE = Mistake(
    "ack-after-failure",
    "Acknowledged an order that had failed",
    "An ack says “done”, and here nothing was done. `finally` runs after an error too, and so does "
    "whatever follows an `except` that swallows the error.",
)
ACK_AFTER_CANCEL = Mistake(
    "ack-after-cancel",
    "Acknowledged an order whose handler was cancelled",
    "A cancelled handler is neither done nor failed: it was only stopped. `finally`, and `except` for "
    "every kind of error, run at that moment as well.",
)
NEVER_ACKED = Mistake(
    "never-acked",
    "Did the work and never acknowledged it",
    "The queue cannot see the work. Without an ack its lease runs out, and the queue hands the order out "
    "again, to be done once more.",
)
HOT_LOOP = Mistake(
    "hot-loop",
    "Tried a failing order again without a pause",
    "Nothing has changed since it failed, so it fails again, many times a second. The order keeps its "
    "place at the head, and the orders behind it wait.",
)
DIES_OF_ONE_ORDER = Mistake(
    "dies-of-one-order",
    "One bad order ended the worker",
    "An error that leaves `work` ends it. One order that cannot be packed must not stop the others.",
)
LEFT_BEHIND = Mistake(
    "left-behind",
    "An order was left behind",
    "The worker stopped taking orders, or holds one that it neither does nor gives back.",
)
SWALLOWED = Mistake(
    "swallowed-cancellation",
    "The worker did not stop when it was told to",
    "A worker is stopped by an error that is raised inside it, at an await. An `except` that catches "
    "every kind of error catches that one too, and the worker goes round for ever.",
)

MISTAKES = (ACK_ON_RECEIVE, ACK_AFTER_FAILURE, ACK_AFTER_CANCEL, HOT_LOOP, NEVER_ACKED, LEFT_BEHIND)
STOPPED, DIES, FAILS = "the worker is stopped", "the process dies", "no address"
TROUBLES = {STOPPED: 1, DIES: 1, FAILS: 2, "nothing": 0}  #: and how often each of them strikes


class NoAddress(Exception):
    """The order cannot be packed now."""


class _Shift:
    """Four orders, each with a trouble of its own at its first attempt, and one worker."""

    def __init__(self, work: Callable[[Queue, Handler], Awaitable[object]], seed: int) -> None:
        self.work = work
        troubles = Random(seed).sample(list(TROUBLES), len(TROUBLES))
        if troubles.index(DIES) < troubles.index(STOPPED):  # a worker that does not stop shows it first
            troubles = [{DIES: STOPPED, STOPPED: DIES}.get(trouble, trouble) for trouble in troubles]
        self.trouble = {f"order {n}": trouble for n, trouble in enumerate(troubles, 1)}
        self.left = dict(TROUBLES)
        self.stop = anyio.CancelScope()

    async def run(self) -> None:
        async with (
            MessageQueue("orders", lease=10, policy=PATIENT) as queue,
            anyio.create_task_group() as group,
        ):
            with acting("shop"):
                for order in self.trouble:
                    await queue.put(Message(order))
            group.start_soon(mortal("worker", self._process, queue).run)
            with anyio.move_on_after(PATIENCE):
                await queue.join()
                await anyio.sleep(2)  # whoever acknowledged too early is still at work
            group.cancel_scope.cancel()

    async def _process(self, queue: Queue) -> None:
        """Run the learner's worker, and start it again one second after it was stopped."""
        while True:
            with anyio.CancelScope() as self.stop:
                await self.work(queue, self._pack)
                await anyio.sleep_forever()  # it returned: nobody works any more
            await anyio.sleep(1)

    async def _pack(self, message: Message) -> None:
        record(Kind.STARTED, whoami(), message.id)
        cancelled = anyio.get_cancelled_exc_class()  # later, after a death, there may be no loop to ask
        try:
            await anyio.sleep(0.5)
            await self._suffer(self.trouble[message.body])
            await anyio.sleep(0.5)
        except NoAddress as error:
            record(Kind.FAILED, whoami(), message.id, error=str(error))
            raise
        except cancelled:
            record(Kind.CANCELLED, whoami(), message.id)
            raise
        happens(message, "packed")

    async def _suffer(self, trouble: str) -> None:
        if self.left[trouble] == 0:
            return
        self.left[trouble] -= 1
        if trouble == FAILS:
            raise NoAddress("no address")
        if trouble == DIES:
            await die()
        record(Kind.NOTE, "worker", text="the worker is told to stop")
        self.stop.cancel()


async def a_hard_shift(work: Callable[[Queue, Handler], Awaitable[object]], seed: int) -> None:
    """Four orders, a worker, and three troubles: an error, a dead process, and a stop."""
    await _Shift(work, seed).run()


def judge(trace: Trace) -> list[Diagnosis]:
    found = [*_acked_too_early(trace), *_tried_too_soon(trace), *_never_acked(trace), *_left_behind(trace)]
    if not found:
        require(trace, Kind.CRASHED, "the worker's process never died.")
        require(trace, Kind.FAILED, "no order ever failed.")
        require(trace, Kind.NOTE, "the worker was never told to stop.", where="worker")
    return ranked(found, MISTAKES)


def _acked_too_early(trace: Trace) -> Iterator[Diagnosis]:
    acks = trace.filter(Kind.ACKED, where="orders")
    for ack in sorted(acks, key=lambda event: bool(effects(trace, event.message))):  # the lost ones first
        if before(trace, ack, Kind.EFFECT):
            continue
        mistake, how = _why_too_early(trace, ack)
        packed = effects(trace, ack.message)
        fate = f"packed only at {when(packed[0])}" if packed else "never packed"
        words = f"{name_of(trace, ack.message)} was acknowledged at {when(ack)}{how}, and it was {fate}."
        yield seen(mistake, words, story(trace, ack.message))


def _why_too_early(trace: Trace, ack: Event) -> tuple[Mistake, str]:
    started = before(trace, ack, Kind.STARTED)
    failed, cancelled = before(trace, ack, Kind.FAILED), before(trace, ack, Kind.CANCELLED)
    if len(started) > len(failed) + len(cancelled) or not started:
        return ACK_ON_RECEIVE, ""
    if failed:
        return ACK_AFTER_FAILURE, f", although it had failed at {when(failed[-1])}"
    return ACK_AFTER_CANCEL, f", although its handler was cancelled at {when(cancelled[-1])}"


def _tried_too_soon(trace: Trace) -> Iterator[Diagnosis]:
    for failure in trace.filter(Kind.FAILED):
        again = next(
            (e for e in trace.filter(Kind.STARTED, message=failure.message) if e.at >= failure.at), None
        )
        if again is not None and again.at - failure.at < PAUSE:
            pause = seconds(again.at - failure.at) if again.at > failure.at else "no time"
            order = name_of(trace, failure.message)
            words = f"{order} failed at {when(failure)} and was tried again after {pause}."
            yield seen(HOT_LOOP, words, story(trace, failure.message))


def _never_acked(trace: Trace) -> Iterator[Diagnosis]:
    acked = set(trace.messages(Kind.ACKED, where="orders"))
    for message in dict.fromkeys(effect.message for effect in effects(trace)):
        if message not in acked:
            times = len(effects(trace, message))
            order = name_of(trace, message)
            words = f"{order} was packed {times} times in {trace.end:.0f} s, and never acknowledged."
            yield seen(NEVER_ACKED, words, story(trace, message)[:12])


def _left_behind(trace: Trace) -> Iterator[Diagnosis]:
    acked = set(trace.messages(Kind.ACKED, where="orders"))
    for message in trace.messages(Kind.ACCEPTED, where="orders"):
        if not effects(trace, message) and message not in acked:
            words = f"{name_of(trace, message)} was not packed within {PATIENCE:.0f} s."
            yield seen(LEFT_BEHIND, words, story(trace, message))


MEND_THE_WORKER = Exercise(
    name="message_queue/mend_the_worker",
    title="Mend the worker that loses orders",
    points=3,
    minutes=10,
    difficulty=1,
    kind="repair",
    answer="work",
    form=async_function("queue", "handle"),
    called=(
        "Your `work(queue, handle)` on four orders, in a process of its own. One order fails twice, with an "
        "error. At another the process dies, and starts again one second later. At a third the worker is "
        "told to stop: it is cancelled, and started again."
    ),
    promised=(
        "No order is acknowledged before it is packed. Every order is packed, and then acknowledged. After "
        "an error an order is tried again, half a second later or more."
    ),
    hints=(
        "At which line does the queue forget the order? What can still happen to the worker after that line?",
        "Three endings, three answers: the handler returned, it raised an `Exception`, or it was cancelled. "
        "In which of them may the worker say “done”? In which should it say “not done”? In one of them it "
        "need say nothing at all.",
        "`try:` handle the message; `except Exception as error:` nack, and let the queue choose the delay; "
        "`else:` ack. No `finally`. A cancellation is no `Exception`, so it passes through by itself.",
    ),
    explanation=(
        "The ack comes last, and only when the handler returned. A failed order is handed back with a "
        "delay. A worker that was cancelled or died says nothing: the lease runs out, and the order is "
        "ready again."
    ),
    run=play(a_hard_shift),
    judge=judge,
    endings={"NoAddress": DIES_OF_ONE_ORDER, Ending.RUNAWAY: SWALLOWED},
)
