"""Publish–subscribe, live: who gets what, whose buffer is full, who comes and goes."""

from __future__ import annotations

import contextlib
import gc
import math
import tracemalloc
from collections.abc import Awaitable, Callable

import anyio
import pytest

import eip_ref.publish_subscribe as package
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.subscriptions import every_subscription_gets_all, order_per_publisher
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, MessageQueue
from eip_ref.publish_subscribe import (
    ChannelClosed,
    Disconnected,
    Published,
    PublishSubscribeChannel,
    Subscription,
    SubscriptionEnded,
    listen,
)
from eip_ref.signal import orphans
from eip_ref.trace import Trace, acting, record, whoami
from tests.backends import Play, everywhere, recorded, virtual_time_only
from tests.docstrings import example


def waiting(inbox: Subscription) -> list[object]:
    """Take everything that is in the buffer now."""
    found = []
    with contextlib.suppress(anyio.WouldBlock, SubscriptionEnded, Disconnected):
        while True:
            found.append(inbox.receive_nowait().body)
    return found


def holds(trace: Trace) -> None:
    invariants.assert_holds(
        trace,
        invariants.conservation,
        every_subscription_gets_all,
        order_per_publisher,
        invariants.lease_fencing,
    )


async def publish(channel: PublishSubscribeChannel, *bodies: object, topic: str = "orders.paid") -> None:
    with acting("shop"):
        for body in bodies:
            await channel.publish(topic, Message(body))


# Everybody gets everything


@everywhere
def test_every_subscription_gets_every_message_of_its_topics(play: Play) -> None:
    """Every *subscription* gets every message."""

    async def scenario() -> list[list[object]]:
        channel = PublishSubscribeChannel("shop")
        inboxes = [
            channel.subscribe(pattern, name=f"reader-{number}", when_full="block")
            for number, pattern in enumerate(["orders.paid", "orders.*", "orders.>", ">", "users.*"])
        ]
        await publish(channel, 1, 2)
        await publish(channel, 3, topic="orders.paid.late")
        return [waiting(inbox) for inbox in inboxes]

    trace = play(scenario)
    assert trace.result == [[1, 2], [1, 2], [1, 2, 3], [1, 2, 3], []]
    holds(trace)


@everywhere
def test_a_group_shares_one_copy(play: Play) -> None:
    """Every *group* shares one copy: each message goes to one member, all others to other groups too."""

    async def scenario() -> tuple[list[list[object]], int]:
        channel = PublishSubscribeChannel("shop")
        members = [channel.join("billing", "orders.*", name=f"b{n}", when_full="block") for n in range(2)]
        alone = channel.subscribe("orders.*", name="stock", when_full="block")
        published = await channel.publish("orders.paid", Message(1))
        await publish(channel, 2, 3)
        first = [members[0].receive_nowait().body, members[1].receive_nowait().body]
        return [first, waiting(members[0]), waiting(members[1]), waiting(alone)], published.receivers

    trace = play(scenario)
    assert trace.result == ([[1, 2], [3], [], [1, 2, 3]], 2)
    assert trace.count("delivered", where="orders.* → billing", who="b0") == 2
    holds(trace)


@everywhere
def test_a_subscriber_hears_everything_from_the_instant_subscribe_returned(play: Play) -> None:
    """Nothing from before it, and everything after it, without waiting for anything in between."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop")
        await publish(channel, "before")
        inbox = channel.subscribe("orders.paid", when_full="block")
        await publish(channel, "after")
        return waiting(inbox)

    assert play(scenario).result == ["after"]


@everywhere
def test_nobody_subscribed_is_an_explicit_outcome(play: Play) -> None:
    """The result says how many have the message, and when there was nobody."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop")
        nobody = await channel.publish("orders.paid", Message(1))
        assert nobody.nobody_subscribed
        assert nobody.receivers == 0
        channel.subscribe("orders.paid", name="a", when_full="block")
        channel.subscribe("orders.>", name="b", when_full="drop newest", capacity=1)
        assert (await channel.publish("orders.paid", Message(2))).receivers == 2
        one = await channel.publish("orders.paid", Message(3))
        assert (one.receivers, one.dropped, one.nobody_subscribed) == (1, 1, False)

    trace = play(scenario)
    refused = trace.filter("refused")
    assert [(e.where, e.data["reason"]) for e in refused] == [("orders.paid", "nobody subscribed")]
    holds(trace)


@everywhere
def test_all_missed_is_not_the_same_as_nobody_subscribed(play: Play) -> None:
    """A full buffer is somebody's."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop")
        channel.subscribe("orders.paid", when_full="drop newest", capacity=1)
        await publish(channel, 1)
        missed = await channel.publish("orders.paid", Message(2))
        assert (missed.receivers, missed.dropped, missed.nobody_subscribed) == (0, 1, False)

    play(scenario)


@everywhere
def test_no_two_receivers_share_a_message_and_none_shares_it_with_the_publisher(play: Play) -> None:
    """Publishing copies: what one changes changes nothing for anybody else, early or late."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop")
        inboxes = [channel.subscribe("orders.paid", name=n, when_full="block") for n in ("a", "b", "c")]
        items = ["bread"]
        await channel.publish("orders.paid", Message({"items": items}, headers={"tags": []}))
        items.append("changed by the publisher")
        for inbox in inboxes:
            message = inbox.receive_nowait()
            assert message.body == {"items": ["bread"]}
            assert message.headers == {"tags": []}
            message.body["items"].append("changed by a receiver")
            message.headers["tags"].append("changed")

    play(scenario)


async def test_what_is_received_is_a_message_that_knows_its_topic() -> None:
    """It goes where any message goes, and nobody takes it for another one."""
    channel = PublishSubscribeChannel("shop")
    inbox = channel.subscribe("orders.>", when_full="block")
    sent = Message({"euros": 40}, "OrderPaid", key="ann", headers={"route": ["shop"]})
    await channel.publish("orders.paid", sent)
    got = await inbox.receive()
    assert (got.topic, got.id, got.body, got.type, got.key) == (
        "orders.paid",
        sent.id,
        sent.body,
        sent.type,
        "ann",
    )
    assert (dict(got.headers), got.created) == ({"route": ["shop"]}, sent.created)
    with pytest.raises(TypeError):
        got.copy().headers["route"] = []  # type: ignore[index]
    await channel.publish("orders.again", got)
    assert (await inbox.receive()).topic == "orders.again"


@everywhere
def test_the_order_is_that_of_each_publisher(play: Play) -> None:
    """Order per publisher, also when both wait for the same slow subscriber."""

    async def scenario() -> dict[str, list[int]]:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", when_full="block", capacity=1)
        got: dict[str, list[int]] = {"shop-0": [], "shop-1": []}

        async def shop(name: str) -> None:
            with acting(name):
                for number in range(5):
                    await channel.publish("orders.paid", Message(number, type=name))

        async with anyio.create_task_group() as group:
            for name in got:
                group.start_soon(shop, name)
            for _ in range(10):
                await anyio.sleep(1)
                message = await inbox.receive()
                got[message.type].append(message.body)
        return got

    trace = play(scenario)
    assert trace.result == {"shop-0": [0, 1, 2, 3, 4], "shop-1": [0, 1, 2, 3, 4]}
    assert trace.count("blocked") >= 8
    holds(trace)


@everywhere
def test_a_subscription_is_named_after_whoever_acts_or_gets_a_number(play: Play) -> None:
    """The name of a subscription is its pattern and its subscriber, so that a trace tells them apart."""

    async def scenario() -> list[str]:
        channel = PublishSubscribeChannel("shop")
        with acting("billing"):
            acting_one = channel.subscribe("orders.*", when_full="block")
        unnamed = [channel.subscribe("orders.*", when_full="block") for _ in range(2)]
        return [inbox.where for inbox in (acting_one, *unnamed)]

    assert play(scenario).result == [
        "orders.* → billing",
        "orders.* → subscriber-1",
        "orders.* → subscriber-2",
    ]


# A full buffer


def full(channel: PublishSubscribeChannel, policy: str, name: str = "slow") -> Subscription:
    return channel.subscribe("orders.*", name=name, when_full=policy, capacity=2)


def test_the_policy_must_be_named() -> None:
    """No silent default (D14)."""
    channel = PublishSubscribeChannel("shop")
    with pytest.raises(TypeError, match="when_full"):
        channel.subscribe("orders.*")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="sometimes"):
        channel.subscribe("orders.*", when_full="sometimes")


@everywhere
@pytest.mark.parametrize(
    ("policy", "got"), [("drop newest", [1, 2]), ("drop oldest", [4, 5]), ("disconnect", [1, 2])]
)
def test_a_slow_subscriber_never_delays_the_others(play: Play, policy: str, got: list[int]) -> None:
    """One slow subscriber never delays the others, unless its policy is to block."""

    async def scenario() -> tuple[list[object], list[object], float]:
        channel = PublishSubscribeChannel("shop")
        slow, other = full(channel, policy), channel.subscribe("orders.*", name="other", when_full="block")
        start = anyio.current_time()
        await publish(channel, 1, 2, 3, 4, 5)
        return waiting(slow), waiting(other), anyio.current_time() - start

    trace = play(scenario)
    assert trace.result == (got, [1, 2, 3, 4, 5], 0.0)
    holds(trace)


@everywhere
def test_a_blocking_subscriber_delays_its_publisher_but_not_the_message_of_the_others(play: Play) -> None:
    """With the policy to block, the publisher waits; everybody else has the message already."""

    async def scenario() -> list[float]:
        channel = PublishSubscribeChannel("shop")
        full_one = channel.subscribe("orders.*", name="slow", when_full="block", capacity=1)
        other = channel.subscribe("orders.*", name="other", when_full="drop newest")
        start, times = anyio.current_time(), []

        async def look() -> None:
            for _ in range(3):
                await other.receive()
                times.append(anyio.current_time() - start)

        async def work() -> None:
            for _ in range(3):
                await anyio.sleep(1)
                await full_one.receive()

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            group.start_soon(work)
            await publish(channel, 1, 2, 3)
            times.append(anyio.current_time() - start)
        return times

    trace = play(scenario)
    assert trace.result == [0.0, 0.0, 1.0, 2.0]
    assert trace.messages("blocked") == trace.messages("sent", where="orders.* → slow")[1:]
    holds(trace)


@everywhere
@pytest.mark.parametrize("policy", ["drop newest", "drop oldest", "disconnect"])
def test_every_drop_is_counted_and_recorded_with_its_reason(play: Play, policy: str) -> None:
    """Every drop is counted and attributable."""

    async def scenario() -> int:
        channel = PublishSubscribeChannel("shop")
        inbox = full(channel, policy)
        await publish(channel, 1, 2, 3, 4)
        return sum(inbox.dropped.values())

    trace = play(scenario)
    dropped = trace.filter("dropped", where="orders.* → slow")
    assert trace.result == len(dropped) == (1 if policy == "disconnect" else 2)
    why = "the reader was too slow" if policy == "disconnect" else "the buffer was full"
    assert {e.data["reason"] for e in dropped} == {why}
    ids = trace.messages("sent", where="orders.* → slow")
    assert dropped[0].message == {"drop newest": ids[2], "drop oldest": ids[0], "disconnect": ids[2]}[policy]


@everywhere
def test_a_disconnected_subscriber_gets_what_it_had_and_is_told(play: Play) -> None:
    """It reads its buffer, and then an error, never a quiet end; it may subscribe again."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop")
        inbox, got = full(channel, "disconnect"), []
        await publish(channel, 1, 2, 3)
        assert len(channel) == 0
        for _ in range(2):
            got.append((await anext(inbox)).body)
        with pytest.raises(Disconnected, match="too slow"):
            await anext(inbox)
        again = full(channel, "disconnect")
        inbox.leave()  # the old end does not end the new one
        await publish(channel, 4)
        return [*got, *waiting(again)]

    trace = play(scenario)
    assert trace.result == [1, 2, 4]
    assert trace.filter("closed")[0].data["reason"] == "the reader was too slow"
    holds(trace)


@everywhere
def test_a_publisher_that_gives_up_leaves_a_counted_drop(play: Play) -> None:
    """On cancellation the waiting message is taken back and counted; others keep theirs."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop")
        slow = channel.subscribe("orders.*", name="slow", when_full="block", capacity=1)
        other = channel.subscribe("orders.*", name="other", when_full="block")
        await publish(channel, 1)
        with anyio.move_on_after(5) as limit:
            await publish(channel, 2)
        assert limit.cancelled_caught
        assert slow.dropped == {"the sender gave up": 1}
        await slow.receive()
        await publish(channel, 3)
        assert waiting(slow) == [3]
        assert waiting(other) == [1, 2, 3]

    holds(play(scenario))


async def test_a_publisher_that_gives_up_gives_up_all_that_it_waited_for() -> None:
    """Each of several full subscribers counts it, also those whose turn had not come."""
    channel = PublishSubscribeChannel("shop")
    slow = [channel.subscribe("orders.*", name=n, when_full="block", capacity=1) for n in "ab"]
    await publish(channel, 1)
    with anyio.move_on_after(1):
        await publish(channel, 2)
    for inbox in slow:
        assert inbox.dropped == {"the sender gave up": 1}
        assert waiting(inbox) == [1]
    holds(recorded())


def test_a_subscription_that_was_left_is_held_by_nobody() -> None:
    """Whoever plays deaths forgets it."""
    token = orphans.set({})
    try:
        with PublishSubscribeChannel("shop").subscribe("orders.*", name="a", when_full="block"):
            assert len(orphans.get() or {}) == 1
        assert orphans.get() == {}
    finally:
        orphans.reset(token)


@everywhere
def test_a_message_past_its_deadline_is_dropped_and_makes_room(play: Play) -> None:
    """After its deadline nobody needs it; at the very instant it is over (D1)."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", when_full="block", capacity=1)
        async with anyio.create_task_group() as group:
            await channel.publish("orders.paid", Message("late", deadline=anyio.current_time() + 2))
            group.start_soon(publish, channel, "on time")
            await anyio.sleep(2)
            got = (await inbox.receive()).body
        assert inbox.dropped == {"its deadline has passed": 1}
        return [got]

    assert play(scenario).result == ["on time"]


# Coming and going


@virtual_time_only
async def test_a_subscriber_that_crashed_takes_its_own_place_and_its_ghost_blocks_nobody() -> None:
    """What waited for it is dropped and counted; the new life hears everything from its start on."""
    channel, start = PublishSubscribeChannel("shop"), anyio.current_time()
    heard, published = list[object](), list[float]()

    async def billing() -> None:
        with channel.subscribe("orders.*", when_full="block", capacity=1) as inbox:
            async for message in inbox:
                heard.append(message.body)
                await anyio.sleep(10)

    async def shop() -> None:
        for number in range(5):
            await channel.publish("orders.paid", Message(number))
            published.append(anyio.current_time() - start)

    async with anyio.create_task_group() as group:
        crash = Crash(at=3, restart_after=1)
        group.start_soon(Participant("billing", billing, crashes=(crash,)).run)
        await anyio.sleep(1)
        group.start_soon(shop)
        await anyio.sleep(4)
        assert published == [1, 1, 3, 3, 3]
        assert len(channel) == 1
        await channel.publish("orders.paid", Message("after"))
        await anyio.sleep(1)
        channel.close()
    assert heard == [0, "after"]
    dropped = recorded().filter("dropped", where="orders.* → billing")
    assert [e.data["reason"] for e in dropped] == ["its subscriber died"] * 2
    holds(recorded())


@virtual_time_only
async def test_a_member_that_crashed_leaves_its_group_and_what_waits_there_to_the_others() -> None:
    """The buffer lives as long as one member does."""
    channel, heard = PublishSubscribeChannel("shop"), list[object]()

    async def work() -> None:
        async for message in channel.join("billing", "orders.*", when_full="block"):
            heard.append(message.body)
            await anyio.sleep(2)

    async with anyio.create_task_group() as group:
        group.start_soon(Participant("dead", work, crashes=(Crash(at=1),)).run)
        await anyio.sleep(0.5)
        group.start_soon(Participant("alive", work).run)
        await anyio.sleep(1)
        await publish(channel, 1, 2, 3)
        channel.close()
    assert heard == [1, 2, 3]
    assert len(channel) == 0
    holds(recorded())


@virtual_time_only
async def test_a_publisher_that_died_waiting_leaves_a_counted_drop() -> None:
    """As one that gives up, for every subscriber that it waited for."""
    channel = PublishSubscribeChannel("shop")
    slow = [channel.subscribe("orders.*", name=n, when_full="block", capacity=1) for n in "ab"]

    async def shop() -> None:
        await publish(channel, 1, 2)

    async with anyio.create_task_group() as group:
        group.start_soon(Participant("shop", shop, crashes=(Crash(at=1),)).run)
        await anyio.sleep(2)
        for inbox in slow:
            assert waiting(inbox) == [1]
            assert inbox.dropped == {"the sender gave up": 1}
    holds(recorded())


@everywhere
def test_unsubscribing_during_delivery_is_safe(play: Play) -> None:
    """A subscriber may leave, and another may come, while one message is on its way to everybody."""

    async def scenario() -> tuple[Published, int, list[object]]:
        channel, told = PublishSubscribeChannel("shop"), []

        async def publish_the_second() -> None:
            told.append(await channel.publish("orders.paid", Message(2)))

        blocker = channel.subscribe("orders.*", name="blocker", when_full="block", capacity=1)
        leaver = channel.subscribe("orders.*", name="leaver", when_full="block", capacity=1)
        last = channel.subscribe("orders.*", name="last", when_full="block")
        await publish(channel, 1)
        async with anyio.create_task_group() as group:
            group.start_soon(publish_the_second)
            await anyio.sleep(1)
            leaver.leave()
            leaver.leave()
            late = channel.subscribe("orders.*", name="late", when_full="block")
            await anyio.sleep(1)
            await blocker.receive()
        assert leaver.dropped == {"unsubscribed": 2}
        assert len(late) == 0
        return told[0], len(channel), waiting(last)

    trace = play(scenario)
    assert trace.result == (Published(receivers=2, dropped=1), 3, [1, 2])
    holds(trace)


@everywhere
def test_leaving_ends_a_waiting_iteration(play: Play) -> None:
    """Whoever waits for a message of a subscription that has left waits no more."""

    async def scenario() -> str:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", when_full="block")

        async def read() -> None:
            async for _ in inbox:
                raise AssertionError("nothing was published")

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.sleep(1)
            inbox.leave()
        with pytest.raises(SubscriptionEnded, match="has left"):
            await inbox.receive()
        return "ended"

    assert play(scenario).result == "ended"


@everywhere
def test_a_member_that_waits_can_leave_while_its_group_stays(play: Play) -> None:
    """Its own wait ends; that of the others goes on."""

    async def scenario() -> list[str]:
        channel, ended = PublishSubscribeChannel("shop"), []
        members = [channel.join("g", "orders.*", name=name, when_full="block") for name in ("a", "b")]

        async def read(member: Subscription) -> None:
            async for _ in member:
                pass
            ended.append(member.name)

        async with anyio.create_task_group() as group:
            for member in members:
                group.start_soon(read, member)
            await anyio.sleep(1)
            members[0].leave()
            await anyio.sleep(1)
            seen = list(ended)
            channel.close()
        return seen

    assert play(scenario).result == ["a"]


@everywhere
def test_closing_ends_the_iterators_after_what_was_published(play: Play) -> None:
    """Every iteration gets what was published before, waiting messages too, and then ends."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", when_full="block", capacity=1)
        idle = channel.subscribe("users.*", when_full="block")
        got = []

        async def read(which: Subscription) -> None:
            async for message in which:
                await anyio.sleep(1)
                got.append(message.body)

        async with anyio.create_task_group() as group:
            group.start_soon(read, idle)
            group.start_soon(publish, channel, 1, 2)
            await anyio.sleep(1)
            channel.close()
            channel.close()
            group.start_soon(read, inbox)
        with pytest.raises(ChannelClosed):
            await channel.publish("orders.paid", Message(3))
        with pytest.raises(ChannelClosed):
            channel.subscribe("orders.*", when_full="block")
        return got

    trace = play(scenario)
    assert trace.result == [1, 2]
    assert trace.filter("refused")[-1].data["reason"] == "closed"
    holds(trace)


@everywhere
def test_a_member_that_leaves_leaves_the_buffer_to_its_group(play: Play) -> None:
    """The shared buffer lives as long as one member does."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop")
        first = channel.join("billing", "orders.*", name="b1", when_full="block")
        second = channel.join("billing", "orders.*", name="b2", when_full="block")
        await publish(channel, 1, 2)
        with first:
            first.leave()  # which is once, although the block leaves too
        assert waiting(first) == []
        got = waiting(second)
        second.leave()
        assert len(channel) == 0
        third = channel.join("billing", "orders.*", name="b3", when_full="drop newest", capacity=3)
        await publish(channel, 3)
        return [*got, *waiting(third)]

    assert play(scenario).result == [1, 2, 3]


@everywhere
def test_cancelling_a_receive_takes_nothing(play: Play) -> None:
    """The message that comes next is for the next receive."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", when_full="block")
        with anyio.move_on_after(1):
            await inbox.receive()
        await publish(channel, 1)
        return waiting(inbox)

    assert play(scenario).result == [1]


def test_a_dead_topic_costs_no_memory() -> None:
    """Neither topics that nobody hears nor subscriptions that are gone leave anything behind."""

    async def scenario() -> tuple[int, int]:
        channel = PublishSubscribeChannel("shop")

        async def visits(count: int) -> None:
            for number in range(count):
                await channel.publish(f"orders.{number}", Message(number, id="m"))
                with channel.subscribe(f"users.{number}", name="a", when_full="block"):
                    await channel.publish(f"users.{number}", Message(number, id="m"))
                with channel.join("g", f"users.{number}.*", name="b", when_full="block"):
                    pass

        await visits(50)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await visits(2_000)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, len(channel)

    tracemalloc.start()
    try:
        grown, subscriptions = anyio.run(scenario)
    finally:
        tracemalloc.stop()
    assert subscriptions == 0
    assert grown < 20_000


# Handlers


def handler(effects: list[tuple[str, object]], fails_at: int = -1) -> Callable[[Message], Awaitable[object]]:
    async def handle(message: Message) -> None:
        if message.body == fails_at:
            raise ConnectionError("payment service away")
        record("effect", whoami(), message.id, effect="booked")
        effects.append((whoami(), message.body))

    return handle


@everywhere
def test_a_failing_subscriber_never_delays_or_ends_the_others(play: Play) -> None:
    """A handler that raises harms its own message only, which goes to the dead letters; it goes on."""

    async def scenario() -> tuple[list[tuple[str, object]], list[object]]:
        channel = PublishSubscribeChannel("shop")
        effects: list[tuple[str, object]] = []
        async with MessageQueue("failed", policy=NEVER) as dead, anyio.create_task_group() as group:
            for name, fails_at in (("billing", 2), ("stock", -1)):
                with acting(name):
                    inbox = channel.subscribe("orders.*", when_full="block")
                    group.start_soon(
                        lambda i=inbox, f=fails_at: listen(i, handler(effects, f), dead_letters=dead)  # type: ignore[misc]
                    )
            await publish(channel, 1, 2, 3)
            channel.close()
            await anyio.sleep(1)
            letter = (await dead.receive(timeout=0)).message
        return sorted(effects, key=str), [letter.body, letter.headers["dead-letter-source"], letter.headers]

    trace = play(scenario)
    effects, (body, source, headers) = trace.result
    assert effects == [("billing", 1), ("billing", 3), ("stock", 1), ("stock", 2), ("stock", 3)]
    assert (body, source) == (2, "orders.* → billing")
    assert headers["dead-letter-reason"] == "the handler raised ConnectionError('payment service away')"
    assert (headers["dead-letter-deliveries"], headers["dead-letter-failures"]) == (1, 1)
    assert trace.count("failed", who="billing") == 1
    assert trace.filter("dead")[0].data == {"reason": headers["dead-letter-reason"], "to": "failed"}
    holds(trace)


async def test_an_error_with_odd_words_ends_no_listener() -> None:
    """The dead letter has the words, as far as they can be written."""

    class Odd(Exception):
        def __repr__(self) -> str:
            return "Odd(\ud800)"

    def handle(message: Message) -> None:
        raise Odd

    channel = PublishSubscribeChannel("shop")
    inbox = channel.subscribe("orders.*", when_full="block")
    await publish(channel, 1)
    channel.close()
    async with MessageQueue("failed", policy=NEVER) as dead:
        await listen(inbox, handle, dead_letters=dead)
        letter = (await dead.receive(timeout=0)).message
    assert letter.headers["dead-letter-reason"] == r"the handler raised Odd(\ud800)"


async def test_a_handler_may_be_a_plain_function() -> None:
    """It returns, and the message is done."""
    channel, done = PublishSubscribeChannel("shop", retain=5), list[object]()
    live = channel.subscribe("orders.*", name="live", when_full="block")
    durable = channel.durable("durable", "orders.*", when_full="block")
    await publish(channel, 1, 2)
    channel.close()
    async with MessageQueue("failed", policy=NEVER) as dead:
        for end in (live, durable):
            await listen(end, lambda message: done.append(message.body), dead_letters=dead)
        assert len(dead) == 0
    assert done == [1, 2, 1, 2]
    holds(recorded())


@everywhere
def test_slow_handlers_run_side_by_side(play: Play) -> None:
    """Each subscription has a task of its own: three handlers of 5 seconds take 5 seconds."""

    async def slow(message: Message) -> None:
        await anyio.sleep(5)

    async def scenario() -> float:
        channel = PublishSubscribeChannel("shop")
        start = anyio.current_time()
        async with MessageQueue("failed", policy=NEVER) as dead, anyio.create_task_group() as group:
            for name in ("a", "b", "c"):
                inbox = channel.subscribe("orders.*", name=name, when_full="block")
                group.start_soon(lambda i=inbox: listen(i, slow, dead_letters=dead))  # type: ignore[misc]
            await publish(channel, 1)
            channel.close()
        return anyio.current_time() - start

    assert play(scenario).result == pytest.approx(5.0)


@everywhere
def test_a_cancelled_handler_is_neither_failed_nor_dead(play: Play) -> None:
    """Cancellation is not failure: it is recorded as itself, and the subscription is left."""

    async def slow(message: Message) -> None:
        await anyio.sleep(5)

    async def scenario() -> int:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", name="a", when_full="block")
        await publish(channel, 1)
        async with MessageQueue("failed", policy=NEVER) as dead:
            with acting("a"), anyio.move_on_after(1):
                await listen(inbox, slow, dead_letters=dead)
            assert len(dead) == 0
        return len(channel)

    trace = play(scenario)
    assert trace.result == 0
    assert (trace.count("cancelled", who="a"), trace.count("failed"), trace.count("dead")) == (1, 0, 0)


# Bad input


NO_TOPICS = (
    "",
    "orders.",
    ".paid",
    "orders..paid",
    "orders paid",
    "orders.*",
    ">",
    "a>b",
    "a\0",
    "\ud800",
    7,
)


@pytest.mark.parametrize("topic", NO_TOPICS, ids=ascii)
def test_a_topic_that_is_none_is_refused_before_anything_happens(topic: str) -> None:
    """Wildcards are for subscribers; the error says what a topic looks like."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=5)
        with pytest.raises(ValueError, match=r"no topic.*'orders\.paid'"):
            await channel.publish(topic, Message(1))

    assert simulate(scenario).count("sent") == 0


def test_bad_subscriptions_say_what_to_do() -> None:
    """Names, capacities and patterns are checked when subscribing."""
    channel = PublishSubscribeChannel("shop")
    channel.subscribe("orders.*", name="billing", when_full="block")
    with pytest.raises(ValueError, match="a name of its own"):
        channel.subscribe("orders.*", name="billing", when_full="block")
    with pytest.raises(ValueError, match="a name of its own"):
        channel.join("billing", "orders.*", when_full="block")
    with pytest.raises(ValueError, match="capacity must be a whole number from 1 on"):
        channel.subscribe("orders.*", name="b", when_full="block", capacity=0)
    with pytest.raises(ValueError, match="no pattern"):
        channel.subscribe("orders.>.paid", when_full="block")
    for wrong in ("a.\0", "\ud800", 7):
        with pytest.raises(ValueError, match="no pattern"):
            channel.subscribe(wrong, name="b", when_full="block")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="name must be text"):
            channel.subscribe("orders.*", name=wrong, when_full="block")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="group must be text"):
            channel.join(wrong, "orders.*", when_full="block")  # type: ignore[arg-type]
    channel.join("stock", "orders.*", when_full="block", capacity=4)
    with pytest.raises(ValueError, match="buffer of 4 and the policy 'block'"):
        channel.join("stock", "orders.*", when_full="drop newest", capacity=4)
    with pytest.raises(ValueError, match="buffer of 4"):
        channel.join("stock", "orders.*", when_full="block")
    for retain in (-1, 1.5, math.nan):
        with pytest.raises(ValueError, match="retain must be a whole number from 0 on"):
            PublishSubscribeChannel("shop", retain=retain)  # type: ignore[arg-type]
    for policy in ("latest per key", "sample"):
        with pytest.raises(ValueError, match="'block', 'drop newest', 'drop oldest', 'disconnect', and not"):
            channel.subscribe("orders.*", name="b", when_full=policy)
    with pytest.raises(ValueError, match="name must be text"):
        channel.subscribe("orders.*", name="", when_full="block")
    assert len(channel) == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_before_it_began_publishes_and_receives_nothing(backend: str) -> None:
    """A call that is cancelled at its first instant has certainly not happened."""

    async def scenario() -> list[int]:
        channel = PublishSubscribeChannel("shop")
        inbox = channel.subscribe("orders.*", when_full="block")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await channel.publish("orders.paid", Message(1))
        sizes = [len(inbox)]
        await channel.publish("orders.paid", Message(2))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await inbox.receive()
        return [*sizes, len(inbox)]

    assert anyio.run(scenario, backend=backend) == [0, 1]


# The example


def test_the_example_in_the_docstring_prints_who_got_what(capsys: pytest.CaptureFixture[str]) -> None:
    """The package's example runs, and shows a slow reader that misses one message and delays nobody."""
    code = example(package)
    assert len([line for line in code.splitlines() if line]) <= 30
    space = {**vars(package), "anyio": anyio, "Message": Message}
    exec(code, space)
    trace = simulate(space["an_order_is_paid"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["order 0: nobody subscribed", "order 1: 2 receivers"]
    assert "     stock missed 0" in printed
    assert printed[-1] == "     invoices missed 1"
    holds(trace)
