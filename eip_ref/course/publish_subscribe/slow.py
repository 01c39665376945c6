"""One of them is slow, of lesson 05a: thirty orders, stock that is quick, and mail that is not."""

from __future__ import annotations

import anyio

from ...lab import Crash, Participant, figures
from ...lab.demo import Demo, choice, demo, slider
from ...lab.wording import plural
from ...message import Message
from ...publish_subscribe import Disconnected, PublishSubscribeChannel, Subscription
from ...trace import Kind, Trace, acting, record, whoami

__all__ = ["heard", "one_is_slow", "the_slow_demo"]

ORDERS = 30


async def one_is_slow(
    policy: str = "block", capacity: int = 5, seconds: float = 2.0, dies_at: float = 0.0
) -> None:
    """Play thirty orders, one a second. Stock needs no time for one, and mail needs `seconds`.

    `policy` and `capacity` are those of mail. Its process dies at `dies_at` for good; 0 means never.
    """
    channel = PublishSubscribeChannel("shop")

    async def read(end: Subscription, work: float) -> None:
        try:
            async for message in end:
                await anyio.sleep(work)
                record(Kind.EFFECT, whoami(), message.id, effect="done")
        except Disconnected as error:
            record(Kind.NOTE, whoami(), text=str(error))

    stock = channel.subscribe("orders.*", name="stock", when_full="block", capacity=16)
    mail = channel.subscribe("orders.*", name="mail", when_full=policy, capacity=capacity)
    crashes = (Crash(at=dies_at),) if dies_at else ()
    async with anyio.create_task_group() as group:
        group.start_soon(Participant("stock", read, (stock, 0.0)).run)
        group.start_soon(Participant("mail", read, (mail, seconds), crashes).run)
        with acting("shop"):
            with anyio.move_on_after(120):
                for number in range(1, ORDERS + 1):
                    await channel.publish("orders.paid", Message(f"order {number}"))
                    await anyio.sleep(1)
        channel.close()
        if dies_at:
            group.cancel_scope.cancel()


def heard(trace: Trace, who: str) -> int:
    """The number of orders that somebody has done something about."""
    return trace.count(Kind.EFFECT, where=who)


def how_far(trace: Trace) -> figures.Figure:
    """Draw the number of orders that each of them has handled, over time."""
    done = {who: trace.filter(Kind.EFFECT, where=who) for who in ("stock", "mail")}
    drawn = {who: [(event.at, number) for number, event in enumerate(did, 1)] for who, did in done.items()}
    return figures.lines(drawn, x="seconds", y="orders", title="How many orders each of them has handled")


def in_words(trace: Trace) -> str:
    last = trace.filter(Kind.EFFECT, where="stock")[-1].at
    lost = trace.count(Kind.DROPPED)
    return (
        f"Stock heard {plural(heard(trace, 'stock'), 'order')}, the last one at {last:.0f} s. Mail handled "
        f"{heard(trace, 'mail')}; {plural(lost, 'was', 'were')} dropped and counted."
    )


def the_slow_demo() -> Demo:
    """The thirty orders with controls."""
    return demo(
        one_is_slow,
        {
            "policy": choice("block", "drop oldest", "drop newest", "disconnect", label="When mail is full"),
            "capacity": slider(1, 50, value=5, label="Orders that mail keeps"),
            "seconds": slider(0.0, 4.0, 0.5, value=2.0, label="Seconds for a mail"),
            "dies_at": slider(0.0, 30.0, 0.2, value=0.0, label="Mail dies (s, 0: never)"),
        },
        presets={
            "Block": {},
            "Just a bigger buffer": {"capacity": 20},
            "Drop the oldest": {"policy": "drop oldest", "capacity": 1},
            "Disconnect": {"policy": "disconnect"},
            "Mail dies": {"capacity": 16, "dies_at": 3.2},
        },
        summary=in_words,
        figures=[how_far],
        seed=None,
        title="One of them is slow",
    )
