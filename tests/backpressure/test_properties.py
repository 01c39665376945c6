"""Backpressure under generated loads: buffers and buckets against simple models, and all invariants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.backpressure import Buffer, ConsumerPool, Demand, Load, Reservation, Scaling, TokenBucket
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Exponential, Faults
from eip_ref.lab.invariants import assert_holds, conservation, fifo
from eip_ref.lab.invariants.demand import (
    demand_never_exceeded,
    depth_never_exceeded,
    drops_counted,
    rate_never_exceeded,
)
from eip_ref.message import Message
from eip_ref.trace import acting
from tests.broken import backpressure as broken
from tests.seeded.backpressure import (
    RUNS,
    judge_bucket,
    judge_buffer,
    judge_pool,
    play_bucket,
    play_buffer,
    play_pool,
)

# Drop policies against a model

Item = tuple[int, str]  #: number and key


def model(when_full: str, waiting: list[Item], capacity: int, item: Item) -> Item | None:
    """The policies in the plainest words: change what waits, and say what is dropped."""
    keys = [key for _, key in waiting]
    if when_full == "latest per key" and item[1] in keys:
        place = keys.index(item[1])
        gone, waiting[place] = waiting[place], item
        return gone
    if len(waiting) < capacity:
        waiting.append(item)
        return None
    if when_full == "drop newest":
        return item
    waiting.append(item)
    return waiting.pop(0)


STEPS = st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=60)  # put with a key, or take


@settings(max_examples=200)
@given(st.sampled_from(["drop newest", "drop oldest", "latest per key"]), st.integers(1, 5), STEPS)
def test_each_drop_policy_does_what_its_model_does(
    when_full: str, capacity: int, steps: list[str | None]
) -> None:
    """Whatever is put and taken in whatever order."""

    async def scenario() -> None:
        buffer = Buffer("orders", capacity, when_full=when_full)
        waiting: list[Item] = []
        dropped = most = 0
        for number, key in enumerate(steps):
            if key is None and waiting:
                assert buffer.receive_nowait().body == waiting.pop(0)[0]
            elif key is not None:
                gone = model(when_full, waiting, capacity, (number, key))
                dropped += gone is not None
                assert buffer.put_nowait(Message(number, key=key)) is (gone != (number, key))
            most = max(most, len(waiting))
            assert (len(buffer), buffer.dropped.total()) == (len(waiting), dropped)
            assert buffer.high_water == most

    assert_holds(simulate(scenario), conservation, depth_never_exceeded, drops_counted)


# Buffers with many senders and readers


@dataclass(frozen=True)
class Traffic:
    """A generated scenario, small enough to shrink to something readable."""

    seed: int
    when_full: str
    capacity: int
    low_water: int
    senders: int
    readers: int
    messages: int
    patience: float
    deadline: float | None


TRAFFIC = st.builds(
    Traffic,
    seed=st.integers(0, 10_000),
    when_full=st.sampled_from(["block", "drop newest", "drop oldest", "latest per key", "sample"]),
    capacity=st.integers(3, 6),
    low_water=st.integers(0, 2),
    senders=st.integers(1, 4),
    readers=st.integers(1, 3),
    messages=st.integers(1, 15),
    patience=st.sampled_from([0.5, 1000.0]),
    deadline=st.sampled_from([None, 1.5]),
)


async def traffic(load: Traffic) -> Buffer:
    chance = Faults()
    settings: dict[str, Any] = {"low_water": load.low_water, "random": Random(load.seed)}
    buffer = Buffer("orders", load.capacity, when_full=load.when_full, **settings)

    async def send(name: str) -> None:
        for number in range(load.messages):
            deadline = None if load.deadline is None else anyio.current_time() + load.deadline
            with anyio.move_on_after(load.patience):
                await buffer.put(Message(f"{name} {number}", key=f"customer {number % 4}", deadline=deadline))
            await chance.sleep(name, Exponential(0.3))

    async def read(name: str) -> None:
        async for _ in buffer:
            await chance.sleep(name, Exponential(0.4))

    async with anyio.create_task_group() as group:
        for number in range(load.readers):
            with acting(f"billing-{number}"):
                group.start_soon(read, f"billing-{number}")
        async with anyio.create_task_group() as senders:
            for number in range(load.senders):
                with acting(f"shop-{number}"):
                    senders.start_soon(send, f"shop-{number}")
        buffer.close()
    return buffer


@settings(max_examples=150)
@given(TRAFFIC)
def test_nothing_is_lost_in_silence_under_any_traffic(load: Traffic) -> None:
    """Bounded, in order, and in the end everything accepted was delivered or counted as dropped."""
    trace = simulate(traffic, load, seed=load.seed)
    assert_holds(trace, conservation, depth_never_exceeded, drops_counted)
    if load.when_full != "latest per key":
        assert_holds(trace, fifo)
    buffer = trace.result
    assert buffer.counts.waiting == 0
    assert buffer.counts.delivered + buffer.counts.dropped == buffer.counts.accepted
    assert buffer.counts.delivered == trace.count("delivered")
    sent = trace.count("sent")
    assert buffer.counts.accepted + trace.count("refused") == sent == load.senders * load.messages
    if load.when_full != "block" and load.deadline is None:
        assert buffer.episodes == trace.filter("state", test=lambda e: e.data["now"] == "dropping").count(
            "state"
        )


# The token bucket against a model


class Model:
    """A bucket in small steps: content and a line, and nothing that is computed in advance."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.content = burst
        self.line: list[tuple[Reservation, float]] = []

    def pass_time(self, seconds: float) -> None:
        while self.line and (wait := self.wait()) <= seconds:
            seconds -= wait
            self.content += wait * self.rate - self.line.pop(0)[1]
        self.content = min(self.burst, self.content + seconds * self.rate)

    def wait(self) -> float:
        """How long the first in the line still waits."""
        return max(0.0, (self.line[0][1] - self.content) / self.rate)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(1, 8).map(lambda n: n / 2)),
        st.tuples(st.just("sleep"), st.integers(1, 40).map(lambda n: n / 8)),
        st.tuples(st.just("cancel"), st.integers(0, 5).map(float)),
    ),
    max_size=30,
)


@settings(max_examples=300)
@given(ACTIONS, st.sampled_from([0.5, 1.0, 2.0]))
def test_reservations_come_due_as_in_a_bucket_that_really_fills(
    actions: list[tuple[str, float]], rate: float
) -> None:
    """First come, first served; whoever cancels in time never was there."""

    async def scenario() -> None:
        bucket, model = TokenBucket("payments", rate=rate, burst=4), Model(rate, 4)
        for action, number in actions:
            if action == "sleep":
                await anyio.sleep(number)
                model.pass_time(number)
            elif action == "reserve":
                model.line.append((bucket.reserve(number), number))
                model.pass_time(0)
            elif len(model.line) > number:
                reservation, _ = model.line.pop(int(number))
                assert reservation.cancel()
                model.pass_time(0)
            due, content = anyio.current_time(), model.content
            for reservation, tokens in model.line:
                due += max(0.0, tokens - content) / rate
                content = max(0.0, content - tokens)
                assert reservation.at == pytest.approx(due, abs=1e-6)
            held = sum(tokens for _, tokens in model.line)
            assert bucket.tokens == pytest.approx(model.content - held, abs=1e-6)

    simulate(scenario)


CALLS = st.lists(
    st.tuples(
        st.floats(0, 5),  # sleeps before
        st.sampled_from([0.5, 1.0, 3.0]),  # tokens
        st.sampled_from(["take", "give up", "reserve", "cancel"]),
        st.floats(0, 4),  # seconds of patience, or from reserving to waiting or cancelling
    ),
    max_size=8,
)


async def callers(lists: list[list[tuple[float, float, str, float]]]) -> None:
    bucket = TokenBucket("payments", rate=1, burst=3)

    async def call(before: float, tokens: float, how: str, seconds: float) -> None:
        await anyio.sleep(before)
        if how == "take":
            await bucket.take(tokens)
        elif how == "give up":
            with anyio.move_on_after(seconds):
                await bucket.take(tokens)
        else:
            reservation = bucket.reserve(tokens)
            await anyio.sleep(seconds)
            if how == "cancel":
                reservation.cancel()
            else:
                await reservation.wait()

    async def one(calls: list[tuple[float, float, str, float]]) -> None:
        for given_ in calls:
            await call(*given_)

    async with anyio.create_task_group() as group:
        for calls in lists:
            group.start_soon(one, calls)


@settings(max_examples=200)
@given(st.lists(CALLS, min_size=1, max_size=4))
def test_no_stretch_of_time_sees_more_than_rate_and_burst(
    lists: list[list[tuple[float, float, str, float]]],
) -> None:
    """However callers take, give up, reserve, come late and cancel late; and none waits for ever."""
    assert_holds(simulate(callers, lists), rate_never_exceeded(rate=1, burst=3))


# Demand


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 4)), max_size=8),
    st.integers(0, 12),
    st.one_of(st.none(), st.floats(0, 10)),
)
def test_what_is_delivered_is_the_beginning_of_the_source_as_far_as_requested(
    requests: list[tuple[float, int]], available: int, cancelled_after: float | None
) -> None:
    """In order, never more than was requested by then, and nothing after a cancel."""

    async def scenario() -> list[int]:
        got: list[int] = []

        async def source() -> AsyncIterator[Message]:
            for number in range(available):
                await anyio.sleep(0.25)
                yield Message(number)

        async def receive(message: Message) -> None:
            got.append(message.body)
            await anyio.sleep(0.125)

        demand = Demand("billing", source(), receive)

        async def stop() -> None:
            await anyio.sleep(1000 if cancelled_after is None else cancelled_after)
            demand.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(demand.run)
            group.start_soon(stop)
            for seconds, number in requests:
                await anyio.sleep(seconds)
                demand.request(number)
        return got

    trace = simulate(scenario)
    assert_holds(trace, demand_never_exceeded(where="billing"), conservation)
    wanted = min(available, sum(number for _, number in requests))
    assert trace.result == list(range(len(trace.result)))
    assert len(trace.result) <= wanted
    if cancelled_after is None:
        assert len(trace.result) == wanted


# Scaling

SCALING = st.builds(
    Scaling,
    min_consumers=st.integers(1, 3),
    max_consumers=st.integers(3, 12),
    catch_up=st.floats(1, 60),
    spare=st.floats(0, 0.9),
)
LOADS = st.builds(Load, lag=st.integers(0, 1000), arrivals=st.floats(0, 50), service=st.floats(0.05, 5))


@given(SCALING, LOADS, st.integers(1, 12))
def test_the_target_is_within_bounds_and_at_rest_at_once(
    scaling: Scaling, load: Load, consumers: int
) -> None:
    """Deciding twice about the same load is deciding once: nothing swings."""
    target = scaling.target(load, consumers)
    assert scaling.min_consumers <= target <= scaling.max_consumers
    assert scaling.target(load, target) == target
    assert target >= min(scaling.need(load), scaling.max_consumers)


@given(SCALING, LOADS, st.integers(1, 12), st.integers(1, 100))
def test_more_work_never_means_fewer_consumers(
    scaling: Scaling, load: Load, consumers: int, more: int
) -> None:
    """The target grows with the lag."""
    busier = load._replace(lag=load.lag + more)
    assert scaling.target(busier, consumers) >= scaling.target(load, consumers)


# The seeded runs find what is broken


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_seeded_run_is_the_same_each_time_and_finds_nothing_wrong(run: Any) -> None:
    """A handful of seeds here; the rest is played elsewhere."""
    for seed in range(1000, 1010):
        trace = run.play(seed)
        assert list(run.judge(trace)) == []
        assert trace == run.play(seed)


def flaps(seed: int) -> Any:
    return play_pool(seed, ConsumerPool, broken.Flaps(max_consumers=5, catch_up=3, cooldown=0))


@pytest.mark.parametrize(
    ("play", "judge"),
    [
        (partial(play_buffer, kind=broken.UnboundedBuffer), judge_buffer),
        (partial(play_buffer, kind=broken.DropsInSilence), judge_buffer),
        (partial(play_buffer, kind=broken.SignalsEveryDrop), judge_buffer),
        (partial(play_buffer, kind=broken.EpisodesMiscounted), judge_buffer),
        (partial(play_bucket, kind=broken.GivesBackTooMuch), judge_bucket),
        (partial(play_bucket, kind=broken.CountsPerSecond), judge_bucket),
        (flaps, judge_pool),
    ],
)
def test_the_seeded_runs_find_a_broken_variant(play: Callable[[int], Any], judge: Any) -> None:
    """Within a few seeds."""
    assert any(judge(play(seed)) for seed in range(20))
