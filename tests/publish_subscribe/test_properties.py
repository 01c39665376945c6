"""Publish–subscribe under generated loads, comings and goings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Exponential, Faults
from eip_ref.message import Message
from eip_ref.publish_subscribe import (
    ChannelClosed,
    Disconnected,
    PublishSubscribeChannel,
    WhenFull,
    matches,
)
from eip_ref.publish_subscribe.topics import Interest, check_pattern, check_topic
from eip_ref.trace import acting
from tests.seeded.publish_subscribe import ALL

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


@settings(max_examples=1_000)
@given(PATTERNS, TOPICS)
def test_matching_agrees_with_the_oracle(pattern: str, topic: str) -> None:
    """Matching is the oracle's, for every pattern and topic."""
    check_pattern(pattern)
    check_topic(topic)
    assert matches(pattern, topic) == oracle(pattern, topic)


@settings(max_examples=300)
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


@settings(max_examples=200)
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
    policy=st.sampled_from([p for p in WhenFull if p not in (WhenFull.LATEST_PER_KEY, WhenFull.SAMPLE)]),
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


@settings(max_examples=200)
@given(**CHANNEL_LOADS)
def test_the_invariants_hold_whoever_comes_and_goes(
    visits: list[Visit], publishers: int, impatient: bool, seed: int
) -> None:
    """Everything from the start of each subscription or a counted drop, in order, whatever the policies."""
    trace = simulate(comings_and_goings, visits, publishers, impatient, seed=seed)
    invariants.assert_holds(trace, *ALL, invariants.every_subscription_gets_all(waiting_ok=False))
    for where, missed in trace.result.items():
        assert trace.count("dropped", where=where) == missed
