"""What the laboratory makes of backpressure: the invariants on traces by hand, and the scaling figure."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import partial
from typing import Any

import pytest

from eip_ref.lab.figures import scaling
from eip_ref.lab.invariants.demand import (
    demand_never_exceeded,
    depth_never_exceeded,
    drops_counted,
    no_flapping,
    rate_never_exceeded,
)
from eip_ref.trace import Event, Trace


class Story:
    """A trace written by hand: `at` moves the clock, the rest adds an event."""

    def __init__(self, where: str = "orders") -> None:
        self.where = where
        self.events: list[Event] = []
        self.now = 0.0

    def at(self, now: float) -> Story:
        self.now = now
        return self

    def add(self, kind: str, message: str = "", **data: Any) -> Story:
        self.events.append(Event(self.now, kind, self.where, message, "shop", data))
        return self

    def opened(self, **data: Any) -> Story:
        return self.add("opened", role="channel", **data)

    def take(self, *messages: str) -> Story:
        for message in messages:
            self.add("sent", message, label=f"order {message[1:]}").add("accepted", message)
        return self

    def drop(self, *messages: str, reason: str = "the buffer was full") -> Story:
        for message in messages:
            self.add("dropped", message, reason=reason)
        return self

    def dropping(self) -> Story:
        return self.add("state", was="flowing", now="dropping", reason="the buffer was full")

    def flowing(self, dropped: int) -> Story:
        return self.add("state", was="dropping", now="flowing", dropped=dropped)

    def consumers(self, number: int) -> Story:
        return self.add("state", was="?", now=f"{number} consumers", consumers=number, queue="orders")

    @property
    def trace(self) -> Trace:
        return Trace(self.events)


def words(invariant: Any, story: Story) -> list[str]:
    return [finding.words for finding in invariant(story.trace)]


# Demand


def test_deliveries_up_to_what_was_requested_are_no_finding() -> None:
    """Requests add up; a place at which nothing is requested is not judged."""
    story = Story("billing").add("state", requested=2).add("state", requested=1)
    story.at(1).add("delivered", "m1").add("delivered", "m2").add("delivered", "m3").add("closed")
    story.where = "elsewhere"
    story.add("delivered", "m4")
    assert words(demand_never_exceeded, story) == []


def test_one_delivery_too_many_is_found() -> None:
    """With its message, or without one where only credit was taken; the next request makes up for it."""
    story = Story("billing").add("sent", "m1", label="order 1").add("state", requested=1)
    story.at(1).add("delivered").at(2).add("delivered", "m1").add("state", requested=2).add("delivered", "m2")
    assert words(demand_never_exceeded, story) == [
        "billing delivered message m1 (order 1) at 2.0 s, 1 message more than was requested"
    ]


def test_a_place_that_is_named_is_judged_also_when_nothing_was_requested() -> None:
    """Then every delivery is too many."""
    story = Story("billing").add("delivered", "m1").add("delivered")
    found = words(demand_never_exceeded(where="billing"), story)
    assert found[1] == "billing delivered something at 0.0 s, 2 messages more than was requested"
    assert words(demand_never_exceeded(where="stock"), story) == []


def test_a_delivery_after_the_end_is_found() -> None:
    """Also when it was requested."""
    story = Story("billing").add("state", requested=5).at(1).add("closed").at(2).add("delivered", "m1")
    assert words(demand_never_exceeded, story) == [
        "billing delivered message m1 at 2.0 s, after its end at 1.0 s"
    ]


# Depth


def test_a_full_channel_and_a_drop_for_a_newcomer_are_no_finding() -> None:
    """The newcomer is accepted first, and the other dropped in the next step."""
    story = Story().opened(capacity=2).take("m1", "m2", "m3").dropping().drop("m1").take("m4").drop("m4")
    assert words(depth_never_exceeded, story) == []


@pytest.mark.parametrize("ends", [True, False])
def test_a_channel_that_holds_too_many_is_found_once(ends: bool) -> None:
    """However many more come, until it is within its bound again."""
    story = Story().opened(capacity=1).take("m1").at(2).take("m2", "m3", "m4")
    if ends:
        story.add("delivered", "m1").add("delivered", "m2").add("delivered", "m3").at(3).take("m5")
    found = ["orders held 2 messages at 2.0 s, and has room for 1"]
    found += ["orders held 2 messages at 3.0 s, and has room for 1"] * ends
    assert words(depth_never_exceeded, story) == found


def test_messages_under_a_lease_count_and_settled_ones_do_not() -> None:
    """A queue's bound is on what is not settled."""
    story = Story().opened(capacity=1).take("m1").add("delivered", "m1", lease=1).add("acked", "m1", lease=1)
    assert words(depth_never_exceeded, story.take("m2")) == []
    assert len(words(depth_never_exceeded, story.add("delivered", "m2", lease=2).take("m3"))) == 1


def test_without_a_declared_capacity_a_limit_can_be_given() -> None:
    """For all channels, or for the one that is named."""
    story = Story().opened(capacity=None).take("m1", "m2")
    assert words(depth_never_exceeded, story) == []
    assert words(depth_never_exceeded(limit=1), story) != []
    assert words(depth_never_exceeded(limit=2), story) == []
    assert words(depth_never_exceeded(limit=1, where="stock"), story) == []


# Drops


def buffer() -> Story:
    return Story().opened(capacity=1, low_water=0)


def test_drops_that_are_counted_and_signalled_once_are_no_finding() -> None:
    """Two episodes, a refusal, a sender that waits at the end, and a channel that promises nothing."""
    story = buffer().take("m1", "m2").dropping().drop("m1").take("m3").drop("m2").flowing(2)
    story.add("sent", "m4").add("refused", "m4").dropping().drop("m3", reason="the reader left")
    story.add("sent", "m5").add("blocked", "m5")
    story.where = "stock"
    story.drop("m9")
    assert words(drops_counted, story) == []


def test_a_message_that_vanished_is_found() -> None:
    """Handed over, and neither taken nor refused nor kept waiting."""
    assert words(drops_counted, buffer().at(1).add("sent", "m1", label="order 1")) == [
        "message m1 (order 1) was handed to orders at 1.0 s, which neither took nor refused it"
    ]


def test_a_drop_without_a_reason_or_a_signal_is_found() -> None:
    """Both, where both are missing."""
    assert words(drops_counted, buffer().take("m1").at(1).drop("m1", reason="")) == [
        "orders dropped message m1 (order 1) at 1.0 s and did not say why",
        "orders dropped message m1 (order 1) at 1.0 s and had not signalled that it drops",
    ]


def test_a_second_signal_in_one_episode_is_found() -> None:
    """One episode, one signal."""
    story = buffer().take("m1", "m2").dropping().drop("m1").at(3).dropping().drop("m2").flowing(2)
    assert words(drops_counted, story) == [
        "orders signalled one episode of drops at 0.0 s and again at 3.0 s"
    ]


def test_a_wrong_count_is_found() -> None:
    """What the channel says and what the trace tells."""
    story = buffer().take("m1", "m2").dropping().drop("m1").at(3).flowing(7)
    assert words(drops_counted, story) == ["orders counted 7 drops until 3.0 s, and there were 1"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_signal_without_a_drop_is_found(ends: bool) -> None:
    """A false alarm, whether it ends or not."""
    story = buffer().at(1).dropping()
    if ends:
        story.flowing(0)
    assert words(drops_counted, story) == ["orders signalled at 1.0 s that it drops, and dropped nothing"]


def test_a_channel_that_is_named_is_judged_whatever_it_promises() -> None:
    """Then its silence is a finding."""
    story = Story().opened(capacity=1).take("m1").drop("m1")
    assert words(drops_counted, story) == []
    assert len(words(drops_counted(where="orders"), story)) == 1


# Rates


def sends(*times: float, **data: Any) -> Story:
    story = Story("payments")
    for at in times:
        story.at(at).add("delivered", **data)
    return story


@pytest.mark.parametrize(
    ("times", "tokens", "findings"),
    [
        ((0, 0, 0.5, 1.0, 1.5), 1, 0),
        ((0, 0, 0.4), 1, 1),
        ((100, 100, 100), 1, 1),
        ((0, 0, 0, 0.5), 1, 1),
        ((0, 1, 2), 2, 0),
        ((0, 0.9, 2), 2, 1),
    ],
)
def test_more_than_rate_and_burst_allow_is_found(times: Any, tokens: float, findings: int) -> None:
    """Two at once, and two a second; a long pause earns no more than the burst."""
    assert len(words(rate_never_exceeded(rate=2, burst=2), sends(*times, tokens=tokens))) == findings


def test_a_rate_is_judged_for_each_place_and_kind() -> None:
    """An event without tokens counts for one."""
    story = sends(0, 0, 0)
    judge = partial(rate_never_exceeded, rate=1, burst=2)
    assert words(judge(), story) == [
        "payments let 1 more go at 0.0 s, when it had 0 left of 1 a second and 2 at once"
    ]
    assert words(judge(where="stock"), story) == words(judge(kind="sent"), story) == []
    story.where = "stock"
    assert len(words(judge(), story.add("delivered").add("delivered"))) == 1


# Flapping


def test_growing_and_then_shrinking_too_soon_is_found_and_both_ways_round() -> None:
    """Steps in one direction are no flapping, however quick."""
    story = Story("billing").consumers(1).at(10).consumers(2).at(11).consumers(4).at(30).consumers(3)
    story.at(60).consumers(5)
    assert words(no_flapping(cooldown=20), story) == [
        "billing grew to 4 at 11.0 s and shrank to 3 at 30.0 s, 19.0 s later"
    ]
    assert len(words(no_flapping(cooldown=30), story)) == 1
    assert words(no_flapping(cooldown=30.5), story)[1].startswith(
        "billing shrank to 3 at 30.0 s and grew to 5"
    )
    assert words(no_flapping(cooldown=20, where="stock"), story) == []


def test_saying_the_same_number_again_changes_nothing() -> None:
    """It is neither a change nor a turn, and the time counts from the last change."""
    story = Story("billing").consumers(1).at(10).consumers(2).at(20).consumers(2).at(25).consumers(1)
    assert words(no_flapping(cooldown=15), story) == []
    assert len(words(no_flapping(cooldown=16), story)) == 1


# The figure


def grown() -> Trace:
    story = Story("orders").take("m1", "m2", "m3")
    story.where = "billing"
    story.consumers(1).at(5).consumers(3).at(20).consumers(2)
    story.where = "orders"
    story.at(25).add("delivered", "m1").at(30).add("delivered", "m2")
    return story.trace


def test_the_scaling_figure_says_what_it_shows() -> None:
    """The depth of the queue and the size of the pool, in words and as well-formed SVG."""
    figure = scaling(grown())
    assert figure.alt == (
        "How many wait, and how many consumers work. "
        "orders: at most 3 ready at 0.0 s, 0 in flight, 1 left at the end. "
        "billing: 1 consumer at first, at most 3 at 5.0 s, at least 1, 2 at the end; 2 changes."
    )
    ElementTree.fromstring(figure.svg)
    assert figure.svg == scaling(grown()).svg


def test_the_scaling_figure_of_nothing_says_so() -> None:
    """Also for a pool that is not there."""
    for trace, where in ((Trace([]), None), (grown(), "stock")):
        assert scaling(trace, where=where).alt.endswith("No pool of consumers changed its size.")


def test_the_scaling_figure_of_a_pool_whose_queue_did_nothing() -> None:
    """The pool is drawn all the same, under a title of one's own."""
    figure = scaling(Story("billing").consumers(2).trace, title="Idle")
    assert figure.alt.startswith("Idle. orders: no message. billing: 2 consumers at first")
