"""Consumers: prefetch, heartbeat, the four ways a handler can end, and shutdown."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from eip_ref import message_queue
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import (
    AckMode,
    Backoff,
    Consumer,
    DeadLetterPolicy,
    Lease,
    MessageQueue,
    Settled,
    Worker,
    heartbeat,
    process,
)
from eip_ref.trace import Trace, acting, record, whoami
from tests.backends import Play, everywhere, recorded
from tests.docstrings import example

Handle = Callable[[Message], Awaitable[None]]


async def slow(message: Message) -> None:
    """A handler that takes 3 seconds and then has its effect."""
    await anyio.sleep(3)
    record("effect", whoami(), message.id, effect="invoice booked")


class FarAway(MessageQueue):
    """A queue that every answer takes a second to reach."""

    async def ack(self, lease: Lease) -> Settled:
        await anyio.sleep(1)
        return await super().ack(lease)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        await anyio.sleep(1)
        return await super().nack(lease, delay=delay, reason=reason)

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        await anyio.sleep(1)
        return await super().extend(lease, seconds)


async def fill(queue: MessageQueue, count: int) -> None:
    with acting("shop"):
        for n in range(count):
            await queue.put(Message(n))


# 7. Prefetch


@everywhere
@pytest.mark.parametrize("prefetch", [1, 3])
def test_a_consumer_never_holds_more_than_its_prefetch(play: Play, prefetch: int) -> None:
    """The credit is used up by unsettled leases and comes back when they are settled."""

    async def scenario() -> list[int]:
        held = []
        async with MessageQueue("orders", lease=1000) as queue:
            await fill(queue, 10)
            queue.close()
            async with Consumer(queue, prefetch=prefetch) as leases:
                async for lease in leases:
                    await anyio.sleep(1)
                    held.append(queue.counts.in_flight)
                    await lease.ack()
        return held

    held = play(scenario).result
    assert max(held) == prefetch
    assert len(held) == 10


@everywhere
def test_a_large_prefetch_starves_the_consumer_that_comes_later(play: Play) -> None:
    """With prefetch 1 two workers share the work; with a large one the first keeps it all."""

    async def scenario(prefetch: int) -> tuple[int, int]:
        async with MessageQueue("orders", lease=1000) as queue, anyio.create_task_group() as group:
            await fill(queue, 10)
            queue.close()
            for number in (1, 2):
                with acting(f"worker-{number}"):
                    group.start_soon(Worker(queue, slow, prefetch=prefetch).run)
                await anyio.sleep(1)
        return prefetch, 0

    def shares(prefetch: int) -> list[int]:
        trace = play(partial(scenario, prefetch))
        return [trace.count("finished", who=f"worker-{number}") for number in (1, 2)]

    assert shares(1) == [5, 5]
    assert shares(10) == [10, 0]


@everywhere
def test_a_consumer_that_leaves_returns_what_it_has_not_begun(play: Play) -> None:
    """Prefetched leases are released at once, without a failure."""

    async def scenario() -> None:
        async with MessageQueue("orders") as queue:
            await fill(queue, 5)
            async with Consumer(queue, prefetch=4) as leases:
                async for lease in leases:
                    await lease.ack()
                    break
            assert queue.counts[:3] == (4, 0, 1)
            assert (await queue.receive(timeout=0)).failures == 0

    play(scenario)


@everywhere
def test_a_cancelled_consumer_returns_what_it_has_not_begun(play: Play) -> None:
    """Also when the queue is far away: others may go on at once, and need not wait for the leases."""

    async def scenario() -> tuple[int, ...]:
        async with FarAway("orders", lease=1000) as queue:
            await fill(queue, 3)
            with anyio.move_on_after(1):
                async with Consumer(queue, prefetch=3):
                    await anyio.sleep_forever()
            return tuple(queue.counts[:2])

    assert play(scenario).result == (3, 0)


@everywhere
def test_a_consumer_asks_for_leases_of_its_own_length(play: Play) -> None:
    """The queue's own is for those who do not say."""

    async def scenario() -> float:
        async with MessageQueue("orders", lease=5) as queue:
            await fill(queue, 1)
            async with Consumer(queue, lease=50) as leases:
                async for lease in leases:
                    return lease.seconds
        return 0

    assert play(scenario).result == 50


@everywhere
def test_a_lease_that_expired_while_it_waited_is_not_handed_out(play: Play) -> None:
    """A prefetched message whose lease ran out, since its return took too long, is somebody else's by now."""

    async def scenario() -> None:
        async with FarAway("orders", lease=5, policy=DeadLetterPolicy(max_failures=None)) as queue:
            await fill(queue, 4)
            async with Consumer(queue, prefetch=4) as leases:
                async for lease in leases:
                    assert not lease.over
                    assert await lease.ack()
                    if queue.counts.acked == 4:
                        break
                    await anyio.sleep(4)

    assert play(scenario).count("expired") > 0


# 11. Four outcomes, on two schedulers but for the crash, which only virtual time can do


def outcome(play: Play, handle: Handle, *, timeout: float = math.inf, cancel_at: float = math.inf) -> Trace:
    async def scenario() -> None:
        async with MessageQueue("orders", lease=10) as queue:
            await fill(queue, 1)
            with acting("worker"), anyio.move_on_after(cancel_at):
                await Worker(queue, handle, timeout=timeout).run()

    async def bounded() -> None:
        with anyio.move_on_after(11):
            await scenario()

    return play(bounded)


@everywhere
def test_a_handler_that_returns_is_acked_after_its_effect(play: Play) -> None:
    """Ack last: effect, finished, acked, in this order."""
    trace = outcome(play, slow)
    assert [e.kind for e in trace.filter("effect", "finished", "acked", "nacked")] == [
        "effect",
        "finished",
        "acked",
    ]


@everywhere
def test_a_handler_that_raises_is_nacked_with_its_reason(play: Play) -> None:
    """The message comes back, and the error is in the trace."""

    async def broken(message: Message) -> None:
        raise KeyError("no such customer")

    trace = outcome(play, broken)
    assert trace.count("acked") == 0
    assert "no such customer" in trace.filter("failed")[0].data["error"]
    assert "no such customer" in trace.filter("nacked")[0].data["reason"]
    assert trace.count("delivered") > 1


@everywhere
def test_a_handler_that_takes_too_long_is_cancelled_and_nacked(play: Play) -> None:
    """A timeout is not a success, and not a certain failure: the reason says only that it was not done."""
    trace = outcome(play, slow, timeout=2)
    assert trace.count("effect") == trace.count("acked") == 0
    assert trace.filter("nacked")[0].data["reason"] == "not done after 2 s"
    assert trace.filter("nacked")[0].at == pytest.approx(2)


@everywhere
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancellation_after_the_handler_has_ended_still_lets_the_queue_hear_of_it(
    play: Play, fails: bool
) -> None:
    """The effect has happened: the ack, or the nack, is shielded until it has arrived."""

    async def handle(message: Message) -> None:
        await slow(message)
        if fails:
            raise ConnectionError("after the effect")

    async def scenario() -> None:
        async with FarAway("orders", lease=1000) as queue:
            await fill(queue, 1)
            with anyio.move_on_after(3.5):
                await process(await queue.receive(), handle)

    trace = play(scenario)
    assert (trace.count("acked"), trace.count("nacked")) == ((0, 1) if fails else (1, 0))


@everywhere
def test_ack_first_does_not_begin_on_a_lease_that_is_over(play: Play) -> None:
    """At most once: an ack that is stale is no permission to work, for somebody else may have begun."""

    async def scenario() -> Settled:
        async with MessageQueue("orders", lease=2) as queue:
            await fill(queue, 1)
            lease = await queue.receive()
            await anyio.sleep(3)
            return await process(lease, slow, ack=AckMode.FIRST)

    trace = play(scenario)
    assert trace.result is Settled.STALE
    assert trace.count("effect", "started") == 0


@everywhere
def test_a_timeout_of_the_handlers_own_is_an_ordinary_failure(play: Play) -> None:
    """A TimeoutError raised inside is not mistaken for the worker's limit."""

    async def impatient(message: Message) -> None:
        with anyio.fail_after(1):
            await anyio.sleep(5)

    trace = outcome(play, impatient, timeout=100)
    assert "TimeoutError" in trace.filter("nacked")[0].data["reason"]


@everywhere
def test_a_cancelled_handler_settles_nothing_and_the_lease_expires(play: Play) -> None:
    """Cancellation is not failure: no ack, no nack; the message comes back by its lease alone."""
    trace = outcome(play, slow, cancel_at=1)
    assert trace.count("cancelled") == 1
    assert trace.count("acked", "nacked", "failed", "effect") == 0

    async def scenario() -> None:
        async with MessageQueue("orders", lease=10) as queue:
            await fill(queue, 1)
            with anyio.move_on_after(1):
                await process(await queue.receive(), slow)
            again = await queue.receive()
            assert anyio.current_time() >= again.expires - 10
            assert (again.deliveries, again.failures) == (2, 1)

    play(scenario)


def test_a_process_that_dies_settles_nothing_not_even_in_finally() -> None:
    """After a crash no line of the handler runs; another worker gets the message at expiry."""

    async def handle(message: Message) -> None:
        try:
            await slow(message)
        finally:
            record("note", "worker", text="finally")

    async def scenario() -> None:
        async with MessageQueue("orders", lease=10) as queue, anyio.create_task_group() as group:
            await fill(queue, 1)
            queue.close()
            crashes = (Crash(at=2),)
            group.start_soon(Participant("worker-1", Worker(queue, handle).run, crashes=crashes).run)
            group.start_soon(Participant("worker-2", Worker(queue, slow).run).run)

    trace = simulate(scenario)
    assert trace.count("note") == 0
    assert trace.filter("delivered")[1].at == 10
    assert trace.filter("effect")[0].who == "worker-2"


@pytest.mark.parametrize(("ack", "lost", "repeated"), [(AckMode.FIRST, 1, 0), (AckMode.LAST, 0, 1)])
def test_the_guarantee_is_decided_by_when_the_ack_is_sent(ack: AckMode, lost: int, repeated: int) -> None:
    """9. Ack first loses the message of a crash; ack last repeats it. Swept over every await."""

    async def handle(message: Message) -> None:
        await anyio.sleep(1)
        record("effect", whoami(), message.id, effect="e-mail sent")
        await anyio.sleep(1)

    async def scenario(step: int) -> int:
        async with MessageQueue("orders", lease=10) as queue:
            await fill(queue, 1)
            queue.close()
            crash = Crash(step=step, restart_after=1)
            worker = Participant("worker", Worker(queue, handle, ack=ack).run, crashes=(crash,))
            await worker.run()
        return worker.steps

    effects = []
    for step in range(1, 100):
        trace = simulate(scenario, step)
        effects.append(trace.count("effect"))
        if trace.count("crashed") == 0:
            break
    assert (0 in effects) == bool(lost)
    assert (2 in effects) == bool(repeated)
    assert effects[-1] == 1


# Heartbeat


@everywhere
def test_a_heartbeat_carries_a_handler_past_its_lease(play: Play) -> None:
    """A slow handler with a short lease is delivered once."""

    async def scenario() -> None:
        async with MessageQueue("orders", lease=2) as queue:
            await fill(queue, 1)
            queue.close()
            await Worker(queue, slow, heartbeat=True).run()

    trace = play(scenario)
    assert trace.count("delivered") == trace.count("acked") == 1
    assert trace.count("extended") > 0


@everywhere
def test_a_heartbeat_beats_as_often_as_told(play: Play) -> None:
    """At once, and then after each `every` seconds."""

    async def scenario() -> None:
        async with MessageQueue("orders", lease=30) as queue:
            await fill(queue, 1)
            async with heartbeat(await queue.receive(), interval=1):
                await anyio.sleep(4.5)

    assert play(scenario).count("extended") == 5


@everywhere
def test_without_a_heartbeat_the_same_handler_works_twice_and_its_ack_is_stale(play: Play) -> None:
    """A retry inside a long handler while the lease runs out is how duplicates are made."""

    async def scenario() -> Settled:
        async with MessageQueue("orders", lease=2) as queue:
            await fill(queue, 1)
            first = await queue.receive()
            async with anyio.create_task_group() as group:
                group.start_soon(self_acking, queue)
                settled = await process(first, slow)
                group.cancel_scope.cancel()
            return settled

    async def self_acking(queue: MessageQueue) -> None:
        await process(await queue.receive(lease=100), slow)

    trace = play(scenario)
    assert trace.result is Settled.STALE
    assert trace.count("delivered") == 2


@everywhere
def test_a_lost_lease_cancels_the_work_under_a_heartbeat(play: Play) -> None:
    """When the heartbeat is answered "stale", somebody else may be at work: this one stops."""

    async def scenario() -> str:
        async with MessageQueue("orders", lease=2) as queue:
            await fill(queue, 1)
            lease = await queue.receive()
            await anyio.sleep(3)
            async with heartbeat(lease):
                await anyio.sleep(10)
                return "worked on"
            return "stopped"

    assert play(scenario).result == "stopped"


async def test_a_heartbeat_slower_than_its_lease_is_refused() -> None:
    """It would lose the lease between two beats."""
    async with MessageQueue("orders", lease=6) as queue:
        await fill(queue, 1)
        lease = await queue.receive()
        with pytest.raises(ValueError, match="interval must be less than the lease, 6 s, and not 6"):
            await heartbeat(lease, 6).__aenter__()


async def test_a_heartbeat_that_is_not_answered_ends_with_the_lease() -> None:
    """Whoever hears nothing from the queue until then no longer has the message."""

    class Silent(MessageQueue):
        async def extend(self, lease: Lease, seconds: float) -> Settled:
            await anyio.sleep_forever()
            raise AssertionError

    async with Silent("orders", lease=6) as queue:
        await fill(queue, 1)
        lease = await queue.receive()
        with anyio.fail_after(7):
            async with heartbeat(lease):
                await anyio.sleep_forever()
        assert anyio.current_time() >= lease.expires


async def test_a_heartbeat_that_failed_looks_again_when_the_lease_is_over() -> None:
    """The next beat may be far behind that, and somebody else has the message by then."""

    class Away(MessageQueue):
        async def extend(self, lease: Lease, seconds: float) -> Settled:
            if anyio.current_time() > lease.expires - 2:
                raise ConnectionError("the broker is down")
            return await super().extend(lease, seconds)

    async with Away("orders", lease=6) as queue:
        await fill(queue, 1)
        lease = await queue.receive()
        start = anyio.current_time()
        async with heartbeat(lease, interval=5):
            await anyio.sleep_forever()
        assert anyio.current_time() - start == pytest.approx(6, abs=0.5)


@everywhere
def test_an_error_under_a_heartbeat_comes_out_as_itself(play: Play) -> None:
    """No exception group around it."""

    async def scenario() -> None:
        async with MessageQueue("orders", lease=2) as queue:
            await fill(queue, 1)
            lease = await queue.receive()

            async def fail() -> None:
                async with heartbeat(lease):
                    await anyio.sleep(5)
                    raise KeyError("tea")

            with pytest.raises(KeyError, match="tea"):
                await fail()

    play(scenario)


# Shutdown


@everywhere
@pytest.mark.parametrize(("within", "acked"), [(10, 1), (2.5, 1), (1.0, 0)])
def test_a_stopping_worker_finishes_in_bounds_and_returns_the_rest(
    play: Play, within: float, acked: int
) -> None:
    """Intake stops at once; the message in hand gets its bound; everything else is ready again."""

    async def scenario() -> tuple[int, ...]:
        async with MessageQueue("orders", lease=100) as queue:
            await fill(queue, 4)
            worker = Worker(queue, slow, prefetch=3)
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run)
                await anyio.sleep(1)
                assert queue.counts.in_flight == 3
                worker.stop(within=within)
                start = anyio.current_time()
            assert anyio.current_time() - start <= within
            return tuple(queue.counts)[:3]

    assert play(scenario).result == (4 - acked, 0, acked)


@everywhere
@pytest.mark.parametrize("within", [10, math.inf])
def test_a_worker_stopped_before_it_runs_takes_nothing(play: Play, within: float) -> None:
    """stop() is heard whenever it comes."""

    async def scenario() -> None:
        async with MessageQueue("orders") as queue:
            await fill(queue, 1)
            worker = Worker(queue, slow)
            worker.stop(within=within)
            await worker.run()
            assert len(queue) == 1

    play(scenario)


async def test_a_worker_that_waits_for_its_first_message_stops_at_once() -> None:
    """There is nothing to return; a bound that is none is refused."""
    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        worker = Worker(queue, slow)
        group.start_soon(worker.run)
        await anyio.sleep(1)
        with pytest.raises(ValueError, match="within must be"):
            worker.stop(within=-1)
        worker.stop(within=0)


async def test_tasks_that_share_a_consumer_all_get_work_and_all_hear_of_the_end() -> None:
    """Nobody waits for ever because somebody else waits too."""
    done = list[str]()

    async def work(name: str) -> None:
        async for lease in consumer:
            await anyio.sleep(1)
            await lease.ack()
            done.append(name)
        done.append("end")

    async with MessageQueue("orders") as queue, Consumer(queue, prefetch=2) as consumer:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for name in "ab":
                    group.start_soon(work, name)
                await anyio.sleep(1)
                await fill(queue, 2)
                await anyio.sleep(2)
                queue.close()
    assert sorted(done) == ["a", "b", "end", "end"]


async def test_a_lease_is_returned_also_when_its_extension_was_cancelled() -> None:
    """It had waited, and its work has not begun."""
    async with FarAway("orders", lease=10) as queue:
        await fill(queue, 1)
        async with Consumer(queue) as leases:
            await anyio.sleep(5)
            with anyio.move_on_after(0.001) as scope:
                await anext(leases)
        assert scope.cancelled_caught
        assert queue.counts[:2] == (1, 0)


async def test_after_the_stop_or_the_block_nothing_more_is_taken_or_handed_out() -> None:
    """Not even what was fetched before, and nobody waits for ever."""
    async with MessageQueue("orders") as queue:
        await fill(queue, 2)
        async with Consumer(queue, prefetch=3) as stopped:
            await anyio.sleep(1)
            stopped.stop()
            await fill(queue, 1)
            await anyio.sleep(1)
            assert queue.counts[:2] == (1, 2)
            with anyio.fail_after(10):
                assert [lease async for lease in stopped] == []
        async with Consumer(queue) as left:
            pass
        with anyio.fail_after(10):
            assert [lease async for lease in left] == []
        assert queue.counts.ready == 3


def test_a_prefetch_below_one_is_refused() -> None:
    """A consumer without credit could never receive."""
    with pytest.raises(ValueError, match="prefetch must be"):
        Consumer(MessageQueue("orders"), prefetch=0)


def test_a_lease_compares_by_identity() -> None:
    """Two leases are never taken for one another."""
    assert Lease.__eq__ is object.__eq__


def test_a_rest_grows_up_to_a_bound() -> None:
    """From failure to failure twice as long, and never more than `max_delay`, however many there were."""
    assert [Backoff(max_delay=5).seconds(failures) for failures in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]


@everywhere
@pytest.mark.parametrize("fails", [False, True])
def test_a_handler_may_be_a_plain_function(play: Play, fails: bool) -> None:
    """It is acked when it returns, once, and nacked when it raises."""

    def plain(message: Message) -> None:
        record("effect", whoami(), message.id, effect="label printed")
        if fails:
            raise KeyError("no such customer")

    async def scenario() -> None:
        async with MessageQueue("orders", policy=DeadLetterPolicy(max_failures=1)) as queue:
            await fill(queue, 1)
            queue.close()
            await Worker(queue, plain).run()

    trace = play(scenario)
    assert trace.count("effect") == 1
    assert (trace.count("acked"), trace.count("dead")) == ((0, 1) if fails else (1, 0))


@everywhere
def test_an_error_in_the_block_of_a_consumer_comes_out_as_itself(play: Play) -> None:
    """And what was not begun is returned."""

    async def scenario() -> None:
        async with MessageQueue("orders") as queue:
            await fill(queue, 3)

            async def fail() -> None:
                async with Consumer(queue, prefetch=2) as leases:
                    async for lease in leases:
                        await lease.ack()
                        raise KeyError("tea")

            with pytest.raises(KeyError, match="tea"):
                await fail()
            assert queue.counts[:3] == (2, 0, 1)

    play(scenario)


@everywhere
def test_a_fault_of_the_queue_comes_out_of_the_consumer(play: Play) -> None:
    """As itself; its iteration does not go on without messages, as if there were none."""

    class Broken(MessageQueue):
        async def receive(self, **settings: Any) -> Lease:
            raise ConnectionError("the broker is down")

    async def scenario() -> None:
        async with Broken("orders") as queue:
            with pytest.raises(ConnectionError, match="the broker is down"):
                await Worker(queue, slow).run()

    play(scenario)


async def test_a_lease_that_could_not_be_returned_in_time_ends_no_block() -> None:
    """It is noted, and the lease ends by itself."""

    class Broken(MessageQueue):
        async def extend(self, lease: Lease, seconds: float) -> Settled:
            raise ConnectionError("the broker is down")

    async with Broken("orders", lease=5) as queue:
        await fill(queue, 2)
        async with Consumer(queue, prefetch=2) as leases:
            lease = await anext(leases)
            await anyio.sleep(4.9)
            assert await lease.ack() is Settled.DONE
    assert ["the broker is down" in e.data["text"] for e in recorded().filter("note")] == [True]


class Stumbling(MessageQueue):
    """A queue that cannot be reached for one question."""

    stumbles = False

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        if self.stumbles:
            self.stumbles = False
            raise ConnectionError("the broker is away")
        return await super().extend(lease, seconds)


async def test_a_lease_that_could_not_be_returned_keeps_no_other_from_it() -> None:
    """A consumer that leaves: one message waits for the end of its lease, and the rest do not."""
    async with Stumbling("orders", lease=10) as queue:
        await fill(queue, 4)
        async with Consumer(queue, prefetch=4):
            await anyio.sleep(1)
            queue.stumbles = True
        assert queue.counts[:2] == (3, 1)
        await anyio.sleep(10)
        assert [(await queue.receive()).failures for _ in range(4)] == [1, 0, 0, 0]
    assert ["the broker is away" in e.data["text"] for e in recorded().filter("note")] == [True]


async def test_a_lease_that_could_not_be_extended_is_returned() -> None:
    """Its work has not begun: what the queue raised comes out, and no message has failed."""
    async with Stumbling("orders", lease=10) as queue:
        await fill(queue, 2)
        async with Consumer(queue, prefetch=2) as leases:
            await anyio.sleep(5)
            queue.stumbles = True
            with pytest.raises(ConnectionError, match="the broker is away"):
                await anext(leases)
        assert queue.counts[:2] == (2, 0)
        assert [(await queue.receive()).failures for _ in range(2)] == [0, 0]


@everywhere
def test_a_message_that_expired_while_it_waited_is_not_handed_out(play: Play) -> None:
    """Prefetched in time, its deadline passes before its turn: the queue gets it back, and drops it."""

    async def scenario() -> None:
        async with MessageQueue("orders", lease=1000) as queue:
            await fill(queue, 1)
            await queue.put(Message("late", deadline=anyio.current_time() + 2))
            queue.close()
            with anyio.fail_after(100):
                await Worker(queue, slow, prefetch=2).run()
            assert queue.counts == (0, 0, 1, 0, 1, 2, 0)

    assert play(scenario).count("started") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefetch": 0},
        {"prefetch": 1.5},
        {"timeout": math.nan},
        {"timeout": -1},
        {"ack": "sometimes"},
    ],
)
def test_wrong_settings_of_a_worker_are_refused_where_they_are_given(wrong: dict[str, Any]) -> None:
    """Not at the first message."""
    with pytest.raises(ValueError, match=r"must be|sometimes"):
        Worker(MessageQueue("orders"), slow, **wrong)


@pytest.mark.parametrize("wrong", [{"initial": math.nan}, {"factor": 0}, {"factor": 1e6}, {"max_delay": -1}])
def test_a_wrong_backoff_is_refused_by_name(wrong: dict[str, Any]) -> None:
    """Or a failed message would rest for ever, or not at all."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Backoff(**wrong)


# The example


def test_the_example_in_the_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """What a dead consumer had comes again when its lease is over."""
    code = example(message_queue).removeprefix("ready + in flight + acked + dead + dropped = accepted.")
    names = {**vars(message_queue), "Message": Message, "anyio": anyio}
    exec(code, names)
    simulate(names["a_consumer_dies"])
    assert capsys.readouterr().out.splitlines() == [
        "  0 s  order 2, delivery 1",
        " 30 s  order 1, delivery 2",
        "in the end: Counts(ready=0, in_flight=0, acked=2, dead=0, dropped=0, accepted=2, delayed=0)",
    ]
