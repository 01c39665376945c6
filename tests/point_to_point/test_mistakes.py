"""The mistakes of point-to-point: the promise that each breaks holds for ours and not for the broken one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.point_to_point import NotSent, PointToPointChannel
from tests.broken.point_to_point import AsksForAnAnswer, FiresAndForgets, SharingChannel, SwallowsErrors

Send = Callable[[Message], Awaitable[None]]
Make = Callable[..., PointToPointChannel]


async def book(message: Message) -> None:
    """Takes 10 seconds, and cannot book what is free."""
    await anyio.sleep(10)
    if message.body == 0:
        raise ValueError("nothing to pay")


async def heard(send: Send, amount: int) -> tuple[float, str]:
    """How long the sender of an invoice waited, and what it was told."""
    start, told = anyio.current_time(), "accepted"
    try:
        await send(Message(amount))
    except ValueError as error:
        told = str(error)
    return anyio.current_time() - start, told


async def over_the_channel(amount: int) -> tuple[float, str]:
    """The same handler behind a channel, which keeps its errors to itself."""
    invoices = PointToPointChannel("invoices")

    async def billing() -> None:
        with invoices.receiver() as receiver, suppress(ValueError):
            await book(await receiver.receive())

    async with anyio.create_task_group() as group:
        group.start_soon(billing)
        result = await heard(invoices.send, amount)
    return result


@pytest.mark.parametrize(("amount", "told"), [(4, "accepted"), (0, "nothing to pay")])
def test_an_http_get_tells_the_sender_how_the_work_ended(amount: int, told: str) -> None:
    """E8: one-way means accepted at once, and never a word about the processing."""
    assert simulate(over_the_channel, amount).result == (0, "accepted")
    assert simulate(heard, AsksForAnAnswer(book).send, amount).result == (10, told)


async def believed(make: Make) -> tuple[list[int], list[int]]:
    """What a sender took for accepted while the receiver was away at first, and what was received."""
    invoices, accepted = make("invoices", when_away="fail"), list[int]()

    async def send(amount: int) -> None:
        with suppress(NotSent):
            await invoices.send(Message(amount))
            accepted.append(amount)

    await send(1)
    await anyio.sleep(1)
    async with anyio.create_task_group() as group:
        with invoices.receiver() as receiver:
            group.start_soon(send, 2)
            await anyio.sleep(1)
            received = [(await receiver.receive()).body]
    return accepted, received


@pytest.mark.parametrize("broken", [SwallowsErrors, FiresAndForgets])
def test_a_sender_that_hears_no_error_believes_what_is_not_so(broken: Make) -> None:
    """What certainly was not accepted is said to be not accepted."""
    accepted, received = simulate(believed, PointToPointChannel).result
    assert accepted == received == [2]
    accepted, received = simulate(believed, broken).result
    assert (accepted, received) == ([1, 2], [2])


def test_a_task_outside_any_group_says_accepted_before_anybody_has_the_message() -> None:
    """Accepted means that the receiver, or the buffer, has it; here it is lost when the program ends."""

    async def scenario(make: Make) -> bool:
        with anyio.move_on_after(5):
            await make("invoices").send(Message("invoice 1"))
            return True
        return False

    ours, broken = simulate(scenario, PointToPointChannel), simulate(scenario, FiresAndForgets)
    assert (ours.result, ours.count("accepted")) == (False, 0)
    assert (broken.result, broken.count("accepted")) == (True, 0)


def test_a_shared_payload_is_changed_under_the_receiver() -> None:
    """Publishing copies: what the sender changes afterwards is its own business."""

    async def scenario(make: Make) -> object:
        invoices, lines = make("invoices", when_away="buffer", capacity=1), ["tea"]
        await invoices.send(Message(lines))
        lines.append("coffee")
        with invoices.receiver() as receiver:
            return (await receiver.receive()).body

    assert simulate(scenario, PointToPointChannel).result == ["tea"]
    assert simulate(scenario, SharingChannel).result == ["tea", "coffee"]
