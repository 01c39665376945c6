"""A toy lesson for the tests of the autograder: a worker, a chosen mode, and a test to write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

from eip_ref.autograder.exercise import (
    Diagnosis,
    Ending,
    Exercise,
    Mistake,
    answered,
    facts,
    play,
    require,
)
from eip_ref.autograder.forms import async_function, function
from eip_ref.autograder.trying import judge_test, try_test
from eip_ref.trace import Trace, acting, record

NUMBER = 7
TITLE = "Toys"

ACK_FIRST = Mistake(
    "ack-first",
    "Acknowledged before the work was done",
    "Once a message is acknowledged nobody keeps it. Whoever dies after that takes it along.",
)
ACKS_NOTHING = Mistake("acks-nothing", "Never acknowledged", "The channel hands the message out again.")
STUCK = Mistake("stuck", "Waits for a message that never comes", "None is left.")
WRONG_MODE = Mistake("wrong-mode", "Loses the payment", "A payment must not be lost.")
ACCUSES = Mistake("accuses", "Accuses a correct bell", "Any bell that rings is correct.")
MISSES = Mistake("misses", "Misses the silent bell", "It does not listen.")


class Orders(Protocol):
    async def take(self) -> str | None: ...
    async def ack(self, order: str) -> None: ...


class Box:
    """Three orders. An order that is not acknowledged is handed out again after a crash."""

    def __init__(self) -> None:
        self.left = ["m1", "m2", "m3"]
        for order in self.left:
            record("sent", "orders", order, who="shop", label=f"order {order[1:]}")
            record("accepted", "orders", order)

    async def take(self) -> str | None:
        await anyio.sleep(0.1)
        if self.left:
            record("delivered", "orders", self.left[0], lease=1, deliveries=1)
        return self.left[0] if self.left else None

    async def ack(self, order: str) -> None:
        record("acked", "orders", order, lease=1)
        if order in self.left:
            self.left.remove(order)


async def crash_at_work(worker: Callable[[Orders, Any], Awaitable[None]], seed: int) -> None:
    """The first worker crashes while it charges the second order; another one takes over."""
    box = Box()

    async def charge(order: str) -> None:
        await anyio.sleep(1)
        record("effect", "worker", order, effect="card charged")

    with acting("worker"), anyio.move_on_after(1.6):
        await worker(box, charge)
    record("crashed", "worker", who="worker")
    record("restarted", "worker", who="worker")
    with acting("worker"):
        await worker(box, charge)


def judge_worker(trace: Trace) -> list[Diagnosis]:
    require(trace, "crashed", "the worker never crashed.")
    charged = set(trace.messages("effect"))
    return [
        Diagnosis(
            ACK_FIRST,
            f"order {event.message[1:]} was acknowledged at {event.at:g} s and its card never charged.",
            tuple(trace.filter(message=event.message)),
        )
        for event in trace.filter("acked")
        if event.message not in charged
    ]


MEND_THE_WORKER = Exercise(
    name="toy/mend_the_worker",
    title="Mend the worker",
    points=3,
    minutes=10,
    difficulty=1,
    kind="repair",
    answer="worker",
    form=async_function("orders", "charge"),
    called="Your `worker(orders, charge)` on three orders. It crashes at the second, and starts again.",
    promised="Each order that was acknowledged has had its card charged.",
    hints=(
        "What does the channel know when the worker dies?",
        "Look at the order of two lines.",
        "Ack last.",
    ),
    explanation="The order is acknowledged when its work is done, so a crash leaves it in the channel.",
    run=play(crash_at_work),
    judge=judge_worker,
    endings={Ending.DEADLOCK: STUCK, "ConnectionError": ACKS_NOTHING},
)

CHOOSE_THE_MODE = Exercise(
    name="toy/choose_the_mode",
    title="Choose the mode",
    points=1,
    minutes=5,
    difficulty=1,
    kind="choose",
    answer="mode",
    form=function("job"),
    called="Your `mode(job)` for two jobs.",
    promised="The payment is never lost.",
    hints=("One.", "Two.", "Three."),
    explanation="Ack last.",
    run=answered(lambda mode: {job: mode(job) for job in ("payment", "newsletter")}),
    judge=lambda trace: (
        [] if facts(trace).get("payment") == "ack last" else [Diagnosis(WRONG_MODE, "It may be lost.")]
    ),
    seeds=(1,),
)


class Bell:
    async def ring(self) -> str:
        await anyio.sleep(1)
        record("effect", "bell", "m1", effect="rang")
        return "ding"


class SilentBell(Bell):
    async def ring(self) -> str:
        return ""


class StuckBell(Bell):
    async def ring(self) -> str:
        await anyio.sleep_forever()
        return "ding"


WRITE_THE_TEST = Exercise(
    name="toy/write_the_test",
    title="Write the test",
    points=2,
    minutes=5,
    difficulty=2,
    kind="write the test",
    answer="test_bell",
    form=async_function("make"),
    called="Your `test_bell(make)` on bells that ring and on bells that do not.",
    promised="It passes for every bell that rings, and fails for every other.",
    hints=("One.", "Two.", "Three."),
    explanation="It listens.",
    run=try_test({"a good bell": Bell}, {"a silent bell": SilentBell, "a stuck bell": StuckBell}),
    judge=judge_test(ACCUSES, {"a silent bell": MISSES, "a stuck bell": MISSES}),
    seeds=(1,),
)

EXERCISES = (MEND_THE_WORKER, CHOOSE_THE_MODE, WRITE_THE_TEST)
