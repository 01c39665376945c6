"""Point-to-point: accepted is not processed, one receiver, in order, and an explicit absence."""

from __future__ import annotations

import math
import sys
from typing import Any

import anyio
import pytest

from eip_ref import point_to_point
from eip_ref.lab import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants import conservation
from eip_ref.message import Message
from eip_ref.point_to_point import (
    ChannelFull,
    NotSent,
    PointToPointChannel,
    ReceiverAway,
    ReceiverClosed,
    SecondReceiver,
    WhenAway,
    direct_links,
    hub_links,
)
from eip_ref.trace import Kind, acting, record
from tests.backends import Play, everywhere, recorded, virtual_time_only
from tests.docstrings import example

POLICIES = pytest.mark.parametrize("policy", list(WhenAway))


def channel(policy: WhenAway, capacity: int = 3) -> PointToPointChannel:
    return PointToPointChannel(
        "invoices", when_away=policy, capacity=capacity if policy == WhenAway.BUFFER else 0
    )


@everywhere
@POLICIES
def test_send_returns_when_accepted_and_not_when_processed(play: Play, policy: WhenAway) -> None:
    """The sender goes on while the receiver still works on the message."""

    async def scenario() -> None:
        invoices = channel(policy)

        async def billing() -> None:
            with invoices.receiver() as receiver:
                await receiver.receive()
                await anyio.sleep(10)
                record(Kind.EFFECT, "billing", effect="booked")

        async with anyio.create_task_group() as group:
            group.start_soon(billing)
            await anyio.sleep(1)
            await invoices.send(Message("invoice 1"))
            record(Kind.NOTE, "shop", text="goes on")

    trace = play(scenario)
    assert [e.kind for e in trace.filter("accepted", "note", "effect")] == ["accepted", "note", "effect"]
    assert trace.filter("note")[0].at == pytest.approx(1)


@everywhere
@POLICIES
def test_messages_of_one_sender_arrive_in_their_order(play: Play, policy: WhenAway) -> None:
    """FIFO for one sender, under every policy."""

    async def scenario() -> list[int]:
        invoices, got = channel(policy, capacity=50), []

        async def shop() -> None:
            for number in range(20):
                await invoices.send(Message(number))
            invoices.close()

        async with anyio.create_task_group() as group:
            with invoices.receiver() as receiver:
                group.start_soon(shop)
                async for message in receiver:
                    got.append(message.body)
                    await anyio.sleep(message.body % 3)
        return got

    assert play(scenario).result == list(range(20))


@everywhere
@POLICIES
def test_a_second_receiver_is_refused(play: Play, policy: WhenAway) -> None:
    """Exactly one receiver: another may come only after the first has left."""

    async def scenario() -> None:
        invoices = channel(policy)
        with acting("billing"), invoices.receiver(), pytest.raises(SecondReceiver, match="billing"):
            invoices.receiver().__enter__()
        with invoices.receiver():
            assert invoices.receiver_is_here

    play(scenario)


@everywhere
def test_block_waits_for_a_receiver_that_is_away(play: Play) -> None:
    """Policy BLOCK: send returns at the instant at which somebody takes the message."""

    async def scenario() -> float:
        invoices = channel(WhenAway.BLOCK)

        async def billing() -> None:
            await anyio.sleep(60)
            with invoices.receiver() as receiver:
                await receiver.receive()

        start = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(billing)
            await invoices.send(Message("invoice 1"))
            waited = anyio.current_time() - start
        return waited

    trace = play(scenario)
    assert trace.result == pytest.approx(60)
    assert [e.kind for e in trace.filter("blocked", "accepted")] == ["blocked", "accepted"]


@everywhere
def test_fail_says_at_once_that_the_receiver_is_away(play: Play) -> None:
    """Policy FAIL: a definite error, also for a sender whose receiver leaves while it waits."""

    async def scenario() -> None:
        invoices = channel(WhenAway.FAIL)
        with pytest.raises(ReceiverAway):
            await invoices.send(Message("invoice 1"))

        async def leave_after_a_while() -> None:
            with invoices.receiver():
                await anyio.sleep(5)

        async with anyio.create_task_group() as group:
            group.start_soon(leave_after_a_while)
            await anyio.sleep(1)
            with pytest.raises(ReceiverAway):
                await invoices.send(Message("invoice 2"))
        assert len(invoices) == 0

    assert play(scenario).count("refused") == 2


@everywhere
def test_a_receiver_that_goes_away_and_comes_back_is_in_the_trace(play: Play) -> None:
    """With its name; the end of a channel that its sender closed is no absence."""

    async def scenario() -> None:
        invoices = channel(WhenAway.BUFFER)
        with acting("billing"):
            for _ in range(2):
                with invoices.receiver():
                    await anyio.sleep(1)
                await anyio.sleep(1)
            with invoices.receiver():
                invoices.close()

    told = [(e.where, e.who, e.data["was"], e.data["now"]) for e in play(scenario).filter(Kind.STATE)]
    left, back = ("invoices", "billing", "here", "away"), ("invoices", "billing", "away", "here")
    assert told == [left, back, left, back]


@everywhere
def test_buffer_keeps_up_to_its_capacity_and_then_refuses(play: Play) -> None:
    """Policy BUFFER: bounded; what it accepted is delivered, what it refused never is."""

    async def scenario() -> list[int]:
        invoices = channel(WhenAway.BUFFER, capacity=3)
        for number in range(3):
            await invoices.send(Message(number))
        with pytest.raises(ChannelFull, match="holds 3 messages"):
            await invoices.send(Message(3))
        invoices.close()
        with invoices.receiver() as receiver:
            return [message.body async for message in receiver]

    trace = play(scenario)
    assert trace.result == [0, 1, 2]
    assert trace.count("accepted") == trace.count("delivered") == 3


@everywhere
@POLICIES
def test_the_sender_learns_that_the_receiver_closed(play: Play, policy: WhenAway) -> None:
    """Closing the receiving end is an error of its own, for waiting senders too."""

    async def scenario() -> None:
        invoices = channel(policy)

        async def close_later() -> None:
            with invoices.receiver():
                await anyio.sleep(5)
                invoices.close_receiver()
                invoices.close_receiver()

        async with anyio.create_task_group() as group:
            group.start_soon(close_later)
            await anyio.sleep(1)
            if policy is not WhenAway.BUFFER:
                with pytest.raises(ReceiverClosed):
                    await invoices.send(Message("waits"))
        with pytest.raises(ReceiverClosed):
            await invoices.send(Message("too late"))

    assert play(scenario).count("closed") == 1


@everywhere
def test_what_a_closing_receiver_leaves_is_counted_and_handed_back(play: Play) -> None:
    """An accepted message is never lost in silence."""

    async def scenario() -> list[str]:
        invoices = channel(WhenAway.BUFFER)
        await invoices.send(Message("invoice 1"))
        await invoices.send(Message("invoice 2"))
        invoices.close_receiver()
        assert invoices.dropped == {"the receiver closed": 2}
        return [message.body for message in invoices.undelivered]

    trace = play(scenario)
    assert trace.result == ["invoice 1", "invoice 2"]
    assert (trace.count("dropped"), trace.count("refused")) == (2, 0)


@everywhere
@POLICIES
def test_the_receiver_learns_that_the_sender_closed(play: Play, policy: WhenAway) -> None:
    """Closing the sending end ends the receiver's iteration; a waiting one is woken."""

    async def scenario() -> str:
        invoices = channel(policy)

        async def billing() -> None:
            with invoices.receiver() as receiver:
                assert [m async for m in receiver] == []

        async with anyio.create_task_group() as group:
            group.start_soon(billing)
            await anyio.sleep(1)
            invoices.close()
            invoices.close()
        with pytest.raises(anyio.ClosedResourceError):
            await invoices.send(Message("too late"))
        return "ended"

    assert play(scenario).result == "ended"


@everywhere
def test_a_cancelled_send_takes_its_message_back(play: Play) -> None:
    """A sender that gave up is certain that the message was not accepted."""

    async def scenario() -> None:
        invoices = channel(WhenAway.BLOCK)
        with anyio.move_on_after(5):
            await invoices.send(Message("invoice 1"))
        with invoices.receiver() as receiver, pytest.raises(anyio.WouldBlock):
            receiver.receive_nowait()

    trace = play(scenario)
    assert trace.count("accepted") == 0
    assert trace.filter("refused")[0].data["reason"] == "the sender gave up"


@everywhere
def test_the_same_message_sent_twice_at_once_is_offered_twice(play: Play) -> None:
    """One sender that gives up does not take back what the other still offers."""

    async def scenario() -> list[str]:
        invoices, told = channel(WhenAway.BLOCK), list[str]()
        invoice = Message("invoice 1")

        async def send(name: str, patience: float) -> None:
            with anyio.move_on_after(patience):
                await invoices.send(invoice)
                told.append(name)

        async with anyio.create_task_group() as group:
            group.start_soon(send, "patient", math.inf)
            group.start_soon(send, "hasty", 5)
            await anyio.sleep(6)
            assert len(invoices) == 1
            with invoices.receiver() as receiver:
                await receiver.receive()
        return told

    assert play(scenario).result == ["patient"]


@everywhere
def test_a_receiver_that_has_left_receives_no_more(play: Play) -> None:
    """Nor does it take from the one that came after it, or after its end was closed."""

    async def scenario() -> None:
        invoices = channel(WhenAway.BUFFER)
        await invoices.send(Message("invoice 1"))
        with invoices.receiver() as first:
            pass
        with invoices.receiver() as second:
            with pytest.raises(anyio.ClosedResourceError):
                await first.receive()
            assert (await second.receive()).body == "invoice 1"
            invoices.close_receiver()
            with pytest.raises(anyio.ClosedResourceError):
                await second.receive()

    play(scenario)


@everywhere
def test_a_cancelled_receive_takes_nothing(play: Play) -> None:
    """The message that comes after a cancelled receive is there for the next one."""

    async def scenario() -> str:
        invoices = channel(WhenAway.BUFFER)
        with invoices.receiver() as receiver:
            with anyio.move_on_after(5):
                await receiver.receive()
            await invoices.send(Message("invoice 1"))
            return str((await receiver.receive()).body)

    assert play(scenario).result == "invoice 1"


@everywhere
@POLICIES
def test_sender_and_receiver_share_no_payload(play: Play, policy: WhenAway) -> None:
    """What the sender changes after sending does not reach the receiver."""

    async def scenario() -> object:
        invoices = channel(policy)
        lines = [{"sku": "tea", "price": 4}]

        async def shop() -> None:
            await invoices.send(Message(lines))
            lines[0]["price"] = 400

        async with anyio.create_task_group() as group:
            with invoices.receiver() as receiver:
                group.start_soon(shop)
                await anyio.sleep(1)
                body = (await receiver.receive()).body
        return body

    assert play(scenario).result == [{"sku": "tea", "price": 4}]


@POLICIES
async def test_a_message_past_its_deadline_is_dropped_and_not_delivered(policy: WhenAway) -> None:
    """At the very instant it is over: counted, and the next one comes in its place."""
    invoices, start = channel(policy), anyio.current_time()

    async def shop() -> None:
        for body, deadline in (("late", start + 5), ("on time", start + 6)):
            await invoices.send(Message(body, deadline=deadline))

    async with anyio.create_task_group() as group:
        with invoices.receiver() as receiver:
            group.start_soon(shop)
            await anyio.sleep(5)
            assert (await receiver.receive()).body == "on time"
            with pytest.raises(anyio.WouldBlock):
                receiver.receive_nowait()
    assert invoices.dropped == {"its deadline has passed": 1}
    dropped = recorded().filter("dropped")
    assert [event.data["reason"] for event in dropped] == ["its deadline has passed"]
    assert recorded().count("accepted") == 2
    assert conservation(recorded()) == []


@virtual_time_only
async def test_a_receiver_that_crashed_takes_its_own_place_again() -> None:
    """Its ghost holds no place: the new life gets what waits."""
    invoices, got = channel(WhenAway.BLOCK), list[object]()

    async def billing() -> None:
        with invoices.receiver() as receiver:
            async for message in receiver:
                got.append(message.body)

    async with anyio.create_task_group() as group:
        crash = Crash(at=1, restart_after=2)
        group.start_soon(Participant("billing", billing, crashes=(crash,)).run)
        await anyio.sleep(2)
        assert not invoices.receiver_is_here
        await invoices.send(Message("invoice 1"))
        invoices.close()
    assert got == ["invoice 1"]


@virtual_time_only
async def test_a_sender_that_died_waiting_has_sent_nothing() -> None:
    """Nobody can have told it that its message was accepted; the trace says that it was not."""
    invoices = channel(WhenAway.BLOCK)

    async def shop() -> None:
        await invoices.send(Message("never"))

    await Participant("shop", shop, crashes=(Crash(at=anyio.current_time() + 1),)).run()
    assert len(invoices) == 0
    (refused,) = recorded().filter("refused")
    assert (refused.who, refused.data["reason"]) == ("shop", "the sender died")


@pytest.mark.parametrize("close", [True, False])
async def test_whoever_waits_at_an_end_that_is_over_is_told(close: bool) -> None:
    """The end was closed, or its block was left, while a task waited there."""
    invoices, told = PointToPointChannel("invoices"), list[str]()

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await inbox.receive()
        told.append("over")

    async with anyio.create_task_group() as group:
        with invoices.receiver() as inbox:
            group.start_soon(wait)
            await anyio.sleep(1)
            if close:
                invoices.close_receiver()
                await anyio.sleep(1)
            assert told == ["over"] * close
        await anyio.sleep(1)
        assert told == ["over"]


@virtual_time_only
async def test_a_message_costs_no_more_however_many_senders_wait() -> None:
    """One change wakes one sender, the longest waiting first."""

    async def calls(senders: int) -> float:
        """The calls of functions for each message while so many wait."""
        invoices, count = channel(WhenAway.BLOCK), 0

        def counts(frame: object, event: str, arg: object) -> None:
            nonlocal count
            count += event == "call"

        async with anyio.create_task_group() as group:
            for number in range(senders):
                group.start_soon(invoices.send, Message(number))
            await anyio.sleep(1)
            with invoices.receiver() as receiver:
                sys.setprofile(counts)
                got = [(await receiver.receive()).body for _ in range(senders)]
                sys.setprofile(None)
        assert got == list(range(senders))
        return count / senders

    assert await calls(400) < 2 * await calls(20)


@everywhere
def test_a_sender_that_waits_is_told_when_the_receiver_leaves(play: Play) -> None:
    """Where nobody waits for a receiver; also when it comes back at the very same instant."""

    async def scenario() -> object:
        invoices, told = channel(WhenAway.FAIL), list[str]()

        async def shop() -> None:
            with pytest.raises(ReceiverAway) as caught:
                await invoices.send(Message("invoice 1"))
            told.append(str(caught.value))

        async with anyio.create_task_group() as group:
            with invoices.receiver():
                group.start_soon(shop)
                await anyio.sleep(1)
            with invoices.receiver() as receiver, pytest.raises(anyio.WouldBlock):
                receiver.receive_nowait()
        return told

    trace = play(scenario)
    assert trace.result == ["nobody receives from invoices now"]
    assert conservation(trace) == []


def test_every_definite_refusal_is_a_not_sent() -> None:
    """One name for "it certainly was not accepted"."""
    assert {ReceiverAway, ChannelFull, ReceiverClosed} == set(NotSent.__subclasses__())


@pytest.mark.parametrize(
    ("policy", "capacity"),
    [("buffer", 0), ("buffer", 1.5), ("buffer", math.nan), ("block", 5), ("fail", 1), ("block", -1)],
)
def test_a_capacity_without_a_buffer_is_refused(policy: str, capacity: Any) -> None:
    """Only a buffer has a capacity, and a buffer must have one."""
    with pytest.raises(ValueError, match="capacity"):
        PointToPointChannel("invoices", when_away=policy, capacity=capacity)


@pytest.mark.parametrize("name", ["", "a\0", "\ud800", 7, None], ids=ascii)
def test_a_channel_has_a_name(name: Any) -> None:
    """Text that every trace and picture can hold."""
    with pytest.raises(ValueError, match="name must be text"):
        PointToPointChannel(name)


@pytest.mark.parametrize("systems", range(1, 21))
def test_links_are_counted_as_they_are_drawn(systems: int) -> None:
    """n(n−1) directed links, against 2n through a hub: drawn one by one and counted."""
    names = range(systems)
    assert direct_links(systems) == len([(a, b) for a in names for b in names if a != b])
    assert hub_links(systems) == len([(a, "hub") for a in names] + [("hub", b) for b in names])


@pytest.mark.parametrize("systems", [0, 1.5, math.nan])
def test_no_system_is_an_error(systems: Any) -> None:
    """There is nothing to count for less than one system, or a part of one."""
    for links in (direct_links, hub_links):
        with pytest.raises(ValueError, match="systems must be a whole number from 1 on"):
            links(systems)


# The example


def test_the_example_in_the_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each policy says something else of a receiver that is away."""
    names = {**vars(point_to_point), "Message": Message}
    exec(example(point_to_point), names)
    simulate(names["nobody_receives"])
    assert capsys.readouterr().out.splitlines() == [
        "block   the sender still waits",
        "fail    not sent: nobody receives from invoices now",
        "buffer  accepted, which is not processed",
    ]
