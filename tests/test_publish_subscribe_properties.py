"""Publish–subscribe under generated loads, comings and goings, and seeded faults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.lab.invariants.subscriptions import (
    every_subscription_gets_all,
    no_gap,
    one_owner_per_partition,
    order_per_publisher,
)
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, Backoff, MessageQueue
from eip_ref.publish_subscribe import (
    ChannelClosed,
    Disconnected,
    Interest,
    PartitionedTopic,
    PublishSubscribeChannel,
    WhenFull,
    check_pattern,
    check_topic,
    listen,
    matches,
)
from eip_ref.trace import Trace, acting, record, whoami

ALL = (
    invariants.conservation,
    every_subscription_gets_all,
    order_per_publisher,
    one_owner_per_partition,
    no_gap,
)

# Wildcards, against an oracle

WORDS = st.lists(st.sampled_from(["orders", "paid", "eu", "users", "o-1"]), min_size=1, max_size=4)
TOPICS = WORDS.map(".".join)
PATTERNS = st.builds(
    lambda words, tail: ".".join([*words, *tail]) or ">",
    st.lists(st.sampled_from(["orders", "paid", "eu", "users", "o-1", "*"]), max_size=4),
    st.sampled_from([[], [">"]]),
)


def oracle(pattern: str, topic: str) -> bool:
    """The rules of NATS, said once more: word by word, from the left."""
    if not pattern or not topic:
        return pattern == topic
    ask, _, asks = pattern.partition(".")
    word, _, words = topic.partition(".")
    return ask == ">" or (ask in ("*", word) and oracle(asks, words))


@pytest.mark.parametrize(
    ("pattern", "means", "means_not"),
    [
        ("orders", ["orders"], ["orders.paid", "order", "users"]),
        ("orders.paid", ["orders.paid"], ["orders", "orders.paid.late", "orders_paid"]),
        ("orders.*", ["orders.paid", "orders.new"], ["orders", "orders.paid.late", "users.paid"]),
        ("*.paid", ["orders.paid"], ["paid", "orders.new", "eu.orders.paid"]),
        ("orders.*.late", ["orders.paid.late"], ["orders.late", "orders.a.b.late"]),
        ("orders.>", ["orders.paid", "orders.paid.late"], ["orders", "users.paid"]),
        ("orders.*.>", ["orders.a.b", "orders.a.b.c"], ["orders.a", "orders"]),
        ("*", ["orders"], ["orders.paid"]),
        (">", ["orders", "orders.paid.late"], []),
    ],
)
def test_wildcards_mean_what_they_mean_in_nats(pattern: str, means: list[str], means_not: list[str]) -> None:
    """`*` is exactly one word; `>` is one word or more, at the end."""
    assert all(matches(pattern, topic) for topic in means)
    assert not any(matches(pattern, topic) for topic in means_not)


@settings(max_examples=1_000, deadline=None)
@given(PATTERNS, TOPICS)
def test_matching_agrees_with_the_oracle(pattern: str, topic: str) -> None:
    """Matching is the oracle's, for every pattern and topic."""
    check_pattern(pattern)
    check_topic(topic)
    assert matches(pattern, topic) == oracle(pattern, topic)


@settings(max_examples=300, deadline=None)
@given(st.text("a.*> ", max_size=6))
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """Words between dots, each a name or a wildcard, `>` only at the end; topics have no wildcards."""
    good = re.fullmatch(r"((a+|\*)\.)*(a+|\*|>)", text) is not None
    for check, fine in ((check_pattern, good), (check_topic, good and not set(text) & set("*>"))):
        if fine:
            check(text)
        else:
            with pytest.raises(ValueError, match="use words with dots"):
                check(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), PATTERNS), max_size=20), TOPICS)
def test_interest_finds_exactly_those_whose_pattern_matches(
    changes: list[tuple[bool, str]], topic: str
) -> None:
    """Against a plain list; and when everybody has left, nothing is left."""
    interest: Interest[int] = Interest()
    model: list[tuple[str, int]] = []
    for number, (adds, pattern) in enumerate(changes):
        if adds or not model:
            model.append((pattern, number))
            interest.add(pattern, number)
        else:
            interest.remove(*model.pop(number % len(model)))
        assert sorted(interest.matching(topic)) == sorted(n for p, n in model if oracle(p, topic))
    for pattern, number in model:
        interest.remove(pattern, number)
    assert len(interest) == 0


# Live subscriptions that come and go


@dataclass(frozen=True)
class Visit:
    """One subscriber, small enough to shrink to something readable."""

    pattern: str
    policy: WhenFull
    capacity: int
    group: str  #: or "" for a subscription of its own
    comes: float
    stays: float
    pace: float  #: seconds for each message


VISITS = st.builds(
    Visit,
    pattern=st.sampled_from(["orders.paid", "orders.*", ">", "users.new"]),
    policy=st.sampled_from(list(WhenFull)),
    capacity=st.integers(1, 4),
    group=st.sampled_from(["", "", "g"]),
    comes=st.sampled_from([0.0, 1.0, 3.0]),
    stays=st.sampled_from([0.5, 2.0, 50.0]),
    pace=st.sampled_from([0.0, 0.3, 3.0]),
)
CHANNEL_LOADS = {
    "visits": st.lists(VISITS, max_size=6),
    "publishers": st.integers(1, 3),
    "impatient": st.booleans(),
    "seed": st.integers(0, 10_000),
}


async def comings_and_goings(visits: list[Visit], publishers: int, impatient: bool) -> dict[str, int]:
    chance, channel = Faults(), PublishSubscribeChannel("shop")
    missed: dict[str, int] = {}

    async def visit(number: int, plan: Visit) -> None:
        await anyio.sleep(plan.comes)
        name = f"reader-{number}"
        settings: dict[str, Any] = {"when_full": plan.policy, "capacity": plan.capacity, "name": name}
        try:
            if plan.group:  # a group of this plan only: all of its members join alike
                inboxes = [channel.join(f"{plan.group}-{number}", plan.pattern, **settings) for _ in range(2)]
            else:
                inboxes = [channel.subscribe(plan.pattern, **settings)]
        except ChannelClosed:
            return
        with anyio.move_on_after(plan.stays):
            async with anyio.create_task_group() as group:
                for inbox in inboxes:
                    group.start_soon(read, inbox, plan.pace)
        for inbox in inboxes:
            inbox.leave()
        missed[inboxes[0].where] = sum(inboxes[0].dropped.values())

    async def read(inbox: Any, pace: float) -> None:
        try:
            async for _ in inbox:
                await anyio.sleep(pace)
        except Disconnected:
            pass

    async def shop(name: str) -> None:
        with acting(name):
            for number in range(8):
                await chance.sleep(name, Exponential(0.4))
                topic = chance.random(name).choice(["orders.paid", "orders.new", "users.new"])
                with anyio.move_on_after(2 if impatient else 1_000):
                    await channel.publish(topic, Message(number))

    async with anyio.create_task_group() as group:
        for number, plan in enumerate(visits):
            group.start_soon(visit, number, plan)
        async with anyio.create_task_group() as shops:
            for number in range(publishers):
                shops.start_soon(shop, f"shop-{number}")
        channel.close()
    assert len(channel) == 0
    return missed


@settings(max_examples=200, deadline=None)
@given(**CHANNEL_LOADS)
def test_the_invariants_hold_whoever_comes_and_goes(
    visits: list[Visit], publishers: int, impatient: bool, seed: int
) -> None:
    """Everything from the start of each subscription or a counted drop, in order, whatever the policies."""
    trace = simulate(comings_and_goings, visits, publishers, impatient, seed=seed)
    invariants.assert_holds(trace, *ALL, every_subscription_gets_all(waiting_ok=False))
    for where, missed in trace.result.items():
        assert trace.count("dropped", where=where) == missed


# Durable subscriptions and partitions under faults


async def faulty_subscribers(policy: str) -> None:
    """Two durable subscribers that crash, one live one, over links that delay, lose, double and reorder."""
    chance, channel = Faults(), PublishSubscribeChannel("shop", retain=30)
    random = chance.random("plan")

    async def subscriber(name: str, pattern: str) -> None:
        async def handle(message: Message) -> None:
            await chance.sleep(name, Exponential(0.3))
            if random.random() < 0.1:
                raise ConnectionError("payment service away")
            record("effect", whoami(), message.id, effect="booked")

        inbox = channel.durable(name, pattern, when_full=policy)
        await listen(inbox, handle, dead_letters=dead, attempts=3, backoff=Backoff(0.2))

    async def live() -> None:
        with channel.subscribe("orders.*", when_full="drop oldest", capacity=3) as inbox:
            async for _ in inbox:
                await chance.sleep("live", Exponential(0.5))

    async def publish(message: Message) -> None:
        await channel.publish(f"orders.{message.type}", message)

    plans = (("billing", "orders.>"), ("stock", "orders.paid"))
    async with MessageQueue("failed", policy=NEVER) as dead, anyio.create_task_group() as group:
        for name, pattern in plans:
            channel.durable(name, pattern, when_full=policy).leave()
            crashes = tuple(Crash(at=5 * n + random.uniform(0, 5), restart_after=2) for n in range(2))
            group.start_soon(Participant(name, subscriber, (name, pattern), crashes=crashes).run)
        with acting("live"):
            group.start_soon(live)
        faults = {"loss": 0.1, "duplication": 0.1, "reordering": 0.1, "latency": Exponential(0.5)}
        async with anyio.create_task_group() as shops:
            for number in range(2):
                shops.start_soon(shop, chance, f"shop-{number}", publish, faults)
        channel.close()


async def shop(chance: Faults, name: str, publish: Any, faults: dict[str, Any]) -> None:
    with acting(name):
        async with chance.link(f"net of {name}", publish, **faults) as net:
            for number in range(20):
                kind = chance.random(name).choice(["paid", "new"])
                key = f"customer {number % 5}"
                await net.send(Message(f"{name} {number}", type=kind, key=key))
                await chance.sleep(name, Exponential(0.3))


async def faulty_group(policy: str) -> None:
    """Three members that crash, hang, or leave and come back, over four partitions and faulty links."""
    chance = Faults()
    topic = PartitionedTopic("orders", partitions=4, retain=12)
    topic.join("billing", name="first", when_full=policy, session=3).leave()
    random = chance.random("plan")

    async def work(name: str) -> None:
        for _ in range(3):  # leaves now and then, and comes back
            with topic.join("billing", when_full=policy, session=3) as member:
                with anyio.move_on_after(random.uniform(1, 10)) as visit:
                    async for delivery in member:
                        await chance.sleep(name, Exponential(4.0 if random.random() < 0.1 else 0.2))
                        record("effect", whoami(), delivery.message.id, effect="booked")
                        await delivery.ack()
            if not visit.cancelled_caught:
                return

    async with anyio.create_task_group() as group:
        for name in ("w1", "w2"):
            crash = Crash(at=random.uniform(1, 10), restart_after=random.choice([0.5, 5.0]))
            group.start_soon(Participant(name, work, (name,), crashes=(crash,)).run)
        faults = {"loss": 0.1, "duplication": 0.1, "reordering": 0.1, "latency": Exponential(0.5)}
        async with anyio.create_task_group() as shops:
            for number in range(2):
                shops.start_soon(shop, chance, f"shop-{number}", topic.publish, faults)
            await anyio.sleep(12)  # by now all others may have left; this one stays to the end
            with acting("w3"):
                group.start_soon(partial(stay, chance, topic, policy))
        topic.close()


async def stay(chance: Faults, topic: PartitionedTopic, policy: str) -> None:
    with topic.join("billing", when_full=policy, session=3) as member:
        async for delivery in member:
            await chance.sleep("w3", Exponential(0.2))
            record("effect", whoami(), delivery.message.id, effect="booked")
            await delivery.ack()


def judge(trace: Trace, policy: str) -> None:
    """Everything holds, all was read to the end, and, unless its group may miss it, nothing acked is lost."""
    invariants.assert_holds(trace, *ALL, every_subscription_gets_all(waiting_ok=False))
    if policy == "block":  # else a copy of a doubled message may be dropped while the other is out
        invariants.assert_holds(trace, invariants.nothing_acked_lost, invariants.lease_fencing)


@pytest.mark.parametrize("scenario", [faulty_subscribers, faulty_group])
@pytest.mark.parametrize("policy", ["block", "drop oldest"])
def test_two_hundred_seeds_of_faults_break_nothing(scenario: Any, policy: str) -> None:
    """Latency, loss, duplication, reordering and crashes: no gap, one owner, order, nothing acked lost."""
    acked = missed = again = 0
    for seed in range(100):
        trace = simulate(scenario, policy, seed=seed)
        try:
            judge(trace, policy)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{trace}") from error
        acked += trace.count("acked")
        missed += sum(e.data["reason"] == "no longer retained" for e in trace.filter("dropped"))
        again += sum(e.data.get("deliveries", 1) > 1 for e in trace.filter("delivered"))
    assert acked > 2_000
    assert again > 100  # the faults were felt
    assert (missed > 0) == (policy == "drop oldest")
