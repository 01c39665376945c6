"""Buffers: always bounded, with a policy for what has no room, and an account of everything."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from random import Random
from typing import Any

import anyio
import pytest

from eip_ref import backpressure as package
from eip_ref.backpressure import Buffer, BufferClosed, BufferFull, Disconnected, WhenFull
from eip_ref.backpressure.buffer import drop_policy
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants import assert_holds, conservation, exactly_one_receiver, fifo
from eip_ref.lab.invariants.demand import depth_never_exceeded, drops_counted
from eip_ref.lab.littles_law import littles_law
from eip_ref.message import Message
from eip_ref.trace import Trace, acting
from tests.backends import Play, everywhere, recorded, virtual_time_only
from tests.docstrings import example

DROPPING = ("drop newest", "drop oldest", "latest per key", "sample")
ALL = ("block", *DROPPING)


def make(when_full: str = "block", capacity: int = 3, **settings: Any) -> Buffer:
    if when_full == "sample":
        settings.setdefault("random", Random(1))
    return Buffer("orders", capacity, when_full=when_full, **settings)


def order(number: int, key: str | None = None, **more: Any) -> Message:
    return Message(number, key=key or f"customer {number}", **more)


async def everything(buffer: Buffer) -> list[Any]:
    """The bodies of all that is there now."""
    return [buffer.receive_nowait().body for _ in range(len(buffer))]


def sound(trace: Trace) -> None:
    assert_holds(trace, conservation, depth_never_exceeded, drops_counted)


# Always bounded


@pytest.mark.parametrize("capacity", [0, -1, None, math.inf, 2.5])
def test_a_buffer_without_a_bound_cannot_be_made(capacity: Any) -> None:
    """Buffer: always bounded."""
    with pytest.raises(ValueError, match="capacity must be a whole number from 1 on"):
        Buffer("orders", capacity, when_full="block")


@pytest.mark.parametrize("low_water", [-1, 3, 4, 1.5, math.nan])
def test_the_low_water_mark_must_be_below_the_capacity(low_water: Any) -> None:
    """Else no episode would ever begin or end."""
    with pytest.raises(ValueError, match="low_water must be"):
        make(low_water=low_water)


def test_the_policy_must_be_named() -> None:
    """There is no silent default, and no other policy."""
    with pytest.raises(TypeError, match="when_full"):
        Buffer("orders", 3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="'grow'"):
        make("grow")


@everywhere
@pytest.mark.parametrize("when_full", ALL)
def test_a_buffer_never_holds_more_than_its_capacity(play: Play, when_full: str) -> None:
    """Whatever the policy is and however many come."""

    async def scenario() -> int:
        buffer = make(when_full)

        async def send() -> None:
            with buffer:
                for number in range(20):
                    await buffer.put(order(number))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(1)
            assert len(buffer) == 3
            async for _ in buffer:
                await anyio.sleep(1)
        return buffer.high_water

    trace = play(scenario)
    assert trace.result == 3
    sound(trace)


@everywhere
def test_a_buffer_moves_only_time_and_then_its_sender_waits(play: Play) -> None:
    """The policy BLOCK holds the sender to the pace of the reader once the buffer is full."""

    async def scenario() -> list[float]:
        buffer, start, sent = make(capacity=2), anyio.current_time(), []

        async def send() -> None:
            with buffer:
                for number in range(5):
                    assert await buffer.put(order(number))
                    sent.append(anyio.current_time() - start)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(10)
            async for _ in buffer:
                await anyio.sleep(10)
        return sent

    trace = play(scenario)
    assert trace.result == [0, 0, 10, 20, 30]
    assert trace.count("blocked") == 3
    assert_holds(trace, fifo)
    sound(trace)


@everywhere
def test_the_high_water_mark_is_the_most_that_ever_waited(play: Play) -> None:
    """It can be seen on the buffer while it works, and in the trace when it is closed."""

    async def scenario() -> list[int]:
        buffer, seen = make(capacity=9), []
        for count in (2, 5, 1):
            for number in range(count):
                await buffer.put(order(number))
            await everything(buffer)
            seen.append(buffer.high_water)
        buffer.close()
        return seen

    trace = play(scenario)
    assert trace.result == [2, 5, 5]
    (closed,) = trace.filter("closed")
    assert closed.data["high_water"] == 5


# Senders that wait


@everywhere
def test_senders_that_wait_get_in_in_the_order_in_which_they_came(play: Play) -> None:
    """Nobody overtakes, also not one that comes when room is made."""

    async def scenario() -> list[int]:
        buffer = make(capacity=1)
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(buffer.put, order(number))
                await anyio.sleep(1)
            got = [buffer.receive_nowait().body]
            with pytest.raises(BufferFull):
                buffer.put_nowait(order(9))
            got += [(await buffer.receive()).body for _ in range(3)]
        return got

    trace = play(scenario)
    assert trace.result == [0, 1, 2, 3]
    assert trace.count("state") == 0  # nothing was dropped, so no episode has ended
    sound(trace)


@everywhere
def test_cancelling_a_sender_that_waits_takes_the_message_back(play: Play) -> None:
    """It was refused, definitely, and the next sender takes its place in the line."""

    async def scenario() -> list[int]:
        buffer = make(capacity=1)
        await buffer.put(order(0))
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(1) as limit:
                group.start_soon(buffer.put, order(1))
                await anyio.sleep(0.5)
                await buffer.put(order(2))
            assert limit.cancelled_caught
            group.start_soon(buffer.put, order(3))
            await anyio.sleep(1)
            got = [(await buffer.receive()).body for _ in range(3)]
        return got

    trace = play(scenario)
    assert trace.result == [0, 1, 3]
    (refused,) = trace.filter("refused")
    assert refused.data["reason"] == "the sender gave up"
    sound(trace)


@everywhere
@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_sender_that_is_cancelled_too_late_has_sent(play: Play, cancelled_first: bool) -> None:
    """When the buffer has the message before the sender has gone, it stays there, once."""

    async def scenario() -> list[int]:
        buffer = make(capacity=1)
        await buffer.put(order(0))
        scope = anyio.CancelScope()

        async def send() -> None:
            with scope:
                await buffer.put(order(1))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(1)
            if cancelled_first:
                scope.cancel()
            first = buffer.receive_nowait().body
            scope.cancel()
        return [first, *await everything(buffer)]

    trace = play(scenario)
    assert trace.result == [0, 1]
    assert trace.count("refused") == 0
    sound(trace)


@everywhere
def test_a_sender_that_cannot_wait_is_told_that_the_buffer_is_full(play: Play) -> None:
    """`BufferFull` is definite: the buffer does not have the message."""

    async def scenario() -> list[int]:
        buffer = make(capacity=1)
        assert buffer.put_nowait(order(0))
        with pytest.raises(BufferFull, match="orders holds 1 messages; await put"):
            buffer.put_nowait(order(1))
        return await everything(buffer)

    trace = play(scenario)
    assert trace.result == [0]
    assert [e.data["reason"] for e in trace.filter("refused")] == ["full"]
    sound(trace)


@virtual_time_only
async def test_a_sender_that_died_waiting_has_sent_nothing_and_stands_in_nobodys_way() -> None:
    """Its message was refused, and the next sender takes its place in the line."""
    buffer = make(capacity=1)
    await buffer.put(order(0))
    async with anyio.create_task_group() as group:
        dead = Participant("dead", buffer.put, (order(1),), crashes=(Crash(at=1),))
        group.start_soon(dead.run)
        await anyio.sleep(0.5)
        group.start_soon(buffer.put, order(2))
        await anyio.sleep(1)
        assert [(await buffer.receive()).body for _ in range(2)] == [0, 2]
    assert [e.data["reason"] for e in recorded().filter("refused")] == ["the sender gave up"]
    sound(recorded())


@virtual_time_only
async def test_a_message_goes_past_a_reader_that_died_waiting() -> None:
    """The next reader has it."""
    buffer, got = make(), list[Any]()

    async def read() -> None:
        got.append((await buffer.receive()).body)

    async with anyio.create_task_group() as group:
        group.start_soon(Participant("dead", read, crashes=(Crash(at=1),)).run)
        await anyio.sleep(0.5)
        group.start_soon(read)
        await anyio.sleep(1)
        await buffer.put(order(0))
    assert got == [0]
    sound(recorded())


async def test_readers_are_served_in_the_order_in_which_they_came() -> None:
    """One message wakes one of them, the longest waiting first; who gives up passes it on."""
    buffer, served = make(capacity=3), list[str]()

    async def read(name: str, patience: float) -> None:
        with anyio.move_on_after(patience):
            await buffer.receive()
            served.append(name)

    async with anyio.create_task_group() as group:
        for name, patience in (("a", 1000.0), ("b", 2.0), ("c", 1000.0), ("d", 1000.0)):
            group.start_soon(read, name, patience)
            await anyio.sleep(1)
        for number in range(2):
            await buffer.put(order(number))
            await anyio.sleep(1)
        assert served == ["a", "c"]
        await buffer.put(order(2))
    assert served == ["a", "c", "d"]


async def test_a_thousand_senders_that_give_up_leave_one_by_one() -> None:
    """Nobody who waits is looked at when somebody else leaves: an offer is found by itself."""
    buffer = make(capacity=1)
    await buffer.put(order(0))

    async def send(number: int) -> None:
        with anyio.move_on_after(1 + number / 1000):
            await buffer.put(order(number))

    async with anyio.create_task_group() as group:
        for number in range(1, 1001):
            group.start_soon(send, number)
    assert (len(buffer._offers), buffer.counts.accepted) == (0, 1)
    assert isinstance(buffer._offers, OrderedDict)
    sound(recorded())


# Dropping


def kept(when_full: str, keys: str, capacity: int = 3) -> tuple[list[Any], list[bool], Buffer, Trace]:
    """What is left of a burst, one message for each key, and what `put` said of each."""

    async def scenario() -> tuple[list[Any], list[bool], Buffer]:
        buffer = make(when_full, capacity)
        said = [await buffer.put(order(number, key)) for number, key in enumerate(keys)]
        return await everything(buffer), said, buffer

    trace = simulate(scenario)
    sound(trace)
    left, said, buffer = trace.result
    return left, said, buffer, trace


def test_drop_newest_keeps_the_beginning_of_a_burst() -> None:
    """The message that comes to a full buffer is dropped, and its sender told."""
    left, said, buffer, trace = kept("drop newest", "abcabc")
    assert left == [0, 1, 2]
    assert said == [True] * 3 + [False] * 3
    assert buffer.dropped == {"the buffer was full": 3}
    assert trace.messages("dropped") == ["m4", "m5", "m6"]


def test_drop_oldest_keeps_the_end_of_a_burst() -> None:
    """The one that has waited longest makes room, so every sender is told that its message is in."""
    left, said, buffer, trace = kept("drop oldest", "abcabc")
    assert left == [3, 4, 5]
    assert said == [True] * 6
    assert buffer.dropped == {"the buffer was full": 3}
    assert trace.messages("dropped") == ["m1", "m2", "m3"]


def test_latest_per_key_keeps_the_newest_of_each_key_in_the_place_of_the_first() -> None:
    """A key that changes often neither fills the buffer nor moves to the back of the line."""
    left, said, buffer, trace = kept("latest per key", "abaacb")
    assert left == [3, 5, 4]
    assert said == [True] * 6
    assert buffer.dropped == {"a newer one of its key came": 3}
    assert trace.messages("dropped") == ["m1", "m3", "m2"]


def test_latest_per_key_with_more_keys_than_places_drops_the_key_that_waited_longest() -> None:
    """It is still bounded, and this drop has another reason."""
    left, _, buffer, _ = kept("latest per key", "abacd")
    assert left == [1, 3, 4]
    assert buffer.dropped == {"a newer one of its key came": 1, "the buffer was full": 1}


@everywhere
def test_disconnect_cuts_a_reader_off_that_is_too_slow(play: Play) -> None:
    """It gets what it had, and then an error, never a quiet end; senders are told that it is closed."""

    async def scenario() -> list[Any]:
        buffer = make("disconnect", 2)
        assert [await buffer.put(order(number)) for number in range(3)] == [True, True, False]
        with pytest.raises(BufferClosed):
            await buffer.put(order(3))
        got = [(await anext(buffer)).body for _ in range(2)]
        with pytest.raises(Disconnected, match="the reader of orders was too slow for 2 messages"):
            await anext(buffer)
        assert buffer.dropped == {"the reader was too slow": 1}
        return got

    trace = play(scenario)
    assert trace.result == [0, 1]
    assert [e.data["reason"] for e in trace.filter("closed")] == ["the reader was too slow"]
    sound(trace)


@everywhere
def test_latest_per_key_needs_a_key(play: Play) -> None:
    """A message without one would replace all others without one."""

    async def scenario() -> None:
        buffer = make("latest per key")
        with pytest.raises(ValueError, match="keeps the latest message of each key, and m1 has none"):
            await buffer.put(Message(1, id="m1"))
        assert buffer.counts == (0, 0, 0, 0)

    sound(play(scenario))


def test_a_sample_needs_a_generator_of_its_own() -> None:
    """There is no global randomness."""
    with pytest.raises(ValueError, match=r"random=Random\(seed\)"):
        Buffer("orders", 3, when_full="sample")


def shares(after: int = 0, take: int = 0) -> list[float]:
    """How often each of twelve messages is among the three that wait, in 2,500 bursts.

    Before the burst came `after` messages, of which `take` were taken.
    """

    found: Counter[int] = Counter()
    for seed in range(2500):
        line = drop_policy(WhenFull.SAMPLE, 3, Random(seed))
        for number in range(-after, 0):
            line.add(Message(number, id="m"))
        for _ in range(take):
            line.take()
        for number in range(12):
            line.add(Message(number, id="m"))
        found.update(line.take().body for _ in range(3))
    return [found[number] / 2500 for number in range(12)]


def test_in_a_sample_each_message_of_a_burst_has_the_same_chance() -> None:
    """Three of twelve: a quarter each, whether it came first or last."""
    assert shares() == pytest.approx([0.25] * 12, abs=0.03)


def test_once_the_buffer_was_empty_the_next_burst_is_sampled_afresh() -> None:
    """What came before it does not count."""
    assert shares(after=30, take=3) == pytest.approx([0.25] * 12, abs=0.03)


def test_what_is_taken_takes_its_share_of_the_crowd_with_it() -> None:
    """After 30 came and two of three were taken, the third stands for ten, and the crowd grows to 22."""
    assert shares(after=30, take=2)[-1] == pytest.approx(3 / 22, abs=0.02)


def test_a_sample_is_the_same_for_the_same_seed_and_in_order() -> None:
    """Chance comes only from the generator that was handed in."""
    left, said, _, _ = kept("sample", "abcdefghijkl")
    again = kept("sample", "abcdefghijkl")
    assert (left, said) == again[:2]
    assert left == sorted(left)
    assert said.count(False) > 0


@everywhere
@pytest.mark.parametrize("when_full", DROPPING)
def test_every_drop_is_counted_and_can_be_attributed(play: Play, when_full: str) -> None:
    """The counters, the trace and what was delivered add up, and each drop says why and for whom."""

    async def scenario() -> Buffer:
        buffer = make(when_full)
        for number in range(30):
            await buffer.put(order(number, "abcde"[number % 5]))
            if number % 7 == 0:
                await buffer.receive()
        buffer.close()
        async for _ in buffer:
            pass
        return buffer

    trace = play(scenario)
    counts = trace.result.counts
    assert counts.accepted == 30
    assert counts.dropped == trace.count("dropped") > 10
    assert counts.delivered == trace.count("delivered") == 30 - counts.dropped
    assert counts.waiting == 0
    for event in trace.filter("dropped"):
        assert event.data["reason"] in trace.result.dropped
        assert event.data["by"] in trace.messages("accepted")
    sound(trace)


# Episodes


@everywhere
def test_drops_are_signalled_once_per_episode(play: Play) -> None:
    """The first drop signals, in the trace and to whoever listens; the next only after it was empty."""

    async def scenario() -> list[int]:
        signals: list[int] = []
        buffer = make("drop oldest", 2, on_drops=lambda b: signals.append(b.counts.dropped))
        for _ in range(2):
            for number in range(5):
                await buffer.put(order(number))
            await buffer.receive()
            for number in range(3):
                await buffer.put(order(number))
            assert buffer.dropping
            await everything(buffer)
            assert not buffer.dropping
        assert buffer.episodes == 2
        return signals

    trace = play(scenario)
    assert trace.result == [1, 6]
    changes = [(e.data["was"], e.data["now"], e.data.get("dropped")) for e in trace.filter("state")]
    assert changes == [("flowing", "dropping", None), ("dropping", "flowing", 5)] * 2
    sound(trace)


@everywhere
def test_an_episode_is_over_at_the_low_water_mark(play: Play) -> None:
    """By default when nothing waits; with a mark, as soon as not more than so many wait."""

    async def scenario() -> list[bool]:
        buffer, lasting = make("drop newest", 4, low_water=2), []
        for number in range(5):
            await buffer.put(order(number))
        for _ in range(4):
            lasting.append(buffer.dropping)
            await buffer.receive()
        return lasting

    trace = play(scenario)
    assert trace.result == [True, True, False, False]
    assert trace.count("note") == 0  # nobody listens
    sound(trace)


@everywhere
def test_a_listener_that_raises_is_not_the_trouble_of_the_sender(play: Play) -> None:
    """What `on_drops` raises is noted, and the message takes its way."""

    async def scenario() -> list[int]:
        def complain(buffer: Buffer) -> None:
            raise ConnectionError("pager away")

        buffer = make("drop oldest", 1, on_drops=complain)
        for number in range(3):
            await buffer.put(order(number))
        return await everything(buffer)

    trace = play(scenario)
    assert trace.result == [2]
    (note,) = trace.filter("note")
    assert "on_drops of orders raised ConnectionError('pager away')" in note.data["text"]
    sound(trace)


def test_a_listener_cannot_be_async() -> None:
    """The buffer calls it and does not wait: it would never run."""

    async def complain(buffer: Buffer) -> None: ...

    with pytest.raises(TypeError, match="on_drops is called without waiting"):
        make("drop oldest", on_drops=complain)


# Messages


@everywhere
def test_what_the_sender_changes_afterwards_changes_nothing(play: Play) -> None:
    """The buffer keeps a copy."""

    async def scenario() -> Any:
        buffer, lines = make(), ["bread"]
        await buffer.put(Message(lines))
        lines.append("milk")
        return (await buffer.receive()).body

    assert play(scenario).result == ["bread"]


@everywhere
def test_a_message_whose_deadline_has_passed_is_dropped_when_its_turn_comes(play: Play) -> None:
    """At the very instant it is too late; that too is counted and signalled."""

    async def scenario() -> list[Any]:
        buffer, now = make(), anyio.current_time()
        for number, seconds in enumerate((1.0, 2.0, 2.5)):
            await buffer.put(order(number, deadline=now + seconds))
        await anyio.sleep(2)
        body = (await buffer.receive()).body
        assert buffer.dropped == {"its deadline has passed": 2}
        assert buffer.episodes == 1
        return [body, buffer.counts]

    trace = play(scenario)
    assert trace.result == [2, (0, 1, 2, 3)]
    sound(trace)


@everywhere
def test_a_late_message_makes_room_for_a_sender_that_waits(play: Play) -> None:
    """Also when nothing is left to hand out but what that sender brings."""

    async def scenario() -> Any:
        buffer = make(capacity=1)
        await buffer.put(order(0, deadline=anyio.current_time() + 1))
        async with anyio.create_task_group() as group:
            group.start_soon(buffer.put, order(1))
            await anyio.sleep(1)
            got = (await buffer.receive()).body
        return got

    trace = play(scenario)
    assert trace.result == 1
    sound(trace)


@everywhere
def test_readers_compete_and_each_message_goes_to_one(play: Play) -> None:
    """A reader that is cancelled while it waits takes nothing with it."""

    async def scenario() -> None:
        buffer = make(capacity=2)

        async def read() -> None:
            async for _ in buffer:
                await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            for name in ("billing", "stock"):
                with acting(name):
                    group.start_soon(read)
            with anyio.move_on_after(1):
                await buffer.receive()
            with buffer, acting("shop"):
                for number in range(10):
                    await buffer.put(order(number))

    trace = play(scenario)
    assert trace.count("delivered", who="billing") == trace.count("delivered", who="stock") == 5
    assert_holds(trace, exactly_one_receiver)
    sound(trace)


# Closing


@everywhere
@pytest.mark.parametrize("when_full", ALL)
def test_closing_ends_the_reader_after_what_is_left(play: Play, when_full: str) -> None:
    """The loop ends by itself; before that it gets everything that was accepted and not dropped."""

    async def scenario() -> list[Any]:
        buffer, got = make(when_full), []

        async def read() -> None:
            async for message in buffer:
                got.append(message.body)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.sleep(1)
            for number in range(3):
                await buffer.put(order(number))
            buffer.close()
            buffer.close()
        return got

    trace = play(scenario)
    assert trace.result == [0, 1, 2]
    assert trace.count("closed") == 1
    sound(trace)


@everywhere
def test_a_closed_buffer_takes_nothing_and_turns_waiting_senders_away(play: Play) -> None:
    """`BufferClosed` is definite, for those that come and those that wait."""

    async def scenario() -> list[str]:
        buffer, told = make(capacity=1), []
        await buffer.put(order(0))

        async def send(number: int) -> None:
            with pytest.raises(BufferClosed, match="orders is closed and takes no more"):
                await buffer.put(order(number))
            told.append(f"order {number}")

        async with anyio.create_task_group() as group:
            group.start_soon(send, 1)
            await anyio.sleep(1)
            buffer.close()
            await send(2)
            with pytest.raises(BufferClosed):
                buffer.put_nowait(order(3))
        assert await everything(buffer) == [0]
        with pytest.raises(BufferClosed, match="orders is closed and empty"):
            await buffer.receive()
        return sorted(told)

    trace = play(scenario)
    assert trace.result == ["order 1", "order 2"]
    assert [e.data["reason"] for e in trace.filter("refused")] == ["closed"] * 3
    sound(trace)


@everywhere
def test_the_block_of_a_sender_closes_the_buffer_also_when_it_fails(play: Play) -> None:
    """So no reader waits for a sender that has died."""

    async def scenario() -> list[Any]:
        buffer = make()

        async def send() -> None:
            with buffer:
                await buffer.put(order(0))
                raise ConnectionError("shop away")

        with pytest.raises(ConnectionError):
            await send()
        return [message.body async for message in buffer]

    assert play(scenario).result == [0]


@everywhere
def test_a_reader_that_leaves_for_good_drops_what_nobody_will_take(play: Play) -> None:
    """Each of them is counted as dropped, and senders are turned away."""

    async def scenario() -> Buffer:
        buffer = make(capacity=2)
        for number in range(2):
            await buffer.put(order(number))

        async def send(number: int) -> None:
            with pytest.raises(BufferClosed):
                await buffer.put(order(number))

        async with anyio.create_task_group() as group:
            group.start_soon(send, 2)
            await anyio.sleep(1)
            for _ in range(2):
                buffer.discard()
                assert len(buffer) == 0
        await send(3)
        return buffer

    trace = play(scenario)
    assert trace.result.dropped == {"the reader left": 2}
    assert trace.result.counts == (0, 0, 2, 2)
    sound(trace)


@everywhere
def test_nothing_to_read_is_not_the_end(play: Play) -> None:
    """`receive_nowait` tells an empty buffer from a closed one, and `receive` gives others their turn."""

    async def scenario() -> list[str]:
        buffer, turns = make(), []
        with pytest.raises(anyio.WouldBlock):
            buffer.receive_nowait()

        async def other() -> None:
            turns.append("other")

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await buffer.put(order(0))
            await buffer.receive()
            turns.append("reader")
        return turns

    assert play(scenario).result[0] == "other"


@everywhere
def test_a_sender_gives_the_reader_its_turn_also_while_there_is_room(play: Play) -> None:
    """Else whoever puts in a loop fills the buffer first, however quick the reader is."""

    async def scenario() -> int:
        buffer = make(capacity=100)

        async def read() -> None:
            async for _ in buffer:
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            with buffer:
                for number in range(100):
                    await buffer.put(order(number))
        return buffer.high_water

    assert play(scenario).result < 20


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_put_that_is_cancelled_before_it_began_puts_nothing(backend: str) -> None:
    """A call that is cancelled at its first instant has certainly not happened."""

    async def scenario() -> int:
        buffer = make()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await buffer.put(order(0))
        return len(buffer)

    assert anyio.run(scenario, backend=backend) == 0


# Little's law


async def overload(capacity: int) -> None:
    """A sender that could send ten a second, and a reader that takes one."""
    buffer = make(capacity=capacity)

    async def send() -> None:
        with buffer:
            for number in range(500):
                await buffer.put(order(number))
                await anyio.sleep(0.1)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        async for _ in buffer:
            await anyio.sleep(1)


def test_a_larger_buffer_only_moves_latency() -> None:
    """Little's law in numbers: ten times the room, the same rate, ten times the wait."""
    small, large = (littles_law(simulate(overload, capacity), "orders") for capacity in (5, 50))
    assert small.rate == pytest.approx(large.rate, rel=0.1) == pytest.approx(1, rel=0.1)
    assert small.time == pytest.approx(5, rel=0.1)
    assert large.time == pytest.approx(50, rel=0.1)
    assert small.holds
    assert large.holds


# The example


def test_the_example_in_the_docstring_prints_what_each_policy_keeps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The package's example runs, and no two policies keep the same."""
    code = example(package)
    assert len([line for line in code.splitlines() if line]) <= 30
    space: dict[str, Any] = {**vars(package), "anyio": anyio, "Message": Message, "Random": Random}
    exec(code, space)
    sound(simulate(space["a_burst_of_prices"]))
    assert capsys.readouterr().out.splitlines() == [
        "drop newest     5 dropped, kept tea 0, milk 1, bread 2",
        "drop oldest     5 dropped, kept milk 5, bread 6, milk 7",
        "latest per key  5 dropped, kept tea 0, milk 7, bread 6",
        "sample          5 dropped, kept tea 0, milk 1, bread 4",
        "block           0 dropped, kept tea 0, milk 1, bread 2, milk 3, bread 4, milk 5, bread 6, milk 7",
    ]
