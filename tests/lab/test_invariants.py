"""Each invariant holds on a trace that keeps it, and names the culprit on one that breaks it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eip_ref.lab.invariants import (
    assert_holds,
    check,
    conservation,
    exactly_one_receiver,
    fifo,
    in_words,
    lease_fencing,
    no_duplicate_effect,
    nothing_acked_lost,
    one_in_flight_per_key,
    order_per_key,
    prefetch_never_exceeded,
)
from eip_ref.lab.wording import listing, one_line, plural, seconds
from eip_ref.trace import Event, Trace


class Story:
    """A trace written by hand: `at` moves the clock, the rest adds an event of the queue "orders"."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 0.0

    def at(self, now: float) -> Story:
        self.now = now
        return self

    def add(self, kind: str, where: str, message: str = "", who: str = "", **data: Any) -> Story:
        self.events.append(Event(self.now, kind, where, message, who, data))
        return self

    def put(self, *messages: str, key: str | None = None, where: str = "orders", who: str = "shop") -> Story:
        for message in messages:
            self.add("sent", where, message, who, label=f"order {message[1:]}", key=key)
            self.add("accepted", where, message, who)
        return self

    def deliver(self, message: str, who: str, lease: int | None, **data: Any) -> Story:
        return self.add("delivered", "orders", message, who, lease=lease, **data)

    def settle(self, kind: str, message: str, who: str, lease: int | None, **data: Any) -> Story:
        return self.add(kind, "orders", message, who, lease=lease, **data)

    def done(self, message: str, who: str, effect: str = "charged card", **data: Any) -> Story:
        return self.add("effect", who, message, who, effect=effect, **data)

    @property
    def trace(self) -> Trace:
        return Trace(self.events)


def normal() -> Story:
    """Two messages, each delivered, done and acked."""
    story = Story().put("m1", "m2")
    for number, message in enumerate(("m1", "m2"), start=1):
        story.at(number).deliver(message, "worker-1", number, until=number + 30.0)
        story.at(number + 0.5).done(message, "worker-1").settle("acked", message, "worker-1", number)
    return story


def redelivered() -> Story:
    """The first worker crashes, its lease expires, and the second worker does the work."""
    story = Story().put("m1").at(1).deliver("m1", "worker-1", 1, until=5.0)
    story.at(2).add("crashed", "worker-1", who="worker-1")
    story.at(5).settle("expired", "m1", "worker-1", 1).add("returned", "orders", "m1")
    story.at(6).deliver("m1", "worker-2", 2, until=10.0, deliveries=2).done("m1", "worker-2")
    return story.settle("acked", "m1", "worker-2", 2)


def replayed() -> Story:
    """A poison message dies, is replayed from the dead letters, and is handled."""
    story = Story().put("m1").deliver("m1", "worker-1", 1).settle("nacked", "m1", "worker-1", 1, delay=0)
    story.put("m1", where="orders.dead", who="").add("dead", "orders", "m1", to="orders.dead")
    story.at(9).add("delivered", "orders.dead", "m1", "operator", lease=1)
    story.add("replayed", "orders.dead", "m1", "operator", to="orders").put("m1", who="operator")
    story.add("acked", "orders.dead", "m1", "operator", lease=1)
    return story.deliver("m1", "worker-1", 2).done("m1", "worker-1").settle("acked", "m1", "worker-1", 2)


ALL = (
    conservation,
    nothing_acked_lost,
    no_duplicate_effect,
    order_per_key,
    one_in_flight_per_key,
    prefetch_never_exceeded(limit=1),
    fifo,
    exactly_one_receiver,
    lease_fencing,
)


@pytest.mark.parametrize("story", [Story, normal, redelivered, replayed])
def test_every_invariant_holds_on_a_sound_trace(story: Any) -> None:
    """No invariant raises a false alarm on an empty, a normal, a redelivered or a replayed trace."""
    assert_holds(story().trace, *ALL)


# Conservation


def test_delivered_while_in_flight_breaks_conservation() -> None:
    """The finding says who held the message, since when, and who got it as well."""
    story = Story().put("m1").at(1).deliver("m1", "worker-1", 1).at(2).deliver("m1", "worker-2", 2)
    (finding,) = conservation(story.trace)
    assert finding.words == (
        "message m1 (order 1) was delivered to worker-2 at 2.0 s in orders, "
        "but it was in flight: held by worker-1 with lease 1 since 1.0 s"
    )
    assert finding.events[-1] is story.events[-1]


def test_reading_a_log_takes_nothing_away() -> None:
    """Two groups may read the same message, and one of them again."""
    story = Story().put("m1")
    for group in ("billing", "search", "search"):
        story.deliver("m1", group, None, offset=0, group=group)
    assert conservation(story.trace) == []


def test_acked_twice_breaks_conservation() -> None:
    """The finding names the first ack."""
    story = normal().at(9).settle("acked", "m1", "worker-2", 7)
    (finding,) = conservation(story.trace)
    assert "was acknowledged by worker-2 at 9.0 s with lease 7 in orders" in finding.words
    assert finding.words.endswith("but before that it was acknowledged by worker-1 at 1.5 s")


@pytest.mark.parametrize("kind", ["delivered", "acked", "nacked", "expired", "returned", "dead", "dropped"])
def test_a_step_of_a_message_that_was_never_accepted_breaks_conservation(kind: str) -> None:
    """Nothing can happen in a queue to a message that the queue does not have."""
    (finding,) = conservation(Story().add(kind, "orders", "m9", "worker-1", lease=1).trace)
    assert finding.words.endswith("but orders had never accepted it")


@pytest.mark.parametrize("kind", ["delivered", "acked", "expired", "returned", "dead", "dropped"])
def test_any_step_after_the_ack_breaks_conservation(kind: str) -> None:
    """An acked message stays acked."""
    (finding,) = conservation(normal().add(kind, "orders", "m2", "worker-1", lease=2).trace)
    assert "but before that it was acknowledged by worker-1 at 2.5 s" in finding.words


def test_delivered_before_it_was_returned_breaks_conservation() -> None:
    """A message that was handed back rests until it is returned."""
    story = Story().put("m1").deliver("m1", "worker-1", 1).settle("nacked", "m1", "worker-1", 1, delay=5)
    (finding,) = conservation(story.at(1).deliver("m1", "worker-2", 2).trace)
    assert finding.words.endswith("handed back by worker-1 at 0.0 s and not yet ready again")


def test_a_message_accepted_twice_may_be_delivered_twice() -> None:
    """A queue that does not refuse duplicates holds two copies, and no more than two."""
    story = Story().put("m1", "m1").deliver("m1", "worker-1", 1).deliver("m1", "worker-2", 2)
    assert conservation(story.trace) == []
    assert len(conservation(story.deliver("m1", "worker-3", 3).trace)) == 1


def test_of_two_copies_the_one_that_is_given_back_is_the_one_of_that_lease() -> None:
    """The other one rests until its own delay is over."""
    story = Story().put("m1", "m1").deliver("m1", "worker-1", 1).deliver("m1", "worker-2", 2)
    story.settle("nacked", "m1", "worker-2", 2, delay=5).add("returned", "orders", "m1", "", lease=1)
    assert conservation(story.at(5).add("returned", "orders", "m1", "", lease=2).trace) == []
    assert len(conservation(story.add("returned", "orders", "m1", "", lease=2).trace)) == 1


def test_one_way_delivery_is_the_end_of_the_journey() -> None:
    """Without a lease nothing is in flight, and a second delivery is illegal."""
    story = Story().put("m1").deliver("m1", "billing", None)
    assert conservation(story.trace) == []
    (finding,) = conservation(story.at(3).deliver("m1", "billing", None).trace)
    assert finding.words.endswith("but before that it was delivered to billing at 0.0 s")


def test_conservation_of_one_channel_ignores_the_others() -> None:
    """`where` limits the judgement."""
    story = Story().add("acked", "invoices", "m1", "billing", lease=1)
    assert conservation(story.trace, where="orders") == []
    assert len(conservation(story.trace, where="invoices")) == 1


# Loss


def test_acked_before_the_crash_is_lost() -> None:
    """Ack first, then crash: the finding tells the journey and the crash."""
    story = Story().put("m1").at(2).deliver("m1", "worker-1", 1).settle("acked", "m1", "worker-1", 1)
    story.at(2.4).add("crashed", "worker-1", who="worker-1")
    (finding,) = nothing_acked_lost(story.trace, effect="charged card")
    assert finding.words == (
        "message m1 (order 1) was accepted by orders at 0.0 s, delivered to worker-1 at 2.0 s, acknowledged "
        "by worker-1 at 2.0 s: acked, and 'charged card' never happened; worker-1 crashed at 2.4 s"
    )


def test_another_effect_does_not_count() -> None:
    """With `effect` only that effect proves that the message was handled."""
    assert len(nothing_acked_lost(normal().trace, effect="sent e-mail")) == 2


@pytest.mark.parametrize(
    ("fate", "kind"), [("dead", "dead"), ("in flight", "delivered"), ("ready", "accepted")]
)
def test_a_message_that_somebody_keeps_is_not_lost(fate: str, kind: str) -> None:
    """Ready, in flight and dead are no loss, unless the caller says so; then the words tell them apart."""
    story = Story().put("m1").add(kind, "orders", "m1", "worker-1", lease=1)
    assert nothing_acked_lost(story.trace) == []
    (finding,) = nothing_acked_lost(story.trace, kept=())
    assert f": {fate}, and it was never handled" in finding.words


def test_a_dead_letter_that_waits_for_replay_is_dead_not_ready() -> None:
    """The copy in the dead letters does not count as one that will be handled."""
    story = Story().put("m1").deliver("m1", "worker-1", 1).settle("nacked", "m1", "worker-1", 1)
    story.put("m1", where="orders.dead").add("dead", "orders", "m1", to="orders.dead")
    (finding,) = nothing_acked_lost(story.trace, kept=("ready", "in flight"))
    assert ": dead, and it was never handled" in finding.words


def test_a_dropped_message_is_lost() -> None:
    """Dropping is a loss even when it is counted."""
    (finding,) = nothing_acked_lost(Story().put("m1").at(3).add("dropped", "orders", "m1").trace)
    assert "dropped at 3.0 s: dropped, and it was never handled" in finding.words


def test_loss_on_a_link_counts_only_when_sending_is_the_promise() -> None:
    """Nobody acknowledged the message, so by default nothing promised was broken."""
    story = Story().add("sent", "link", "m1", "shop", label="order 1").at(1).add("lost", "link", "m1")
    assert nothing_acked_lost(story.trace) == []
    (finding,) = nothing_acked_lost(story.trace, promised="sent")
    assert "message m1 (order 1) was lost at 1.0 s: lost" in finding.words


def test_a_received_message_whose_handler_failed_is_named_with_its_error() -> None:
    """One-way: delivered is the end, and the reason is the handler's error."""
    story = Story().put("m1").deliver("m1", "billing", None)
    story.at(1).add("failed", "billing", "m1", "billing", error="no printer")
    (finding,) = nothing_acked_lost(story.trace)
    assert finding.words.endswith("received, and it was never handled; billing failed at 1.0 s: no printer")


def test_done_may_be_another_kind_of_event() -> None:
    """A one-way channel has kept its promise when the message is delivered."""
    story = Story().put("m1").deliver("m1", "billing", None)
    assert nothing_acked_lost(story.trace, done="delivered") == []


# Duplicates


def test_an_effect_twice_names_both_workers_and_the_reason() -> None:
    """The lease that expired between the two effects is the reason."""
    story = redelivered().at(7).done("m1", "worker-1")
    (finding,) = no_duplicate_effect(story.trace)
    assert finding.words == (
        "'charged card' happened twice for message m1 (order 1): at 6.0 s by worker-2 and at 7.0 s "
        "by worker-1; its lease expired at 5.0 s"
    )


def test_two_different_effects_of_a_message_are_no_duplicate() -> None:
    """Charging and posting are two effects; `effect` looks at one only."""
    story = normal().done("m1", "worker-1", "sent parcel")
    assert no_duplicate_effect(story.trace) == []
    story.done("m1", "worker-1", "sent parcel")
    assert no_duplicate_effect(story.trace, effect="charged card") == []
    assert len(no_duplicate_effect(story.trace)) == 1


def test_the_same_order_in_two_messages_is_a_duplicate_by_order() -> None:
    """`by` names the value that identifies the business operation, or computes it."""
    story = Story().put("m1", "m2").done("m1", "worker-1", order=17).at(4).done("m2", "worker-2", order=17)
    assert no_duplicate_effect(story.trace) == []
    (finding,) = no_duplicate_effect(story.trace, by="order")
    assert "twice for order 17, by message m1 (order 1) and message m2 (order 2)" in finding.words
    assert len(no_duplicate_effect(story.trace, by=lambda event: event.data["order"])) == 1


# Order


def test_a_later_message_of_the_same_key_first_breaks_order() -> None:
    """The finding names the key, both messages and both orders."""
    story = Story().put("m1", key="ann").at(1).put("m2", key="ann")
    story.at(5).done("m2", "worker-2").at(6).done("m1", "worker-1")
    (finding,) = order_per_key(story.trace)
    assert finding.words == (
        "key ann: message m1 (order 1) was handled ('charged card') by worker-1 at 6.0 s, after message m2 "
        "(order 2) at 5.0 s; but it was accepted by orders at 0.0 s, before message m2 (order 2) at 1.0 s"
    )


def test_order_between_keys_and_without_key_is_free() -> None:
    """Only messages of the same key have an order."""
    story = Story().put("m1", key="ann").put("m2", key="bob").put("m3", "m4")
    for message in ("m4", "m3", "m2", "m1"):
        story.done(message, "worker-1")
    assert order_per_key(story.trace) == []


def test_redelivery_of_the_same_message_keeps_the_order() -> None:
    """Again is fine until a later message has begun; then it is fine with `first_only` alone."""
    story = Story().put("m1", "m2", key="ann")
    for message in ("m1", "m1", "m2"):
        story.add("started", "worker-1", message, "worker-1")
    assert order_per_key(story.trace, kind="started") == []
    story.add("started", "worker-2", "m1", "worker-2")
    assert len(order_per_key(story.trace, kind="started")) == 1
    assert order_per_key(story.trace, kind="started", first_only=True) == []


def test_a_replayed_message_has_a_new_place() -> None:
    """Accepted again means: behind those that were accepted meanwhile."""
    story = Story().put("m1", "m2", key="ann").done("m2", "worker-1")
    story.add("replayed", "orders.dead", "m1", to="orders").put("m1", key="ann").done("m1", "worker-1")
    assert order_per_key(story.trace) == []


def test_delivery_out_of_order_breaks_fifo() -> None:
    """Keys do not matter to a FIFO channel."""
    story = Story().put("m1", "m2").at(1).deliver("m2", "billing", None).at(2).deliver("m1", "billing", None)
    (finding,) = fifo(story.trace)
    assert finding.words.startswith(
        "message m1 (order 1) was delivered to billing at 2.0 s, after message m2"
    )


def test_work_that_is_overtaken_breaks_fifo_of_effects() -> None:
    """Starts may be in order while ends are not: effects of two workers are put in one line."""
    story = Story().put("m1", "m2").add("effect", "worker-2", "m2", "worker-2")
    story.add("effect", "worker-1", "m1", "worker-1")
    (finding,) = fifo(story.trace, kind="effect", where="orders")
    assert "m1" in finding.words
    assert fifo(story.trace) == []


def test_fifo_per_sender_compares_only_what_the_same_sender_sent() -> None:
    """Two senders are in no order; one sender is."""
    story = Story().put("m1", who="shop").put("m2", who="billing").put("m3", who="shop")
    story.deliver("m2", "stock", None).deliver("m1", "stock", None)
    assert fifo(story.trace, per_sender=True) == []
    assert len(fifo(story.trace)) == 1
    other = Story().put("m1", "m3").deliver("m3", "stock", None).deliver("m1", "stock", None)
    assert len(fifo(other.trace, per_sender=True)) == 1


# Leases and receivers


def test_two_messages_of_a_key_in_flight_are_found() -> None:
    """The finding names the key and both messages; after the ack the next one may fly."""
    story = Story().put("m1", "m2", "m3", key="ann").deliver("m1", "worker-1", 1)
    story.settle("acked", "m1", "worker-1", 1).deliver("m2", "worker-1", 2)
    assert one_in_flight_per_key(story.trace) == []
    (finding,) = one_in_flight_per_key(story.at(3).deliver("m3", "worker-2", 3).trace)
    assert finding.words == (
        "key ann: message m3 (order 3) was delivered to worker-2 at 3.0 s, while message m2 (order 2) "
        "was in flight, delivered to worker-1 at 0.0 s"
    )


def test_a_crash_does_not_end_the_flight_of_a_key() -> None:
    """The dead worker's message is in flight until its lease ends."""
    story = Story().put("m1", "m2", key="ann").deliver("m1", "worker-1", 1)
    story.add("crashed", "worker-1", who="worker-1").deliver("m2", "worker-2", 2)
    assert len(one_in_flight_per_key(story.trace)) == 1


def test_too_many_unsettled_messages_are_found_once_per_episode() -> None:
    """The finding counts, names the consumer and lists what it held."""
    story = Story().put("m1", "m2", "m3", "m4").at(1)
    for number in (1, 2, 3):
        story.deliver(f"m{number}", "worker-1", number)
    story.deliver("m4", "worker-2", 4)
    (finding,) = prefetch_never_exceeded(story.trace, limit=1)
    assert finding.words == (
        "worker-1 held 2 messages of orders at 1.0 s, and 1 is the limit: "
        "message m1 (order 1) and message m2 (order 2)"
    )
    assert prefetch_never_exceeded(story.trace, limit=3) == []


def test_a_crash_empties_the_hands_of_a_consumer() -> None:
    """After its restart a worker may take its full share at once."""
    story = Story().put("m1", "m2").deliver("m1", "worker-1", 1)
    story.add("crashed", "worker-1", who="worker-1").add("restarted", "worker-1", who="worker-1")
    assert prefetch_never_exceeded(story.deliver("m2", "worker-1", 2).trace, limit=1) == []


def test_an_ack_with_an_expired_lease_is_found() -> None:
    """The finding says when the lease was over and who holds the newer one."""
    story = Story().put("m1").deliver("m1", "worker-1", 1, until=5.0)
    story.at(5).settle("expired", "m1", "worker-1", 1).add("returned", "orders", "m1")
    story.at(6).deliver("m1", "worker-2", 2, until=11.0).at(9).settle("acked", "m1", "worker-1", 1)
    (finding,) = lease_fencing(story.trace)
    assert finding.words == (
        "message m1 (order 1) was acknowledged by worker-1 at 9.0 s with lease 1, which was over at 5.0 s; "
        "lease 2 of worker-2 is newer, granted at 6.0 s"
    )


@pytest.mark.parametrize(("at", "findings"), [(4.999, 0), (5.0, 1)])
def test_a_lease_is_over_at_the_instant_at_which_it_runs_out(at: float, findings: int) -> None:
    """One tick before is in time; at the instant is too late."""
    story = Story().put("m1").deliver("m1", "worker-1", 1, until=5.0)
    assert len(lease_fencing(story.at(at).settle("acked", "m1", "worker-1", 1).trace)) == findings


def test_an_extended_lease_and_a_stale_attempt_are_sound() -> None:
    """A heartbeat moves the end; a refused attempt is what fencing is for."""
    story = Story().put("m1").deliver("m1", "worker-1", 1, until=5.0).at(4)
    story.settle("extended", "m1", "worker-1", 1, until=9.0).at(8).settle("acked", "m1", "worker-1", 1)
    story.at(9).settle("stale", "m1", "worker-2", 0, attempted="ack")
    assert lease_fencing(story.trace) == []


def test_a_lease_that_was_never_granted_settles_nothing() -> None:
    """An invented token is found."""
    (finding,) = lease_fencing(Story().put("m1").settle("acked", "m1", "worker-1", 99).trace)
    assert finding.words.endswith("with lease 99, which was never granted")


def test_two_receivers_of_one_message_are_found() -> None:
    """The finding names both."""
    story = Story().put("m1").deliver("m1", "billing", None).at(1).deliver("m1", "stock", None)
    (finding,) = exactly_one_receiver(story.trace)
    assert finding.words == (
        "message m1 (order 1) of orders was delivered to billing at 0.0 s, "
        "and then delivered to stock at 1.0 s"
    )


def test_a_message_without_a_receiver_is_found_on_request() -> None:
    """At the end of the trace it may still wait, unless the caller says that it may not."""
    story = Story().put("m1")
    assert exactly_one_receiver(story.trace) == []
    (finding,) = exactly_one_receiver(story.trace, waiting_ok=False)
    assert finding.words.endswith("nobody had received it by 0.0 s")


# Asking


def test_assert_holds_tells_all_findings() -> None:
    """The error's text is the findings, with the name of each invariant."""
    story = Story().put("m1").deliver("m1", "billing", 1).deliver("m1", "stock", 2)
    with pytest.raises(
        AssertionError, match=r"conservation: message m1(.|\n)*exactly one receiver: message m1"
    ):
        assert_holds(story.trace, conservation, exactly_one_receiver)


def test_a_long_list_of_findings_is_cut_in_words_only() -> None:
    """Ten are spelled out, the rest is counted."""
    story = Story()
    for number in range(13):
        story.add("acked", "orders", f"m{number}", "worker-1", lease=number)
    findings = check(story.trace, conservation)
    assert len(findings) == 13
    assert in_words(findings).endswith("… and 3 more")


def test_a_long_trace_is_judged_in_linear_time() -> None:
    """A hundred thousand events take seconds for all invariants, not minutes."""
    story = Story()
    for number in range(25_000):
        message = f"m{number}"
        story.at(number).put(message, key=str(number % 7)).deliver(message, "worker-1", number)
        story.done(message, "worker-1").settle("acked", message, "worker-1", number)
    begin = time.process_time()
    assert_holds(story.trace, *ALL)
    assert time.process_time() - begin < 20


def test_times_and_counts_read_well() -> None:
    """Seconds, minutes and hours; one and many; short lists and long ones."""
    assert [seconds(t) for t in (0, 2, 2.45, 0.0004, 200, 3600, 7500)] == [
        "0.0 s",
        "2.0 s",
        "2.45 s",
        "0.0004 s",
        "3 min 20 s",
        "60 min",
        "2 h 5 min",
    ]
    assert [plural(1, "message"), plural(1000, "copy", "copies")] == ["1 message", "1,000 copies"]
    assert plural(1_234_567, "message") == "1,234,567 messages"
    assert listing(["a", "b", "c", "d"], max_items=3) == "a, b and 2 more"


def test_any_text_can_be_said_on_one_line() -> None:
    """Spaces stay spaces; signs that no drawing can hold, and those that turn text round, are replaced."""
    assert one_line("Dear Ann,\n\tyour tea\u2028is ready") == "Dear Ann, your tea is ready"
    assert one_line("a\x00b\x1bc\ud800d\u202ee\uffff") == "a�b�c�d�e�"
    assert one_line("東京 👩‍💻 Zürich") == "東京 👩‍💻 Zürich"
    long = one_line("b" + "x y " * 1_000_000 + "e")
    assert (long[0], "…" in long, long[-1], long) == ("b", True, "e", one_line(long))
    assert len(long) < 5_000
