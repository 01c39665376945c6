"""Whoever is handed a message, a state or a command may change it in place, and nobody else sees that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from threading import Lock
from typing import Any

import pytest

from eip_ref.aggregator import Aggregate, Aggregator, by_size
from eip_ref.backpressure import Buffer
from eip_ref.cqrs import Command, Commands, Decision, DomainEvent, Inbox
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.point_to_point import PointToPointChannel
from eip_ref.publish_subscribe import PublishSubscribeChannel, listen
from eip_ref.saga import (
    Choreography,
    LocalTransaction,
    Orchestrator,
    Participant,
    Phase,
    Reaction,
    Refused,
    Saga,
    SagaLog,
    Service,
    Step,
    event,
    pivot,
)
from eip_ref.storage import MemoryStore, Transaction
from tests.backends import recorded


def eat(message: Message) -> None:
    """A handler that uses up what it was given, and fails."""
    message.body["lines"].pop()
    raise KeyError


def order() -> dict[str, Any]:
    return {"lines": ["tea", "cake"]}


async def test_a_dead_letter_is_as_its_message_came() -> None:
    """Whatever the handler did to it before it failed."""
    channel = PublishSubscribeChannel("shop", retain=10)
    live = channel.subscribe("orders", when_full="block", name="live")
    durable = channel.durable("durable", "orders", when_full="block")
    durable.committed  # noqa: B018 - it exists from now on
    await channel.publish("orders", Message(order()))
    channel.close()
    async with MessageQueue("dead") as dead:
        for end in (live, durable):
            await listen(end, eat, dead_letters=dead, attempts=1)
            assert (await dead.receive()).message.body == order()


async def test_each_handler_of_an_inbox_has_a_message_of_its_own() -> None:
    """They share a transaction, and nothing else."""
    seen: list[Any] = []

    def take_one(transaction: Transaction, message: Message) -> None:
        seen.append(message.body["lines"].pop())

    inbox = Inbox(MemoryStore(), "mailer")
    inbox.on("OrderPlaced", take_one, take_one)
    message = Message(order(), "OrderPlaced")
    await inbox(message)
    assert (seen, message.body) == (["cake", "cake"], order())


async def test_a_decision_that_sorts_the_data_is_repeated_under_its_key() -> None:
    """The repetition is the same command as the first, whatever was done to that."""

    def place(state: object, command: Command) -> Decision:
        command.data["lines"].sort()
        return Decision(dict(command.data), (DomainEvent("OrderPlaced", command.data),))

    orders = Commands(MemoryStore(), "orders")
    orders.handler("Place", place)
    first = await orders.handle(Command("Place", "17", order(), key="k"))
    again = await orders.handle(Command("Place", "17", order(), key="k"))
    assert (first.version, again.version, again.repeated) == (1, 1, True)
    assert orders.state("17")[1] == {"lines": ["cake", "tea"]}


async def test_a_group_that_could_not_be_handed_out_is_whole_when_it_is_tried_again() -> None:
    """The first attempt has used up what it was given."""
    handed_out: list[Any] = []

    def emit(aggregate: Aggregate) -> None:
        handed_out.append(aggregate.messages[0].body["lines"].pop())
        if len(handed_out) == 1:
            raise KeyError

    def part(number: int) -> Message:
        return Message(order(), correlation_id="order 17", headers={"sequence": number})

    async with Aggregator(emit, complete=by_size(2), timeout=9, late=print) as aggregator:
        await aggregator.receive(part(1))
        with pytest.raises(KeyError):
            await aggregator.receive(part(2))
        await aggregator.receive(part(2))
    assert handed_out == ["cake", "cake"]


async def test_what_participants_do_to_their_commands_does_not_reach_the_saga() -> None:
    """A saga that was never interrupted sends what a recovered one sends: that which is in its log."""
    bodies: list[Any] = []

    def reserve(data: Any, answers: Any) -> Any:
        data["lines"].pop()
        return data

    def execute(command: Message) -> Any:
        bodies.append([command.type, len(command.body["lines"])])
        command.body["lines"].clear()
        if command.type == "Pay":
            raise Refused("no money")
        return {}

    saga = Saga("order", [Step("stock", "Reserve", undo="Release", body=reserve), pivot("pay", "Pay")])
    data = order()
    state = await Orchestrator(saga, SagaLog(MemoryStore()), execute).run("17", data)
    assert (state.phase, data) == (Phase.COMPENSATED, order())
    assert bodies == [["Reserve", 1], ["Pay", 2], ["Release", 1]]


async def test_what_others_do_to_answers_and_bodies_does_not_reach_the_saga() -> None:
    """What its log says was answered and sent is what it goes on with."""
    shelf, box, bodies = ["tea"], list[str](), list[Any]()

    def pack(data: Any, answers: Any) -> list[str]:
        answers["stock"].append("string")
        box.extend(answers["stock"])
        return box

    def execute(command: Message) -> Any:
        bodies.append([command.type, command.body])
        if command.type == "Pay":
            raise Refused("no money")
        if command.type == "Pack":
            shelf.clear()
            box.clear()
        return shelf

    steps = [Step("stock", "Reserve", undo="Release"), Step("pack", "Pack", undo="Unpack", body=pack)]
    saga = Saga("order", [*steps, pivot("pay", "Pay", body=lambda data, answers: answers["stock"])])
    await Orchestrator(saga, SagaLog(MemoryStore()), execute).run("17")
    packed = ["tea", "string"]
    assert bodies[1:4] == [["Pack", packed], ["Pay", ["tea"]], ["Unpack", packed]]


async def test_what_a_service_does_to_its_command_does_not_reach_those_who_listen() -> None:
    """The event goes on as it came, at the first time as at each repetition."""
    said: list[Message] = []

    def reserve(command: Message, books: LocalTransaction) -> None:
        command.body["lines"].clear()

    stock = Participant("stock", MemoryStore(), {"Reserve": reserve})
    reaction = Reaction("stock", on="OrderPlaced", does="Reserve", step="stock", then="StockReserved")
    choreography = Choreography("OrderPlaced", [reaction], ends={"StockReserved": Phase.COMPLETED})
    service = Service(stock, choreography, said.append)
    for _ in range(2):
        await service.receive(event("17", "OrderPlaced", order()))
    assert [message.body for message in said] == [order(), order()]


@pytest.mark.parametrize("what", ["link", "buffer", "subscriber"])
async def test_what_has_no_copy_is_refused_before_it_is_sent(what: str) -> None:
    """A lock in a body would be everybody's; the error says so, and the trace knows of no such message."""
    sends: dict[str, Callable[[Message], Awaitable[object]]] = {
        "link": PointToPointChannel("link", when_away="buffer", capacity=1).send,
        "buffer": Buffer("buffer", 1, when_full="block").put,
        "subscriber": partial(PublishSubscribeChannel("shop").publish, "orders"),
    }
    with pytest.raises(TypeError, match=r"lock.* cannot be copied, so others would share it"):
        await sends[what](Message({"lock": Lock()}))
    assert recorded().count("sent") == 0
