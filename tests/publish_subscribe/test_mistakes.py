"""Each mistake that toy versions make is caught: by an experiment that measures it, or by an invariant."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants import conservation, lease_fencing
from eip_ref.lab.invariants.finding import Finding
from eip_ref.lab.invariants.subscriptions import (
    every_subscription_gets_all,
    no_gap,
    one_owner_per_partition,
    order_per_publisher,
)
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, MessageQueue
from eip_ref.publish_subscribe import (
    Disconnected,
    PartitionedTopic,
    PublishSubscribeChannel,
    Subscription,
    SubscriptionEnded,
    listen,
)
from eip_ref.trace import acting
from tests.broken import publish_subscribe as broken

Handler = Callable[[Message], Awaitable[object]]
Serve = Callable[[list[tuple[Subscription, Handler]]], Awaitable[None]]
TOPIC = "orders.paid"


async def everything(inbox: Any) -> list[Any]:
    """The bodies of all that is there now."""
    found = []
    with contextlib.suppress(anyio.WouldBlock, SubscriptionEnded, Disconnected):
        while True:
            item = inbox.receive_nowait()
            found.append(getattr(item, "message", item).body)
    return found


# Iterating a list that publish mutates


async def one_is_too_slow(make: Any) -> list[list[Any]]:
    """The first of three has a buffer of one and is disconnected; the others must not notice."""
    channel = make("shop")
    inboxes = [
        channel.subscribe(TOPIC, name=name, when_full="disconnect", capacity=capacity)
        for name, capacity in (("slow", 1), ("billing", 9), ("stock", 9))
    ]
    for number in range(3):
        await channel.publish(TOPIC, Message(number))
    return [await everything(inbox) for inbox in inboxes]


def test_iterating_a_list_that_publish_mutates_skips_a_subscriber() -> None:
    """Mistake: iterating a list that publish mutates."""
    right, wrong = (
        simulate(one_is_too_slow, make)
        for make in (PublishSubscribeChannel, broken.IteratesAListThatPublishMutates)
    )
    assert right.result == [[0], [0, 1, 2], [0, 1, 2]]
    assert wrong.result == [[0], [0, 2], [0, 1, 2]]
    assert every_subscription_gets_all(right) == []
    (finding,) = every_subscription_gets_all(wrong)
    assert "while orders.paid → billing was open, and it never got there" in finding.words


# Sharing the message object


async def one_changes_its_message(make: Any) -> Any:
    channel = make("shop")
    first, second = (channel.subscribe(TOPIC, name=name, when_full="block") for name in ("a", "b"))
    await channel.publish(TOPIC, Message({"price": 10}))
    first.receive_nowait().body["price"] = 0
    return second.receive_nowait().body


def test_sharing_the_message_object_lets_one_receiver_change_that_of_another() -> None:
    """Mistake: sharing the message object."""
    assert simulate(one_changes_its_message, PublishSubscribeChannel).result == {"price": 10}
    assert simulate(one_changes_its_message, broken.SharesTheMessage).result == {"price": 0}


# Awaiting in sequence, one failing handler


async def a_task_each(served: list[tuple[Subscription, Handler]]) -> None:
    """The right way."""
    async with MessageQueue("failed", policy=NEVER) as dead, anyio.create_task_group() as group:
        for inbox, handle in served:
            with acting(inbox.name):
                group.start_soon(partial(listen, inbox, handle, dead_letters=dead))


async def three_handlers(serve: Serve, slow: float, fails: bool) -> dict[str, list[float]]:
    """When each of three messages is handled by a slow, a failing and a quick subscriber."""
    done: dict[str, list[float]] = {"slow": [], "failing": [], "quick": []}

    def handler(name: str) -> Handler:
        async def handle(message: Message) -> None:
            if name == "slow":
                await anyio.sleep(slow)
            if name == "failing" and fails:
                raise ConnectionError("payment service away")
            done[name].append(anyio.current_time())

        return handle

    channel = PublishSubscribeChannel("shop")
    served = [(channel.subscribe(TOPIC, name=n, when_full="block"), handler(n)) for n in done]
    for number in range(3):
        await channel.publish(TOPIC, Message(number))
    channel.close()
    with contextlib.suppress(SubscriptionEnded, ConnectionError, ExceptionGroup):
        await serve(served)
    return done


def test_awaiting_handlers_in_sequence_makes_the_quick_wait_for_the_slow() -> None:
    """Mistake: awaiting handlers in sequence."""
    assert simulate(three_handlers, a_task_each, 5.0, False).result["quick"] == [0, 0, 0]
    wrong = simulate(three_handlers, broken.awaits_handlers_in_sequence, 5.0, False).result
    assert wrong["quick"] == [5, 10, 15]


def test_one_failing_handler_must_not_cancel_the_others() -> None:
    """Mistake: one failing handler cancels all."""
    right = simulate(three_handlers, a_task_each, 1.0, True).result
    assert (right["slow"], right["quick"], right["failing"]) == ([1, 2, 3], [0, 0, 0], [])
    wrong = simulate(three_handlers, broken.one_failing_handler_cancels_all, 1.0, True).result
    assert wrong["slow"] == []


async def behind_a_blocking_one(make: Any) -> list[float]:
    """When the second subscriber has each message, while the first takes one a second."""
    channel, times = make("shop"), []
    first = channel.subscribe(TOPIC, name="first", when_full="block", capacity=1)
    second = channel.subscribe(TOPIC, name="second", when_full="drop newest")

    async def publish() -> None:
        for number in range(3):
            await channel.publish(TOPIC, Message(number))

    async def look() -> None:
        for _ in range(3):
            await second.receive()
            times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        group.start_soon(publish)
        group.start_soon(look)
        for _ in range(3):
            await anyio.sleep(1)
            await first.receive()
    return times


def test_awaiting_one_subscriber_before_the_next_is_told_delays_the_next() -> None:
    """A blocking subscriber holds up the publisher, but never the message in hand for the others."""
    assert simulate(behind_a_blocking_one, PublishSubscribeChannel).result == [0, 0, 1]
    assert simulate(behind_a_blocking_one, broken.AwaitsTheSlowest).result == [0, 1, 2]


# One channel for many sockets, claiming durability


async def sockets(make: Any) -> list[list[Any]]:
    channel = make("shop")
    browsers = [channel.subscribe("prices.*", name=f"browser-{n}", when_full="block") for n in range(3)]
    for number in range(3):
        await channel.publish("prices.bread", Message(number))
    first = [[browser.receive_nowait().body] for browser in browsers]
    return [got + await everything(browser) for got, browser in zip(first, browsers, strict=True)]


def test_one_channel_for_many_sockets_gives_each_a_part() -> None:
    """Mistake: one channel for many sockets (E5)."""
    assert simulate(sockets, PublishSubscribeChannel).result == [[0, 1, 2]] * 3
    assert simulate(sockets, broken.OneChannelForAllSockets).result == [[0], [1], [2]]


async def away_for_one(make: Any) -> list[Any]:
    channel = make("shop", retain=10)
    heard = []
    with channel.durable("billing", TOPIC, when_full="block") as subscriber:
        await channel.publish(TOPIC, Message(1))
        item = subscriber.receive_nowait()
        heard.append(getattr(item, "message", item).body)
        if hasattr(item, "ack"):
            await item.ack()
    await channel.publish(TOPIC, Message(2))
    with channel.durable("billing", TOPIC, when_full="block") as subscriber:
        await channel.publish(TOPIC, Message(3))
        return heard + await everything(subscriber)


def test_claiming_durability_loses_what_was_published_while_the_subscriber_was_away() -> None:
    """Mistake: claiming durability (E9)."""
    assert simulate(away_for_one, PublishSubscribeChannel).result == [1, 2, 3]
    assert simulate(away_for_one, broken.ClaimsDurability).result == [1, 3]


# Order and drops


async def more_than_fits(make: Any) -> None:
    channel = make("shop")
    inbox = channel.subscribe(TOPIC, name="billing", when_full="drop oldest", capacity=2)
    with acting("shop"):
        for number in range(4):
            await channel.publish(TOPIC, Message(number))
    await everything(inbox)


def test_an_uncounted_drop_is_found() -> None:
    """Every drop is recorded with its reason, or the message is missed."""
    assert (
        every_subscription_gets_all(simulate(more_than_fits, PublishSubscribeChannel), waiting_ok=False) == []
    )
    wrong = every_subscription_gets_all(simulate(more_than_fits, broken.DropsInSilence), waiting_ok=False)
    assert len(wrong) == 2
    assert "nobody had received it there" in wrong[0].words


def test_a_stack_breaks_the_order_of_the_publisher() -> None:
    """Order per publisher."""
    assert order_per_publisher(simulate(more_than_fits, PublishSubscribeChannel)) == []
    (finding,) = order_per_publisher(simulate(more_than_fits, broken.TakesTheNewest))
    assert "after" in finding.words


# Partitions that move


async def a_second_member_comes(make: Any) -> None:
    """One member has both partitions in hand when another joins; then everybody works on."""
    topic = make("orders", partitions=2, retain=20)
    old = topic.join("billing", name="old", when_full="block")
    for number in range(8):
        await topic.publish(Message(number))
    held = [old.receive_nowait() for _ in range(6)]
    new = topic.join("billing", name="new", when_full="block")
    again = [new.receive_nowait()]
    for delivery in reversed(held):
        await delivery.ack()
    for member in (old, new):
        with contextlib.suppress(anyio.WouldBlock):
            while True:
                again.append(member.receive_nowait())
    for delivery in again:
        await delivery.ack()


def found(make: Any) -> list[Finding]:
    trace = simulate(a_second_member_comes, make)
    judges = (conservation, lease_fencing, one_owner_per_partition, no_gap)
    return [finding for judge in judges for finding in judge(trace)]


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (broken.CommitsWithoutFencing, "lease fencing", "which was over"),
        (broken.ResumesWhereItHadRead, "no gap", "neither acknowledged nor dropped"),
        (broken.CommitsTheHighest, "no gap", "neither acknowledged nor dropped"),
        (broken.EverybodyReadsEverything, "one owner per partition", "while new still had"),
    ],
)
def test_a_partition_that_moves_carelessly_is_found(make: Any, name: str, words: str) -> None:
    """One owner at a time, resumes at the committed offset, late commits refused."""
    assert found(PartitionedTopic) == []
    assert any(finding.name == name and words in finding.words for finding in found(make))
