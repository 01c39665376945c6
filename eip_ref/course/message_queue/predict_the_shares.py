"""Exercise: predict how two workers share twenty orders, and whether the order of the queue is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio

from ...autograder.exercise import ANSWER, Diagnosis, Exercise, Mistake
from ...autograder.forms import function
from ...lab.clock import simulate
from ...lab.invariants import fifo
from ...message import Message
from ...message_queue import MessageQueue, Worker
from ...trace import Event, Kind, Trace, acting, record, whoami

__all__ = ["PREDICT_THE_SHARES"]

ORDERS, SERVICE, LATE = 20, 30.0, 60.0  # seconds for an order; worker-2 starts so much later
SHARES = {"prefetch 1": 1, "prefetch 12": 12, "prefetch 20": 20}
KEPT = "order kept"

HEAD_START = Mistake(
    "head-start-forgotten",
    "The shares with prefetch 1 are different",
    "With prefetch 1 nobody has an order that it does not work on. So count who is free at which moment, "
    "from the first second on.",
)
CREDIT = Mistake(
    "credit-comes-back",
    "The shares with prefetch 12 are different",
    "Prefetch limits what a worker holds at one moment, not what it gets altogether: whenever it settles "
    "an order it may take another. Count what worker-1 holds and has done when worker-2 comes.",
)
LEFT_ON_THE_TABLE = Mistake(
    "prefetched-is-taken",
    "The shares with prefetch 20 are different",
    "What a worker has fetched is in flight, whether it works on it or not. The queue has nothing else to "
    "hand out, and it takes nothing back from a worker that lives.",
)
OVERTAKEN = Mistake(
    "global-order",
    "The order of the effects is different",
    "The queue decides who starts next. When the work is done is decided by the workers, and they have "
    "different speeds.",
)
MISTAKES = dict(zip((*SHARES, KEPT), (HEAD_START, CREDIT, LEFT_ON_THE_TABLE, OVERTAKEN), strict=True))


UNREADABLE = Mistake(
    "no-prediction",
    "A prediction is missing or cannot be read",
    "Each share is two whole numbers, of worker-1 and of worker-2, and the last prediction is True or False.",
)


async def late_worker(prefetch: int) -> None:
    """Twenty orders wait; worker-1 starts at once, and worker-2 a minute later."""

    async def pack(message: Message) -> None:
        await anyio.sleep(SERVICE)

    async with MessageQueue("orders", lease=3600) as queue, anyio.create_task_group() as group:
        await _put(queue, ORDERS)
        for name, pause in (("worker-1", LATE), ("worker-2", 0.0)):
            with acting(name):
                group.start_soon(Worker(queue, pack, prefetch=prefetch).run)
            await anyio.sleep(pause)


async def two_speeds() -> None:
    """Four orders; worker-2 is twice as fast as worker-1."""

    async def pack(message: Message) -> None:
        await anyio.sleep(SERVICE if whoami() == "worker-1" else SERVICE / 2)
        record(Kind.EFFECT, whoami(), message.id, effect="packed")

    async with MessageQueue("orders", lease=3600) as queue, anyio.create_task_group() as group:
        await _put(queue, 4)
        for name in ("worker-1", "worker-2"):
            with acting(name):
                group.start_soon(Worker(queue, pack).run)


async def _put(queue: MessageQueue, count: int) -> None:
    with acting("shop"):
        for number in range(1, count + 1):
            await queue.put(Message(f"order {number}"))
    queue.close()


def run(predict: Callable[[], Mapping[str, Any]], seed: int) -> Trace:
    """What really happened at the first wrong prediction, then a note for each of them."""
    shown, notes = Trace(()), list[Event]()
    said = dict(predict())
    for question in MISTAKES:
        mine = _readable(question, said.get(question))
        trace, really = _find_out(question, seed)
        if mine not in (None, really) and not shown:
            shown = trace
        data = {"text": f"{question}: {mine}", "question": question, "said": mine, "really": really}
        notes.append(Event(0.0, "note", ANSWER, "", "", data))
    return Trace([*shown, *(note._replace(at=shown.end) for note in notes)], seed=seed)


def _readable(question: str, said: Any) -> list[int] | bool | None:
    """A prediction as JSON, or None when it is not one."""
    if question == KEPT:
        return said if isinstance(said, bool) else None
    pair = isinstance(said, tuple | list) and len(said) == 2 and all(type(n) is int for n in said)
    return list(said) if pair else None


def _find_out(question: str, seed: int) -> tuple[Trace, Any]:
    if question == KEPT:
        trace = simulate(two_speeds, seed=seed)
        return trace, not fifo(trace, kind=Kind.EFFECT)
    trace = simulate(late_worker, SHARES[question], seed=seed)
    return trace, [trace.count(Kind.FINISHED, who=worker) for worker in ("worker-1", "worker-2")]


def judge(trace: Trace) -> list[Diagnosis]:
    found = list[Diagnosis]()
    for note in trace.filter(Kind.NOTE, where=ANSWER):
        question, said = note.data["question"], note.data["said"]
        if said is None:
            found.append(Diagnosis(UNREADABLE, f"The prediction for {question!r} is missing or unreadable."))
        elif said != note.data["really"]:
            proof = () if found else tuple(_proof(question, trace))
            found.append(Diagnosis(MISTAKES[question], _words(question, said, proof), proof))
    return found


def _words(question: str, said: Any, proof: tuple[Event, ...]) -> str:
    if question == KEPT:
        return f"You said {said}. Look at which order was packed when."
    told = ""
    if proof:
        taken, begun = proof[:2]
        order = f"{taken.who} took {taken.message} at {taken.at:g} s and began it at {begun.at:g} s"
        told = f" Look at one order: {order}."
    return f"With {question} you said {said[0]} and {said[1]}. It went otherwise.{told}"


def _proof(question: str, trace: Trace) -> Iterator[Event]:
    """Without the answer: how one order came to its worker at the time when worker-2 came."""
    if question == KEPT:
        yield from trace.filter(Kind.EFFECT)
        return
    began = trace.filter(Kind.STARTED, test=lambda event: event.at >= LATE)[0].message
    yield from trace.filter(Kind.DELIVERED, Kind.STARTED, Kind.FINISHED, message=began)


PREDICT_THE_SHARES = Exercise(
    name="message_queue/predict_the_shares",
    title="Predict the shares",
    points=1,
    minutes=4,
    difficulty=1,
    kind="predict",
    answer="predict_shares",
    form=function(),
    called=(
        "Two reference workers on 20 orders of 30 seconds each, once for each prefetch. worker-1 starts at "
        "0 s, worker-2 at 60 s. Then four orders with two workers, of which one is twice as fast."
    ),
    promised="Your numbers are those of the run, and so is your answer about the order.",
    hints=(
        "Draw the first minute of worker-1: what has it done, and what does it hold, when worker-2 comes?",
        "In flight is in flight, also for an order that lies on worker-1's table. worker-2 gets what the "
        "queue still has at 60 s; from then on both take one more whenever they settle one.",
        "At 60 s worker-1 has settled 2 orders. With prefetch 1 the queue then has 18 left, or 17 and one "
        "that starts at that moment. With prefetch 12 worker-1 took 2 + 12. With prefetch 20 it took all.",
    ),
    explanation=(
        "Prefetch 1: worker-1 has 2 done when worker-2 comes, and they share the other 18. Prefetch 12: "
        "worker-1 has taken 14 by then, and worker-2 takes the 6 that are left. Prefetch 20: all of them "
        "lie at worker-1. With two speeds the ends overtake each other; only the starts are in order."
    ),
    run=run,
    judge=judge,
    seeds=(1,),
)
