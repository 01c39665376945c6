"""The scaler that cannot make up its mind, of lesson 04: ten minutes of work, and packers who come and go.

Orders come at 4.5 a second and take a second each. The pool looks every 5 s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio

from ...backpressure import ConsumerPool, Scaling
from ...lab import Exponential, Faults, figures
from ...lab.demo import Demo, demo, slider, toggle
from ...lab.wording import quantile
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Kind, Trace, acting, record, whoami

__all__ = ["Calm", "calm", "paid", "ten_minutes", "the_scaler_demo"]

SECONDS = 600.0


async def ten_minutes(
    spare: float = 0.0, cooldown: float = 0.0, start_up: float = 20.0, one_customer: bool = False
) -> None:
    """Play ten minutes. `spare` and `cooldown` are those of `Scaling`."""
    chance = Faults()

    async def pack(order: Message) -> None:
        await anyio.sleep(1.0)
        record(Kind.EFFECT, whoami(), order.id, effect="packed")

    async def launch(name: str, packing: Callable[[], Awaitable[None]]) -> None:
        await anyio.sleep(start_up)
        await packing()

    scaling = Scaling(max_consumers=20, catch_up=10, spare=spare, cooldown=cooldown)
    async with MessageQueue("orders", lease=600) as orders, anyio.create_task_group() as group:
        pool = ConsumerPool("packer", orders, pack, scaling=scaling, expected_rate=1.0, launch=launch)
        group.start_soon(pool.run)
        with acting("shop"):
            while anyio.current_time() < SECONDS:
                await orders.put(Message("order", key="Ada" if one_customer else None))
                await chance.sleep("shop", Exponential(1 / 4.5))
        if one_customer:  # her line is long: nobody waits for its end
            await anyio.sleep(60)
            group.cancel_scope.cancel()
        orders.close()


class Calm(NamedTuple):
    """A reading of a pool's run."""

    changes: int  #: of the number of packers
    most: int  #: packers at a time
    work: float  #: seconds for which packers were paid, also while they start
    wait: float  #: seconds that 95 % of the orders waited at most, before packing


def calm(trace: Trace) -> Calm:
    """Read how calm a pool was, and what it cost."""
    sizes = [state.data["consumers"] for state in trace.filter(Kind.STATE, where="packer")]
    came = {event.message: event.at for event in trace.filter(Kind.ACCEPTED, where="orders")}
    waits = sorted(event.at - came[event.message] for event in trace.filter(Kind.DELIVERED, where="orders"))
    return Calm(len(sizes) - 1, max(sizes), paid(trace), quantile(waits, 0.95))


def paid(trace: Trace) -> float:
    """The seconds for which packers were paid: those of the pool, or of the one packer there is."""
    states = trace.filter(Kind.STATE, where="packer")
    if not states:
        return trace.end
    ends = [*(event.at for event in states[1:]), trace.end]
    times = (state.data["consumers"] * (end - state.at) for state, end in zip(states, ends, strict=True))
    return float(sum(times))


def in_words(trace: Trace) -> str:
    it = calm(trace)
    return (
        f"{it.changes} changes, {it.most} packers at most, paid for {it.work:,.0f} s. "
        f"95 of 100 orders waited {it.wait:.1f} s or less."
    )


def the_scaler_demo() -> Demo:
    """The pool with its controls."""
    return demo(
        ten_minutes,
        {
            "spare": slider(0.0, 0.6, 0.1, value=0.0, label="Share that stays free"),
            "cooldown": slider(0, 120, 10, value=0, label="Cooldown (seconds)"),
            "start_up": slider(0, 60, 5, value=20, label="New packer starts in (s)"),
            "one_customer": toggle(label="One customer"),
        },
        presets={
            "Nervous": {},
            "Hysteresis": {"spare": 0.2},
            "Cooldown": {"cooldown": 60},
            "Both": {"spare": 0.2, "cooldown": 60},
            "Packers at once": {"start_up": 0},
            "One customer": {"one_customer": True},
        },
        summary=in_words,
        figures=[lambda trace: figures.scaling(trace, where="packer")],
        player=False,
        seed=1,
        title="A nervous scaler",
    )
