"""Scaling consumers: how many there should be, and what happens when their number changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.backpressure import ConsumerPool, Load, Scaler, Scaling
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants import (
    assert_holds,
    conservation,
    lease_fencing,
    no_duplicate_effect,
    nothing_acked_lost,
    one_in_flight_per_key,
    order_per_key,
)
from eip_ref.lab.invariants.demand import no_flapping
from eip_ref.message import Message
from eip_ref.message_queue import Counts, DeadLetterPolicy, MessageQueue
from eip_ref.trace import Trace, record, whoami
from tests.backends import Play, everywhere, on_virtual_asyncio

# The rule


@pytest.mark.parametrize(
    ("lag", "arrivals", "service", "need"),
    [(0, 10, 2, 5), (60, 0, 2, 1), (60, 10, 2, 6), (0, 0, 2, 0), (30, 10, 0.5, 22)],
)
def test_the_need_comes_from_lag_and_rates(lag: int, arrivals: float, service: float, need: float) -> None:
    """Enough consumers for what comes, and to work off in 30 seconds what waits."""
    assert Scaling(catch_up=30).need(Load(lag, arrivals, service)) == need


def target(need: float, consumers: int, **settings: Any) -> int:
    return Scaling(**settings).target(Load(0, need, 1), consumers)


@pytest.mark.parametrize(
    ("need", "consumers", "expected"),
    [(4.1, 4, 5), (4, 4, 4), (3.3, 4, 4), (3.2, 4, 4), (2.4, 4, 3), (2.5, 4, 4), (1.6, 4, 2), (0, 4, 1)],
)
def test_the_number_stays_between_what_is_needed_and_what_leaves_a_fifth_free(
    need: float, consumers: int, expected: int
) -> None:
    """Hysteresis: four grow above a need of 4, and shrink to three only when that is 80 % of three."""
    assert target(need, consumers) == expected


def test_there_are_never_fewer_than_the_minimum_nor_more_than_the_maximum() -> None:
    """Whatever the load is."""
    assert target(100, 3, min_consumers=2, max_consumers=6) == 6
    assert target(math.inf, 3, min_consumers=2, max_consumers=6) == 6
    assert target(0, 3, min_consumers=2, max_consumers=6) == 2


def test_a_change_waits_until_the_last_one_is_a_cooldown_ago() -> None:
    """One tick before it nothing changes; at the very instant it may. What changes nothing starts none."""
    scaler, busy, idle = Scaler(Scaling(cooldown=30)), Load(0, 5, 1), Load(0, 0, 1)
    assert scaler.decide(idle, 1, 0) == 1
    assert scaler.decide(busy, 1, 5) == 5
    assert scaler.decide(idle, 5, 5) == 5
    assert scaler.decide(idle, 5, 35 - 1e-9) == 5
    assert scaler.decide(idle, 5, 35) == 1
    assert scaler.decide(busy, 1, 64) == 1
    assert scaler.decide(busy, 1, 65) == 5


def test_a_change_in_another_run_is_no_reason_to_wait() -> None:
    """Its time was on a clock that is far ahead."""
    scaler, load = Scaler(Scaling(cooldown=30)), Load(lag=100, arrivals=5, service=1)
    assert scaler.decide(load, 1, 60_000) > 1
    assert scaler.decide(load, 1, 7_200) > 1
    assert scaler.decide(load, 1, 7_199.5) > 1


def test_a_load_must_be_measured() -> None:
    """A service rate of nothing, or NaN, is refused by its name, and is no division by zero."""
    for bad in (Load(1, 1, 0), Load(1, 1, math.nan), Load(1, math.nan, 1)):
        with pytest.raises(ValueError, match=r"service|arrivals"):
            Scaling().need(bad)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_consumers": 0}, "min_consumers must be a whole number from 1 on"),
        ({"min_consumers": 5, "max_consumers": 4}, "max_consumers must be a whole number from 5 on"),
        ({"max_consumers": math.nan}, "max_consumers must be a whole number"),
        ({"catch_up": 0}, "catch_up must be a finite number of seconds above 0"),
        ({"catch_up": math.nan}, "catch_up must be a finite number of seconds above 0"),
        ({"cooldown": -1}, "cooldown must be a finite number of seconds from 0 on"),
        ({"spare": 1}, "spare must be below 1"),
        ({"spare": -0.1}, "spare must be a number from 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, words: str) -> None:
    """With words that say what would."""
    with pytest.raises(ValueError, match=words):
        Scaling(**settings)


@pytest.mark.parametrize(
    "settings", [{"expected_rate": 0}, {"interval": 0}, {"drain": -1}, {"drain": math.nan}]
)
def test_a_pool_needs_an_expectation_and_a_pause(settings: Any) -> None:
    """The first estimate must be a rate, and looking all the time would be all that it does."""
    wanted: dict[str, Any] = {"scaling": Scaling(), "expected_rate": 1.0} | settings
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be a"):
        ConsumerPool("billing", None, anyio.sleep, **wanted)  # type: ignore[arg-type]


# The pool


async def book(message: Message) -> None:
    """A handler that takes a second and then has its effect."""
    await anyio.sleep(1)
    record("effect", whoami(), message.id, effect="invoice booked", key=message.key)


Pace = Callable[[float], float]  #: how many come per second, at a time


async def day(
    pace: Pace,
    seconds: float,
    *,
    handle: Any = book,
    kind: type[ConsumerPool] = ConsumerPool,
    keys: int = 50,
    **settings: Any,
) -> list[int]:
    """Orders come at this pace, for so long. The answer: how many worked, each second."""
    chosen: dict[str, Any] = {
        "scaling": Scaling(max_consumers=8, cooldown=20),
        "expected_rate": 1.0,
    } | settings
    sizes = []
    async with MessageQueue("orders", policy=DeadLetterPolicy(max_failures=None)) as queue:
        pool = kind("billing", queue, handle, **chosen)

        async def send() -> None:
            number, start = 0, anyio.current_time()
            while (now := anyio.current_time() - start) < seconds:
                if pace(now) > 0:
                    await queue.put(Message(f"order {number}", key=f"customer {number % keys}"))
                    number += 1
                await anyio.sleep(1 / (pace(now) or 1))
            queue.close()

        async def look() -> None:
            while True:
                await anyio.sleep(1)
                sizes.append(len(pool))

        async with anyio.create_task_group() as watching:
            watching.start_soon(look)
            async with anyio.create_task_group() as group:
                group.start_soon(send)
                group.start_soon(pool.run)
            watching.cancel_scope.cancel()
        assert queue.counts.acked == queue.counts.accepted
    return sizes


def rush(now: float) -> float:
    """Quiet, a rush of 5 a second from 50 s to 150 s, and quiet again."""
    return 5.0 if 50 <= now < 150 else 0.5


def in_order(trace: Trace) -> None:
    assert_holds(trace, conservation, lease_fencing, one_in_flight_per_key, nothing_acked_lost, order_per_key)
    assert_holds(trace, no_duplicate_effect)


@everywhere
def test_the_pool_grows_with_the_work_and_shrinks_when_it_is_done(play: Play) -> None:
    """And it ends when the queue is closed and settled."""

    async def scenario() -> list[int]:
        return await day(rush, 300)

    trace = play(scenario)
    sizes = trace.result
    assert sizes[40] == 1
    assert max(sizes[60:150]) >= 5
    assert sizes[-20] == 1
    in_order(trace)
    assert_holds(trace, no_flapping(cooldown=20))
    changes = [int(e.data["consumers"]) for e in trace.filter("state", where="billing")]
    assert changes[0] == changes[-1] == 1
    growth = sum(max(0, now - was) for was, now in pairwise([0, *changes]))
    assert len([e for e in trace.filter("opened") if e.where.startswith("billing-")]) == growth
    assert trace.filter("state")[0].data["was"] == "0 consumers"
    assert trace.filter("state")[1].data["reason"].endswith("/s come, one handles 1/s")


@everywhere
def test_the_pool_stays_between_its_bounds(play: Play) -> None:
    """The minimum from the first moment on, and not more than the maximum in the worst rush."""

    async def scenario() -> list[int]:
        return await day(rush, 200, scaling=Scaling(min_consumers=2, max_consumers=3, cooldown=5))

    sizes = play(scenario).result
    assert (sizes[0], min(sizes[:-3]), max(sizes)) == (2, 2, 3)


@everywhere
def test_what_one_consumer_handles_is_measured(play: Play) -> None:
    """A wrong expectation is corrected as soon as something is done."""

    async def scenario() -> list[int]:
        return await day(lambda now: 3.0, 100, expected_rate=100.0)

    assert play(scenario).result[60] in (4, 5)


def test_while_nothing_is_done_the_last_measurement_counts() -> None:
    """Slow handlers that finish nothing between two looks have not become infinitely slow or fast."""

    async def slowly(message: Message) -> None:
        await anyio.sleep(12)

    trace = simulate(lambda: day(lambda now: 0.25, 100, handle=slowly, expected_rate=1 / 12, interval=5))
    reasons = [e.data["reason"] for e in trace.filter("state", where="billing")[1:]]
    assert reasons
    assert all("one handles 0.0833/s" in reason for reason in reasons)


def test_failed_work_is_not_counted_as_done() -> None:
    """A handler that fails at once would else look like a quick one, and the pool would shrink."""
    tried: set[str] = set()

    async def every_first_try_fails(message: Message) -> None:
        await anyio.sleep(1)
        if message.id not in tried:
            tried.add(message.id)
            raise ConnectionError("payment service away")

    trace = simulate(lambda: day(lambda now: 1.0, 100, handle=every_first_try_fails))
    reasons = [e.data["reason"] for e in trace.filter("state", where="billing")[1:]]
    rates = [float(reason.split("one handles ")[1].removesuffix("/s")) for reason in reasons]
    assert rates
    assert all(0.3 <= rate <= 0.7 for rate in rates)


def test_the_measurement_is_that_of_the_last_look() -> None:
    """When the work becomes slower, what was quick before does not count any more."""

    async def slower_and_slower(message: Message) -> None:
        await anyio.sleep(1 if anyio.current_time() < 50 else 4)

    trace = simulate(lambda: day(lambda now: 1.0, 100, handle=slower_and_slower))
    reasons = [e.data["reason"] for e in trace.filter("state", where="billing")]
    assert any("one handles 0.25/s" in reason for reason in reasons)


def test_while_all_work_fails_the_last_measurement_counts() -> None:
    """A dependency that is away says nothing about how much one worker can do."""

    async def away_at_first(message: Message) -> None:
        await anyio.sleep(1)
        if anyio.current_time() < 23:
            raise ConnectionError("payment service away")

    trace = simulate(lambda: day(lambda now: 1.0, 60, handle=away_at_first, expected_rate=0.7))
    first = trace.filter("state", where="billing")[1]
    assert first.at < 23
    assert "one handles 0.7/s" in first.data["reason"]


def test_what_was_there_before_the_pool_is_lag_and_no_arrival() -> None:
    """Else a pool would begin with far too many."""

    async def scenario() -> None:
        async with MessageQueue("orders") as queue:
            for number in range(90):
                await queue.put(Message(number))
            queue.close()
            await ConsumerPool("billing", queue, book, scaling=Scaling(), expected_rate=1.0).run()

    first = simulate(scenario).filter("state", where="billing")[1]
    assert first.data["reason"] == "85 wait, 0/s come, one handles 1/s"


@everywhere
def test_scaling_down_drains(play: Play) -> None:
    """Nobody is stopped at work: nothing is begun twice, and no lease runs out."""

    async def scenario() -> None:
        await day(rush, 250)

    trace = play(scenario)
    sizes = [e.data["consumers"] for e in trace.filter("state", where="billing")]
    assert any(b < a for a, b in pairwise(sizes))
    assert trace.count("cancelled") == trace.count("expired") == trace.count("returned") == 0
    assert trace.count("started") == trace.count("finished") == trace.count("acked", where="orders")


def test_a_worker_that_does_not_finish_in_time_hands_its_message_back() -> None:
    """Draining is bounded: then somebody else gets it at once, and it was no failure."""
    taken = []

    async def handle(message: Message) -> None:
        taken.append(whoami())
        if message.body == "stuck" and whoami() == "billing-2":
            await anyio.sleep(1000)

    async def scenario() -> int:
        async with MessageQueue("orders", lease=5000) as queue, anyio.create_task_group() as group:
            scaling = Scaling(max_consumers=2, cooldown=0)
            pool = ConsumerPool(
                "billing", queue, handle, scaling=scaling, expected_rate=1.0, interval=5, drain=30
            )
            pool.wanted = 2
            for body in ("quick", "stuck"):
                await queue.put(Message(body))
            group.start_soon(pool.run)
            await anyio.sleep(100)
            queue.close()
        return queue.counts.acked

    trace = simulate(scenario)
    (returned,) = trace.filter("returned")
    assert returned.at == 5 + 30
    assert taken == ["billing-1", "billing-2", "billing-1"]
    assert trace.result == 2
    assert trace.count("nacked", "expired") == 0


@everywhere
def test_order_per_key_survives_rebalancing(play: Play) -> None:
    """With few keys, a pool that changes all the time, and workers that are stopped at work."""

    async def scenario() -> list[int]:
        def pace(now: float) -> float:
            return 6.0 if now % 40 < 20 else 0.5

        scaling = Scaling(max_consumers=6, cooldown=0, spare=0.0, catch_up=5)
        return await day(pace, 200, scaling=scaling, interval=3, drain=0.5, keys=3)

    trace = play(scenario)
    in_order(trace)
    if play is on_virtual_asyncio:  # the other scheduler draws anew each time whom it stops, and when
        assert len(set(trace.result)) > 3
        assert trace.count("cancelled") + trace.count("returned") > 0


@pytest.mark.parametrize("step", range(1, 40))
def test_a_worker_that_dies_is_replaced_at_the_next_look(step: int) -> None:
    """Whatever it was doing: its message comes back when the lease is over, and the pool is complete."""

    async def launch(name: str, work: Any) -> None:
        crashes = (Crash(step=step),) if name == "billing-1" else ()
        await Participant(name, work, crashes=crashes).run()

    trace = simulate(lambda: day(lambda now: 0.5, 60, launch=launch))
    assert trace.count("crashed") == 1
    assert trace.count("restarted") == 0
    assert trace.count("opened", where="billing-2") > 0
    assert_holds(trace, conservation, lease_fencing, one_in_flight_per_key, nothing_acked_lost)


@everywhere
def test_cancelling_the_pool_cancels_its_workers(play: Play) -> None:
    """Neither acked nor nacked: what they had in hand comes back when its lease is over."""

    async def scenario() -> Any:
        async with MessageQueue("orders", lease=10) as queue:
            await queue.put(Message("order 1"))
            pool = ConsumerPool("billing", queue, book, scaling=Scaling(), expected_rate=1.0)
            with anyio.move_on_after(0.5):
                await pool.run()
            assert len(pool) == 0
            await anyio.sleep(10)
            return queue.counts

    trace = play(scenario)
    assert (trace.result.ready, trace.result.acked, trace.result.dead) == (1, 0, 0)
    assert trace.count("cancelled") == 1


@pytest.mark.parametrize("at_fault", ["the launch", "the queue"])
async def test_what_ends_a_pool_comes_out_as_itself(at_fault: str) -> None:
    """Not in a group: whoever catches ConnectionError catches it."""

    class Away(MessageQueue):
        @property
        def counts(self) -> Counts:
            if at_fault == "the queue":
                raise ConnectionError(at_fault)
            return super().counts

    async def launch(name: str, work: Any) -> None:
        raise ConnectionError("the launch")

    async with Away("orders") as queue:
        pool = ConsumerPool("billing", queue, book, scaling=Scaling(), expected_rate=1.0, launch=launch)
        with pytest.raises(ConnectionError, match=at_fault):
            await pool.run()
        with pytest.raises(RuntimeError, match="billing runs already, or has run"):
            await pool.run()


async def test_a_handler_of_a_pool_may_be_a_plain_function() -> None:
    """Done once, and acked."""
    done = []
    async with MessageQueue("orders") as queue:
        await queue.put(Message("order 1"))
        queue.close()
        await ConsumerPool(
            "billing", queue, lambda m: done.append(m.body), scaling=Scaling(), expected_rate=1.0
        ).run()
        assert (done, queue.counts.acked) == (["order 1"], 1)


def test_a_pool_works_on_a_durable_queue_too(tmp_path: Path) -> None:
    """It needs the protocol of the queues, and their counts."""

    async def scenario() -> int:
        async with SQLiteQueue(tmp_path / "orders.db", "orders") as queue:
            for number in range(30):
                await queue.put(Message(number))
            queue.close()
            scaling = Scaling(max_consumers=4, catch_up=5)
            await ConsumerPool("billing", queue, book, scaling=scaling, expected_rate=1.0, interval=1).run()
            return queue.counts.acked

    trace = simulate(scenario)
    assert trace.result == 30
    assert trace.end < 30
