"""The contract of every queue, second part: batches, rejection, purging, looking, and time to live."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from eip_ref.lab import invariants
from eip_ref.message import EXPIRED, Message
from eip_ref.message_queue import (
    NEVER,
    Consumer,
    DeadLetterPolicy,
    Empty,
    Lease,
    QueueClosed,
    QueueFull,
    Settled,
    heartbeat,
    process,
    replay,
)
from eip_ref.trace import Event, acting

from ..backends import recorded
from .queues import QUEUES, TICK, Make, bodies, letters, make

__all__ = ["make"]
pytestmark = QUEUES

ONCE = DeadLetterPolicy(max_failures=1)


async def fill(queue: Any, *given: Any) -> None:
    for body in given:
        await queue.put(Message(body, id=str(body)))


def holds() -> None:
    """The trace up to here keeps what the laboratory asks of every queue."""
    asked = invariants.conservation, invariants.lease_fencing, invariants.one_in_flight_per_key
    invariants.assert_holds(recorded(), *asked)


# Batches


async def test_a_batch_is_what_is_ready_and_at_most_so_many(make: Make) -> None:
    """In the order of the queue, each message with a lease of its own."""
    async with make("orders") as queue:
        await fill(queue, *range(5))
        first = await queue.receive_batch(3, lease=7, consumer="worker")
        rest = await queue.receive_batch(3)
        assert [lease.message.body for lease in (*first, *rest)] == [0, 1, 2, 3, 4]
        assert [lease.token for lease in (*first, *rest)] == [1, 2, 3, 4, 5]
        assert {(lease.seconds, lease.consumer) for lease in first} == {(7, "worker")}
        assert await first[1].ack() is Settled.DONE
        assert await first[2].nack(delay=0) is Settled.DONE
        assert queue.counts[:3] == (1, 3, 1)
        await anyio.sleep(7)
        assert await first[0].ack() is Settled.STALE
        assert queue.counts[:3] == (2, 2, 1)
    holds()


async def test_a_batch_waits_for_one_message_and_not_for_more(make: Make) -> None:
    """At least one, or `Empty` after exactly the timeout, or the end of the queue."""
    async with make("orders") as queue, anyio.create_task_group() as group:
        start = anyio.current_time()
        with pytest.raises(Empty):
            await queue.receive_batch(10, timeout=3)
        assert anyio.current_time() - start == pytest.approx(3)
        await queue.put(Message("later"), delay=2)
        (lease,) = await queue.receive_batch(10)
        assert anyio.current_time() - start == pytest.approx(5)

        async def wait() -> None:
            with pytest.raises(QueueClosed):
                await queue.receive_batch(10)

        group.start_soon(wait)
        await anyio.sleep(1)
        queue.close()
        await lease.ack()


async def test_a_batch_has_one_of_a_key_and_nothing_that_has_expired(make: Make) -> None:
    """What holds for one receive holds for each of a batch."""
    async with make("orders") as queue:
        for body, key in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            await queue.put(Message(body, key=key))
        await queue.put(Message("over", ttl=0))
        await queue.put(Message("free"))
        batch = await queue.receive_batch(10)
        assert [lease.message.body for lease in batch] == ["a1", "b1", "free"]
        assert (queue.counts.dropped, queue.counts.delayed) == (1, 1)
    holds()


async def test_a_batch_leaves_the_rest_to_others_who_wait(make: Make) -> None:
    """One that takes little wakes nobody in vain, and nobody waits beside a ready message."""
    async with make("orders") as queue, anyio.create_task_group() as group:
        taken: list[list[Any]] = []

        async def take() -> None:
            taken.append([lease.message.body for lease in await queue.receive_batch(2)])

        for _ in range(2):
            group.start_soon(take)
        await anyio.sleep(1)
        await fill(queue, *range(4))
        await anyio.sleep(1)
        assert sum(map(len, taken)) == 4 or queue.counts.ready
        assert len(taken) == 2


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
async def test_a_batch_of_no_whole_number_is_refused(make: Make, wrong: Any) -> None:
    """In words, by the parameter's name."""
    async with make("orders") as queue:
        with pytest.raises(ValueError, match="max_messages must be a whole number"):
            await queue.receive_batch(wrong)


# Rejection


async def test_a_rejected_message_is_a_dead_letter_at_once(make: Make) -> None:
    """Whatever the policy would have allowed, with its reason, and its key goes on."""
    async with make("orders") as queue:
        await queue.put(Message("bad", key="a"))
        await queue.put(Message("next", key="a"))
        lease = await queue.receive()
        assert await lease.reject("no such product") is Settled.DONE
        await anyio.sleep(TICK)
        assert queue.counts[:4] == (1, 0, 0, 1)
        (letter,) = await letters(queue)
        assert letter.headers["dead-letter-reason"] == "rejected: no such product"
        assert (letter.headers["dead-letter-deliveries"], letter.headers["dead-letter-failures"]) == (1, 1)
        assert await bodies(queue) == ["next"]
    assert recorded().filter("nacked")[0].data["reason"] == "rejected: no such product"
    holds()


async def test_rejecting_is_idempotent_and_excludes_the_other_ways(make: Make) -> None:
    """As ack and nack do each other; with a lease that is over it is stale."""
    async with make("orders", lease=5) as queue:
        await fill(queue, "rejected", "acked", "expired")
        rejected, acked, expired = await queue.receive_batch(3)
        assert [await rejected.reject(), await rejected.reject()] == [Settled.DONE] * 2
        assert await rejected.ack() is Settled.REFUSED
        assert await rejected.nack() is Settled.REFUSED
        assert await rejected.extend() is Settled.REFUSED
        await acked.ack()
        assert await acked.reject() is Settled.REFUSED
        await anyio.sleep(5)
        assert await expired.reject() is Settled.STALE
        assert queue.counts == (1, 0, 1, 1, 0, 3, 0)
    holds()


async def test_without_dead_letters_nothing_can_be_rejected(make: Make) -> None:
    """It is said, and nothing is done: a message that went nowhere would be lost."""
    async with make("orders", policy=NEVER) as queue:
        await fill(queue, "order 1")
        lease = await queue.receive()
        with pytest.raises(RuntimeError, match="orders has no dead letters"):
            await lease.reject("never mind")
        assert await lease.ack() is Settled.DONE


async def test_a_rejected_message_can_be_replayed(make: Make) -> None:
    """When whatever was wrong is right again; its counts begin anew."""
    async with make("orders") as queue:
        await fill(queue, "order 1")
        await (await queue.receive()).reject("not yet")
        await anyio.sleep(TICK)
        assert queue.dead_letters is not None
        assert await replay(queue.dead_letters, queue) == 1
        assert (await queue.receive()).failures == 0
    holds()


# Purging


async def test_a_purge_drops_what_nobody_has_in_hand(make: Make) -> None:
    """Ready, delayed, and behind another of its key; what is in flight stays with its consumer."""
    async with make("orders", lease=100) as queue:
        for body, key in (
            ("held", "a"),
            ("behind", "a"),
            ("ready", "b"),
            ("behind too", "b"),
            ("free", None),
        ):
            await queue.put(Message(body, key=key))
        await queue.put(Message("later"), delay=5)
        held = await queue.receive()
        assert await queue.purge() == 5
        assert queue.counts == (0, 1, 0, 0, 5, 6, 0)
        assert await queue.purge() == 0
        await queue.put(Message("new", key="a"))
        assert queue.counts.delayed == 1
        assert await held.nack(delay=0) is Settled.DONE
        assert await bodies(queue) == ["held", "new"]
        await anyio.sleep(10)
        assert queue.counts == (0, 0, 2, 0, 5, 7, 0)
    dropped = recorded().filter("dropped")
    assert {event.data["reason"] for event in dropped} == {"purged"}
    assert len(dropped) == 5
    holds()


async def test_a_purge_makes_room_and_ends_the_wait_for_the_last(make: Make) -> None:
    """Whoever joins the queue, or receives from one that is closed, is told that nothing is left."""
    async with make("orders", capacity=1) as queue, anyio.create_task_group() as group:
        await fill(queue, "order 1")
        assert await queue.purge() == 1
        await queue.put(Message("order 2"), delay=1000)
        queue.close()

        async def wait() -> None:
            with pytest.raises(QueueClosed):
                await queue.receive()

        group.start_soon(queue.join)
        group.start_soon(wait)
        await anyio.sleep(1)
        assert await queue.purge() == 1
    holds()


async def test_a_purge_leaves_what_is_on_its_way_to_the_dead_letters(make: Make) -> None:
    """It is in the hands of whoever moves it: it dies, and is not lost halfway."""
    async with make("graveyard", policy=NEVER, capacity=1) as graveyard:
        await fill(graveyard, "first")
        async with make("orders", policy=ONCE, dead_letters=graveyard) as queue:
            await fill(queue, "poison")
            await (await queue.receive()).nack()
            assert await queue.purge() <= 1
            await anyio.sleep(TICK)
            counts = queue.counts
            assert counts.ready + counts.dead + counts.dropped == 1
    holds()


async def test_the_dead_letters_can_be_purged(make: Make) -> None:
    """They are a queue like any other."""
    async with make("orders", policy=ONCE) as queue:
        await fill(queue, "poison")
        await (await queue.receive()).nack()
        await anyio.sleep(TICK)
        assert queue.dead_letters is not None
        assert await queue.dead_letters.purge() == 1  # type: ignore[attr-defined]
        assert queue.counts == (0, 0, 0, 1, 0, 1, 0)
    holds()


# Looking


async def test_a_look_at_the_dead_letters_changes_nothing(make: Make) -> None:
    """No lease, no count, nobody's turn; and what the looker changes, nobody else sees."""
    async with make("orders", policy=ONCE) as queue:
        for n in range(3):
            await queue.put(Message([n]))
            await (await queue.receive()).nack(reason="no stock")
        await anyio.sleep(TICK)
        dead: Any = queue.dead_letters
        before, facts = dead.counts, len(recorded())
        for _ in range(2):
            seen = await dead.peek()
            assert [message.body for message in seen] == [[0], [1], [2]]
            assert "no stock" in seen[0].headers["dead-letter-reason"]
            seen[0].body.append("changed")
        assert len(await dead.peek(2)) == 2
        assert (dead.counts, len(recorded())) == (before, facts)
        first = await dead.receive()
        assert (first.message.body, first.deliveries) == ([0], 1)
        assert [message.body for message in await dead.peek()] == [[1], [2]]


async def test_a_look_shows_what_a_receiver_would_get(make: Make) -> None:
    """Neither what rests, or waits behind another of its key, nor what has expired."""
    async with make("orders") as queue:
        await queue.put(Message("over", ttl=1))
        await queue.put(Message("later"), delay=5)
        for body in ("a1", "a2", "b1"):
            await queue.put(Message(body, key=body[0]))
        await anyio.sleep(1)
        assert [message.body for message in await queue.peek()] == ["a1", "b1"]
        assert [message.body for message in await queue.peek(1)] == ["a1"]
        assert queue.counts.dropped == 0
        for wrong in (0, 1.5):
            with pytest.raises(ValueError, match="limit must be a whole number"):
                await queue.peek(wrong)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not open"):
        await queue.peek()


async def test_the_counts_tell_what_is_ready_from_what_is_delayed(make: Make) -> None:
    """Delayed ones are among the ready; without them remain those that can be had now."""
    async with make("orders", lease=100) as queue:
        await queue.put(Message("later"), delay=5)
        for body in ("a1", "a2", "b1"):
            await queue.put(Message(body, key=body[0]))
        assert (queue.counts.ready, queue.counts.delayed) == (4, 2)
        head = await queue.receive()
        await (await queue.receive()).nack(delay=9)
        assert (queue.counts.ready, queue.counts.delayed) == (3, 3)
        await head.ack()
        assert (queue.counts.ready, queue.counts.delayed) == (3, 2)
        await anyio.sleep(9)
        assert (queue.counts.ready, queue.counts.delayed) == (3, 0)


async def test_a_queue_shows_its_name_and_counts_and_changes_nothing_by_it(make: Make) -> None:
    """Before, inside and after its block; not even what is due is done by asking."""
    queue = make("orders", lease=5)
    name = type(getattr(queue, "one", queue)).__name__
    assert _shown(queue) == f"<{name} orders: not open>"
    async with queue:
        await fill(queue, *range(3))
        await (await queue.receive()).nack(delay=100)
        await queue.receive()
        words = "2 ready, 1 in flight, 0 acked, 0 dead, 0 dropped, 3 accepted, 1 delayed"
        facts = len(recorded())
        assert _shown(queue) == f"<{name} orders: {words}>"
        assert len(recorded()) == facts
    assert _shown(queue) == f"<{name} orders: not open>"


def _shown(queue: Any) -> str:
    return repr(getattr(queue, "one", queue))


# Time to live


async def test_a_message_lives_as_long_as_it_was_given(make: Make) -> None:
    """Seconds from its creation, over at the very instant, as with the deadline that they come to."""
    async with make("orders") as queue:
        message = Message("short", ttl=5)
        assert message.deadline == pytest.approx(anyio.current_time() + 5)
        await queue.put(message)
        await anyio.sleep(5 - TICK)
        assert (await queue.receive()).message == message
        await queue.put(Message("over", ttl=5))
        await anyio.sleep(5)
        with pytest.raises(Empty):
            await queue.receive(timeout=0)
        assert queue.counts.dropped == 1
        assert Message("for ever", ttl=math.inf).deadline is None


async def test_a_deadline_without_end_is_none(make: Make) -> None:
    """In memory as in a file, whether the message comes out or dies."""
    async with make("orders", policy=ONCE) as queue:
        message = Message("for ever", deadline=math.inf)
        await queue.put(message)
        lease = await queue.receive()
        assert (lease.message, lease.message.deadline) == (message, None)
        await lease.nack()
        await anyio.sleep(TICK)
        (letter,) = await letters(queue)
        assert letter.deadline is None


@pytest.mark.parametrize("wrong", [-1, math.nan, "5", True])
async def test_a_time_to_live_that_is_no_duration_is_refused(make: Make, wrong: Any) -> None:
    """Where it is given, in words; and one message has one end."""
    with pytest.raises(ValueError, match="ttl must be a number of seconds"):
        Message("order", ttl=wrong)
    with pytest.raises(ValueError, match="not both"):
        Message("order", ttl=5, deadline=7)


# Prefetched


@pytest.mark.parametrize("prefetch", [2, 4])
async def test_what_was_prefetched_does_not_die_of_leases_that_nobody_began(
    make: Make, prefetch: int
) -> None:
    """A slow worker holds more than it can do in time: what it did not begin comes back without a failure."""
    async with make("orders", lease=10, policy=ONCE) as queue:
        await fill(queue, *range(6))
        done: list[Any] = []
        async with Consumer(queue, prefetch=prefetch) as leases:
            async for lease in leases:
                await anyio.sleep(8)
                assert await lease.ack() is Settled.DONE
                assert lease.failures == 0
                done.append(lease.message.body)
                if len(done) == 6:
                    break
        assert sorted(done) == list(range(6))
        assert queue.counts == (0, 0, 6, 0, 0, 6, 0)
    holds()


async def test_what_a_worker_began_and_did_not_end_does_count(make: Make) -> None:
    """A lease that runs out in somebody's hands is a failure, however it was fetched."""
    async with make("orders", lease=10, policy=ONCE) as queue:
        await fill(queue, 1, 2)
        async with Consumer(queue, prefetch=2) as leases:
            async for _ in leases:
                await anyio.sleep(10 + TICK)
                break
        assert (queue.counts.dead, queue.counts.ready) == (1, 1)
        assert (await queue.receive()).failures == 0
    holds()


@pytest.mark.parametrize("error", [None, ConnectionError("away")], ids=["cancelled", "error"])
async def test_a_consumer_that_is_left_returns_what_it_has_not_begun(
    make: Make, error: Exception | None
) -> None:
    """By a cancellation or an error of the block: ready at once, while the lease in hand runs on."""

    async def work() -> None:
        async with Consumer(queue, prefetch=3) as leases:
            async for _ in leases:
                if error is not None:
                    raise error
                await anyio.sleep(5)

    async with make("orders", lease=1000, policy=ONCE) as queue:
        await fill(queue, *range(4))
        with anyio.move_on_after(1), suppress(ConnectionError):
            await work()
        assert queue.counts[:2] == (3, 1)
    holds()


async def test_a_fault_of_the_queue_comes_out_of_the_iteration_as_itself(make: Make) -> None:
    """Not in a group, and after what had been fetched before it."""

    class Fails:
        def __init__(self, queue: Any) -> None:
            self._queue, self.name, self._fetched = queue, queue.name, 0

        async def receive(self, **settings: Any) -> Any:
            self._fetched += 1
            if self._fetched > 2:
                raise ConnectionError("the broker is down")
            return await self._queue.receive(**settings)

    async def work(queue: Any) -> None:
        async with Consumer(Fails(queue), prefetch=4) as leases:  # type: ignore[arg-type]
            async for lease in leases:
                await anyio.sleep(1)
                await lease.ack()

    async with make("orders") as queue:
        await fill(queue, *range(4))
        with pytest.raises(ConnectionError, match="the broker is down"):
            await work(queue)
        assert queue.counts[:3] == (2, 0, 2)


# Odd names and reasons


@pytest.mark.parametrize("odd", ["", "a\0b", "\N{HOT BEVERAGE}", "x" * 100_000])
async def test_odd_text_is_kept_exactly(make: Make, odd: str) -> None:
    """As body, header, reason and consumer, in memory and on the way through a file."""
    async with make("orders", policy=ONCE) as queue:
        message = Message({odd: [odd]}, key=None if "\0" in odd else odd, headers={odd: odd})
        await queue.put(message)
        lease = await queue.receive(consumer=odd)
        assert (lease.message, lease.consumer) == (message, odd)
        await lease.nack(reason=odd)
        await anyio.sleep(TICK)
        (letter,) = await letters(queue)
        assert letter.headers["dead-letter-reason"] == f"1 failures, the last: {odd or 'nacked'}"


@pytest.mark.parametrize("odd", ["\ud800", 5, None])
async def test_what_no_file_can_keep_is_refused_where_it_is_given(make: Make, odd: Any) -> None:
    """A dead letter with such a reason would never arrive, and its message would come round for ever."""
    async with make("orders", policy=ONCE) as queue:
        await fill(queue, "order 1")
        lease = await queue.receive(timeout=0)
        for settle in (lease.nack, lease.reject):
            with pytest.raises(ValueError, match="reason must be text"):
                await settle(reason=odd)
        assert await lease.extend(0) is Settled.DONE
        if odd is not None:
            for receive in (queue.receive, partial(queue.receive_batch, 2)):
                with pytest.raises(ValueError, match="consumer must be text"):
                    await receive(consumer=odd)
        assert queue.counts == (1, 0, 0, 0, 0, 1, 0)


async def test_an_error_with_odd_words_is_a_failure_like_any_other(make: Make) -> None:
    """The worker goes on, and the dead letter has the words, as far as they can be written."""

    class Odd(Exception):
        def __repr__(self) -> str:
            return "Odd(\ud800)"

    async def handle(message: Message) -> None:
        raise Odd

    async with make("orders", policy=ONCE) as queue:
        await fill(queue, "order 1")
        await process(await queue.receive(), handle)
        await anyio.sleep(TICK)
        (letter,) = await letters(queue)
        assert letter.headers["dead-letter-reason"].endswith(r"the handler raised Odd(\ud800)")


async def test_a_heartbeat_that_fails_once_ends_no_work(make: Make) -> None:
    """A fault that passes while the lease runs is told, and the next beat extends it."""
    beats = 0

    async with make("orders", lease=9) as queue:
        await fill(queue, "order 1")
        lease = await queue.receive()
        home: Any = lease.queue
        extend = home.extend

        async def fails_once(lease: Lease, seconds: float) -> Settled:
            nonlocal beats
            beats += 1
            if beats == 2:
                raise ConnectionError("the broker is down")
            return await extend(lease, seconds)  # type: ignore[no-any-return]

        home.extend = fails_once
        with anyio.fail_after(100):
            async with heartbeat(lease):
                await anyio.sleep(30)
        assert beats > 5
        assert await lease.ack() is Settled.DONE
    assert "not extended" in recorded().filter("note")[0].data["text"]


# What is told


async def test_what_happens_to_a_message_is_told_with_who_did_it_and_why(make: Make) -> None:
    """The same facts in every queue: from them alone figures are drawn and answers judged."""
    start = anyio.current_time()
    async with make("orders", lease=5, capacity=2, policy=DeadLetterPolicy(max_failures=2)) as queue:
        with acting("shop"):
            await queue.put(Message("order", id="m1", key="a"))
            await queue.put(Message("later", id="m2", key="a", ttl=20))
            with pytest.raises(QueueFull):
                await queue.put(Message("too much", id="m3"))
        with acting("billing"):
            first = await queue.receive()
            await first.extend(7)
            await first.nack(delay=1, reason="busy")
            await anyio.sleep(1)
            await (await queue.receive()).extend(0)
            late = await queue.receive(consumer="stock")
            await anyio.sleep(5 + TICK)
            await late.ack()
            await anyio.sleep(20)
            with pytest.raises(Empty):
                await queue.receive(timeout=0)
            await fill(queue, "m4")
            await queue.purge()
            await fill(queue, "m5")
            await (await queue.receive()).ack()
        queue.close()
        with acting("shop"), pytest.raises(QueueClosed):
            await queue.put(Message("too late", id="m6"))
    told = [e for e in recorded() if e.where == "orders" and e.message]
    assert [(e.kind, e.message, e.who, {**e.data, **_until(e, start)}) for e in told] == [
        ("sent", "m1", "shop", {"label": "order", "key": "a"}),
        ("accepted", "m1", "shop", {"key": "a"}),
        ("sent", "m2", "shop", {"label": "later", "key": "a"}),
        ("accepted", "m2", "shop", {"key": "a"}),
        ("sent", "m3", "shop", {"label": "too much", "key": None}),
        ("refused", "m3", "shop", {"reason": "full"}),
        ("delivered", "m1", "billing", {"lease": 1, "deliveries": 1, "until": 5}),
        ("extended", "m1", "billing", {"lease": 1, "until": 7}),
        ("nacked", "m1", "billing", {"lease": 1, "delay": 1, "reason": "busy"}),
        ("returned", "m1", "", {"lease": 1, "reason": "its delay is over"}),
        ("delivered", "m1", "billing", {"lease": 2, "deliveries": 2, "until": 6}),
        ("returned", "m1", "", {"lease": 2, "reason": "released"}),
        ("delivered", "m1", "stock", {"lease": 3, "deliveries": 3, "until": 6}),
        ("expired", "m1", "stock", {"lease": 3}),
        (
            "dead",
            "m1",
            "",
            {"lease": 3, "reason": "2 failures, the last: the lease expired", "to": "orders.dead"},
        ),
        ("stale", "m1", "billing", {"lease": 3, "attempted": "ack"}),
        ("dropped", "m2", "", {"reason": EXPIRED}),
        ("sent", "m4", "billing", {"label": "m4", "key": None}),
        ("accepted", "m4", "billing", {"key": None}),
        ("dropped", "m4", "", {"lease": 0, "reason": "purged"}),
        ("sent", "m5", "billing", {"label": "m5", "key": None}),
        ("accepted", "m5", "billing", {"key": None}),
        ("delivered", "m5", "billing", {"lease": 4, "deliveries": 1, "until": 31}),
        ("acked", "m5", "billing", {"lease": 4}),
        ("sent", "m6", "shop", {"label": "too late", "key": None}),
        ("refused", "m6", "shop", {"reason": "closed"}),
    ]


def _until(event: Event, start: float) -> dict[str, int]:
    return {"until": round(event.data["until"] - start)} if "until" in event.data else {}
