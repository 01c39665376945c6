"""Predict the shares

Predict · easy · 1 point · 4 minutes

Answer: def predict_shares()
Called: Two reference workers on 20 orders of 30 seconds each, once for each prefetch. worker-1 starts at 0 s,
    worker-2 at 60 s. Then four orders, with two workers who start at once,
    and worker-2 is twice as fast as worker-1.
Promised: Your numbers are those of the run, and so is your answer about the order.
Hint: Draw the first minute of worker-1: what has it done, and what does it hold, when worker-2 comes?
Hint: In flight is in flight, also for an order that lies on worker-1's table. worker-2 gets what the queue
    still has at 60 s; from then on both take one more whenever they settle one.
Hint: At 60 s worker-1 has settled 2 orders. With prefetch 1 the queue then has 18 left, or 17 and one that
    starts at that moment. With prefetch 12 worker-1 took 2 + 12. With prefetch 20 it took all.
Why: Prefetch 1: worker-1 has 2 done when worker-2 comes, and they share the other 18. Prefetch 12: worker-1
    has taken 14 by then, and worker-2 takes the 6 that are left. Prefetch 20: all of them lie at worker-1.
    With two speeds the ends overtake each other; only the starts are in order.

head-start-forgotten: The shares with prefetch 1 are different. With prefetch 1 nobody has an order that it
    does not work on. So count who is free at which moment, from the first second on.
credit-comes-back: The shares with prefetch 12 are different. Prefetch limits what a worker holds at one
    moment, not what it gets altogether: whenever it settles an order it may take another. Count what worker-1
    holds and has done when worker-2 comes.
prefetched-is-taken: The shares with prefetch 20 are different. What a worker has fetched is in flight,
    whether it works on it or not. The queue has nothing else to hand out, and it takes nothing back from a
    worker that lives.
global-order: The order of the effects is different. The queue decides who starts next. When the work is done
    is decided by the workers, and they have different speeds.
no-prediction: A prediction is missing or cannot be read. Each share is two whole numbers, of worker-1 and of
    worker-2, and the last prediction is True or False.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...lab.invariants import fifo
from ...message import Message
from ...message_queue import MessageQueue, Worker
from ...trace import Kind, Trace, record, whoami
from .shop import put

__all__ = ["EXERCISE", "late_worker", "two_speeds"]

SERVICE, LATE = 30.0, 60.0  # seconds for an order; worker-2 starts so much later
KEPT = "order kept"
MISTAKES = {
    "prefetch 1": "head-start-forgotten",
    "prefetch 12": "credit-comes-back",
    "prefetch 20": "prefetched-is-taken",
    KEPT: "global-order",
}


async def late_worker(prefetch: int) -> None:
    """Play twenty orders that wait; worker-1 starts at once, and worker-2 a minute later."""

    async def pack(message: Message) -> None:
        await anyio.sleep(SERVICE)

    async with MessageQueue("orders", lease=3600) as queue, kit.participants(wait=True) as start:
        await put(queue, [f"order {number}" for number in range(1, 21)])
        queue.close()
        for name, pause in (("worker-1", LATE), ("worker-2", 0.0)):
            start(name, Worker(queue, pack, prefetch=prefetch).run)
            await anyio.sleep(pause)


async def two_speeds() -> None:
    """Play four orders; worker-2 is twice as fast as worker-1."""

    async def pack(message: Message) -> None:
        await anyio.sleep(SERVICE if whoami() == "worker-1" else SERVICE / 2)
        record(Kind.EFFECT, whoami(), message.id, effect="packed")

    async with MessageQueue("orders", lease=3600) as queue, kit.participants(wait=True) as start:
        await put(queue, [f"order {number}" for number in range(1, 5)])
        queue.close()
        for name in ("worker-1", "worker-2"):
            start(name, Worker(queue, pack).run)


def shares(trace: Trace) -> list[int]:
    return [trace.count(Kind.FINISHED, who=worker) for worker in ("worker-1", "worker-2")]


QUESTIONS = {
    "prefetch 1": kit.measured(late_worker, 1, reading=shares),
    "prefetch 12": kit.measured(late_worker, 12, reading=shares),
    "prefetch 20": kit.measured(late_worker, 20, reading=shares),
    KEPT: kit.measured(two_speeds, reading=lambda trace: not fifo(trace, kind=Kind.EFFECT)),
}


def readable(question: str, said: Any) -> list[int] | bool | None:
    if question == KEPT:
        return said if isinstance(said, bool) else None
    pair = isinstance(said, tuple | list) and len(said) == 2 and all(type(n) is int for n in said)
    return list(said) if pair else None


def judge(trace: Trace) -> kit.Symptoms:
    yield from kit.unreadable(trace, "no-prediction")
    wrong = [each for each in kit.answers(trace) if each.said != each.really]
    for question, said, _ in wrong:
        shown = trace if question == wrong[0].question else trace[:0]  # the run of the first one
        if question == KEPT:
            words = f"You said {said}. Look at which order was packed when."
            yield kit.seen(MISTAKES[question], words, shown.filter(Kind.EFFECT))
        else:
            words = f"With {question} you said {said[0]} and {said[1]}. It went otherwise."
            yield kit.seen(MISTAKES[question], *_with_one_order(words, shown))


def _with_one_order(words: str, trace: Trace) -> tuple[str, Trace]:
    """Without the answer: how one order came to its worker at the time when worker-2 came."""
    for began in trace.filter(Kind.STARTED, test=lambda event: event.at >= LATE)[:1]:
        trace = trace.filter(Kind.DELIVERED, Kind.STARTED, Kind.FINISHED, message=began.message)
        taken, begun = trace[0], trace[1]
        order = f"{taken.who} took {taken.message} at {taken.at:g} s and began it at {begun.at:g} s"
        words = f"{words} Look at one order: {order}."
    return words, trace


EXERCISE = kit.exercise(__name__, __doc__, kit.ask(QUESTIONS, readable), judge, seeds=(1,))
