"""Partitions: keys and their order, groups, one owner each, and what happens when a partition moves."""

from __future__ import annotations

import contextlib
import gc
import math
import subprocess
import sys
import tracemalloc
from collections import Counter

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
from eip_ref.message_queue import NEVER, Backoff, MessageQueue, Settled
from eip_ref.publish_subscribe import (
    ChannelClosed,
    Delivery,
    Disconnected,
    Member,
    PartitionedTopic,
    SubscriptionEnded,
    listen,
)
from eip_ref.trace import Trace, acting, record, recording, whoami
from tests.backends import Play, everywhere, recorded

KEYS = [f"customer {number}" for number in range(8)]


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


async def publish(topic: PartitionedTopic, count: int) -> None:
    with acting("shop"):
        for number in range(count):
            await topic.publish(Message(number, key=KEYS[number % len(KEYS)]))


def ready(member: Member) -> list[Delivery]:
    """Take everything that is there now, and ack nothing."""
    found = []
    with contextlib.suppress(anyio.WouldBlock, SubscriptionEnded):
        while True:
            found.append(member.receive_nowait())
    return found


def bodies(deliveries: list[Delivery]) -> list[int]:
    return sorted(delivery.message.body for delivery in deliveries)


# Keys


@everywhere
def test_a_key_stays_in_its_partition_and_keeps_its_order(play: Play) -> None:
    """Order per publisher and partition; messages of one key are in one partition."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=3, retain=100)
        member = topic.join("billing", name="b", when_full="block")
        await publish(topic, 40)
        where: dict[str | None, set[str]] = {}
        last: Counter[str | None] = Counter()
        for delivery in ready(member):
            where.setdefault(delivery.message.key, set()).add(delivery.message.topic)
            assert delivery.message.body >= last[delivery.message.key]
            last[delivery.message.key] = delivery.message.body
        assert {len(places) for places in where.values()} == {1}
        assert len(set.union(*where.values())) == 3

    holds(play(scenario))


def test_the_partition_of_a_key_is_the_same_in_every_process() -> None:
    """It does not depend on the hash seed."""
    code = (
        "from eip_ref.publish_subscribe import PartitionedTopic as P; "
        "t = P('orders', partitions=7, retain=1); print([t.partition_of(f'customer {n}') for n in range(8)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


@everywhere
def test_without_a_key_partitions_take_turns_and_the_result_says_where(play: Play) -> None:
    """The result names partition, offset and the number of groups."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        first = await topic.publish(Message(0))
        assert (first.partition, first.offset, first.receivers, first.nobody_subscribed) == (0, 0, 0, True)
        topic.join("billing", name="b", when_full="block")
        topic.join("stock", name="s", when_full="block")
        second, third = await topic.publish(Message(1)), await topic.publish(Message(2))
        assert (second.partition, second.offset, second.receivers) == (1, 0, 2)
        assert (third.partition, third.offset) == (0, 1)

    play(scenario)


@everywhere
def test_publishing_to_a_partition_copies(play: Play) -> None:
    """What the publisher changes afterwards, and what a receiver changes, nobody else sees."""

    async def scenario() -> None:
        topic, items = PartitionedTopic("orders", partitions=1, retain=10), ["bread"]
        a, b = (topic.join(group, name="m", when_full="block") for group in "ab")
        await topic.publish(Message(items))
        items.append("changed")
        (await a.receive()).message.body.append("changed")
        assert (await b.receive()).message.body == ["bread"]

    play(scenario)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_before_it_began_publishes_to_no_partition(backend: str) -> None:
    """A call that is cancelled at its first instant has certainly not happened."""

    async def scenario() -> list[int]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await topic.publish(Message(1))
        return [len(log) for log in topic.logs]

    assert anyio.run(scenario, backend=backend) == [0, 0]


# Groups


@everywhere
def test_every_group_gets_everything_and_its_members_share_it(play: Play) -> None:
    """One copy for each group, each partition with one member."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=4, retain=100)
        b1, b2 = (topic.join("billing", name=name, when_full="block") for name in ("b1", "b2"))
        stock = topic.join("stock", name="s", when_full="block")
        await publish(topic, 20)
        first, second = ready(b1), ready(b2)
        assert bodies(first + second) == list(range(20))
        for member, got in ((b1, first), (b2, second)):
            assert {d.message.topic for d in got} == {f"orders[{number}]" for number in member.partitions}
        assert bodies(ready(stock)) == list(range(20))

    holds(play(scenario))


@everywhere
def test_partitions_are_spread_evenly_and_few_move(play: Play) -> None:
    """Everybody has its fair share; who stays keeps what it can."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=5, retain=10)
        a = topic.join("g", name="a", when_full="block")
        assert a.partitions == [0, 1, 2, 3, 4]
        b = topic.join("g", name="b", when_full="block")
        assert (a.partitions, b.partitions) == ([0, 1, 2], [3, 4])
        c = topic.join("g", name="c", when_full="block")
        assert (a.partitions, b.partitions, c.partitions) == ([0, 1], [3, 4], [2])
        b.leave()
        assert (a.partitions, c.partitions) == ([0, 1, 3], [2, 4])
        more = [topic.join("g", name=f"m{n}", when_full="block") for n in range(5)]
        assert sorted(len(m.partitions) for m in [a, c, *more]) == [0, 0, 1, 1, 1, 1, 1]
        for member in [a, c, *more]:
            member.leave()
        assert topic.groups["g"].owners == [""] * 5

    play(scenario)


@everywhere
def test_a_moved_partition_goes_on_at_the_committed_offset(play: Play) -> None:
    """Duplicates allowed, gaps not; the late commit of the former owner is refused."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=2, retain=100)
        old = topic.join("billing", name="old", when_full="block")
        for number in range(6):
            await topic.publish(Message(number))  # 0, 2, 4 and 1, 3, 5
        held = {d.message.body: d for d in ready(old)}
        assert await held[1].ack()
        assert await held[0].ack()
        new = topic.join("billing", name="new", when_full="block")
        assert (old.partitions, new.partitions) == ([0], [1])
        assert await held[3].ack() is Settled.STALE
        assert await held[2].ack() is Settled.DONE  # of the partition that stayed
        assert [d.message.body for d in ready(new)] == [3, 5]
        assert ready(old) == []
        assert topic.groups["billing"].committed == [2, 1]

    trace = play(scenario)
    assert trace.count("stale", who="") == 1
    moved = trace.filter("state", where="orders[1] → billing")
    told = [(e.data["was"], e.data["now"], e.data["generation"]) for e in moved]
    assert told == [("", "old", 1), ("old", "new", 2)]
    came = trace.filter("delivered", where="orders[1] → billing")
    assert [(e.who, e.data["generation"]) for e in came] == [("old", 1)] * 3 + [("new", 2)] * 2
    holds(trace)


@everywhere
def test_a_member_that_falls_silent_loses_its_partitions_at_the_very_instant(play: Play) -> None:
    """Silent for the session: over at the instant, not before; when it asks again it joins again."""

    async def scenario() -> list[list[int]]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        a = topic.join("g", name="a", when_full="block", session=10)
        b = topic.join("g", name="b", when_full="block", session=10)
        seen = []
        for seconds in (9.99, 0.01):
            await anyio.sleep(seconds)
            ready(b)
            seen.append(b.partitions)
        held = a.partitions
        ready(a)
        return [*seen, held, sorted(a.partitions + b.partitions), a.partitions]

    trace = play(scenario)
    assert trace.result == [[1], [0, 1], [], [0, 1], [1]]
    assert "a fell silent" in {e.data["reason"] for e in trace.filter("state")}
    holds(trace)


@everywhere
def test_waiting_is_not_silence(play: Play) -> None:
    """Whoever waits for a message lives, however long that takes."""

    async def scenario() -> list[str]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        members = [topic.join("g", name=name, when_full="block", session=10) for name in ("a", "b")]
        async with anyio.create_task_group() as group:
            for member in members:
                group.start_soon(member.receive)
            await anyio.sleep(100)
            owners = topic.groups["g"].owners
            group.cancel_scope.cancel()
        return owners

    trace = play(scenario)
    assert trace.result == ["a", "b"]
    assert trace.count("state") == 3


def test_what_a_crashed_member_had_out_comes_to_another() -> None:
    """Nothing is lost and nothing acked comes again, although the dead say nothing."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=3, retain=100)
        topic.join("billing", name="first", when_full="block").leave()

        async def work() -> None:
            with topic.join("billing", when_full="block") as member:
                async for delivery in member:
                    await anyio.sleep(1)
                    record("effect", whoami(), delivery.message.id, effect="booked")
                    await delivery.ack()

        async with anyio.create_task_group() as group:
            group.start_soon(Participant("w1", work, crashes=(Crash(at=3.5),)).run)
            group.start_soon(Participant("w2", work).run)
            await publish(topic, 20)
            topic.close()

    trace = simulate(scenario)
    assert len(set(trace.messages("effect"))) == 20
    assert trace.count("acked") == 20
    assert {e.who for e in trace.filter("effect", test=lambda e: e.at > 20)} == {"w2"}
    holds(trace)
    invariants.assert_holds(
        trace, every_subscription_gets_all(waiting_ok=False), invariants.nothing_acked_lost
    )


@everywhere
def test_a_member_that_joins_under_the_same_name_takes_the_place(play: Play) -> None:
    """As after a crash and a quick restart: no waiting for the session to end, and the old one is told."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        old = topic.join("g", name="a", when_full="block")
        await publish(topic, 2)
        held = ready(old)
        new = topic.join("g", name="a", when_full="block")
        assert new.partitions == [0, 1]
        assert await held[0].ack() is Settled.STALE
        with pytest.raises(Disconnected, match="in the place of this one"):
            await old.receive()
        old.leave()
        assert bodies(ready(new)) == [0, 1]

    holds(play(scenario))


@everywhere
def test_a_member_that_was_replaced_while_it_was_silent_does_not_come_back(play: Play) -> None:
    """The newest member of a name has it, whoever asks first; when it has left, the old one may return."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        old = topic.join("g", name="a", when_full="block", session=10)
        other = topic.join("g", name="b", when_full="block", session=10)
        await anyio.sleep(10)
        ready(other)  # finds that a is silent
        new = topic.join("g", name="a", when_full="block", session=10)
        with pytest.raises(Disconnected):
            old.receive_nowait()
        assert (old.partitions, len(new.partitions)) == ([], 1)
        new.leave()
        ready(old)
        assert len(old.partitions) == 1

    holds(play(scenario))


def test_members_that_are_gone_cost_no_memory() -> None:
    """Whether they left or fell silent."""

    async def scenario() -> int:
        topic = PartitionedTopic("orders", partitions=2, retain=2)

        async def visits(names: list[str]) -> None:
            for name in names:
                topic.join("g", name=f"silent {name}", when_full="block", session=10)
                await anyio.sleep(10)
                topic.join("g", name=f"polite {name}", when_full="block", session=10).leave()

        await visits([str(number) for number in range(20)])
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        with recording():  # which is thrown away
            await visits([str(number) for number in range(1_000)])
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        assert simulate(scenario).result < 30_000
    finally:
        tracemalloc.stop()


@everywhere
def test_members_without_a_name_never_replace_each_other(play: Play) -> None:
    """They are numbered, and no number is used again."""

    async def scenario() -> list[str]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        first = topic.join("g", when_full="block")
        names = [first.name, topic.join("g", when_full="block").name]
        first.leave()
        return [*names, topic.join("g", when_full="block").name]

    assert play(scenario).result == ["member-1", "member-2", "member-3"]


@everywhere
def test_partitions_are_served_in_turn(play: Play) -> None:
    """A busy partition does not starve the others of its owner."""

    async def scenario() -> list[str]:
        topic = PartitionedTopic("orders", partitions=3, retain=100)
        member = topic.join("g", name="a", when_full="block")
        for number in range(9):
            await topic.publish(Message(number))
        return [delivery.message.topic for delivery in ready(member)]

    assert play(scenario).result == [f"orders[{n}]" for n in (1, 2, 0)] * 3


@everywhere
def test_a_message_past_its_deadline_comes_to_no_member(play: Play) -> None:
    """Dropped, counted, and the committed offset of its partition passes it."""

    async def scenario() -> list[int]:
        topic, now = PartitionedTopic("orders", partitions=2, retain=10), anyio.current_time()
        member = topic.join("g", name="a", when_full="block")
        for number in range(4):
            await topic.publish(Message(number, deadline=now + 1 + number))
        await anyio.sleep(2)
        got = ready(member)
        for delivery in got:
            await delivery.ack()
        assert member.group.dropped == {"its deadline has passed": 2}
        assert member.group.committed == [2, 2]
        return bodies(got)

    trace = play(scenario)
    assert trace.result == [2, 3]
    holds(trace)


async def test_a_message_wakes_the_owner_of_its_partition_and_no_other() -> None:
    """However many members wait, and whichever has waited longest."""
    topic, got = PartitionedTopic("orders", partitions=2, retain=10), list[str]()

    async def work(member: Member) -> None:
        async for delivery in member:
            got.append(f"{member.name} {delivery.message.topic}")
            await delivery.ack()

    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(work, topic.join("g", name=name, when_full="block"))
        await anyio.sleep(1)
        for _ in range(4):
            await topic.publish(Message("order"))
            await anyio.sleep(1)
        topic.close()
    assert got == ["a orders[0]", "b orders[1]"] * 2
    holds(recorded())


# The bound


@everywhere
def test_a_group_may_miss_the_oldest_or_block_the_publisher(play: Play) -> None:
    """The policy is that of the group; a publisher that waits goes on at the ack."""

    async def scenario() -> float:
        topic = PartitionedTopic("orders", partitions=1, retain=2)
        careless = topic.join("careless", name="c", when_full="drop oldest")
        careful = topic.join("careful", name="d", when_full="block")
        start = anyio.current_time()

        async def work() -> None:
            await anyio.sleep(3)
            await careful.receive_nowait().ack()

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            for number in range(3):
                await topic.publish(Message(number))
            took = anyio.current_time() - start
        assert careless.group.dropped == {"no longer retained": 1}
        assert careful.group.dropped == {}
        return took

    trace = play(scenario)
    assert trace.result == 3.0
    holds(trace)


@everywhere
@pytest.mark.parametrize(("start", "heard"), [("earliest", [0, 1, 2]), ("latest", [2])])
def test_a_group_starts_at_the_earliest_or_from_now_on(play: Play, start: str, heard: list[int]) -> None:
    """From the instant join returned, or from what is still retained."""

    async def scenario() -> list[int]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        await publish(topic, 2)
        member = topic.join("g", name="a", when_full="block", start=start)
        await topic.publish(Message(2))
        return bodies(ready(member))

    assert play(scenario).result == heard


# The end


@everywhere
def test_closing_ends_the_members_when_everything_is_acked(play: Play) -> None:
    """A member with nothing to do stays while another has something out that may come to it."""

    async def scenario() -> dict[str, float]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        start, ended = anyio.current_time(), {}

        async def work(member: Member) -> None:
            async for delivery in member:
                await anyio.sleep(5)
                await delivery.ack()
            ended[member.name] = anyio.current_time() - start

        async with anyio.create_task_group() as group:
            for name in ("a", "b"):
                group.start_soon(work, topic.join("g", name=name, when_full="block"))
            await topic.publish(Message(0))
            topic.close()
            topic.close()
        with pytest.raises(ChannelClosed):
            await topic.publish(Message(1))
        with pytest.raises(ChannelClosed):
            topic.join("late", name="a", when_full="block")
        return ended

    trace = play(scenario)
    assert trace.result == {"a": 5.0, "b": 5.0}
    assert trace.count("closed") == 4  # each partition, and the place of the group in it, once
    holds(trace)


@everywhere
def test_what_a_member_has_out_itself_does_not_keep_it(play: Play) -> None:
    """It will not be handed what it has in hand: after the last message its iteration ends."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=1, retain=10)
        member = topic.join("g", name="a", when_full="block")
        await publish(topic, 2)
        topic.close()
        held = [delivery async for delivery in member]
        assert bodies(held) == [0, 1]
        assert await held[0].ack()

    holds(play(scenario))


@everywhere
def test_a_member_without_a_partition_can_leave_while_it_waits(play: Play) -> None:
    """Its wait ends at once."""

    async def scenario() -> float:
        topic = PartitionedTopic("orders", partitions=1, retain=10)
        topic.join("g", name="a", when_full="block")
        spare, start = topic.join("g", name="b", when_full="block"), anyio.current_time()

        async def wait() -> None:
            with pytest.raises(SubscriptionEnded, match="has left"):
                await spare.receive()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(1)
            spare.leave()
        return anyio.current_time() - start

    assert play(scenario).result == 1.0


@everywhere
def test_unsubscribing_a_group_ends_its_members(play: Play) -> None:
    """For good: what was not acked is dropped and counted."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        member = topic.join("g", name="a", when_full="block")
        await publish(topic, 4)
        await member.receive()
        topic.unsubscribe("g")
        assert member.group.dropped == {"unsubscribed": 4}
        assert [d async for d in member] == []
        topic.join("g", name="new", when_full="block")
        member.leave()  # of a group that is no more: the new one of this name hears nothing of it
        assert topic.groups["g"].owners == ["new", "new"]
        await topic.publish(Message(4))
        assert bodies(ready(next(iter(topic.groups["g"].members.values())))) == [4]
        topic.unsubscribe("g")
        with pytest.raises(KeyError):
            topic.unsubscribe("g")
        with pytest.raises(SubscriptionEnded, match="has left"):
            await member.receive()

    holds(play(scenario))


@everywhere
def test_a_member_can_listen_with_a_handler(play: Play) -> None:
    """A failing message holds up its own partition only until it is tried again, and then buried."""

    async def scenario() -> list[int]:
        topic = PartitionedTopic("orders", partitions=2, retain=10)
        done: list[int] = []

        async def handle(message: Message) -> None:
            if message.body == 0:
                raise ValueError("no such order")
            done.append(message.body)

        async with MessageQueue("failed", policy=NEVER) as dead:
            with acting("b"):
                member = topic.join("g", when_full="block")
                for number in range(4):
                    await topic.publish(Message(number))
                topic.close()
                await listen(member, handle, dead_letters=dead, attempts=2, backoff=Backoff(initial=1))
            assert (await dead.receive(timeout=0)).message.headers["dead-letter-source"] == "orders[0] → g"
        return sorted(done)

    trace = play(scenario)
    assert trace.result == [1, 2, 3]
    holds(trace)


def test_bad_topics_and_groups_say_what_to_do() -> None:
    """Checked when made, and when joined."""
    for wrong in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match="partitions must be a whole number from 1 on"):
            PartitionedTopic("orders", partitions=wrong, retain=10)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="retain must be a whole number from 1 on"):
            PartitionedTopic("orders", partitions=1, retain=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no topic"):
        PartitionedTopic("orders.*", partitions=1, retain=1)

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=1, retain=10)
        for policy, words in (("disconnect", "not 'disconnect'"), ("drop newest", "not 'drop newest'")):
            with pytest.raises(ValueError, match=words):
                topic.join("g", name="a", when_full=policy)
        for session in (0, -1, math.nan):
            with pytest.raises(ValueError, match="session must be a finite number of seconds above 0"):
                topic.join("g", name="a", when_full="block", session=session)
        for group in ("", "a\0", "\ud800", 7):
            with pytest.raises(ValueError, match="group must be text"):
                topic.join(group, when_full="block")  # type: ignore[arg-type]
        assert topic.groups == {}
        first = topic.join("g", when_full="block")
        assert first.name == "member-1"
        with pytest.raises(ValueError, match="session of 10 s"):
            topic.join("g", name="b", when_full="block", session=5)
        with pytest.raises(ValueError, match="policy 'block'"):
            topic.join("g", name="b", when_full="drop oldest")

    simulate(scenario)
