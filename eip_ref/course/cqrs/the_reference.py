"""The reference in the world of lesson 08a: the same deaths, and a broker that is down."""

from __future__ import annotations

import anyio

from ...apps.shop_dashboard.services import users
from ...cqrs import Command, Relay
from ...lab import Crash, Participant, simulate
from ...message import Message
from ...message_queue import Backoff
from ...storage import MemoryStore
from ...trace import Kind, record
from .crash_points import QUIET, Broker, Deaths, ending

__all__ = ["a_broker_that_is_down", "a_sign_up_with_the_reference", "every_death_of_the_reference"]

ANN = Command("Register", "ann", {"name": "Ann", "email": "ann@tea.house"}, key="sign-up 17", id="c1")


async def a_sign_up_with_the_reference(dies_at: int | None = None) -> dict[str, int]:
    """Sign Ann up with `Commands`, an outbox and a `Relay`, otherwise as `a_sign_up` does."""
    store, broker, answered = MemoryStore(), Broker(knows_ids=True), False

    async def publish(event: Message) -> None:
        await broker.publish({"type": event.type, "id": event.id})

    async def service() -> None:
        nonlocal answered
        commands = users(store)
        relay = Relay(commands.outbox, publish, claim=1.0)
        async with anyio.create_task_group() as group:
            group.start_soon(relay.run)
            if not answered:
                await commands.handle(ANN)
                answered = True
            while len(commands.outbox):
                await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    crashes = () if dies_at is None else (Crash(step=dies_at, restart_after=1),)
    process = Participant("users", service, (), crashes)
    with anyio.move_on_after(QUIET):
        await process.run()
    return {"rows": users(store).state("ann")[0], "mails": broker.mails, "steps": process.steps}


def every_death_of_the_reference() -> Deaths:
    """Let the process die at each step, one run for each."""
    steps = simulate(a_sign_up_with_the_reference).result["steps"]
    runs = (simulate(a_sign_up_with_the_reference, step) for step in range(1, steps + 1))
    return Deaths(tuple(ending(run) for run in runs))


async def a_broker_that_is_down(until: float, longest_delay: float = 30.0) -> float:
    """Sign Ann up while the broker is down; return how long after its return mail has the event."""
    service = users(MemoryStore())
    came = anyio.Event()

    async def publish(event: Message) -> None:
        if anyio.current_time() < until:
            raise ConnectionError("the broker is down")
        record(Kind.ACCEPTED, "broker", event.id, who="relay")
        came.set()

    relay = Relay(service.outbox, publish, backoff=Backoff(initial=0.5, max_delay=longest_delay))
    await service.handle(ANN)
    async with anyio.create_task_group() as group:
        group.start_soon(relay.run)
        await came.wait()
        relay.stop()
    return round(anyio.current_time() - until, 2)
