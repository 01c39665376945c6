"""The shop, the workers and the storm of lessons 02a to 02c, and what their traces are asked."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import TaskGroup

from ...lab import Constant, Crash, Exponential, Faults, Participant
from ...message import Handler, Message
from ...message_queue import (
    Attempt,
    DeadLetterPolicy,
    IdempotentReceiver,
    Ledger,
    MessageQueue,
    Worker,
)
from ...trace import Kind, Trace, acting, whoami

__all__ = ["hire", "lost_and_repeated", "shop", "storm", "storm_in_words"]


async def shop(queue: MessageQueue, count: int, pause: float = 0) -> None:
    """Put so many orders into the queue, numbered on from those that are in it, with a pause after each."""
    with acting("shop"):
        for _ in range(count):
            await queue.put(Message(f"order {queue.counts.accepted + 1}"))
            await anyio.sleep(pause)


def hire(group: TaskGroup, queue: MessageQueue, handle: Handler, *names: str, **settings: Any) -> None:
    """Let a reference worker run in the group for each name."""
    for name in names:
        with acting(name):
            group.start_soon(Worker(queue, handle, **settings).run)


def lost_and_repeated(trace: Trace) -> tuple[int, int]:
    """The orders that had no effect, and the effects that were too many."""
    effects = trace.messages(Kind.EFFECT)
    times = [effects.count(order) for order in dict.fromkeys(trace.messages(Kind.ACCEPTED, where="orders"))]
    return times.count(0), sum(number - 1 for number in times if number)


async def storm() -> None:
    """Send 100 payments over a bad network to two workers, of whom one dies; every fifth charge fails."""
    chance, ledger = Faults(), Ledger()

    async def charge(message: Message, transaction: Attempt) -> None:
        await chance.sleep(whoami(), Exponential(1.0))
        if chance.random("cards").random() < 0.2:
            raise ValueError("card declined")
        transaction.effect("charged")

    policy = DeadLetterPolicy(max_failures=2)
    async with MessageQueue("payments", lease=4, policy=policy) as queue, anyio.create_task_group() as group:
        for name, crashes in (("worker-1", (Crash(at=9, restart_after=3),)), ("worker-2", ())):
            work = Worker(queue, IdempotentReceiver(ledger, charge), prefetch=2)
            group.start_soon(Participant(name, work.run, crashes=crashes).run)
        async with chance.link("network", queue.put, latency=0.5, loss=0.05, duplication=0.1) as network:
            with acting("shop"):
                for number in range(100):
                    await network.send(Message(f"payment {number}", key=f"customer {number % 9}"))
                    await chance.sleep("shop", Constant(0.6))
        queue.close()


def storm_in_words(trace: Trace) -> str:
    """The way of the payments of a storm, in numbers of its trace."""
    sent, lost = len(set(trace.messages(Kind.SENT, where="network"))), trace.count(Kind.LOST)
    accepted = trace.messages(Kind.ACCEPTED, where="payments")
    acked, dead = trace.count(Kind.ACKED, where="payments"), trace.count(Kind.DEAD, where="payments")
    reached, charged = len(set(accepted)), len(set(trace.messages(Kind.EFFECT)))
    return (
        f"{sent} payments were sent. The network lost {lost} and doubled {len(accepted) - reached}, "
        f"so {len(accepted)} messages were accepted, of {reached} different payments.\n"
        f"{len(accepted)} accepted = {acked} acked + {dead} dead letters + "
        f"{trace.count(Kind.DROPPED, where='payments')} dropped.\n"
        f"{charged} of the {reached} payments were charged, each once; "
        f"{reached - charged} are only among the dead letters."
    )
