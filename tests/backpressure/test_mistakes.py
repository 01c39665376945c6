"""Each mistake that toy versions make is caught: by an experiment that measures it, or by an invariant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest

from eip_ref.backpressure import Buffer, BufferFull, ConsumerPool, Demand, Scaling, TokenBucket
from eip_ref.lab.clock import Deadlock, Runaway, simulate
from eip_ref.lab.invariants import check, conservation, fifo, order_per_key
from eip_ref.lab.invariants.demand import (
    demand_never_exceeded,
    depth_never_exceeded,
    drops_counted,
    no_flapping,
    rate_never_exceeded,
)
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.trace import Trace, TraceTooLong, acting, record, whoami
from tests.broken import backpressure as broken

Send = Callable[[Buffer, Iterable[Message]], Awaitable[None]]


def orders(count: int) -> list[Message]:
    return [Message(f"order {number}", key=f"customer {number % 3}") for number in range(count)]


def names(trace: Trace, *invariants: Any) -> set[str]:
    """The names of the invariants that are broken."""
    return {finding.name for finding in check(trace, *invariants)}


# An unbounded queue, uncounted drops


async def overload(kind: type[Buffer], when_full: str = "drop oldest") -> Buffer:
    """Two rushes of ten for a buffer of three; in each the reader takes some, and then all."""
    buffer = kind("orders", 3, when_full=when_full)
    for _ in range(2):
        for number, message in enumerate(orders(10)):
            buffer.put_nowait(message)
            if number == 5:
                await buffer.receive()
        while len(buffer):
            await buffer.receive()
    return buffer


def judged(kind: type[Buffer], when_full: str = "drop oldest") -> set[str]:
    trace = simulate(overload, kind, when_full)
    return names(trace, conservation, depth_never_exceeded, drops_counted)


@pytest.mark.parametrize("when_full", ["drop newest", "drop oldest", "latest per key"])
def test_the_right_buffer_passes(when_full: str) -> None:
    """Else what follows would prove nothing."""
    assert judged(Buffer, when_full) == set()


def test_an_unbounded_queue_grows_without_end() -> None:
    """Mistake: an unbounded queue."""
    assert simulate(overload, Buffer).result.high_water == 3
    assert simulate(overload, broken.UnboundedBuffer).result.high_water == 9
    trace = simulate(overload, broken.UnboundedBuffer)
    first, _ = depth_never_exceeded(trace)
    assert first.words == "orders held 4 messages at 0.0 s, and has room for 3"


@pytest.mark.parametrize(
    ("kind", "when_full", "caught_by"),
    [
        (broken.DropsInSilence, "drop oldest", {"depth never exceeded"}),
        (broken.DropsInSilence, "drop newest", {"depth never exceeded"}),
        (broken.DropsBeforeItCounts, "drop newest", {"drops counted"}),
        (broken.SignalsEveryDrop, "drop oldest", {"drops counted"}),
        (broken.NeverSignals, "drop oldest", {"drops counted"}),
        (broken.EpisodesMiscounted, "drop oldest", {"drops counted"}),
    ],
)
def test_drops_that_are_not_counted_or_not_signalled_once_are_found(
    kind: type[Buffer], when_full: str, caught_by: set[str]
) -> None:
    """Mistake: uncounted drops."""
    assert caught_by <= judged(kind, when_full)


def test_uncounted_drops_leave_counters_that_do_not_add_up() -> None:
    """Accepted is then more than delivered, dropped and waiting together."""

    def missing(kind: type[Buffer]) -> int:
        counts = simulate(overload, kind).result.counts
        return int(counts.accepted - counts.delivered - counts.dropped - counts.waiting)

    assert missing(Buffer) == 0
    assert missing(broken.DropsInSilence) == 12


def test_senders_that_race_for_room_lose_their_order() -> None:
    """Whoever has waited longest comes first."""

    async def scenario(kind: type[Buffer]) -> list[Any]:
        buffer = kind("orders", 1, when_full="block")
        async with anyio.create_task_group() as group:
            for message in orders(4):
                group.start_soon(buffer.put, message)
            await anyio.sleep(1)
            got = [(await buffer.receive()).body for _ in range(4)]
        return got

    assert simulate(scenario, Buffer).result == [f"order {n}" for n in range(4)]
    assert simulate(scenario, broken.LetsSendersOvertake).result == [f"order {n}" for n in (0, 3, 1, 2)]


def test_a_sample_that_favours_who_came_last_is_no_sample() -> None:
    """With the lots of a reservoir the first hour of a day counts as much as the last."""

    async def first_half(make: Callable[[Random], Buffer]) -> float:
        kept = 0
        for seed in range(300):
            buffer = make(Random(seed))
            for number in range(20):
                buffer.put_nowait(Message(number))
            kept += sum(buffer.receive_nowait().body < 10 for _ in range(4))
        return kept / 300 / 4

    def right(random: Random) -> Buffer:
        return Buffer("prices", 4, when_full="sample", random=random)

    assert anyio.run(first_half, right) == pytest.approx(0.5, abs=0.05)
    assert anyio.run(first_half, lambda random: broken.BurstSample("prices", 4, random=random)) < 0.2


# E6, put_nowait in a loop, sending to one's own full queue


async def closes(buffer: Buffer, messages: Iterable[Message]) -> None:
    """The right way."""
    with buffer:
        for message in messages:
            await buffer.put(message)


async def hand_over(send: Send) -> list[Any]:
    """Ten orders through a buffer of two, to a reader with an endless loop."""
    buffer, got = Buffer("orders", 2, when_full="block"), []

    async def read_for_ever() -> None:
        async for message in buffer:
            got.append(message.body)

    async with anyio.create_task_group() as group:
        group.start_soon(read_for_ever)
        await send(buffer, orders(10))
    return got


def test_a_channel_that_nobody_closes_deadlocks_after_the_last_message() -> None:
    """E6: a bounded channel read by an endless loop."""
    assert len(simulate(hand_over, closes).result) == 10
    with pytest.raises(Deadlock, match=r"read_for_ever waits in .*read_for_ever, line") as caught:
        simulate(hand_over, broken.never_closes)
    assert caught.value.trace.count("delivered") == 10  # type: ignore[attr-defined]


def test_put_nowait_in_a_loop_never_lets_the_reader_have_its_turn() -> None:
    """Mistake: put_nowait in a loop, that tries again at once."""
    with pytest.raises(ExceptionGroup) as caught:
        simulate(partial(hand_over, broken.spins_on_put_nowait), max_events=1_000)
    (error,) = caught.value.exceptions
    assert isinstance(error, TraceTooLong)
    assert caught.value.trace.count("delivered") == 0  # type: ignore[attr-defined]


def test_put_nowait_in_a_loop_loses_what_was_refused() -> None:
    """Mistake: put_nowait in a loop, that does not look back. Only the trace remembers."""
    trace = simulate(hand_over, broken.forgets_what_was_refused)
    assert trace.result == ["order 0", "order 1"]
    assert trace.count("refused") == 8


def followers(message: Message) -> list[Message]:
    """Each order leads to two invoices, and an invoice to nothing."""
    kind = str(message.body).split()[0]
    return [Message(f"invoice {n} of {message.body}") for n in range(2)] if kind == "order" else []


async def keeps_what_follows(buffer: Buffer, work: Callable[[Message], Iterable[Message]]) -> None:
    """The right way: what has no room stays in hand, and is worked on before the next is taken."""
    async for message in buffer:
        in_hand = [message]
        while in_hand:
            for follower in work(in_hand.pop()):
                try:
                    buffer.put_nowait(follower)
                except BufferFull:
                    in_hand.append(follower)
        if not len(buffer):
            buffer.close()


async def own_buffer(
    serve: Callable[[Buffer, Callable[[Message], Iterable[Message]]], Awaitable[None]],
) -> list[Any]:
    buffer, worked = Buffer("orders", 3, when_full="block"), []

    def work(message: Message) -> list[Message]:
        worked.append(message.body)
        return followers(message)

    for message in orders(3):
        await buffer.put(message)
    with acting("billing"):
        await serve(buffer, work)
    return worked


def test_sending_to_ones_own_full_buffer_waits_for_oneself() -> None:
    """Mistake: sending to one's own full queue."""
    assert len(simulate(own_buffer, keeps_what_follows).result) == 9
    with pytest.raises(Deadlock, match=r"sends_to_its_own_full_buffer.*for Buffer.put") as caught:
        simulate(own_buffer, broken.sends_to_its_own_full_buffer)
    blocked = caught.value.trace.filter("blocked")[-1]  # type: ignore[attr-defined]
    assert (blocked.where, blocked.who) == ("orders", "billing")


# A sleep called throttling


async def three_callers(throttle: Any, pause: float = 0.0) -> float:
    """Each wants five, as fast as it may; the answer is when the last is done."""

    async def call() -> None:
        for _ in range(5):
            await throttle.take()
            await anyio.sleep(pause)

    async with anyio.create_task_group() as group:
        for name in ("shop", "billing", "stock"):
            with acting(name):
                group.start_soon(call)
    return anyio.current_time()


def test_a_sleep_called_throttling_goes_too_fast_with_several_callers() -> None:
    """Mistake: a sleep called throttling. Three sleepers are three times as fast as allowed."""
    right, wrong = (
        simulate(three_callers, throttle)
        for throttle in (TokenBucket("payments", rate=2, burst=1), broken.SleepsBetween("payments", 2))
    )
    assert (right.result, wrong.result) == (7, 2.5)
    assert rate_never_exceeded(right, rate=2, burst=1) == []
    words = rate_never_exceeded(wrong, rate=2, burst=1)[0].words
    assert words == "payments let 1 more go at 0.5 s, when it had 0 left of 2 a second and 1 at once"


def test_a_sleep_called_throttling_goes_too_slowly_when_the_work_takes_time() -> None:
    """A rest after the work adds to the work; a bucket fills in the meantime."""
    right, wrong = (
        simulate(three_callers, throttle, 1.5).result
        for throttle in (TokenBucket("payments", rate=2, burst=1), broken.SleepsBetween("payments", 2))
    )
    assert right < wrong


def test_counting_anew_each_second_lets_twice_the_burst_go_around_its_end() -> None:
    """A window that jumps is not a bucket."""

    async def scenario(kind: type[TokenBucket]) -> None:
        bucket = kind("payments", rate=3, burst=3)
        await anyio.sleep(0.9)
        for _ in range(6):
            await bucket.take()

    right, wrong = (simulate(scenario, kind) for kind in (TokenBucket, broken.CountsPerSecond))
    assert rate_never_exceeded(right, rate=3, burst=3) == []
    assert rate_never_exceeded(wrong, rate=3, burst=3) != []


def test_tokens_that_are_not_given_back_hold_up_everybody_else() -> None:
    """A reservation can be cancelled."""

    async def scenario(kind: type[TokenBucket]) -> float:
        bucket = kind("payments", rate=1, burst=10)
        await bucket.take(10)
        with anyio.move_on_after(1):
            await bucket.take(10)
        await bucket.take(1)
        return anyio.current_time()

    assert simulate(scenario, TokenBucket).result == 1
    assert simulate(scenario, broken.KeepsTheTokens).result == 11


def test_tokens_that_come_back_late_must_not_all_come_back() -> None:
    """Else more than a burst goes at once: those that were kept, and those that fell meanwhile."""

    async def scenario(kind: type[TokenBucket]) -> None:
        bucket = kind("payments", rate=1, burst=5)
        await bucket.take(5)
        unused, next_one = bucket.reserve(5), bucket.reserve(5)
        await anyio.sleep(9)
        unused.cancel()
        await next_one.wait()
        await bucket.take(3)

    right, wrong = (simulate(scenario, kind) for kind in (TokenBucket, broken.GivesBackTooMuch))
    assert rate_never_exceeded(right, rate=1, burst=5) == []
    assert rate_never_exceeded(wrong, rate=1, burst=5) != []


def test_waiting_for_more_than_the_bucket_can_hold_never_ends() -> None:
    """A request above the burst fails at once."""

    async def scenario() -> None:
        await broken.WaitsForTheImpossible("payments", rate=1, burst=2).take(3)

    with pytest.raises(Runaway):
        simulate(scenario, max_events=1000)


# Demand


async def requests(kind: type[Demand]) -> list[Any]:
    """Two and three are requested of ten; after the fourth message the receiver cancels."""
    got: list[Any] = []

    async def source() -> AsyncIterator[Message]:
        for message in orders(10):
            yield message

    async def receive(message: Message) -> None:
        got.append(message.body)
        if len(got) == 4:
            demand.cancel()

    demand = kind("billing", source(), receive)
    demand.request(2)
    demand.request(3)
    with anyio.move_on_after(10):
        await demand.run()
    return got


def test_each_mistake_about_demand_is_found() -> None:
    """Never more than requested, requests add up, nothing after the end."""
    right = simulate(requests, Demand)
    assert len(right.result) == 4
    assert names(right, demand_never_exceeded, conservation) == set()
    assert len(simulate(requests, broken.KeepsOnlyTheLastRequest).result) == 3
    late = simulate(requests, broken.GoesOnAfterCancel)
    assert "after its end" in demand_never_exceeded(late)[0].words


def test_delivering_ahead_of_the_demand_is_found() -> None:
    """One message that is ready early is one message too many."""

    async def scenario(kind: type[Demand]) -> None:
        async def source() -> AsyncIterator[Message]:
            for message in orders(2):
                yield message

        demand = kind("billing", source(), nothing)
        with anyio.move_on_after(1):
            await demand.run()
        demand.cancel()

    async def nothing(message: Message) -> None: ...

    assert demand_never_exceeded(simulate(scenario, Demand), where="billing") == []
    found = demand_never_exceeded(simulate(scenario, broken.DeliversAhead), where="billing")
    assert "1 message more than was requested" in found[0].words


# Scaling


async def around_a_border(kind: type[ConsumerPool], scaling: Scaling) -> int:
    """Between 2.7 and 3.3 orders a second, turn and turn about: three consumers, or four?"""

    async def handle(message: Message) -> None:
        await anyio.sleep(1)

    async with MessageQueue("orders", lease=20) as queue, anyio.create_task_group() as group:
        group.start_soon(kind("billing", queue, handle, scaling=scaling, expected_rate=1.0, interval=10).run)
        for number in range(900):
            await queue.put(Message(f"order {number}"))
            await anyio.sleep(1 / (3.3 if anyio.current_time() % 20 < 10 else 2.7))
        queue.close()
    return queue.counts.acked


def test_a_scaler_without_hysteresis_and_cooldown_flaps() -> None:
    """Mistake: a flapping scaler."""
    right = simulate(around_a_border, ConsumerPool, Scaling())
    wrong = simulate(around_a_border, ConsumerPool, broken.Flaps(cooldown=0))
    assert no_flapping(right, cooldown=30) == []
    assert len(no_flapping(wrong, cooldown=30)) > 10
    assert right.count("state") < wrong.count("state") / 4
    assert "billing grew to" in no_flapping(wrong, cooldown=30)[0].words


def test_shrinking_by_stopping_workers_at_work_begins_work_twice() -> None:
    """Scaling down drains."""
    always = broken.Flaps(cooldown=0)
    right, wrong = (
        simulate(around_a_border, kind, always) for kind in (ConsumerPool, broken.CancelsToShrink)
    )
    assert right.result == wrong.result == 900
    assert right.count("started") == 900
    assert wrong.count("started") > 900


async def grow(put: Callable[[Message], Awaitable[None]], resize: Callable[[int], None]) -> None:
    """Orders of one customer, and half-way through a change from one worker to two."""
    for number in range(10):
        if number == 5:
            resize(2)
        await put(Message(f"order {number}", key="customer 1"))


async def in_order(message: Message) -> None:
    await anyio.sleep(1)
    record("effect", whoami(), message.id, effect="invoice booked", key=message.key)


async def with_a_pool() -> None:
    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        pool = ConsumerPool("billing", queue, in_order, scaling=Scaling(max_consumers=2), expected_rate=1.0)
        group.start_soon(pool.run)
        await grow(queue.put, lambda size: setattr(pool, "wanted", size))
        queue.close()


async def by_number_of_workers() -> None:
    async with anyio.create_task_group() as group:
        split = broken.SplitsByNumberOfWorkers(in_order, max_consumers=2)
        group.start_soon(split.run)
        await grow(split.put, lambda size: setattr(split, "size", size))
        split.close()


def test_splitting_keys_by_the_number_of_workers_breaks_their_order_when_it_changes() -> None:
    """Per-key order survives rebalancing: here a key moves while messages of it are left behind."""
    assert order_per_key(simulate(with_a_pool)) == []
    assert order_per_key(simulate(by_number_of_workers)) != []


def test_the_reader_of_a_bounded_buffer_sees_first_in_first_out() -> None:
    """What all of the above has in common when nothing is wrong."""
    assert fifo(simulate(hand_over, closes)) == []
