"""A toy lesson for the tests of the autograder: a worker, a chosen mode, and a test to write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

from eip_ref.autograder import kit
from eip_ref.autograder.exercise import Exercise
from eip_ref.trace import Kind, Trace, acting, record

NUMBER = 7
TITLE = "Toys"


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


def judge_worker(trace: Trace) -> kit.Symptoms:
    kit.require(trace, "crashed", "the worker never crashed.")
    charged = trace.messages("effect")
    for event in trace.filter("acked"):
        if event.message not in charged:
            words = (
                f"order {event.message[1:]} was acknowledged at {event.at:g} s and its card never charged."
            )
            yield kit.seen("ack-first", words, trace.filter(message=event.message))


MEND_THE_WORKER = kit.exercise(
    "toy.mend_the_worker",
    """Mend the worker

    Repair · easy · 3 points · 10 minutes

    Answer: async def worker(orders, charge)
    Called: Your `worker(orders, charge)` on three orders. It crashes at the second, and starts again.
    Promised: Each order that was acknowledged has had its card charged.
    Hint: What does the channel know when the worker dies?
    Hint: Look at the order of two lines.
    Hint: Ack last.
    Why: The order is acknowledged when its work is done, so a crash leaves it in the channel.

    ack-first: Acknowledged before the work was done. Once a message is acknowledged nobody keeps it. Whoever
        dies after that takes it along.
    acks-nothing (ConnectionError): Never acknowledged. The channel hands the message out again.
    stuck (deadlock): Waits for a message that never comes. None is left.
    """,
    kit.play(crash_at_work),
    judge_worker,
)


async def one_job(mode: Callable[[str], object], job: str, seed: int) -> None:
    record(Kind.NOTE, job, text=f"{job}: {mode(job)}", mode=mode(job))


def judge_mode(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE, where="payment"):
        if note.data["mode"] != "ack last":
            yield kit.seen("wrong-mode", "It may be lost.")


CHOOSE_THE_MODE = kit.exercise(
    "toy.choose_the_mode",
    """Choose the mode

    Choose · easy · 1 point · 5 minutes

    Answer: def mode(job)
    Called: Your `mode(job)` for two jobs.
    Promised: The payment is never lost.
    Hint: One.
    Hint: Two.
    Hint: Three.
    Why: Ack last.

    wrong-mode: Loses the payment. A payment must not be lost.
    """,
    kit.cases(one_job, lambda seed: ("payment", "newsletter"), judge_mode),
    judge_mode,
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


BROKEN = {"a silent bell": (SilentBell, "misses"), "a stuck bell": (StuckBell, "misses")}

WRITE_THE_TEST = kit.exercise(
    "toy.write_the_test",
    """Write the test

    Write the test · medium · 2 points · 5 minutes

    Answer: async def test_bell(make)
    Called: Your `test_bell(make)` on bells that ring and on bells that do not.
    Promised: It passes for every bell that rings, and fails for every other.
    Hint: One.
    Hint: Two.
    Hint: Three.
    Why: It listens.

    accuses: Accuses a correct bell. Any bell that rings is correct.
    misses: Misses the silent bell. It does not listen.
    """,
    kit.try_test({"a good bell": Bell}, BROKEN),
    kit.judge_test("accuses", BROKEN),
    seeds=(1,),
)

EXERCISES: tuple[Exercise, ...] = (MEND_THE_WORKER, CHOOSE_THE_MODE, WRITE_THE_TEST)
