"""The ways of lesson 12a: each pattern of the course as a way for an order to billing, stock and mail.

A way is an `async with` that gives `place(order)`. What that returns is "yes", what it raises is "no".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio

from ...circuit_breaker import CircuitBreaker, ConsecutiveFailures, OpenDuration, QueueForLater, with_fallback
from ...message import Handler, Message
from ...message_queue import Backoff, IdempotentReceiver, Ledger, MessageQueue, Worker
from ...publish_subscribe import DurableSubscriber, PublishSubscribeChannel, Subscription, listen
from ...request_reply import Requestor, request_again
from ...saga import Orchestrator, Retry, Saga, SagaLog, Step
from ...storage import MemoryStore
from .evening import JOINS, SERVICES, Evening, Place, Way

__all__ = ["WAYS"]

TIMEOUT = 1.0  #: seconds for an attempt of a service
CONFIRM = 0.4  #: seconds for a confirm of a broker, which only writes


Ask = Callable[[Requestor, Message], Awaitable[None]]

# Directly: one way, or with an answer


@asynccontextmanager
async def one_way(world: Evening) -> AsyncIterator[Place]:
    """Point-to-point: send it to each, and hear nothing."""
    async with anyio.create_task_group() as group, AsyncExitStack() as stack:

        async def hear(service: str, order: Message) -> None:
            group.start_soon(world.work, service, order)

        links = [await stack.enter_async_context(world.link(name, partial(hear, name))) for name in SERVICES]

        async def place(order: Message) -> None:
            for link in links:
                await link.send(order)

        yield place


async def ask_once(requestor: Requestor, order: Message) -> None:
    """One attempt."""
    await requestor.request(order.body, timeout=TIMEOUT)


async def ask_again(requestor: Requestor, order: Message) -> None:
    """Three attempts. No key tells that they are one and the same."""
    await request_again(requestor, order.body, timeout=TIMEOUT, reads_only=True, pauses=(0.1, 0.2))


async def ask_with_a_key(requestor: Requestor, order: Message) -> None:
    """Three attempts under one idempotency key."""
    await request_again(requestor, order.body, timeout=TIMEOUT, idempotency_key=order.id, pauses=(0.1, 0.2))


@asynccontextmanager
async def asking_all(world: Evening, asker: str = "shop") -> AsyncIterator[dict[str, Requestor]]:
    """A requestor for each service."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(world.asking(name, partial(world.work, name), asker))
            for name in SERVICES
        }


@asynccontextmanager
async def request_reply(world: Evening, ask: Ask = ask_with_a_key) -> AsyncIterator[Place]:
    """Ask each, one after the other."""
    async with asking_all(world) as services:

        async def place(order: Message) -> None:
            for service in services.values():
                await ask(service, order)

        yield place


@asynccontextmanager
async def breaker(world: Evening, later: bool = False) -> AsyncIterator[Place]:
    """Request-reply with a circuit breaker before mail; with `later`, what it rejects waits in a queue."""
    async with asking_all(world) as services, MessageQueue("later") as queue:
        before_mail = CircuitBreaker("mail", policy=ConsecutiveFailures(3), open_duration=OpenDuration(5))

        async def mail(order: Message) -> None:
            await ask_with_a_key(services["mail"], order)

        fallbacks = [QueueForLater(queue, key=lambda order: order.id, body=lambda order: order.body)]
        ask_mail = with_fallback(before_mail, mail, *fallbacks[: int(later)])

        async def place(order: Message) -> None:
            for name in ("billing", "stock"):
                await ask_with_a_key(services[name], order)
            await ask_mail(order)

        async with world.at_work(sender=Worker(queue, mail).run):
            yield place


# Through a broker


@asynccontextmanager
async def queue(world: Evening, idempotent: bool = True) -> AsyncIterator[Place]:
    """A queue for each service. The shop waits until the broker has confirmed each of its three messages."""
    async with AsyncExitStack() as stack:
        doors, workers = [], {}
        for name in SERVICES:
            orders = await stack.enter_async_context(MessageQueue(name))
            doors.append(await stack.enter_async_context(world.asking(f"{name} queue", _putting(orders))))
            workers[name] = Worker(orders, _handler(world, name, idempotent)).run

        async def place(order: Message) -> None:
            for door in doors:
                await confirmed(door, order)

        async with world.at_work(**workers):
            yield place


async def confirmed(door: Requestor, order: Message) -> None:
    """Send it again until the broker confirms. A confirm may be lost, and then the broker has it twice."""
    await request_again(door, order.to_json(), timeout=CONFIRM, reads_only=True, pauses=(0.1,) * 5)


def _putting(orders: MessageQueue) -> Handler:
    async def put(request: Message) -> str:
        await orders.put(Message.from_json(str(request.body)))
        return "confirmed"

    return put


def _handler(world: Evening, name: str, idempotent: bool) -> Handler:
    work = partial(world.work, name)
    return IdempotentReceiver(Ledger(), lambda order, _: work(order)) if idempotent else work


@asynccontextmanager
async def topic(world: Evening, log: bool = False) -> AsyncIterator[Place]:
    """One topic for all who want to hear: those who listen now, or with `log` also those who come later."""
    channel = PublishSubscribeChannel("shop", retain=1000 if log else 0)
    names = [*SERVICES, "rewards"]

    async def listening(name: str, handle: Handler) -> None:
        if name == "rewards":
            await anyio.sleep_until(JOINS)
        end: DurableSubscriber | Subscription
        if log:
            end = channel.durable(name, "orders", when_full="drop oldest", start="earliest")
        else:
            end = channel.subscribe("orders", name=name, when_full="drop oldest", capacity=100)
        await listen(end, handle, dead_letters=MessageQueue(f"dead letters of {name}"))

    async def publish(request: Message) -> str:
        await channel.publish("orders", Message.from_json(str(request.body)))
        return "confirmed"

    tasks = {name: partial(listening, name, _handler(world, name, idempotent=log)) for name in names}
    async with world.asking("topic", publish) as door, world.at_work(**tasks):

        async def place(order: Message) -> None:
            await confirmed(door, order)

        yield place


# A whole that must be whole


@asynccontextmanager
async def saga(world: Evening) -> AsyncIterator[Place]:
    """An orchestrator asks each, as often as needed, and takes back what is done when one refuses."""
    async with asking_all(world) as services:

        async def execute(command: Message) -> object:
            reply = await services[command.headers["step"]].request(
                command.body, type=command.type, timeout=TIMEOUT, idempotency_key=command.id
            )
            return reply.body

        steps = [Step(name, f"Do {name}", undo=f"Undo {name}", timeout=TIMEOUT) for name in SERVICES]
        patient = Retry(20, Backoff(initial=0.5, max_delay=2.0))
        orchestrator = Orchestrator(Saga("order", steps, retry=patient), SagaLog(MemoryStore()), execute)

        async def place(order: Message) -> None:
            await orchestrator.run(order.id, order.body)

        yield place


WAYS: dict[str, Way] = {
    "one way": one_way,
    "ask once": partial(request_reply, ask=ask_once),
    "ask again": partial(request_reply, ask=ask_again),
    "ask with a key": request_reply,
    "queue": partial(queue, idempotent=False),
    "idempotent queue": queue,
    "breaker": breaker,
    "breaker and queue": partial(breaker, later=True),
    "topic": topic,
    "idempotent log": partial(topic, log=True),
    "saga": saga,
}
