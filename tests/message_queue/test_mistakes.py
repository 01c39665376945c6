"""The mistakes of message queues: the promise that each breaks holds for ours and not for the broken one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, DeadLetterPolicy, Ledger, MessageQueue, Queue, Worker
from eip_ref.trace import Trace, record, whoami
from tests.broken.message_queue import (
    AcksOnReceive,
    CountsOnlyNacks,
    DropsTheDead,
    NeedsNoLease,
    RemembersForEver,
    acks_in_finally,
    claims_global_fifo,
    retries_in_place,
)

Handler = Callable[[Message], Awaitable[None]]
Work = Callable[[Queue, Handler], Awaitable[None]]


async def pack(message: Message) -> None:
    """A handler that takes 3 seconds and then has its effect."""
    await anyio.sleep(3)
    record("effect", whoami(), message.id, effect="packed")


async def work(queue: Queue, handle: Handler) -> None:
    await Worker(queue, handle).run()


async def for_a_minute(queue: MessageQueue, work: Work, handle: Handler) -> None:
    """One worker works on order 1."""
    async with queue:
        await queue.put(Message("order 1"))
        with anyio.move_on_after(60):
            await work(queue, handle)


# Ack on receive, no lease, counting only nacks: what happens to an order whose worker dies


def after_a_crash(make: Callable[..., MessageQueue]) -> Trace:
    """The worker dies in the middle of its work, and begins anew a second later."""

    async def scenario() -> None:
        crashes = (Crash(at=2, restart_after=1),)

        async def shop(queue: Queue, handle: Handler) -> None:
            await Participant("worker", work, (queue, handle), crashes).run()

        await for_a_minute(make("orders", lease=10), shop, pack)

    return simulate(scenario)


def test_acking_on_receive_loses_what_the_worker_died_of() -> None:
    """At least once: the order of a dead worker is packed by the next one."""
    assert after_a_crash(MessageQueue).count("effect") == 1
    broken = after_a_crash(AcksOnReceive)
    assert (broken.count("acked"), broken.count("effect")) == (1, 0)


def test_without_a_lease_a_dead_worker_keeps_its_order() -> None:
    """A lease ends, whoever is dead: the order is handed out again, and nobody has to notice the death."""
    assert after_a_crash(MessageQueue).count("delivered") == 2
    broken = after_a_crash(NeedsNoLease)
    assert (broken.count("delivered"), broken.count("acked", "effect")) == (1, 0)


def test_counting_only_nacks_a_crash_loop_never_ends() -> None:
    """A message that kills its worker each time is a dead letter after so many failures."""

    async def scenario(make: Callable[..., MessageQueue]) -> int:
        async with make("orders", lease=5, policy=DeadLetterPolicy(max_failures=3)) as queue:
            await queue.put(Message("poison"))
            with anyio.move_on_after(100):
                while not queue.counts.dead:
                    await queue.receive()  # and the worker dies of it
            return queue.counts.dead

    ours, broken = simulate(scenario, MessageQueue), simulate(scenario, CountsOnlyNacks)
    assert (ours.result, ours.count("delivered", where="orders")) == (1, 3)
    assert (broken.result, broken.count("delivered", where="orders")) == (0, 20)


# Dead letters that drop


def test_dead_letters_that_drop_lose_what_was_accepted() -> None:
    """Every order is packed, waits, or is among the dead letters: none is only counted there."""

    async def scenario(make: Callable[..., MessageQueue]) -> tuple[int, int]:
        async with make("graveyard", policy=NEVER, capacity=1) as graveyard:
            policy = DeadLetterPolicy(max_failures=1)
            async with MessageQueue("orders", policy=policy, dead_letters=graveyard) as queue:
                for n in range(3):
                    await queue.put(Message(n))
                    await (await queue.receive()).nack()
                    await anyio.sleep(0)
                await anyio.sleep(0.1)
                return queue.counts.dead, len(graveyard)

    assert simulate(scenario, MessageQueue).result == (1, 1)
    assert simulate(scenario, DropsTheDead).result == (3, 1)


# Retrying inside the handler


def test_retrying_inside_the_handler_works_twice_on_what_one_worker_should_do() -> None:
    """Give a failed message back: tried again in place it outlives its lease, and has two effects."""

    async def scenario(wrap: Callable[[Handler], Handler]) -> None:
        async def payment_is_away_at_first(message: Message) -> None:
            if anyio.current_time() < 14:
                raise ConnectionError("payment service away")
            await pack(message)

        async def two(queue: Queue, handle: Handler) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(work, queue, handle)
                group.start_soon(work, queue, handle)

        await for_a_minute(MessageQueue("orders", lease=10), two, wrap(payment_is_away_at_first))

    ours, broken = simulate(scenario, lambda handle: handle), simulate(scenario, retries_in_place)
    assert (ours.count("effect"), ours.count("stale", "expired")) == (1, 0)
    assert (broken.count("effect"), broken.count("stale")) == (2, 1)


# Acking in finally


def test_acking_in_finally_loses_what_failed_and_what_was_cancelled() -> None:
    """A handler that raised or was cancelled has not done the work: it is not acked."""

    async def scenario(work: Work, handle: Handler) -> int:
        queue = MessageQueue("orders", lease=100)
        await for_a_minute(queue, work, handle)
        return queue.counts.acked

    async def fails(message: Message) -> None:
        raise ConnectionError("payment service away")

    async def never_ends(message: Message) -> None:
        await anyio.sleep_forever()

    for handle in (fails, never_ends):
        assert simulate(scenario, work, handle).count("acked") == 0
        assert simulate(scenario, acks_in_finally, handle).count("acked") == 1


# Claiming global FIFO


def test_several_workers_keep_the_order_of_starts_and_not_that_of_effects() -> None:
    """8. In order from start to end is what one worker does, or each key for itself."""

    async def scenario(work: Work, keys: int) -> list[int]:
        done = list[int]()

        async def handle(message: Message) -> None:
            await anyio.sleep(6 - message.body)  # the later, the quicker
            done.append(message.body)

        async with MessageQueue("orders") as queue:
            for n in range(6):
                await queue.put(Message(n, key=f"customer {n % keys}" if keys else None))
            queue.close()
            await work(queue, handle)
        return done

    def started(trace: Trace) -> list[Any]:
        label = {event.message: event.data["label"] for event in trace.filter("sent")}
        return [label[event.message] for event in trace.filter("delivered")]

    one, broken = simulate(scenario, work, 0), simulate(scenario, claims_global_fifo, 0)
    assert one.result == list(range(6))
    assert broken.result != one.result
    assert started(broken) == started(one)
    keyed: list[int] = simulate(scenario, claims_global_fifo, 2).result
    assert keyed != one.result
    assert [n for n in keyed if n % 2] == [1, 3, 5]
    assert [n for n in keyed if not n % 2] == [0, 2, 4]


# Unbounded dedup memory


def test_a_memory_of_ids_without_a_bound_grows_with_every_message() -> None:
    """What is remembered for dedup is as much as was asked for, however many messages come."""

    async def scenario(make: Callable[..., Ledger]) -> int:
        ledger = make(remember=10)
        for n in range(1000):
            async with ledger.transaction(f"order {n}"):
                pass
        return len(ledger)

    assert simulate(scenario, Ledger).result == 10
    assert simulate(scenario, RemembersForEver).result == 1000
