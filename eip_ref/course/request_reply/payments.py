"""A day of payments, of lesson 06b: a bank that takes its time, and a shop that asks again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import anyio

from ...lab import Exponential, Faults
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, bars
from ...message import Message
from ...request_reply import Requestor
from ...trace import Kind, Trace, acting, record
from .ends import answering

__all__ = ["Pay", "a_day", "charges", "paid_and_charged", "the_patience_demo"]

ORDERS = 100
Pay = Callable[[Requestor, str, float, int, str], Awaitable[str]]


async def a_day(
    pay: Pay, mean: float = 0.8, loss: float = 0.0, timeout: float = 1.0, attempts: int = 4, key: str = "none"
) -> None:
    """Let `pay(bank, order, timeout, attempts, key)` pay 100 orders, one each second.

    A charge takes `mean` seconds on average. Each way loses a share `loss` of the messages.
    """
    chance = Faults()

    async def charge(request: Message) -> str:
        await chance.sleep("bank", Exponential(mean))
        record(Kind.EFFECT, "bank", request.body, effect="charged")
        return "charged"

    async def customer(order: str) -> None:
        record(Kind.NOTE, "shop", order, text=f"{order}: {await pay(bank, order, timeout, attempts, key)}")

    async with (
        answering(charge, name="bank", asker="shop", loss=loss) as bank,
        anyio.create_task_group() as group,
    ):
        with acting("shop"):
            for number in range(1, ORDERS + 1):
                group.start_soon(customer, f"order {number}")
                await anyio.sleep(1)


def charges(trace: Trace) -> Counter[str]:
    """The charges of each order that was charged."""
    return Counter(event.message for event in trace.filter(Kind.EFFECT))


def paid_and_charged(trace: Trace) -> str:
    """The shop's view and the bank's, in words."""
    by_order, paid = charges(trace), sum(n.data["text"].endswith(": paid") for n in trace.filter(Kind.NOTE))
    twice = sum(times > 1 for times in by_order.values())
    return (
        f"Shop: {paid} paid, {ORDERS - paid} unknown. "
        f"Bank: {len(by_order)} orders charged {by_order.total()} times, "
        f"{twice} of them twice or more."
    )


def _by_charges(trace: Trace) -> Figure:
    times = Counter(charges(trace).values())
    drawn = {"not charged": float(ORDERS - times.total()), "once": float(times[1]), "twice": float(times[2])}
    drawn["three times or more"] = float(sum(count for each, count in times.items() if each > 2))
    return bars(drawn, unit="orders", title="Orders by charges", highlight=["twice", "three times or more"])


def the_patience_demo(pay: Pay) -> Demo:
    """A day of payments with the shop's timeout, attempts and key, and the network's loss."""

    async def scenario(mean: float, loss: int, timeout: float, attempts: int, key: str) -> None:
        await a_day(pay, mean, loss / 100, timeout, attempts, key)

    impatient, lossy = {"timeout": 0.5}, {"mean": 0.2, "loss": 15, "timeout": 2.0}
    return demo(
        scenario,
        {
            "mean": slider(0.1, 2.0, 0.1, value=0.8, label="A charge takes (s, mean)"),
            "loss": slider(0, 30, value=0, label="Lost on each way (%)"),
            "timeout": slider(0.2, 5.0, 0.1, value=1.0, label="Timeout (s)"),
            "attempts": slider(1, 6, value=4, label="Attempts"),
            "key": choice("none", "fresh", "one", value="none", label="Idempotency key"),
        },
        presets={
            "Impatient": {**impatient, "attempts": 1},
            "Impatient and stubborn": {**impatient, "attempts": 4},
            "Lossy": {**lossy, "attempts": 1},
            "Lossy, four attempts": lossy,
            "Lossy, with one key": {**lossy, "key": "one"},
        },
        summary=paid_and_charged,
        figures=[_by_charges],
        player=False,
        seed=1,
        title="A hundred payments",
    )
