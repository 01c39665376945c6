"""How many files a reader opens to follow one story: `python -m benchmarks.files_of_a_story [WORD …]`.

Each story is run once, on objects that are ready, and every function of the package that the run enters
is counted, with its file and the lines of that file. The ground under all patterns (messages, traces,
timers, storage) is not counted: it is read once for all. With words, only stories whose name has all of
them are run, and their files are listed.

A figure is a place to look, never a verdict: fewer files that are harder to read would be a loss.

*Left out:* what is read and not run, such as a protocol, an error that is not raised or a constructor.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple, Self, TypeVar

import anyio

import eip_ref
from eip_ref.api_gateway import Backend, Branch, BranchInput, FanOut, Gateway, Identity, Request, Route
from eip_ref.backpressure import Buffer
from eip_ref.circuit_breaker import CircuitBreaker
from eip_ref.cqrs import Command, Commands, Decision, DomainEvent, ReadModel, Relay, read
from eip_ref.durable_queue import ConsumerGroup, SQLiteLog, SQLiteQueue
from eip_ref.event_sourcing import (
    EventStore,
    MemoryEventStore,
    Projection,
    Projector,
    Recorded,
    SQLiteEventStore,
    View,
    query,
)
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.point_to_point import PointToPointChannel
from eip_ref.publish_subscribe import PublishSubscribeChannel
from eip_ref.request_reply import Replier, Requestor
from eip_ref.saga import LocalTransaction, Orchestrator, Participant, Phase, Saga, SagaLog, Step
from eip_ref.storage import MemoryStore, SQLiteStore, Store

PACKAGE = Path(eip_ref.__file__).parent
GROUND = ("message", "trace", "signal", "timers", "bounded", "values", "sockets", "tasks", "storage", "lab")


class Reading:
    """The functions that were entered inside `with reading:`."""

    def __init__(self) -> None:
        self.functions: set[CodeType] = set()

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    @property
    def files(self) -> list[Path]:
        return sorted({Path(code.co_filename) for code in self.functions})

    @property
    def lines(self) -> int:
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in self.files)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and _counts(frame.f_code):
            self.functions.add(frame.f_code)


def _counts(code: CodeType) -> bool:
    """True of a pattern's function with a name: only some versions of Python call a comprehension."""
    path = Path(code.co_filename)
    if code.co_name.startswith("<") or not path.is_relative_to(PACKAGE):
        return False
    return path.relative_to(PACKAGE).with_suffix("").parts[0] not in GROUND


class Story(NamedTuple):
    """A run that has an empty folder, and the number of files in which it should be told."""

    name: str
    aim: int
    run: Callable[[Path, Reading], Awaitable[object]]


STORIES: list[Story] = []

Run = TypeVar("Run", bound=Callable[[Path, Reading], Awaitable[object]])


def story(name: str, *, aim: int) -> Callable[[Run], Run]:
    def keep(run: Run) -> Run:
        STORIES.append(Story(name, aim, run))
        return run

    return keep


# The stories


@story("point-to-point: send, receive", aim=1)
async def point_to_point(_: Path, reading: Reading) -> None:
    channel = PointToPointChannel("orders")
    async with anyio.create_task_group() as group:
        with reading, channel.receiver() as receiver:
            group.start_soon(channel.send, Message("order 17"))
            await receiver.receive()


@story("backpressure: put, receive", aim=2)
async def backpressure(_: Path, reading: Reading) -> None:
    buffer = Buffer("prices", 3, when_full="block")
    with reading:
        await buffer.put(Message("tea 3"))
        await buffer.receive()


@story("message queue: put, receive, ack", aim=3)
async def message_queue(_: Path, reading: Reading) -> None:
    async with MessageQueue("orders", lease=30) as queue:
        with reading:
            await queue.put(Message("order 17"))
            await (await queue.receive()).ack()


@story("publish-subscribe: publish, receive", aim=3)
async def publish_subscribe(_: Path, reading: Reading) -> None:
    channel = PublishSubscribeChannel("shop")
    with reading:
        subscription = channel.subscribe("orders.*", name="stock", when_full="block")
        await channel.publish("orders.paid", Message("order 17"))
        await subscription.receive()


@story("durable subscriber: publish, receive, ack", aim=4)
async def durable_subscriber(_: Path, reading: Reading) -> None:
    channel = PublishSubscribeChannel("shop", retain=10)
    with reading:
        subscriber = channel.durable("stock", "orders.*", when_full="block")
        await channel.publish("orders.paid", Message("order 17"))
        await (await subscriber.receive()).ack()


@story("request-reply: one request and its reply", aim=4)
async def request_reply(_: Path, reading: Reading) -> None:
    async def price(request: Message) -> int:
        return len(request.body)

    async def ask(request: Message) -> None:
        await stock.receive(request)

    async def answer(reply: Message) -> None:
        await shop.receive(reply)

    with Requestor(ask, name="shop") as shop:
        async with Replier(price, answer, name="stock") as stock:
            with reading:
                await shop.request("tea", timeout=1)


@story("circuit breaker: one call, closed", aim=2)
async def circuit_breaker(_: Path, reading: Reading) -> None:
    async def charge(order: str) -> str:
        return f"charged {order}"

    breaker = CircuitBreaker("payments")
    with reading:
        await breaker.call(charge, "order 17")


@story("event sourcing, memory: append, project, view", aim=5)
async def events_in_memory(_: Path, reading: Reading) -> None:
    await projected(MemoryEventStore(), MemoryStore(), reading)


@story("event sourcing, SQLite: append, project, view", aim=6)
async def events_on_sqlite(folder: Path, reading: Reading) -> None:
    async with SQLiteEventStore(folder / "events.db") as store:
        with SQLiteStore(folder / "views.db") as views:
            await projected(store, views, reading)


async def projected(store: EventStore, views: Store, reading: Reading) -> None:
    def count(view: View, event: Recorded) -> None:
        view.put(event.stream, view.get(event.stream, 0) + 1)

    projector = Projector(views, Projection("dashboard", {"OrderPlaced": count}))
    with reading:
        await store.append("order-17", [Message({"euros": 40}, "OrderPlaced")], expected=0)
        await projector.catch_up(store)
        with query(views, "dashboard") as view:
            seen = view.get("order-17")
    assert seen == 1


@story("durable queue: put, receive, ack", aim=5)
async def durable_queue(folder: Path, reading: Reading) -> None:
    async with SQLiteQueue(folder / "queue.db", "orders", lease=30) as queue:
        with reading:
            await queue.put(Message("order 17"))
            await (await queue.receive()).ack()


@story("log: append, read, commit", aim=4)
async def log(folder: Path, reading: Reading) -> None:
    async with SQLiteLog(folder / "log.db", "orders") as orders:
        group = ConsumerGroup(orders, "billing")
        with reading:
            await orders.append(Message("order 17"))
            await group.read()
            await group.commit()


@story("CQRS: command, outbox, relay, projection, read", aim=7)
async def cqrs(_: Path, reading: Reading) -> None:
    def register(state: object, command: Command) -> Decision:
        return Decision(command.data, (DomainEvent("UserRegistered", command.data),))

    def name(view: View, event: Recorded) -> None:
        view.put(event.stream, event.message.body["name"])

    service = Commands(MemoryStore(), "users")
    service.handler("Register", register)
    dashboard = ReadModel(MemoryStore(), "dashboard", {"UserRegistered": name})
    relay = Relay(service.outbox, dashboard)
    async with anyio.create_task_group() as group:
        with reading:
            group.start_soon(relay.run)
            result = await service.handle(Command("Register", "ann", {"name": "Ann"}))
            found = await read(dashboard, "users/ann", at_least={"users/ann": result.version})
        relay.stop()
    assert found.row == "Ann"


@story("saga: one step that succeeds", aim=5)
async def saga(_: Path, reading: Reading) -> None:
    def reserve(command: Message, books: LocalTransaction) -> str:
        books.put("reserved for", command.body)
        return "reserved"

    stock = Participant("stock", MemoryStore(), {"Reserve": reserve})
    definition = Saga("order", [Step("stock", "Reserve", undo="Release")])
    orchestrator = Orchestrator(definition, SagaLog(MemoryStore()), stock)
    with reading:
        ended = await orchestrator.run("order-17", "ann")
    assert ended.phase == Phase.COMPLETED


@story("gateway: one route, one backend", aim=8)
async def gateway(_: Path, reading: Reading) -> None:
    orders = Backend("orders", timeout=0.5)

    async def known(request: Request) -> Identity:
        return Identity(request.header("user") or "nobody")

    async def find(number: str) -> dict[str, str]:
        return {"order": number}

    async def order(ask: BranchInput) -> dict[str, str]:
        return await orders.call(find, ask.request.path_params["order"])

    view = FanOut(Branch("order", order, required=True), timeout=1.0)
    door = Gateway([Route("GET", "/orders/{order}", view)], authenticate=known, timeout=1.0)
    with reading:
        response = await door.handle(Request("GET", "/orders/17", headers=[("user", "ann")]))
    assert response.status == 200


# The table


async def follow(told: Story) -> Reading:
    """Run the story once, and return what its run entered."""
    reading = Reading()
    with tempfile.TemporaryDirectory() as folder:
        await told.run(Path(folder), reading)
    return reading


def main(words: Sequence[str]) -> None:
    """Print the table."""
    print(f"{'story':48} files  aim  functions  lines in those files")
    for told in STORIES:
        if not all(word in told.name for word in words):
            continue
        reading = anyio.run(follow, told)
        files = reading.files
        print(f"{told.name:48} {len(files):5} {told.aim:4} {len(reading.functions):10} {reading.lines:6}")
        if words:
            print("\n".join(f"    {path.relative_to(PACKAGE).as_posix()}" for path in files))


if __name__ == "__main__":
    main(sys.argv[1:])
