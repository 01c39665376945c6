"""The contract of every queue with leases: the sentences of the protocol, one test each.

Who keeps it is in `queues.py`; what more a queue can do is in `test_queue_operations.py`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from eip_ref.message import Message
from eip_ref.message_queue import (
    NEVER,
    Backoff,
    DeadLetterPolicy,
    Empty,
    Lease,
    LeaseQueue,
    MessageQueue,
    QueueClosed,
    QueueFull,
    Settled,
    original,
    replay,
)

from ..backends import Play, everywhere
from .queues import QUEUES, TICK, AnyQueue, Make, bodies, letters, make

__all__ = ["make"]


pytestmark = [everywhere, QUEUES]


# 1. States


def test_the_counts_always_add_up(play: Play, make: Make) -> None:
    """ready + in flight + acked + dead + dropped = accepted, at every step of a varied life."""

    async def scenario() -> None:
        async with make("orders", lease=5, policy=DeadLetterPolicy(max_failures=2)) as queue:

            def holds(*expected: int) -> None:
                assert tuple(queue.counts)[:5] == expected
                assert sum(expected) == queue.counts.accepted

            holds(0, 0, 0, 0, 0)
            for n in range(4):
                await queue.put(Message(n))
            await queue.put(Message("late", deadline=anyio.current_time() + 1))
            holds(5, 0, 0, 0, 0)
            first = await queue.receive()
            second = await queue.receive()
            holds(3, 2, 0, 0, 0)
            await first.ack()
            holds(3, 1, 1, 0, 0)
            await second.nack(delay=100)
            holds(4, 0, 1, 0, 0)
            await anyio.sleep(1)
            assert await bodies(queue) == [2, 3]
            holds(1, 0, 3, 0, 1)
            await anyio.sleep(100)
            await queue.receive()
            await anyio.sleep(5)
            await anyio.sleep(TICK)
            holds(0, 0, 3, 1, 1)

    play(scenario)


def test_a_put_that_raised_was_not_accepted(play: Play, make: Make) -> None:
    """Full and closed are definite: nothing is in the queue that the producer was refused."""

    async def scenario() -> None:
        async with make("orders", capacity=1) as queue:
            await queue.put(Message("in"))
            with pytest.raises(QueueFull, match="holds 1"):
                await queue.put(Message("out"))
            queue.close()
            with pytest.raises(QueueClosed):
                await queue.put(Message("out"))
            assert await bodies(queue) == ["in"]

    assert play(scenario).count("refused") == 2


def test_an_unsettled_message_counts_against_the_capacity(play: Play, make: Make) -> None:
    """A message in flight may come back, so its room is kept."""

    async def scenario() -> None:
        async with make("orders", capacity=1) as queue:
            await queue.put(Message("first"))
            lease = await queue.receive()
            with pytest.raises(QueueFull):
                await queue.put(Message("second"))
            await lease.ack()
            await queue.put(Message("second"))

    play(scenario)


# 2. Leases


def test_each_receive_grants_a_fresh_lease(play: Play, make: Make) -> None:
    """A later lease of the same message has a higher token."""

    async def scenario() -> None:
        async with make("orders") as queue:
            await queue.put(Message("order 1"))
            first = await queue.receive()
            await first.nack(delay=0)
            second = await queue.receive()
            assert second.token > first.token
            assert (second.deliveries, second.failures) == (2, 1)

    play(scenario)


@pytest.mark.parametrize("settle", ["ack", "nack", "extend"])
def test_an_old_lease_settles_nothing(play: Play, make: Make, settle: str) -> None:
    """Fencing: after expiry the old lease is stale, and the newer one is untouched."""

    async def scenario() -> None:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            old = await queue.receive()
            await anyio.sleep(6)
            new = await queue.receive()
            assert await getattr(old, settle)() is Settled.STALE
            assert queue.counts.in_flight == 1
            assert await new.ack() is Settled.DONE

    assert play(scenario).count("stale") == 1


def test_settling_twice_is_idempotent_and_ways_exclude_each_other(play: Play, make: Make) -> None:
    """The second ack is as good as the first; a nack after an ack, or an ack after a nack, is refused."""

    async def scenario() -> None:
        async with make("orders") as queue:
            await queue.put(Message("order 1"))
            await queue.put(Message("order 2"))
            acked, nacked = await queue.receive(), await queue.receive()
            assert [await acked.ack(), await acked.ack()] == [Settled.DONE] * 2
            assert [await nacked.nack(delay=9), await nacked.nack()] == [Settled.DONE] * 2
            assert await acked.nack() is Settled.REFUSED
            assert await nacked.ack() is Settled.REFUSED
            assert await acked.extend() is Settled.REFUSED
            assert bool(Settled.DONE)
            assert not bool(Settled.REFUSED)
            assert queue.counts[:3] == (1, 0, 1)

    play(scenario)


def test_a_settled_lease_stays_settled_after_its_time(play: Play, make: Make) -> None:
    """An ack repeated after the lease would have ended is still answered with the truth."""

    async def scenario() -> None:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            lease = await queue.receive()
            await lease.ack()
            await anyio.sleep(10)
            assert await lease.ack() is Settled.DONE

    play(scenario)


def test_a_lease_ends_in_time_among_thousands_that_were_settled(play: Play, make: Make) -> None:
    """However many leases were granted and settled meanwhile, none that is open is forgotten."""

    async def scenario() -> None:
        async with make("orders", lease=50) as queue:
            await queue.put(Message("forgotten"))
            await queue.receive()
            for n in range(500):
                await queue.put(Message(n))
                await (await queue.receive()).ack()
            start = anyio.current_time()
            assert (await queue.receive()).message.body == "forgotten"
            assert anyio.current_time() - start == pytest.approx(50)

    play(scenario)


# 3. Visibility timeout, heartbeat, release


@pytest.mark.parametrize(
    ("wait", "answer"), [(5 - TICK, Settled.DONE), (5, Settled.STALE), (5 + TICK, Settled.STALE)]
)
def test_a_lease_is_over_at_the_very_instant(play: Play, make: Make, wait: float, answer: Settled) -> None:
    """One tick before it still settles; at the instant and after it no longer does."""

    async def scenario() -> None:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            lease = await queue.receive()
            with anyio.CancelScope(deadline=lease.expires - 5 + wait):
                await anyio.sleep_forever()
            assert await lease.ack() is answer

    play(scenario)


def test_an_expired_lease_makes_the_message_ready_at_once(play: Play, make: Make) -> None:
    """Somebody who waits gets it at the instant at which the lease ends, and whoever had it can see that."""

    async def scenario() -> float:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            granted = anyio.current_time()
            first = await queue.receive()
            again = await queue.receive()
            assert (first.over, again.over, again.failures) == (True, False, 1)
            return anyio.current_time() - granted

    trace = play(scenario)
    assert trace.result == pytest.approx(5)
    assert [e.kind for e in trace.filter("expired", "returned")] == ["expired", "returned"]


def test_a_receiver_may_choose_its_lease(play: Play, make: Make) -> None:
    """One that needs longer, or less, than the queue gives by itself."""

    async def scenario() -> tuple[float, float]:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            start = anyio.current_time()
            await queue.receive(lease=2)
            lease = await queue.receive(lease=20)
            await queue.receive()
            return lease.expires - start, anyio.current_time() - start

    assert play(scenario).result == pytest.approx((22, 22))


def test_a_lease_may_have_no_end(play: Play, make: Make) -> None:
    """The queue's, one that a receiver has chosen, and one that was extended."""

    async def scenario() -> None:
        async with make("orders", lease=math.inf) as queue, make("invoices") as other:
            for number in range(3):
                await (queue if number == 0 else other).put(Message(number))
            leases = [await queue.receive(), await other.receive(lease=math.inf), await other.receive()]
            await leases[2].extend(math.inf)
            await anyio.sleep(100_000)
            assert [await lease.ack() for lease in leases] == [Settled.DONE] * 3

    play(scenario)


def test_a_heartbeat_keeps_the_lease(play: Play, make: Make) -> None:
    """extend() moves the end to its seconds from now; nobody else gets the message meanwhile."""

    async def scenario() -> None:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            lease = await queue.receive()
            for _ in range(5):
                await anyio.sleep(4)
                assert await lease.extend() is Settled.DONE
                with pytest.raises(Empty):
                    await queue.receive(timeout=0)
            assert await lease.ack() is Settled.DONE

    assert play(scenario).count("expired") == 0


@pytest.mark.parametrize("seconds", [2, 30])
def test_an_extension_counts_from_now(play: Play, make: Make, seconds: float) -> None:
    """Whatever was left of the lease, it ends `seconds` from now: later than it was to, or earlier."""

    async def scenario() -> tuple[float, float]:
        async with make("orders", lease=10) as queue:
            await queue.put(Message("order 1"))
            lease = await queue.receive()
            await anyio.sleep(3)
            extended = anyio.current_time()
            assert await lease.extend(seconds) is Settled.DONE
            until = lease.expires - extended
            await queue.receive()
            return until, anyio.current_time() - extended

    assert play(scenario).result == pytest.approx((seconds, seconds), abs=TICK)


def test_extending_to_zero_releases_without_a_failure(play: Play, make: Make) -> None:
    """The message is ready at once, the lease is over, and the failure counter stands still."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            await queue.put(Message("order 1"))
            lease = await queue.receive()
            assert await lease.extend(0) is Settled.DONE
            assert lease.over
            assert await lease.ack() is Settled.STALE
            again = await queue.receive(timeout=0)
            assert (again.deliveries, again.failures) == (2, 0)

    play(scenario)


# 4. and 5. Two counters, dead letters


def test_nacks_and_expiries_both_count_as_failures(play: Play, make: Make) -> None:
    """A crash loop, which never nacks, reaches the dead letters too."""

    async def scenario() -> None:
        async with make("orders", lease=5, policy=DeadLetterPolicy(max_failures=2)) as queue:
            await queue.put(Message("nacked"))
            await (await queue.receive()).nack(delay=0)
            await queue.receive()
            await anyio.sleep(5 + TICK)
            assert queue.counts.dead == 1
            assert [letter.body for letter in await letters(queue)] == ["nacked"]

    play(scenario)


def test_a_policy_on_deliveries_counts_releases_too(play: Play, make: Make) -> None:
    """max_deliveries looks at leases granted, however they ended."""

    async def scenario() -> None:
        policy = DeadLetterPolicy(max_failures=None, max_deliveries=2)
        async with make("orders", policy=policy) as queue:
            await queue.put(Message("order 1"))
            for _ in range(2):
                await (await queue.receive()).extend(0)
            await anyio.sleep(TICK)
            assert queue.counts.dead == 1

    play(scenario)


def test_the_move_happens_when_the_lease_ends_and_not_at_the_next_receive(play: Play, make: Make) -> None:
    """Whoever watches the dead letters hears at once, though nobody receives from the queue."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            await queue.put(Message("order 1"))
            await (await queue.receive()).nack()
            assert queue.dead_letters is not None
            await queue.dead_letters.receive(timeout=TICK)

    play(scenario)


def test_a_dead_letter_keeps_everything_and_gains_the_facts(play: Play, make: Make) -> None:
    """Id, body, key and headers stay; reason, source, counts, first and last time are added."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=2)) as queue:
            start = anyio.current_time()
            message = Message({"sku": "tea"}, key="c-1", headers={"channel": "web"}, correlation_id="c")
            await queue.put(message)
            await anyio.sleep(3)
            await (await queue.receive()).nack(delay=2, reason="no stock")
            await (await queue.receive()).nack(reason="no stock")
            await anyio.sleep(TICK)
            (letter,) = await letters(queue)
            facts = {k: v for k, v in letter.headers.items() if k.startswith("dead-letter-")}
            assert "no stock" in facts.pop("dead-letter-reason")
            times = facts.pop("dead-letter-first") - start, facts.pop("dead-letter-last") - start
            assert times == pytest.approx((3, 5), abs=TICK)
            assert facts == {
                "dead-letter-source": "orders",
                "dead-letter-deliveries": 2,
                "dead-letter-failures": 2,
            }
            assert original(letter) == message

    play(scenario)


def test_when_the_dead_letters_refuse_nothing_is_lost(play: Play, make: Make) -> None:
    """A full dead-letter channel: the original is neither acked nor dropped, and moves later."""

    async def scenario() -> None:
        async with make("graveyard", policy=NEVER, capacity=1) as graveyard:
            policy = DeadLetterPolicy(max_failures=1)
            async with make("orders", policy=policy, dead_letters=graveyard) as queue:
                for n in range(2):
                    await queue.put(Message(n))
                    await (await queue.receive()).nack()
                    await anyio.sleep(TICK)
                assert queue.counts[:4] == (1, 0, 0, 1)
                assert await bodies(graveyard) == [0]
                lease = await queue.receive()
                assert lease.message.body == 1
                await lease.nack()
                await anyio.sleep(TICK)
                assert await bodies(graveyard) == [1]

    play(scenario)


def test_what_the_dead_letters_refuse_without_a_delay_is_told_as_returned(play: Play, make: Make) -> None:
    """It is ready again at once, and whoever reads the trace sees why."""

    async def scenario() -> None:
        async with make("graveyard", policy=NEVER, capacity=1) as graveyard:
            await graveyard.put(Message("first"))
            once, at_once = DeadLetterPolicy(max_failures=1), Backoff(initial=0)
            async with make("orders", policy=once, backoff=at_once, dead_letters=graveyard) as queue:
                await queue.put(Message("second", id="second"))
                await (await queue.receive()).nack()
                assert (await queue.receive()).message.id == "second"

    (returned,) = play(scenario).filter("returned", where="orders")
    assert returned.data["reason"] == "the dead letters refused it"


class Unreachable:
    """Dead letters that no put ever reaches: a broker that is down."""

    def __init__(self, make: Make) -> None:
        self._behind = make("graveyard", policy=NEVER)
        self.name = self._behind.name
        self.puts = 0

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        self.puts += 1
        raise ConnectionError("the broker is down")

    def __getattr__(self, method: str) -> Any:
        return getattr(self._behind, method)


def test_when_the_dead_letters_cannot_be_reached_nothing_is_lost(play: Play, make: Make) -> None:
    """Whatever their error is, the original is not acked, the queue lives on, and it rests between tries."""

    async def scenario() -> None:
        graveyard = Unreachable(make)
        policy = DeadLetterPolicy(max_failures=1)
        async with make("orders", policy=policy, dead_letters=graveyard) as queue:
            await queue.put(Message("poison"))
            start = anyio.current_time()
            await (await queue.receive()).nack()
            lease = await queue.receive()
            assert anyio.current_time() - start == pytest.approx(1)
            assert (lease.message.body, lease.failures, graveyard.puts) == ("poison", 1, 1)
            assert queue.counts[:4] == (0, 1, 0, 0)

    assert "the broker is down" in play(scenario).filter("note")[0].data["text"]


class Slow(Unreachable):
    """Dead letters whose put takes 20 seconds: a broker that is coming back."""

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        self.puts += 1
        await anyio.sleep(20)
        await self._behind.put(message, delay=delay)


def test_while_the_dead_letters_are_slow_a_lease_still_ends_in_time(play: Play, make: Make) -> None:
    """Whoever waits for the next message does not wait for another one to be buried first."""

    async def scenario() -> None:
        graveyard = Slow(make)
        policy = DeadLetterPolicy(max_failures=2)
        async with graveyard._behind, make("orders", lease=5, policy=policy, dead_letters=graveyard) as queue:
            start = anyio.current_time()
            for n in range(3):
                await queue.put(Message(n))
            for reason in ("no stock", "still none"):
                await (await queue.receive()).nack(delay=0, reason=reason)
            assert [(await queue.receive()).message.body for _ in range(2)] == [1, 2]
            assert [(await queue.receive()).message.body for _ in range(2)] == [1, 2]
            assert anyio.current_time() - start == pytest.approx(5)
            await queue.join()
            assert sorted(await bodies(graveyard._behind)) == [0, 1, 2]

    play(scenario)


def test_dead_letters_are_replayed_in_order_as_they_were(play: Play, make: Make) -> None:
    """Replay puts the originals back, oldest first, up to a limit, and takes them off the dead."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            messages = [Message(n, headers={"n": n}) for n in range(3)]
            for message in messages:
                await queue.put(message)
                await (await queue.receive()).nack()
            await anyio.sleep(1)
            assert queue.dead_letters is not None
            assert await replay(queue.dead_letters, queue, limit=2) == 2
            first = await queue.receive()
            assert first.message == messages[0]
            assert (first.deliveries, first.failures) == (1, 0)
            await first.ack()
            assert await bodies(queue) == [1]
            assert await replay(queue.dead_letters, queue) == 1
            await anyio.sleep(1_000)
            assert await replay(queue.dead_letters, queue) == 0

    assert play(scenario).count("replayed") == 3


def test_a_letter_that_could_not_be_put_back_is_still_a_letter(play: Play, make: Make) -> None:
    """Replay puts before it acks, so a queue that refuses it loses nothing."""

    async def scenario() -> None:
        async with make("orders", lease=5, capacity=1, policy=DeadLetterPolicy(max_failures=1)) as queue:
            await queue.put(Message("dead"))
            await (await queue.receive()).nack()
            await anyio.sleep(1)
            await queue.put(Message("in its place"))
            assert queue.dead_letters is not None
            with pytest.raises(QueueFull):
                await replay(queue.dead_letters, queue)
            await anyio.sleep(5)
            assert await bodies(queue) == ["in its place"]
            assert await replay(queue.dead_letters, queue) == 1
            assert await bodies(queue) == ["dead"]

    play(scenario)


def test_replay_counts_letters_and_not_ids(play: Play, make: Make) -> None:
    """Three dead copies of one message are three letters, and a limit of two replays two."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            message = Message("order 1")
            for _ in range(3):
                await queue.put(message)
                await (await queue.receive()).nack()
            await anyio.sleep(1)
            assert queue.dead_letters is not None
            assert await replay(queue.dead_letters, queue, limit=2) == 2
            assert await replay(queue.dead_letters, queue) == 1

    play(scenario)


def test_replay_ends_although_messages_die_again(play: Play, make: Make) -> None:
    """A poison message that dies during the replay waits for the next one."""

    async def scenario() -> int:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:

            async def always_fails() -> None:
                while True:
                    await (await queue.receive()).nack()

            async with anyio.create_task_group() as group:
                group.start_soon(always_fails)
                for n in range(3):
                    await queue.put(Message(n))
                await anyio.sleep(1)
                assert queue.dead_letters is not None
                count = await replay(queue.dead_letters, queue)
                group.cancel_scope.cancel()
            return count

    assert play(scenario).result == 3


def test_what_has_just_died_is_replayed_also_from_dead_letters_that_are_closed(
    play: Play, make: Make
) -> None:
    """At the very instant: it was dead when the replay began, and nothing more comes behind it."""

    async def scenario() -> None:
        async with make("orders") as queue:
            await queue.put(Message("order 1"))
            await (await queue.receive()).reject()
            assert isinstance(queue.dead_letters, LeaseQueue)
            while not queue.counts.dead:
                await anyio.lowlevel.checkpoint()
            queue.dead_letters.close()
            assert await replay(queue.dead_letters, queue) == 1
            assert await bodies(queue) == ["order 1"]

    play(scenario)


def test_what_dies_during_a_replay_waits_for_the_next_one(play: Play, make: Make) -> None:
    """Also a message that was not dead before: else a replay might never end."""

    class Slow(MessageQueue):
        async def put(self, message: Message, *, delay: float = 0.0) -> None:
            await anyio.sleep(1)
            await super().put(message, delay=delay)

    async def scenario() -> int:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue, Slow("again") as again:

            async def fail(after: float) -> None:
                await queue.put(Message(after))
                await anyio.sleep(after)
                await (await queue.receive()).nack()

            async with anyio.create_task_group() as group:
                for after in (0.0, 1.5, 2.5):
                    group.start_soon(fail, after)
                await anyio.sleep(1)
                assert queue.dead_letters is not None
                count = await replay(queue.dead_letters, again)
            await anyio.sleep(TICK)
            assert len(await letters(queue)) == 2
            return count

    assert play(scenario).result == 1


# 6. Nack


def test_a_nack_takes_a_delay(play: Play, make: Make) -> None:
    """The message rests for exactly that long, and others go first meanwhile."""

    async def scenario() -> None:
        async with make("orders") as queue:
            await queue.put(Message("rests"))
            await queue.put(Message("goes on"))
            await (await queue.receive()).nack(delay=7)
            nacked = anyio.current_time()
            assert await bodies(queue) == ["goes on"]
            assert (await queue.receive()).message.body == "rests"
            assert anyio.current_time() - nacked == pytest.approx(7)

    play(scenario)


def test_a_nack_without_a_delay_does_not_make_a_hot_loop(play: Play, make: Make) -> None:
    """The rest grows from failure to failure."""

    async def scenario() -> list[float]:
        times = []
        async with make("orders") as queue:
            await queue.put(Message("poison"))
            for _ in range(5):
                lease = await queue.receive()
                times.append(anyio.current_time())
                await lease.nack()
        return [round(b - a, 3) for a, b in pairwise(times)]

    assert play(scenario).result == [1, 2, 4, 8]


def test_a_returned_message_has_its_old_place(play: Play, make: Make) -> None:
    """Nacked with delay 0, released or expired: it is again before all that were put after it."""

    async def scenario() -> None:
        async with make("orders", lease=5) as queue:
            for n in range(4):
                await queue.put(Message(n))
            await (await queue.receive()).nack(delay=0)
            await (await queue.receive()).extend(0)
            await queue.receive()
            await anyio.sleep(5)
            assert await bodies(queue) == [0, 1, 2, 3]

    play(scenario)


# 8. Order


def test_one_consumer_without_redelivery_sees_fifo(play: Play, make: Make) -> None:
    """First in, first out."""

    async def scenario() -> list[int]:
        async with make("orders") as queue:
            for n in range(50):
                await queue.put(Message(n, key=f"key {n % 3}" if n % 2 else None))
            found = []
            for _ in range(50):
                lease = await queue.receive()
                found.append(lease.message.body)
                await lease.ack()
            return found

    assert play(scenario).result == list(range(50))


def test_at_most_one_message_of_a_key_is_in_flight(play: Play, make: Make) -> None:
    """The next of the key comes only when the one before is settled; other keys do not wait."""

    async def scenario() -> None:
        async with make("orders") as queue:
            for body, key in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("free", None), ("a3", "a")):
                await queue.put(Message(body, key=key))
            first = await queue.receive()
            assert first.message.body == "a1"
            assert await bodies(queue) == ["b1", "free"]
            await first.ack()
            assert await bodies(queue) == ["a2", "a3"]

    play(scenario)


def test_a_failing_head_blocks_only_its_key_and_in_order(play: Play, make: Make) -> None:
    """While the head rests, its key waits, and later messages of the key do not overtake it."""

    async def scenario() -> None:
        async with make("orders") as queue:
            for body, key in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")):
                await queue.put(Message(body, key=key))
            await (await queue.receive()).nack(delay=10)
            assert await bodies(queue) == ["b1", "b2"]
            await anyio.sleep(10)
            assert await bodies(queue) == ["a1", "a2"]

    play(scenario)


def test_a_dead_head_frees_its_key(play: Play, make: Make) -> None:
    """A poison message moves aside, and the ones behind it go on."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            await queue.put(Message("poison", key="a"))
            await queue.put(Message("next", key="a"))
            await (await queue.receive()).nack()
            await anyio.sleep(TICK)
            assert await bodies(queue) == ["next"]

    play(scenario)


# Waiting, closing, copying, cancelling, bad input


def test_receive_waits_as_long_as_told(play: Play, make: Make) -> None:
    """Empty after exactly `wait` seconds; a message that comes before is taken when it comes."""

    async def scenario() -> None:
        async with make("orders") as queue:
            start = anyio.current_time()
            with pytest.raises(Empty):
                await queue.receive(timeout=3)
            assert anyio.current_time() - start == pytest.approx(3)

    play(scenario)


def test_a_delayed_put_is_ready_after_its_delay(play: Play, make: Make) -> None:
    """A message can be put now for later."""

    async def scenario() -> float:
        async with make("orders") as queue:
            await queue.put(Message("later"), delay=9)
            start = anyio.current_time()
            await queue.receive()
            return anyio.current_time() - start

    assert play(scenario).result == pytest.approx(9)


def test_a_closed_queue_ends_for_receivers_when_all_is_settled(play: Play, make: Make) -> None:
    """A message in flight may come back, so receivers wait for it; then they are told the end."""

    async def scenario() -> None:
        async with make("orders", lease=5) as queue:
            await queue.put(Message("order 1"))
            await queue.receive()
            queue.close()
            again = await queue.receive()
            await again.ack()
            with pytest.raises(QueueClosed):
                await queue.receive()
            await queue.join()

    play(scenario)


def test_a_waiting_receiver_is_told_when_the_queue_closes(play: Play, make: Make) -> None:
    """Nobody waits for ever at a closed queue."""

    async def scenario() -> None:
        async with make("orders") as queue, anyio.create_task_group() as group:

            async def wait_for_the_end() -> None:
                with pytest.raises(QueueClosed):
                    await queue.receive()

            group.start_soon(wait_for_the_end)
            await anyio.sleep(1)
            queue.close()

    play(scenario)


def test_a_cancelled_receive_takes_no_message(play: Play, make: Make) -> None:
    """Whatever the instant of the cancellation, each message is delivered or still ready."""

    async def scenario() -> None:
        leases = []
        async with make("orders", lease=1000) as queue:

            async def receive() -> None:
                leases.append(await queue.receive())

            for n in range(40):
                async with anyio.create_task_group() as group:
                    group.start_soon(receive)
                    group.start_soon(queue.put, Message(n))
                    for _ in range(n % 8):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
            assert 0 < len(leases) == queue.counts.in_flight

    play(scenario)


def test_no_two_deliveries_share_a_payload(play: Play, make: Make) -> None:
    """What a producer or an earlier consumer changes, a later consumer does not see."""

    async def scenario() -> None:
        async with make("orders") as queue:
            lines = ["tea"]
            await queue.put(Message(lines))
            lines.append("producer")
            first = await queue.receive()
            first.message.body.append("consumer")
            await first.nack(delay=0)
            assert (await queue.receive()).message.body == ["tea"]

    play(scenario)


def test_a_message_past_its_deadline_is_dropped_and_counted(play: Play, make: Make) -> None:
    """Nobody works for a caller who has gone; the drop is in the trace with its reason."""

    async def scenario() -> None:
        async with make("orders") as queue:
            await queue.put(Message("late", deadline=anyio.current_time() + 5))
            await anyio.sleep(5)
            with pytest.raises(Empty):
                await queue.receive(timeout=0)
            assert queue.counts.dropped == 1
            await queue.join()

    assert "deadline" in play(scenario).filter("dropped")[0].data["reason"]


def test_work_is_shared_among_idle_consumers(play: Play, make: Make) -> None:
    """Competing consumers that are all idle take turns: nobody starves."""

    async def scenario() -> list[int]:
        taken = [0, 0, 0]
        async with make("orders") as queue, anyio.create_task_group() as group:

            async def work(who: int) -> None:
                while True:
                    lease = await queue.receive()
                    taken[who] += 1
                    await anyio.sleep(0.1)
                    await lease.ack()

            for who in range(3):
                group.start_soon(work, who)
            for n in range(30):
                await anyio.sleep(1)
                await queue.put(Message(n))
            await queue.join()
            group.cancel_scope.cancel()
        return taken

    taken = play(scenario).result
    assert sum(taken) == 30
    if play.__name__ == "on_virtual_asyncio":  # trio wakes in an order of its own choice
        assert taken == [10, 10, 10]


@pytest.mark.parametrize(("pause", "least"), [(TICK, 75), (0, 40)], ids=["one by one", "in a rush"])
def test_four_workers_share_what_is_there(
    play: Play, make: Make, pause: float, least: int, request: pytest.FixtureRequest
) -> None:
    """Each is served in its turn, the longest waiting first; in a rush the scheduler mixes them a little.

    So it does where another process puts: then everybody looks.
    """

    async def scenario() -> list[int]:
        taken = [0] * 4
        async with make("orders") as queue, anyio.create_task_group() as group:

            async def work(who: int) -> None:
                while True:
                    lease = await queue.receive()
                    taken[who] += 1
                    await lease.ack()

            for who in range(4):
                group.start_soon(work, who)
                await anyio.sleep(TICK)
            for n in range(300):
                await queue.put(Message(n))
                if pause:
                    await anyio.sleep(pause)
            await queue.join()
            group.cancel_scope.cancel()
        return taken

    taken = play(scenario).result
    assert sum(taken) == 300
    assert min(taken) >= (40 if "TwoProcesses" in request.node.name else least)


# Expiration


def test_a_put_wakes_one_receiver_however_many_wait(play: Play, make: Make) -> None:
    """500 who wait look 500 times for 500 messages. Who looks where two have it open, its database says."""
    if hasattr(make("orders"), "one"):
        pytest.skip("the tests of the database say it")
    looks = 0

    async def scenario() -> None:
        async with make("orders") as queue, anyio.create_task_group() as group:
            take = queue._take

            async def counted(*given: Any) -> list[Lease]:
                nonlocal looks
                looks += 1
                return await take(*given)

            queue._take = counted  # type: ignore[method-assign]
            for _ in range(500):
                group.start_soon(queue.receive)
            await anyio.wait_all_tasks_blocked()
            before = looks
            for n in range(500):
                await queue.put(Message(n))
            await anyio.wait_all_tasks_blocked()
            assert (looks - before, queue.counts.in_flight) == (500, 500)

    play(scenario)


def test_a_dead_letter_does_not_expire(play: Play, make: Make) -> None:
    """It waits for somebody who looks, however late; the deadline that it had is one of its facts."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            deadline = anyio.current_time() + 5
            message = Message("poison", deadline=deadline, headers={"channel": "web"})
            await queue.put(message)
            await (await queue.receive()).nack()
            await anyio.sleep(100)
            (letter,) = await letters(queue)
            assert letter.deadline is None
            assert letter.headers["dead-letter-deadline"] == pytest.approx(deadline)
            assert original(letter) == message

    play(scenario)


def test_a_replayed_message_whose_deadline_has_passed_is_dropped(play: Play, make: Make) -> None:
    """As everywhere: what is over is counted and recorded, and delivered to nobody."""

    async def scenario() -> None:
        async with make("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            await queue.put(Message("late", deadline=anyio.current_time() + 5))
            await (await queue.receive()).nack()
            await anyio.sleep(100)
            assert queue.dead_letters is not None
            assert await replay(queue.dead_letters, queue) == 1
            assert await bodies(queue) == []
            assert (queue.counts.dropped, queue.counts.ready) == (1, 0)

    play(scenario)


# Opening, leaving, and the errors of the block


@pytest.mark.parametrize("waits_for", ["receive", "join"])
def test_whoever_waits_at_a_queue_that_is_left_is_told(play: Play, make: Make, waits_for: str) -> None:
    """Outside of its block nobody waits for ever, and the words say why."""

    async def scenario() -> None:
        queue = make("orders")

        async def wait() -> None:
            with pytest.raises(RuntimeError, match="is not open"):
                await getattr(queue, waits_for)()

        async with anyio.create_task_group() as group, queue:
            if waits_for == "join":
                await queue.put(Message("order 1"))
            group.start_soon(wait)
            await anyio.sleep(1)

    play(scenario)


def test_a_queue_is_entered_once_and_again_after_it_was_left(play: Play, make: Make) -> None:
    """A second block inside the first would close it under the first one's hands."""

    async def scenario() -> None:
        queue = make("orders")
        async with queue:
            with pytest.raises(RuntimeError, match="orders is open already"):
                await queue.__aenter__()
            await queue.put(Message("order 1"))
            queue.close()
        async with queue:
            await queue.put(Message("order 2"))
            assert await bodies(queue) == ["order 1", "order 2"]

    play(scenario)


def test_an_error_of_the_block_comes_out_as_itself(play: Play, make: Make) -> None:
    """`except QueueFull` around the block finds it, and no group is around it."""

    async def scenario() -> None:
        async def two_puts() -> None:
            async with make("orders", capacity=1) as queue:
                for n in range(2):
                    await queue.put(Message(n))

        with pytest.raises(QueueFull):
            await two_puts()

    play(scenario)


@pytest.mark.parametrize("body", [{1, 2}, (1, 2), {1: "one"}, math.nan, object(), "\ud800"])
def test_what_would_come_back_changed_is_refused(play: Play, make: Make, body: Any) -> None:
    """By every queue alike, before anything is done: a message may go from one to the other."""

    async def scenario() -> None:
        async with make("orders") as queue:
            with pytest.raises(TypeError, match="message 'm9'"):
                await queue.put(Message(body, id="m9"))
            with pytest.raises(TypeError, match="message 'm9'"):
                await queue.put(Message("order", id="m9", headers={"about": body}))
            assert queue.counts.accepted == 0

    assert play(scenario).count("sent") == 0


def test_calls_that_do_not_wait_do_the_same(play: Play, make: Make) -> None:
    """put, receive and ack, in one piece of code without an await."""

    async def scenario() -> None:
        async with make("orders") as queue:
            with pytest.raises(Empty):
                queue.receive_nowait()
            queue.put_nowait(Message("order 1"))
            queue.put_nowait(Message("order 2"))
            lease = queue.receive_nowait(lease=7, consumer="worker")
            assert (lease.message.body, lease.seconds, lease.consumer) == ("order 1", 7, "worker")
            assert queue.ack_nowait(lease) is Settled.DONE
            assert await lease.nack() is Settled.REFUSED
            assert queue.counts == (1, 0, 1, 0, 0, 2, 0)

    play(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease": 0},
        {"lease": math.nan},
        {"capacity": 0},
        {"capacity": 1.5},
        {"name": ""},
        {"policy": {"max_failures": 0}},
    ],
)
def test_wrong_settings_are_refused_in_words(play: Play, make: Make, wrong: dict[str, Any]) -> None:
    """A setting that cannot work is an error where it is made, and names the setting."""

    def built() -> AnyQueue:
        settings = {k: DeadLetterPolicy(**v) if k == "policy" else v for k, v in wrong.items()}
        return make(settings.pop("name", "orders"), **settings)

    named = "max_failures" if "policy" in wrong else next(iter(wrong))
    with pytest.raises(ValueError, match=f"{named} must be"):
        built()


def test_wrong_arguments_are_refused_in_words(play: Play, make: Make) -> None:
    """Negative times, leases of other queues, and a queue that is not open."""

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="not open"):
            await make("orders").put(Message("x"))
        async with make("orders") as queue, make("invoices") as other:
            await queue.put(Message("x"))
            lease = await queue.receive()
            for wrong in (-1, math.nan, "1"):
                for call in (
                    lease.nack(delay=wrong),  # type: ignore[arg-type]
                    lease.extend(wrong),  # type: ignore[arg-type]
                    queue.put(Message("x"), delay=wrong),  # type: ignore[arg-type]
                    queue.receive(timeout=wrong),  # type: ignore[arg-type]
                    queue.receive(lease=wrong),  # type: ignore[arg-type]
                ):
                    with pytest.raises(ValueError, match="seconds"):
                        await call
            for call in (other.ack(lease), other.nack(lease), other.reject(lease), other.extend(lease, 1)):
                with pytest.raises(ValueError, match="one of orders"):
                    await call
        for too_late in (lease.ack(), queue.peek()):
            with pytest.raises(RuntimeError, match="not open"):
                await too_late
        with pytest.raises(RuntimeError, match="not open"):
            queue.receive_nowait()

    play(scenario)
