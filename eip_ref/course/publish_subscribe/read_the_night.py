"""Read the night

Read the trace · medium · 3 points · 8 minutes

Answer: def read_the_night()
Called: Your `read_the_night()`. Then the night is played again, and once more with the session that you
    say.
Promised: Each of the four answers is what the trace says, and with your session every order is packed once.
Hint: Look at one order, and write down who had it from when to when. `night.filter("delivered", "effect",
    "acked", "stale")` shows it.
Hint: Nobody died. What happened one session after packer-1 had asked for the last time?
Hint: An order takes 12 s, and between two questions there is one order. A packer that works is silent for
    that long.
Why: Both packers live. The session of 8 s is shorter than the 12 s of work, so each finds the other dead
    and takes its partition. No ack counts, since each is of a generation that is over. A session of 12 s or
    more ends it.
Part: The cause · 1 point · blames-a-crash, blames-the-shop, blames-the-number
Part: What is in the trace · 1 point · wrong-count
Part: The session that ends it · 1 point · session-too-short, session-too-long

no-answer: An answer is missing or cannot be read. Each of the four names needs one: the cause is one of the
    four texts in the table, and the others are numbers.
blames-a-crash: There was no crash. Whoever crashes has no later events; look who is at work at the end.
blames-the-shop: The shop published each order once. Count the `accepted` of one order in the log.
blames-the-number: The number of packers is not the cause. Two packers can share the work; look at what
    makes one take an order from the other.
wrong-count: The count is not that of the trace. Count the effects of one order, and the acks.
session-too-short: With this session orders are still packed more than once. Whoever works is silent for the
    whole of an order.
session-too-long: With this session the dead are found far too late. A packer that really dies holds its
    orders for so long.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...lab.clock import simulate
from ...message import Message
from ...publish_subscribe import PartitionedTopic
from ...trace import Kind, Trace, acting, record, whoami

__all__ = ["EXERCISE", "a_night"]

WORK, SESSION, LIGHTS_OUT = 12.0, 8.0, 150.0
CAUSES = ("a crash", "published twice", "too many packers", "a session shorter than the work")
MISTAKES = dict(zip(CAUSES, ("blames-a-crash", "blames-the-shop", "blames-the-number", ""), strict=True))


async def a_night(session: float = SESSION) -> None:
    """Play two packers on one order, which takes 12 s."""
    topic = PartitionedTopic("orders", partitions=1, retain=100)

    async def pack() -> None:
        with topic.join("packing", when_full="block", start="earliest", session=session) as member:
            async for delivery in member:
                await anyio.sleep(WORK)
                record(Kind.EFFECT, whoami(), delivery.message.id, effect="packed")
                await delivery.ack()

    with acting("shop"):
        await topic.publish(Message("order 1", id="order 1", key="Ada"))
    with anyio.move_on_after(LIGHTS_OUT):
        async with anyio.create_task_group() as group:
            for name in ("packer-1", "packer-2"):
                with acting(name):
                    group.start_soon(pack)


def packed(trace: Trace) -> int:
    return trace.count(Kind.EFFECT)


QUESTIONS = {
    "cause": kit.measured(a_night, reading=lambda trace: CAUSES[3]),
    "packed": kit.measured(a_night, reading=packed),
    "acked": kit.measured(a_night, reading=lambda trace: trace.count(Kind.ACKED)),
    "session": kit.counted(lambda: WORK),
}


def readable(question: str, said: Any) -> object:
    if question == "cause":
        return said if said in CAUSES else None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < 1e6:
        return None
    return said


def judge(trace: Trace) -> kit.Symptoms:
    yield from kit.unreadable(trace, "no-answer")
    for question, said, really in kit.answers(trace):
        if question == "session":
            yield from _session(float(said))
        elif said != really:
            mistake = MISTAKES[said] if question == "cause" else "wrong-count"
            words = f"in the trace `{question}` is not {said!r}."
            yield kit.seen(mistake, words, trace.filter(Kind.DELIVERED, Kind.EFFECT, Kind.STALE)[:8])


def _session(said: float) -> kit.Symptoms:
    if said <= 0 or packed(again := simulate(a_night, said)) > 1:
        kinds = Kind.DELIVERED, Kind.EFFECT, Kind.STALE
        shown = again.filter(*kinds)[:8] if said > 0 else Trace(())
        yield kit.seen(
            "session-too-short", f"with a session of {said:g} s `order 1` is packed more than once.", shown
        )
    elif said > 5 * WORK:
        yield kit.seen(
            "session-too-long", f"with a session of {said:g} s a dead packer is found after {said:g} s."
        )


EXERCISE = kit.exercise(__name__, __doc__, kit.ask(QUESTIONS, readable), judge, seeds=(1,))
