"""Durable subscriptions: a retained log, committed positions, and subscribers that go away."""

from __future__ import annotations

import contextlib
import gc
import math
import tracemalloc

import anyio
import pytest

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.subscriptions import (
    every_subscription_gets_all,
    no_gap,
    one_owner_per_partition,
    order_per_publisher,
)
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, Backoff, MessageQueue, QueueClosed, Settled
from eip_ref.publish_subscribe import (
    ChannelClosed,
    Delivery,
    Disconnected,
    DurableSubscriber,
    Published,
    PublishSubscribeChannel,
    Subscription,
    SubscriptionEnded,
    TopicMessage,
    listen,
)
from eip_ref.trace import Trace, acting, record, whoami
from tests.backends import Play, everywhere, recorded, virtual_time_only

TOPIC = "orders.paid"


def holds(trace: Trace) -> None:
    invariants.assert_holds(
        trace,
        invariants.conservation,
        invariants.lease_fencing,
        every_subscription_gets_all,
        order_per_publisher,
        one_owner_per_partition,
        no_gap,
    )


async def publish(channel: PublishSubscribeChannel, *bodies: object, topic: str = TOPIC) -> None:
    with acting("shop"):
        for body in bodies:
            await channel.publish(topic, Message(body))


def ready(subscriber: DurableSubscriber) -> list[Delivery]:
    """Take everything that is there now, and ack nothing."""
    found = []
    with contextlib.suppress(anyio.WouldBlock, SubscriptionEnded):
        while True:
            found.append(subscriber.receive_nowait())
    return found


def bodies(deliveries: list[Delivery]) -> list[object]:
    return [delivery.message.body for delivery in deliveries]


@everywhere
def test_a_durable_subscriber_hears_what_was_published_while_it_was_away(play: Play) -> None:
    """The subscription stays when its subscriber leaves, and goes on at the committed position."""

    async def scenario() -> list[list[object]]:
        channel = PublishSubscribeChannel("shop", retain=10)
        await publish(channel, "before")
        with channel.durable("billing", "orders.*", when_full="block") as subscriber:
            await publish(channel, 1, 2, 3)
            first = ready(subscriber)
            for delivery in first[:2]:
                assert await delivery.ack() is Settled.DONE
        await publish(channel, 4)
        await publish(channel, "other", topic="users.new")
        with channel.durable("billing", "orders.*", when_full="block") as subscriber:
            again = ready(subscriber)
            assert [delivery.deliveries for delivery in again] == [2, 1]
            assert subscriber.committed == 3
            return [bodies(first), bodies(again)]

    trace = play(scenario)
    assert trace.result == [[1, 2, 3], [3, 4]]
    holds(trace)


@everywhere
@pytest.mark.parametrize(
    ("start", "heard"),
    [("earliest", [2, 3, 4, 5]), ("latest", [5]), (3, [4, 5]), (1, [2, 3, 4, 5]), (4, [5])],
)
def test_a_subscription_starts_at_a_position(play: Play, start: int | str, heard: list[int]) -> None:
    """From a position: an offset in the retained log, the earliest, or from now on."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=3)
        await publish(channel, 1, 2, 3, 4)
        subscriber, heard = channel.durable("billing", ">", when_full="drop oldest", start=start), []
        for later in (None, 5):
            if later:
                await publish(channel, later)
            for delivery in ready(subscriber):
                heard.append(delivery.message.body)
                await delivery.ack()
        return heard

    trace = play(scenario)
    assert trace.result == heard
    holds(trace)


@pytest.mark.parametrize("start", [0, 5, -1])
def test_a_position_that_is_not_in_the_log_is_refused(start: int) -> None:
    """Never a silent gap: the error names the offsets that are there."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=3)
        await publish(channel, 1, 2, 3, 4)
        with pytest.raises(ValueError, match=f"offsets 1 to 4, not {start}"):
            channel.durable("billing", ">", when_full="block", start=start)
        assert len(channel) == 0

    simulate(scenario)


@everywhere
def test_the_log_is_bounded(play: Play) -> None:
    """It retains the newest messages and no more; what goes is recorded."""

    async def scenario() -> tuple[int, int, int]:
        channel = PublishSubscribeChannel("shop", retain=3)
        await publish(channel, *range(10))
        assert channel.log is not None
        return len(channel.log), channel.log.first, channel.log.end

    trace = play(scenario)
    assert trace.result == (3, 7, 10)
    assert trace.count("dropped", where="shop.log") == 7
    holds(trace)


@everywhere
def test_publish_counts_durable_subscriptions_and_gives_the_offset(play: Play) -> None:
    """A subscriber that is away counts too: its subscription has the message."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=3)
        nobody = await channel.publish(TOPIC, Message(1))
        assert (nobody.receivers, nobody.offset, nobody.nobody_subscribed) == (0, 0, True)
        channel.durable("billing", "orders.*", when_full="block").leave()
        channel.durable("users", "users.*", when_full="block")
        channel.subscribe("orders.*", name="live", when_full="block")
        some = await channel.publish(TOPIC, Message(2))
        assert (some.receivers, some.dropped, some.offset) == (2, 0, 1)
        assert len(channel) == 3

    trace = play(scenario)
    assert trace.count("refused") == 0  # the log has what nobody heard
    holds(trace)


# Acks


@everywhere
def test_the_committed_position_passes_only_what_is_acked(play: Play) -> None:
    """Acks in another order: the position waits for the first, so that nothing can be skipped."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1, 2, 3)
        first, second, third = ready(subscriber)
        assert await third.ack()
        assert await second.ack()
        assert subscriber.committed == 0
        again = channel.durable("billing", ">", when_full="block")
        assert bodies(ready(again)) == [1, 2, 3]
        assert await first.ack() is Settled.STALE
        return [again.committed]

    trace = play(scenario)
    assert trace.result == [0]
    assert trace.count("acked") == 0
    assert trace.count("stale") == 1
    holds(trace)


@everywhere
def test_acks_are_per_subscriber(play: Play) -> None:
    """What one subscriber has acked, another still has to."""

    async def scenario() -> tuple[int, int]:
        channel = PublishSubscribeChannel("shop", retain=10)
        billing, stock = (channel.durable(n, ">", when_full="block") for n in ("billing", "stock"))
        await publish(channel, 1, 2)
        for delivery in ready(billing):
            await delivery.ack()
        assert bodies(ready(stock)) == [1, 2]
        return billing.committed, stock.committed

    trace = play(scenario)
    assert trace.result == (2, 0)
    assert trace.count("acked", where="> → billing", who="billing") == 2
    holds(trace)


@everywhere
def test_ack_and_nack_are_idempotent_and_exclude_each_other(play: Play) -> None:
    """Settled twice in the same way is done; in the other way it is refused."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1, 2)
        first, second = ready(subscriber)
        assert await first.ack() is Settled.DONE
        assert await first.ack() is Settled.DONE
        assert await first.nack() is Settled.REFUSED
        assert await second.nack(reason="busy") is Settled.DONE
        assert await second.ack() is Settled.STALE
        assert await second.nack() is Settled.STALE
        assert await first.ack() is Settled.DONE  # committed, in an older generation
        (again,) = ready(subscriber)
        assert (again.message.body, again.deliveries, again.first) == (2, 2, second.first)
        assert await again.ack()

    trace = play(scenario)
    assert trace.count("acked") == 2
    assert trace.count("nacked") == 1
    holds(trace)


@everywhere
def test_a_nack_hands_out_everything_from_the_committed_position_again(play: Play) -> None:
    """Redelivery is from there, in order."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1, 2, 3)
        first, second, _ = ready(subscriber)
        await first.ack()
        await second.nack()
        return bodies(ready(subscriber))

    trace = play(scenario)
    assert trace.result == [2, 3]
    holds(trace)


@everywhere
def test_a_nack_wakes_whoever_waits_for_the_next_message(play: Play) -> None:
    """A subscriber may work on one message and wait for another: what it gives back comes there."""

    async def scenario() -> list[Delivery]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1)
        first, got = await subscriber.receive(), []

        async def wait() -> None:
            got.append(await subscriber.receive())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(1)
            await first.nack()
        return got

    trace = play(scenario)
    assert bodies(trace.result) == [1]
    holds(trace)


@everywhere
def test_asking_for_the_committed_position_takes_nothing_over(play: Play) -> None:
    """A question is a question: the reader reads on, and its acks count."""

    async def scenario() -> list[int]:
        channel = PublishSubscribeChannel("shop", retain=10)
        reader = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1, 2)
        first, asked = await reader.receive(), []
        asked.append(channel.durable("billing", ">", when_full="block").committed)
        assert await first.ack()
        asked.append(channel.durable("billing", ">", when_full="block").committed)
        assert await (await reader.receive()).ack()
        return asked

    trace = play(scenario)
    assert trace.result == [0, 1]
    assert trace.count("state") == 1
    holds(trace)


@everywhere
def test_whoever_connects_later_takes_over_and_the_first_is_told(play: Play) -> None:
    """One subscriber at a time; acks of the one before are stale."""

    async def scenario() -> str:
        channel = PublishSubscribeChannel("shop", retain=10)
        old = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1)
        (held,) = ready(old)
        told = []

        async def wait() -> None:
            try:
                await old.receive()
            except Disconnected as error:
                told.append(str(error))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(1)
            new = channel.durable("billing", ">", when_full="block")
            got = ready(new)
        assert await held.ack() is Settled.STALE
        old.leave()  # too late to disturb the new one
        assert bodies(got) == [1]
        return told[0]

    trace = play(scenario)
    assert "taken over" in trace.result
    holds(trace)


def test_a_crashed_subscriber_goes_on_where_it_had_acked() -> None:
    """At least once: nothing acked comes again, and nothing that was not acked is lost."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=100)
        channel.durable("billing", ">", when_full="block").leave()

        async def billing() -> None:
            with channel.durable("billing", ">", when_full="block") as subscriber:
                async for delivery in subscriber:
                    await anyio.sleep(1)
                    record("effect", whoami(), delivery.message.id, effect="booked")
                    await delivery.ack()

        async with anyio.create_task_group() as group:
            crash = Crash(at=2.5, restart_after=10)
            group.start_soon(Participant("billing", billing, crashes=(crash,)).run)
            await publish(channel, *range(6))
            channel.close()

    trace = simulate(scenario)
    assert len(set(trace.messages("effect"))) == 6
    assert trace.count("acked") == 6
    assert trace.count("delivered", where="> → billing") == 7
    holds(trace)
    invariants.assert_holds(
        trace, every_subscription_gets_all(waiting_ok=False), invariants.nothing_acked_lost
    )


# Falling behind


@everywhere
def test_drop_oldest_misses_what_left_the_log_and_counts_it(play: Play) -> None:
    """The log is bounded: who falls behind misses the oldest, counted, with the reason."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=3)
        subscriber = channel.durable("billing", "orders.*", when_full="drop oldest")
        await publish(channel, 1)
        await publish(channel, "for others", topic="users.new")
        await publish(channel, 2, 3, 4, 5)
        assert subscriber.dropped == {"no longer retained": 2}
        return bodies(ready(subscriber))

    trace = play(scenario)
    assert trace.result == [3, 4, 5]
    assert {e.data["reason"] for e in trace.filter("dropped", where="orders.* → billing")} == {
        "no longer retained"
    }
    holds(trace)


@everywhere
def test_what_is_handed_out_may_be_acked_after_it_left_the_log(play: Play) -> None:
    """The subscriber has it; only if it has to come again it is missed, and counted."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=2)
        subscriber = channel.durable("billing", ">", when_full="drop oldest")
        await publish(channel, 1, 2)
        first, second = ready(subscriber)
        await publish(channel, 3, 4)
        assert await first.ack() is Settled.DONE
        assert subscriber.dropped == {}
        assert await second.nack() is Settled.DONE
        assert subscriber.dropped == {"no longer retained": 1}
        return bodies(ready(subscriber))

    trace = play(scenario)
    assert trace.result == [3, 4]
    holds(trace)


@everywhere
def test_block_makes_the_publisher_wait_for_the_ack(play: Play) -> None:
    """Nothing leaves the log that a blocking subscriber has not acked; delivered is not enough."""

    async def scenario() -> list[float]:
        channel = PublishSubscribeChannel("shop", retain=2)
        subscriber = channel.durable("billing", "orders.*", when_full="block")
        start, times = anyio.current_time(), []

        async def produce() -> None:
            await publish(channel, 1, 2, 3)
            times.append(anyio.current_time() - start)

        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            await anyio.sleep(1)
            first, second = ready(subscriber)
            await second.ack()
            await anyio.sleep(1)
            await first.ack()
        assert bodies(ready(subscriber)) == [3]
        return times

    trace = play(scenario)
    assert trace.result == [2.0]
    assert trace.count("sent", where="orders.* → billing") == 3  # each once, also the one that had to wait
    assert trace.count("dropped", where="orders.* → billing") == 0
    holds(trace)


@everywhere
def test_block_does_not_wait_for_messages_of_other_topics(play: Play) -> None:
    """A message that the subscriber does not want is none that it needs."""

    async def scenario() -> float:
        channel = PublishSubscribeChannel("shop", retain=2)
        channel.durable("billing", "orders.*", when_full="block")
        start = anyio.current_time()
        await publish(channel, 1, 2, 3, 4, topic="users.new")
        return anyio.current_time() - start

    assert play(scenario).result == 0.0


@everywhere
def test_a_publisher_that_waits_for_room_can_give_up_or_be_told(play: Play) -> None:
    """Cancelled, or closed meanwhile, nobody has the message; unsubscribing sets the publisher free."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=1)
        channel.durable("billing", ">", when_full="block")
        live = channel.subscribe(">", name="live", when_full="block")
        await publish(channel, 1)
        with anyio.move_on_after(1) as limit:
            await publish(channel, 2)
        assert limit.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(publish, channel, 3)
            await anyio.sleep(1)
            channel.unsubscribe("billing")
        channel.durable("stock", ">", when_full="block", start="earliest")

        async def told() -> None:
            with pytest.raises(ChannelClosed):
                await publish(channel, 4)

        async with anyio.create_task_group() as group:
            group.start_soon(told)
            await anyio.sleep(1)
            channel.close()
        got = []
        with contextlib.suppress(SubscriptionEnded):
            while True:
                got.append(live.receive_nowait().body)
        return got

    trace = play(scenario)
    assert trace.result == [1, 3]
    assert [e.data["reason"] for e in trace.filter("refused")] == [
        "the publisher gave up",
        "unsubscribed",
        "closed",
    ]
    holds(trace)


@everywhere
def test_disconnect_ends_the_subscription_and_says_so(play: Play) -> None:
    """Who falls behind is disconnected; everything that it misses is counted; others go on."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=3)
        slow = channel.durable("slow", ">", when_full="disconnect")
        quick = channel.durable("quick", ">", when_full="drop oldest")
        await publish(channel, 1, 2, 3)
        first, second, _ = ready(slow)
        await second.ack()
        await publish(channel, 4)
        assert slow.dropped == {"too slow": 2}  # the first and the third
        assert await first.ack() is Settled.STALE
        with pytest.raises(Disconnected, match="fell behind"):
            await slow.receive()
        slow.leave()
        await publish(channel, 5)
        new = channel.durable("slow", ">", when_full="disconnect", start="earliest")
        return [bodies(ready(quick)), bodies(ready(new))]

    trace = play(scenario)
    assert trace.result == [[3, 4, 5], [3, 4, 5]]
    holds(trace)


@everywhere
def test_a_subscriber_that_was_disconnected_while_away_learns_what_it_missed(play: Play) -> None:
    """Counted and said, once; then the subscription can be made anew."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=3)
        with channel.durable("billing", ">", when_full="disconnect") as away:
            await publish(channel, 0)
            await (await away.receive()).ack()
        await publish(channel, 1, 2, 3, 4, 5)
        back = channel.durable("billing", ">", when_full="disconnect")
        assert back.dropped == {"too slow": 3}
        with pytest.raises(Disconnected, match="missed 3 messages and all that came after them"):
            await anext(back)
        with channel.durable("billing", ">", when_full="disconnect") as new:
            await publish(channel, 6)
            return bodies(ready(new))

    trace = play(scenario)
    assert trace.result == [6]
    holds(trace)


async def test_a_publisher_is_blocked_also_when_it_finds_the_log_full_in_its_turn() -> None:
    """There was room when it came, and the one before it took that: its waiting is told, and its end."""
    channel = PublishSubscribeChannel("shop", retain=1)
    subscriber = channel.durable("billing", ">", when_full="block")
    assert channel.log is not None
    await publish(channel, "first")
    async with anyio.create_task_group() as group:
        group.start_soon(publish, channel, "second")
        await anyio.sleep(1)
        await (await subscriber.receive()).ack()  # the second is on its way, and has not run yet
        with anyio.move_on_after(1), acting("cafe"):
            await channel.log.publish(TopicMessage.of(TOPIC, Message("third", id="third")))
    told = [event.kind for event in recorded().filter(message="third")]
    assert told == ["sent", "blocked", "refused"]
    holds(recorded())


async def test_publishers_that_wait_for_the_log_go_in_the_order_in_which_they_came() -> None:
    """One ack lets one go; who gives up or dies is passed over."""
    channel, went = PublishSubscribeChannel("shop", retain=1), list[str]()
    subscriber = channel.durable("billing", ">", when_full="block")
    await publish(channel, "first")

    async def shop(name: str, patience: float) -> None:
        with anyio.move_on_after(patience), acting(name):
            await channel.publish(TOPIC, Message(name))
            went.append(name)

    async with anyio.create_task_group() as group:
        for name, patience in (("a", 1000.0), ("b", 2.0), ("c", 1000.0), ("d", 1000.0)):
            group.start_soon(shop, name, patience)
            await anyio.sleep(1)
        for expected in (["a"], ["a", "c"], ["a", "c", "d"]):
            await (await subscriber.receive()).ack()
            await anyio.sleep(1)
            assert went == expected
    holds(recorded())


@virtual_time_only
async def test_nobody_waits_for_a_publisher_that_died_waiting_for_the_log() -> None:
    """Its message was refused, and the next has its place."""
    channel = PublishSubscribeChannel("shop", retain=1)
    subscriber = channel.durable("billing", ">", when_full="block")
    await publish(channel, 1)
    async with anyio.create_task_group() as group:
        dead = Participant("dead", lambda: publish(channel, 2), crashes=(Crash(at=1),))
        group.start_soon(dead.run)
        await anyio.sleep(0.5)
        group.start_soon(publish, channel, 3)
        await anyio.sleep(1)
        await (await subscriber.receive()).ack()
        assert (await subscriber.receive()).message.body == 3
    assert [e.data["reason"] for e in recorded().filter("refused")] == ["the publisher died"]
    holds(recorded())


async def test_an_ack_that_makes_room_for_two_lets_two_publishers_go() -> None:
    """The second message was acked first, and the committed position passes both at once."""
    channel, went = PublishSubscribeChannel("shop", retain=2), list[int]()
    subscriber = channel.durable("billing", ">", when_full="block")
    await publish(channel, 1, 2)
    first, second = ready(subscriber)
    await second.ack()

    async def shop(number: int) -> None:
        await publish(channel, number)
        went.append(number)

    async with anyio.create_task_group() as group:
        for number in (3, 4):
            group.start_soon(shop, number)
            await anyio.sleep(1)
        await first.ack()
        await anyio.sleep(1)
        assert sorted(went) == [3, 4]
    holds(recorded())


async def test_no_publisher_overtakes_one_that_waits_for_the_log() -> None:
    """Whoever comes when room has been made stands behind, and has its turn."""
    channel, got = PublishSubscribeChannel("shop", retain=1), list[object]()
    subscriber = channel.durable("billing", ">", when_full="block")

    async def work() -> None:
        for _ in range(2):
            delivery = await subscriber.receive()
            got.append(delivery.message.body)
            await delivery.ack()

    await publish(channel, 1)
    async with anyio.create_task_group() as group:
        group.start_soon(publish, channel, 2)
        await anyio.sleep(1)
        await (await subscriber.receive()).ack()
        group.start_soon(work)
        assert channel.log is not None
        await channel.log.publish(TopicMessage.of(TOPIC, Message(3)))
    assert got == [2, 3]
    holds(recorded())


# Expiration


async def test_a_subscriber_that_finds_a_message_expired_makes_room_for_a_publisher() -> None:
    """It needs the oldest no more, without having acked anything."""
    channel, start = PublishSubscribeChannel("shop", retain=1), anyio.current_time()
    subscriber = channel.durable("billing", ">", when_full="block")
    await channel.publish(TOPIC, Message("late", deadline=start + 2))
    async with anyio.create_task_group() as group:
        group.start_soon(publish, channel, "on time")
        await anyio.sleep(3)
        assert (await subscriber.receive()).message.body == "on time"
    assert anyio.current_time() == pytest.approx(start + 3)
    holds(recorded())


def test_what_expires_costs_no_memory_while_something_before_it_is_out() -> None:
    """What left the log cannot come again, and is forgotten."""

    async def scenario() -> int:
        channel = PublishSubscribeChannel("shop", retain=5)
        subscriber = channel.durable("billing", ">", when_full="drop oldest")
        await publish(channel, "held")
        await subscriber.receive()
        for number in range(100):
            await channel.publish(TOPIC, Message(number, deadline=anyio.current_time()))
            assert ready(subscriber) == []
        assert subscriber.dropped == {"its deadline has passed": 100}
        return len(subscriber.cursor._expired)

    assert simulate(scenario).result <= 5


@everywhere
def test_a_message_past_its_deadline_comes_to_no_durable_subscriber(play: Play) -> None:
    """At the very instant it is over: dropped, counted once, and the committed position passes it."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber, now = channel.durable("billing", ">", when_full="block"), anyio.current_time()
        for number, seconds in enumerate((None, 2.0, None, 2.5)):
            deadline = None if seconds is None else now + seconds
            await channel.publish(TOPIC, Message(number, deadline=deadline))
        await anyio.sleep(2)
        first, second, third = ready(subscriber)
        assert subscriber.dropped == {"its deadline has passed": 1}
        await second.nack()  # all from the committed position on: what was dropped stays dropped
        await anyio.sleep(1)
        again = ready(subscriber)
        assert subscriber.dropped == {"its deadline has passed": 2}
        for delivery in again:
            assert await delivery.ack()
        assert subscriber.committed == 4
        return [bodies([first, second, third]), bodies(again)]

    trace = play(scenario)
    assert trace.result == [[0, 2, 3], [0, 2]]
    assert trace.count("dropped", where="> → billing") == 2
    holds(trace)


@everywhere
def test_an_expired_message_blocks_no_publisher_and_disconnects_nobody(play: Play) -> None:
    """Nobody needs it: it leaves the log for the next one, counted with its own reason."""

    async def scenario() -> float:
        channel, start = PublishSubscribeChannel("shop", retain=1), anyio.current_time()
        policies = ("block", "drop oldest", "disconnect")
        ends = [channel.durable(policy, ">", when_full=policy) for policy in policies]
        await channel.publish(TOPIC, Message(1, deadline=start + 1))
        await anyio.sleep(1)
        await channel.publish(TOPIC, Message(2))
        for end in ends:
            assert bodies(ready(end)) == [2]
            assert end.dropped == {"its deadline has passed": 1}
        return anyio.current_time() - start

    trace = play(scenario)
    assert trace.result == 1
    holds(trace)


@pytest.mark.parametrize("goes_back", [False, True])
async def test_what_expires_while_something_before_it_is_out_is_counted_once_whatever_follows(
    goes_back: bool,
) -> None:
    """Also when it leaves the log, when the subscription ends, and when it had been out itself."""
    channel, now = PublishSubscribeChannel("shop", retain=3), anyio.current_time()
    subscriber = channel.durable("billing", ">", when_full="drop oldest")
    await channel.publish(TOPIC, Message("kept"))
    await channel.publish(TOPIC, Message("late", deadline=now + 5))
    held = ready(subscriber)
    await held[0].nack()
    await anyio.sleep(5)
    (kept,) = ready(subscriber)
    assert kept.message.body == "kept"
    if goes_back:
        await kept.nack()
    await publish(channel, 1, 2, 3)
    channel.unsubscribe("billing")
    assert (subscriber.dropped["its deadline has passed"], subscriber.dropped.total()) == (1, 5)
    holds(recorded())


# Coming and going


@everywhere
def test_unsubscribing_drops_what_is_left_and_ends_the_iteration(play: Play) -> None:
    """For good: what was not acked is dropped and counted, and the name is free."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", "orders.*", when_full="block")
        await publish(channel, 1, 2)
        ready(subscriber)
        await publish(channel, "other", topic="users.new")
        await publish(channel, 3)
        channel.unsubscribe("billing")
        assert subscriber.dropped == {"unsubscribed": 3}
        assert [d async for d in subscriber] == []
        assert len(channel) == 0
        with pytest.raises(KeyError):
            channel.unsubscribe("billing")
        channel.durable("billing", ">", when_full="drop oldest")

    holds(play(scenario))


@everywhere
def test_closing_ends_a_durable_iteration_after_the_last_message(play: Play) -> None:
    """It gets what was published before, and then ends, whether it waits or not."""

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber, got = channel.durable("billing", ">", when_full="block"), []

        async def read() -> None:
            async for delivery in subscriber:
                await delivery.ack()
                got.append(delivery.message.body)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await publish(channel, 1, 2)
            await anyio.sleep(1)
            channel.close()
        with pytest.raises(ChannelClosed):
            channel.durable("late", ">", when_full="block")
        with pytest.raises(ChannelClosed):
            await channel.publish(TOPIC, Message(3))
        return got

    trace = play(scenario)
    assert trace.result == [1, 2]
    holds(trace)


@everywhere
def test_who_has_left_receives_no_more(play: Play) -> None:
    """Being away is not the end of the subscription, but of this receiving end."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=10)
        with channel.durable("billing", ">", when_full="block") as subscriber:
            await publish(channel, 1)
        with pytest.raises(SubscriptionEnded, match="left"):
            await subscriber.receive()

    play(scenario)


@everywhere
def test_no_two_subscribers_share_a_message_of_the_log(play: Play) -> None:
    """The log hands out copies: what one changes, another, or the same one later, does not see."""

    async def scenario() -> None:
        channel = PublishSubscribeChannel("shop", retain=10)
        a, b = (channel.durable(name, ">", when_full="block") for name in "ab")
        await publish(channel, ["bread"])
        (first,), (second,) = ready(a), ready(b)
        first.message.body.append("changed")
        assert second.message.body == ["bread"]
        await first.nack()
        assert bodies(ready(a)) == [["bread"]]

    play(scenario)


@everywhere
@pytest.mark.parametrize("closes", [False, True])
def test_what_is_out_is_bounded(play: Play, closes: bool) -> None:
    """Whoever never acks gets no more than the log may retain; an ack makes room, also after the end."""

    async def scenario() -> list[list[object]]:
        channel = PublishSubscribeChannel("shop", retain=2)
        subscriber = channel.durable("billing", ">", when_full="drop oldest")
        await publish(channel, 1, 2)
        first, second = ready(subscriber)
        await publish(channel, 3, 4)
        if closes:
            channel.close()
        assert ready(subscriber) == []
        got = []

        async def wait() -> None:
            got.append(await subscriber.receive())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(1)
            await second.ack()
            await anyio.sleep(1)
            assert got == []
            await first.ack()
        return [bodies(got), bodies(ready(subscriber))]

    trace = play(scenario)
    assert trace.result == [[3], [4]]
    holds(trace)


def test_what_is_acked_costs_no_memory() -> None:
    """A subscription is a position: it does not grow with what it has read, in whatever way that ended."""

    async def scenario() -> int:
        channel = PublishSubscribeChannel("shop", retain=5)
        subscriber = channel.durable("billing", ">", when_full="drop oldest")

        async def read(count: int) -> None:
            for number in range(count):
                await channel.publish(TOPIC, Message(number, id="m"))
                delivery = await subscriber.receive()
                if number % 3 == 0:
                    await delivery.ack()
                    continue
                early = number % 3 == 1
                if early:
                    await delivery.nack()
                await publish(channel, *range(6))  # so that it can never come again
                if not early:
                    await delivery.nack()
                for another in ready(subscriber):
                    await another.ack()

        await read(50)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await read(2_000)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        assert anyio.run(scenario) < 20_000
    finally:
        tracemalloc.stop()


# Handlers


@everywhere
def test_a_failing_durable_handler_tries_again_and_then_buries(play: Play) -> None:
    """Tried again from the committed position, in order, with rests; after the last attempt: dead."""

    async def scenario() -> tuple[list[object], dict[str, object], float]:
        channel = PublishSubscribeChannel("shop", retain=10)
        done: list[object] = []

        async def handle(message: Message) -> None:
            if message.body == "poison":
                raise ValueError("no such order")
            done.append(message.body)

        await anyio.sleep(7)
        start = anyio.current_time()
        async with MessageQueue("failed", policy=NEVER) as dead:
            with acting("billing"):
                subscriber = channel.durable("billing", ">", when_full="block")
                await publish(channel, 1, "poison", 2)
                channel.close()
                await listen(subscriber, handle, dead_letters=dead, attempts=3, backoff=Backoff(initial=1.0))
            letter = (await dead.receive(timeout=0)).message
            return done, dict(letter.headers), anyio.current_time() - start

    trace = play(scenario)
    done, headers, took = trace.result
    assert done == [1, 2]
    assert took == pytest.approx(1 + 2)
    assert (headers["dead-letter-failures"], headers["dead-letter-source"]) == (3, "> → billing")
    assert headers["dead-letter-last"] - headers["dead-letter-first"] == pytest.approx(3)
    assert trace.count("failed") == 3
    (died,) = trace.filter("dead", where="> → billing")
    assert (died.data["reason"], died.data["to"]) == (headers["dead-letter-reason"], "failed")
    holds(trace)
    invariants.assert_holds(trace, every_subscription_gets_all(waiting_ok=False))


@pytest.mark.parametrize("live", [False, True])
async def test_a_dead_letter_is_as_it_came_whatever_its_handler_did_to_it(live: bool) -> None:
    """Each attempt has a copy of its own."""
    channel, seen = PublishSubscribeChannel("shop", retain=10), list[object]()
    end: Subscription | DurableSubscriber
    if live:
        end = channel.subscribe(">", when_full="block")
    else:
        end = channel.durable("billing", ">", when_full="block")
    await publish(channel, ["bread"])
    channel.close()

    def fail(message: Message) -> None:
        seen.append(list(message.body))
        message.body.clear()
        raise ValueError("no such order")

    async with MessageQueue("failed", policy=NEVER) as dead:
        await listen(end, fail, dead_letters=dead, attempts=2)
        assert (await dead.receive(timeout=0)).message.body == ["bread"]
    assert seen == [["bread"]] * (1 if live else 2)
    holds(recorded())


@everywhere
def test_when_the_dead_letters_fail_the_message_is_not_settled(play: Play) -> None:
    """It comes again when somebody connects."""

    async def fail(message: Message) -> None:
        raise ValueError("no such order")

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1)
        async with MessageQueue("failed", policy=NEVER) as dead:
            dead.close()
            with pytest.raises(QueueClosed):
                await listen(subscriber, fail, dead_letters=dead, attempts=1)
        return bodies(ready(channel.durable("billing", ">", when_full="block")))

    trace = play(scenario)
    assert trace.result == [1]
    holds(trace)


@everywhere
def test_a_cancelled_durable_handler_settles_nothing(play: Play) -> None:
    """Neither acked nor nacked: it comes again (D15)."""

    async def slow(message: Message) -> None:
        await anyio.sleep(5)

    async def scenario() -> list[object]:
        channel = PublishSubscribeChannel("shop", retain=10)
        subscriber = channel.durable("billing", ">", when_full="block")
        await publish(channel, 1)
        async with MessageQueue("failed", policy=NEVER) as dead:
            with anyio.move_on_after(1):
                await listen(subscriber, slow, dead_letters=dead)
        return bodies(ready(channel.durable("billing", ">", when_full="block")))

    trace = play(scenario)
    assert trace.result == [1]
    assert (trace.count("cancelled"), trace.count("nacked"), trace.count("acked")) == (1, 0, 0)
    holds(trace)


async def test_what_was_handled_is_acked_although_the_listener_is_cancelled_at_that_instant() -> None:
    """The effect has happened: it does not come again."""
    channel, scope = PublishSubscribeChannel("shop", retain=10), anyio.CancelScope()
    subscriber = channel.durable("billing", ">", when_full="block")
    await publish(channel, 1, 2)
    async with MessageQueue("failed", policy=NEVER) as dead:
        with scope:
            await listen(subscriber, lambda message: scope.cancel(), dead_letters=dead)
    assert bodies(ready(channel.durable("billing", ">", when_full="block"))) == [2]


# Bad input


@pytest.mark.parametrize("wrong", [(1, 2), {1: "one"}, b"tea", float("nan")])
async def test_a_log_refuses_what_a_file_could_not_give_back(wrong: object) -> None:
    """Before anybody has it; a channel that keeps nothing takes what it is given."""
    channel = PublishSubscribeChannel("shop", retain=3)
    live = channel.subscribe(">", when_full="block")
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        await channel.publish(TOPIC, Message(wrong))
    assert channel.log is not None
    assert (len(live), channel.log.end) == (0, 0)
    assert await PublishSubscribeChannel("prices").publish(TOPIC, Message(wrong)) == Published(0)


def test_durability_is_not_claimed_where_nothing_is_retained() -> None:
    """E9: a channel without a log says so instead of forgetting."""
    with pytest.raises(ValueError, match=r"retains nothing.*retain="):
        PublishSubscribeChannel("shop").durable("billing", ">", when_full="block")


def test_bad_durable_subscriptions_say_what_to_do() -> None:
    """Policy, pattern and name are checked when subscribing."""
    channel = PublishSubscribeChannel("shop", retain=3)
    with pytest.raises(ValueError, match="not 'drop newest'"):
        channel.durable("billing", ">", when_full="drop newest")
    channel.durable("billing", ">", when_full="block")
    with pytest.raises(ValueError, match="unsubscribe it first"):
        channel.durable("billing", ">", when_full="drop oldest")
    with pytest.raises(ValueError, match="unsubscribe it first"):
        channel.durable("billing", "orders.*", when_full="block")
    with pytest.raises(ValueError, match="a name of its own"):
        channel.subscribe(">", name="billing", when_full="block")
    channel.subscribe(">", name="stock", when_full="block")
    with pytest.raises(ValueError, match="a name of its own"):
        channel.durable("stock", ">", when_full="block")
    with pytest.raises(ValueError, match="no pattern"):
        channel.durable("b", ">.paid", when_full="block")
    for wrong in ("", "a\0", "\ud800", 7):
        with pytest.raises(ValueError, match="name must be text"):
            channel.durable(wrong, ">", when_full="block")  # type: ignore[arg-type]
    for start in (True, math.nan, 0.0, "soon"):
        with pytest.raises(ValueError, match="is not a valid Start"):
            channel.durable("b", ">", when_full="block", start=start)  # type: ignore[arg-type]


@everywhere
def test_no_attempt_at_all_is_refused(play: Play) -> None:
    """A handler gets at least one attempt."""

    async def scenario() -> None:
        inbox = PublishSubscribeChannel("shop").subscribe(">", when_full="block")
        with pytest.raises(ValueError, match="attempts must be a whole number from 1 on"):
            await listen(inbox, anyio.sleep, dead_letters=MessageQueue("failed"), attempts=0)  # type: ignore[arg-type]

    play(scenario)
