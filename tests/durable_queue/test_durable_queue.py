"""The durable queue: what it adds to the contract of every queue, over restarts, duplicates and clocks."""

from __future__ import annotations

import math
import re
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from eip_ref import durable_queue
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import (
    NEVER,
    DeadLetterPolicy,
    Empty,
    MessageQueue,
    QueueClosed,
    QueueFull,
    Settled,
    original,
    replay,
)
from eip_ref.storage import Database, ForeignTransaction
from eip_ref.storage.database import APPLICATION, VERSION
from eip_ref.trace import acting
from tests.backends import Play, everywhere, recorded, virtual_time_only

TICK = 0.001
Open = Callable[..., SQLiteQueue]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def orders(path: Path) -> Open:
    """Opens the queue "orders" of the same file, each time that it is called."""
    return partial(SQLiteQueue, path, "orders")


class SlowQueue(MessageQueue):
    """A queue that is far away."""

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        await anyio.sleep(5)
        await super().put(message, delay=delay)


async def fill(queue: SQLiteQueue, *bodies: Any) -> None:
    for body in bodies:
        await queue.put(Message(body, id=str(body)))


async def bodies(queue: SQLiteQueue | MessageQueue) -> list[Any]:
    """Receive and ack everything that is ready now."""
    found: list[Any] = []
    while True:
        try:
            lease = await queue.receive(timeout=0)
        except (Empty, QueueClosed):
            return found
        found.append(lease.message.body)
        await lease.ack()


# Accepted means committed


@everywhere
def test_a_put_that_returned_is_in_the_file_for_everybody(play: Play, path: Path, orders: Open) -> None:
    """Accepted means committed to disk before the producer's confirm."""

    async def scenario() -> None:
        async with orders() as queue:
            for n in range(3):
                await queue.put(Message(n))
                other = sqlite3.connect(path)
                assert other.execute("SELECT count(*) FROM messages").fetchone() == (n + 1,)
                other.close()

    play(scenario)


def test_each_commit_is_written_through_to_the_disk(path: Path, orders: Open) -> None:
    """A write-ahead log, and a sync at each commit, unless somebody has chosen otherwise."""

    async def scenario(**settings: Any) -> tuple[Any, Any]:
        async with orders(**settings) as queue:
            return queue.database.one("PRAGMA journal_mode"), queue.database.one("PRAGMA synchronous")

    assert simulate(scenario).result == (("wal",), (2,))
    assert simulate(partial(scenario, synchronous="OFF")).result == (("wal",), (0,))


@everywhere
def test_a_crash_between_commit_and_confirm_is_repaired_by_the_same_id(play: Play, orders: Open) -> None:
    """The producer sends again, the queue knows the id, confirms, and has the message once."""

    async def scenario() -> list[Any]:
        async with orders(dedup=100) as queue:
            await fill(queue, "order 1", "order 2")
        async with orders(dedup=100) as queue:
            await fill(queue, "order 2", "order 3")
            assert queue.counts.accepted == 3
            return await bodies(queue)

    trace = play(scenario)
    assert trace.result == ["order 1", "order 2", "order 3"]
    assert trace.messages("duplicate") == ["order 2"]


@everywhere
def test_without_dedup_the_same_id_is_accepted_twice(play: Play, orders: Open) -> None:
    """At least once is what a queue promises by itself."""

    async def scenario() -> list[Any]:
        async with orders() as queue:
            await fill(queue, "order 1", "order 1")
            return await bodies(queue)

    assert play(scenario).result == ["order 1", "order 1"]


@everywhere
def test_a_duplicate_is_never_refused(play: Play, orders: Open) -> None:
    """Full or closed, the answer for a message that was accepted is that it was accepted."""

    async def scenario() -> None:
        async with orders(dedup=100, capacity=1) as queue:
            await fill(queue, "order 1")
            await fill(queue, "order 1")
            with pytest.raises(QueueFull):
                await fill(queue, "order 2")
            queue.close()
            await fill(queue, "order 1")
            with pytest.raises(QueueClosed):
                await fill(queue, "order 2")
            assert queue.counts.accepted == 1

    play(scenario)


@everywhere
def test_an_acked_message_is_remembered_too(play: Play, orders: Open) -> None:
    """The confirm may come later than the ack."""

    async def scenario() -> None:
        async with orders(dedup=2) as queue:
            await fill(queue, "order 1")
            assert await bodies(queue) == ["order 1"]
            await fill(queue, "order 1")
            assert await bodies(queue) == []

    play(scenario)


@everywhere
def test_only_the_last_ids_are_remembered(play: Play, orders: Open) -> None:
    """The memory of ids is bounded, by queue; what is older than that is new again."""

    async def scenario() -> list[Any]:
        async with orders(dedup=2) as queue, SQLiteQueue(queue.database, "other", dedup=2) as other:
            await fill(queue, "order 1")
            await fill(other, *range(5))
            await fill(queue, "order 2", "order 1", "order 3", "order 1")
            assert queue.database.one("SELECT count(*) FROM accepted_ids") == (4,)
            return await bodies(queue)

    assert play(scenario).result == ["order 1", "order 2", "order 3", "order 1"]


# A restart keeps everything


@everywhere
def test_order_and_counts_survive_a_restart(play: Play, orders: Open) -> None:
    """Ready, in flight, acked, dead and dropped are the same before and after, and so is the order."""

    async def scenario() -> None:
        async with orders(policy=DeadLetterPolicy(max_failures=1)) as queue:
            await fill(queue, *range(6))
            await (await queue.receive()).ack()
            await (await queue.receive()).nack()
            await queue.receive(lease=1000)
            await queue.put(Message("late", deadline=anyio.current_time()))
            before = queue.counts
        async with orders(policy=DeadLetterPolicy(max_failures=1)) as queue:
            assert queue.counts == before == (4, 1, 1, 1, 0, 7, 0)
            assert await bodies(queue) == [3, 4, 5]
            assert queue.counts == (0, 1, 4, 1, 1, 7, 0)

    invariants.assert_holds(play(scenario), invariants.conservation, invariants.lease_fencing)


@everywhere
def test_a_running_lease_is_kept_over_a_restart(play: Play, orders: Open) -> None:
    """Nobody else gets the message until the lease ends, and then it comes with its counts."""

    async def scenario() -> tuple[float, int, int]:
        async with orders(lease=10) as queue:
            await fill(queue, "order 1")
            start = anyio.current_time()
            await queue.receive()
            await anyio.sleep(4)
        async with orders(lease=10) as queue:
            assert queue.counts.in_flight == 1
            again = await queue.receive()
            return anyio.current_time() - start, again.deliveries, again.failures

    assert play(scenario).result == (pytest.approx(10), 2, 1)


@everywhere
def test_a_consumer_that_outlived_the_restart_settles_by_its_token(play: Play, orders: Open) -> None:
    """The lease is the token, and not the process that granted it."""

    async def scenario() -> None:
        async with orders() as queue:
            await fill(queue, "order 1", "order 2")
            acked, extended = await queue.receive(), await queue.receive()
        async with orders() as queue:
            assert await queue.ack(acked) is Settled.DONE
            assert await queue.ack(acked) is Settled.DONE
            assert await queue.extend(extended, 100) is Settled.DONE
            await anyio.sleep(50)
            assert queue.counts[:3] == (0, 1, 1)

    play(scenario)


@everywhere
def test_a_lease_that_ran_out_meanwhile_returns_at_the_restart(play: Play, orders: Open) -> None:
    """It counts as a failure, and its old holder is stale."""

    async def scenario() -> None:
        async with orders(lease=10) as queue:
            await fill(queue, "order 1")
            old = await queue.receive()
        await anyio.sleep(10)
        async with orders(lease=10) as queue:
            again = await queue.receive(timeout=0)
            assert (again.deliveries, again.failures) == (2, 1)
            assert await queue.ack(old) is Settled.STALE
            assert old.over
            assert await again.ack() is Settled.DONE

    trace = play(scenario)
    assert [e.kind for e in trace.filter("expired", "returned", "stale")] == ["expired", "returned", "stale"]


@everywhere
def test_fencing_tokens_keep_growing_over_restarts(play: Play, orders: Open) -> None:
    """A store that remembers the highest token is not fooled by a restart, though the queue was empty."""

    async def scenario() -> list[int]:
        tokens = []
        for n in range(3):
            async with orders() as queue:
                await fill(queue, n)
                lease = await queue.receive()
                tokens.append(lease.token)
                await lease.ack()
        return tokens

    assert play(scenario).result == [1, 2, 3]


@everywhere
def test_a_poison_message_dies_although_it_kills_every_process(play: Play, orders: Open) -> None:
    """Deliveries and failures are stored, so a crash loop reaches the dead letters."""

    async def scenario() -> None:
        open_again = partial(orders, lease=5, policy=DeadLetterPolicy(max_failures=3))
        for life in range(3):
            async with open_again() as queue:
                if life == 0:
                    await fill(queue, "poison")
                assert (await queue.receive()).deliveries == life + 1
            await anyio.sleep(5)
        async with open_again() as queue:
            assert queue.counts[:4] == (0, 0, 0, 1)
            assert queue.dead_letters is not None
            (letter,) = await bodies(queue.dead_letters)  # type: ignore[arg-type]
            assert letter == "poison"

    play(scenario)


@everywhere
def test_a_delay_goes_on_over_a_restart(play: Play, orders: Open) -> None:
    """Put for later, or nacked with a rest: ready at the same instant as without the restart."""

    async def scenario() -> list[tuple[str, float]]:
        async with orders() as queue:
            start = anyio.current_time()
            await queue.put(Message("later"), delay=9)
            await queue.put(Message("failed"))
            await (await queue.receive()).nack(delay=5)
        await anyio.sleep(2)
        found = []
        async with orders() as queue:
            for _ in range(2):
                lease = await queue.receive()
                found.append((lease.message.body, anyio.current_time() - start))
        return found

    assert play(scenario).result == [("failed", pytest.approx(5)), ("later", pytest.approx(9))]


@everywhere
def test_at_most_one_of_a_key_is_in_flight_over_a_restart(play: Play, orders: Open) -> None:
    """The line of a key is in the file: its head is out, the others wait, other keys do not."""

    async def scenario() -> list[Any]:
        async with orders(lease=50) as queue:
            for body in ("a1", "a2", "b1", "a3"):
                await queue.put(Message(body, key=body[0]))
            head = await queue.receive()
        async with orders() as queue:
            found = await bodies(queue)
            await queue.ack(head)
            return found + await bodies(queue)

    assert play(scenario).result == ["b1", "a2", "a3"]


@everywhere
def test_a_delayed_message_behind_another_of_its_key_still_rests(play: Play, orders: Open) -> None:
    """It becomes the head of its line before its delay is over, and waits for that too."""

    async def scenario() -> float:
        async with orders() as queue:
            await queue.put(Message("a1", key="a"))
            await queue.put(Message("a2", key="a"), delay=5)
            start = anyio.current_time()
            await (await queue.receive()).ack()
            assert await bodies(queue) == []
            await queue.receive()
            return anyio.current_time() - start

    assert play(scenario).result == pytest.approx(5)


@everywhere
def test_a_closed_queue_is_open_again_after_a_restart(play: Play, orders: Open) -> None:
    """Closing ends the intake of this process; the file has no end."""

    async def scenario() -> list[Any]:
        async with orders() as queue:
            queue.close()
        async with orders() as queue:
            await fill(queue, "order 1")
            return await bodies(queue)

    assert play(scenario).result == ["order 1"]


# Dead letters


@everywhere
def test_dead_letters_are_in_the_same_file_and_are_replayed_after_a_restart(play: Play, orders: Open) -> None:
    """Replay brings the originals back, although their ids had been accepted before."""

    async def scenario() -> None:
        policy = DeadLetterPolicy(max_failures=1)
        async with orders(policy=policy, dedup=100) as queue:
            await fill(queue, *range(3))
            for _ in range(3):
                await (await queue.receive()).nack()
        async with orders(policy=policy, dedup=100) as queue:
            assert queue.dead_letters is not None
            assert await replay(queue.dead_letters, queue) == 3
            first = await queue.receive()
            assert (first.message.body, first.deliveries, dict(first.message.headers)) == (0, 1, {})
            await first.ack()
            assert await bodies(queue) == [1, 2]

    invariants.assert_holds(play(scenario), invariants.conservation)


@everywhere
def test_a_resend_of_a_dead_message_is_a_duplicate_and_its_replay_is_not(play: Play, orders: Open) -> None:
    """While it is a dead letter it is not lost, so it is not accepted a second time."""

    async def scenario() -> list[Any]:
        async with orders(policy=DeadLetterPolicy(max_failures=1), dedup=10) as queue:
            await fill(queue, "order 1")
            await (await queue.receive()).nack()
            await fill(queue, "order 1")
            assert queue.counts == (0, 0, 0, 1, 0, 1, 0)
            assert queue.dead_letters is not None
            assert await replay(queue.dead_letters, queue) == 1
            await fill(queue, "order 1")
            return await bodies(queue)

    assert play(scenario).result == ["order 1"]


@everywhere
def test_a_replay_that_crashed_between_put_and_ack_can_be_repeated(play: Play, orders: Open) -> None:
    """The second time the queue knows that the message has come back, and the letter goes."""

    async def scenario() -> None:
        async with orders(policy=DeadLetterPolicy(max_failures=1), dedup=10, lease=5) as queue:
            await fill(queue, "order 1")
            await (await queue.receive()).nack()
            assert queue.dead_letters is not None
            letter = await queue.dead_letters.receive()
            await queue.put(original(letter.message))
            await anyio.sleep(5)
            assert await replay(queue.dead_letters, queue) == 1
            assert await bodies(queue) == ["order 1"]

    play(scenario)


@everywhere
def test_dead_letters_elsewhere_are_replayed_although_their_ids_are_remembered(
    play: Play, orders: Open
) -> None:
    """Nobody here can see that a letter is in somebody's hands, so a dead message may come back."""

    async def scenario() -> list[Any]:
        async with (
            MessageQueue("graveyard", policy=NEVER) as graveyard,
            orders(policy=DeadLetterPolicy(max_failures=1), dedup=10, dead_letters=graveyard) as queue,
        ):
            await fill(queue, "order 1")
            await (await queue.receive()).nack()
            await anyio.sleep(TICK)
            assert await replay(graveyard, queue) == 1
            await fill(queue, "order 1")
            return await bodies(queue)

    assert play(scenario).result == ["order 1"]


@everywhere
def test_dead_letters_in_a_shared_file_may_refuse(play: Play, path: Path) -> None:
    """The message rests in its queue, nothing is half moved, and it dies later."""

    async def scenario() -> None:
        policy = DeadLetterPolicy(max_failures=1)
        with Database(path) as file:
            async with (
                SQLiteQueue(file, "graveyard", policy=NEVER, capacity=1) as graveyard,
                SQLiteQueue(file, "orders", policy=policy, dead_letters=graveyard) as queue,
            ):
                await fill(queue, *range(2))
                for _ in range(2):
                    await (await queue.receive()).nack()
                assert (queue.counts[:4], len(graveyard)) == ((1, 0, 0, 1), 1)
                assert await bodies(graveyard) == [0]
                await (await queue.receive()).nack()
                assert await bodies(graveyard) == [1]

    invariants.assert_holds(play(scenario), invariants.conservation)


@everywhere
def test_a_message_on_its_way_to_dead_letters_elsewhere_survives_a_restart(play: Play, orders: Open) -> None:
    """It was not handed out again, and the next process carries it there."""

    async def scenario() -> None:
        async with SlowQueue("graveyard", policy=NEVER) as graveyard:
            dying = partial(orders, policy=DeadLetterPolicy(max_failures=1), dead_letters=graveyard)
            async with dying() as queue:
                await fill(queue, "poison")
                await (await queue.receive()).nack(reason="no stock")
            assert len(graveyard) == 0
            async with dying() as queue:
                assert await bodies(queue) == []
                await anyio.sleep(10)
                assert queue.counts[:4] == (0, 0, 0, 1)
                letter = (await graveyard.receive(timeout=0)).message
                assert "no stock" in letter.headers["dead-letter-reason"]

    play(scenario)


@everywhere
def test_dead_letters_elsewhere_get_the_message_at_once(play: Play, orders: Open) -> None:
    """Nobody has to call the queue for it, and no timer is waited for."""

    async def scenario() -> None:
        async with (
            MessageQueue("graveyard", policy=NEVER) as graveyard,
            orders(policy=DeadLetterPolicy(max_failures=1), dead_letters=graveyard) as queue,
        ):
            await fill(queue, "poison")
            lease = await queue.receive()
            await anyio.sleep(1)
            await lease.nack()
            await anyio.sleep(TICK)
            assert len(graveyard) == 1

    play(scenario)


# Group commit


@everywhere
@pytest.mark.parametrize("group_commit", [1, 10])
def test_several_puts_share_one_commit(play: Play, orders: Open, group_commit: int) -> None:
    """With group_commit=10, ten producers that put at the same time cost one write to the disk."""

    async def scenario() -> list[int]:
        statements: list[str] = []
        linger = 1 if group_commit > 1 else 0
        async with orders(group_commit=group_commit, linger=linger) as queue:
            queue.database.connection.set_trace_callback(statements.append)
            async with anyio.create_task_group() as group:
                for n in range(30):
                    group.start_soon(queue.put, Message(n))
            queue.database.connection.set_trace_callback(None)
            assert queue.counts.accepted == 30
        commits = "\n".join(statements).split("COMMIT")
        return [count for commit in commits if (count := commit.count("INSERT INTO messages"))]

    assert play(scenario).result == [group_commit] * (30 // group_commit)


@everywhere
def test_a_put_returns_only_after_its_commit_and_waits_no_longer_than_told(play: Play, orders: Open) -> None:
    """Alone, it waits `linger` seconds for company, unconfirmed and unseen, and is then committed."""

    async def scenario() -> float:
        async with orders(group_commit=10, linger=3) as queue, anyio.create_task_group() as group:
            start = anyio.current_time()
            group.start_soon(queue.put, Message("other"))
            await anyio.sleep(1)
            assert queue.counts.accepted == 0
            await queue.put(Message("order"))
            assert queue.counts.accepted == 2
            waited = anyio.current_time() - start
        return waited

    assert play(scenario).result == pytest.approx(3)


@everywhere
def test_a_put_cancelled_before_its_commit_is_taken_back(play: Play, orders: Open) -> None:
    """The others of the batch are not disturbed."""

    async def scenario() -> list[Any]:
        async with orders(group_commit=3, linger=10) as queue, anyio.create_task_group() as group:
            group.start_soon(queue.put, Message("stays"))
            with anyio.move_on_after(1):
                await queue.put(Message("goes"))
            await anyio.sleep(10)
            found = await bodies(queue)
        return found

    assert play(scenario).result == ["stays"]


@everywhere
def test_closing_commits_the_puts_that_wait_for_company(play: Play, orders: Open) -> None:
    """They came before the end, so they are confirmed and not refused."""

    async def scenario() -> list[Any]:
        async with orders(group_commit=3, linger=10) as queue:
            async with anyio.create_task_group() as group:
                group.start_soon(queue.put, Message("order 1"))
                await anyio.sleep(1)
                queue.close()
            return await bodies(queue)

    assert play(scenario).result == ["order 1"]


@everywhere
def test_within_a_batch_each_put_has_an_answer_of_its_own(play: Play, orders: Open) -> None:
    """Accepted, known already, or refused, in one commit."""

    async def scenario() -> None:
        answers: dict[str, str] = {}

        async def put(queue: SQLiteQueue, name: str, body: str) -> None:
            with acting(name):
                try:
                    await queue.put(Message(body, id=body))
                    answers[name] = "accepted"
                except QueueFull:
                    answers[name] = "full"

        async with orders(group_commit=3, linger=1, capacity=1, dedup=10) as queue:
            async with anyio.create_task_group() as group:
                for name, body in (("a", "order 1"), ("b", "order 1"), ("c", "order 2")):
                    group.start_soon(put, queue, name, body)
                    await anyio.sleep(TICK)
            assert answers == {"a": "accepted", "b": "accepted", "c": "full"}
            assert await bodies(queue) == ["order 1"]

    trace = play(scenario)
    assert [(e.kind, e.who) for e in trace.filter("accepted", "duplicate", "refused")] == [
        ("accepted", "a"),
        ("duplicate", "b"),
        ("refused", "c"),
    ]


@everywhere
def test_an_error_of_the_commit_reaches_every_producer_of_it(play: Play, path: Path, orders: Open) -> None:
    """Nobody is told that it was written; after the trouble the same messages can be put again."""

    async def scenario() -> None:
        errors = []

        async def put(queue: SQLiteQueue, body: str) -> None:
            try:
                await queue.put(Message(body, id=body))
            except sqlite3.OperationalError as error:
                errors.append(str(error))

        async with orders(group_commit=2, linger=1) as queue:
            await anyio.sleep(TICK)  # the expiry task has looked around and sleeps
            queue.database.busy_timeout = 0
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as group:
                group.start_soon(put, queue, "order 1")
                group.start_soon(put, queue, "order 2")
            blocker.close()
            assert errors == [f"{path}: database is locked"] * 2
            await fill(queue, "order 1", "order 2")
            assert queue.counts.accepted == 2

    assert play(scenario).count("accepted") == 2


@everywhere
def test_a_commit_that_fails_halfway_leaves_nothing_and_tells_nothing(
    play: Play, path: Path, orders: Open
) -> None:
    """All of it is undone, also what had gone well, and the trace knows of none of it."""

    async def scenario() -> None:
        errors = []

        async def put(queue: SQLiteQueue, body: str) -> None:
            try:
                await queue.put(Message(body, id=body))
            except sqlite3.IntegrityError as error:
                errors.append(str(error))

        async with orders(group_commit=2, linger=1) as queue:
            queue.database.execute(
                "CREATE TRIGGER trouble BEFORE INSERT ON messages WHEN (SELECT count(*) FROM messages) = 1"
                " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
            async with anyio.create_task_group() as group:
                group.start_soon(put, queue, "order 1")
                group.start_soon(put, queue, "order 2")
            assert errors == [f"{path}: the disk is full"] * 2
            assert queue.counts.accepted == 0
            queue.database.execute("DROP TRIGGER trouble")
            await fill(queue, "order 1", "order 2")
            assert queue.counts.accepted == 2

    assert play(scenario).count("accepted") == 2


@everywhere
def test_an_ack_that_could_not_be_committed_can_be_repeated(play: Play, orders: Open) -> None:
    """The lease is over when that is in the file, and not before."""

    async def scenario() -> None:
        async with orders() as queue:
            await fill(queue, "order 1")
            lease = await queue.receive()
            queue.database.execute(
                "CREATE TRIGGER trouble BEFORE DELETE ON messages"
                " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
            with pytest.raises(sqlite3.IntegrityError):
                await lease.ack()
            assert not lease.over
            queue.database.execute("DROP TRIGGER trouble")
            assert await lease.ack() is Settled.DONE

    assert play(scenario).count("acked") == 1


def test_a_transaction_may_write_from_its_start(path: Path) -> None:
    """So two processes take turns, and none finds halfway that another was quicker."""

    async def scenario() -> None:
        with Database(path) as file, file.transaction():
            other = sqlite3.connect(path, timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()

    simulate(scenario)


# Time


def test_the_time_for_which_nobody_had_the_file_open_counts_with_a_clock(orders: Open) -> None:
    """A restart with a later clock: a lease has so much less left, or is over."""

    async def scenario(restart: float) -> float:
        async with orders(lease=30, clock=lambda: 1_700_000_000.0) as queue:
            await fill(queue, "order 1")
            await queue.receive()
        async with orders(clock=lambda: restart) as queue:
            start = anyio.current_time()
            await (await queue.receive()).ack()
            return anyio.current_time() - start

    assert simulate(scenario, 1_700_000_020.0).result == pytest.approx(10, abs=1e-5)
    assert simulate(scenario, 1_700_000_040.0).result == 0


def test_a_clock_that_was_set_back_ends_no_lease_and_no_rest_early(orders: Open) -> None:
    """Time in the file never goes back: it goes on from the last time that was written."""

    async def scenario() -> float:
        async with orders(lease=30, clock=lambda: 1_700_000_000.0) as queue:
            await fill(queue, "order 1")
            await queue.receive()
        for _ in range(2):
            async with orders(clock=lambda: 1_600_000_000.0) as queue:
                await anyio.sleep(10)
                await fill(queue, "another")
        async with orders(clock=lambda: 1_600_000_000.0) as queue:
            assert await bodies(queue) == ["another", "another"]
            start = anyio.current_time()
            await queue.receive()
            return anyio.current_time() - start

    assert simulate(scenario).result == pytest.approx(10, abs=1e-5)


def test_after_a_restart_of_the_machine_time_goes_on_where_it_stopped(orders: Open) -> None:
    """Without a clock of its own: anyio's begins again, and a lease still lasts for its seconds."""

    async def before() -> None:
        await anyio.sleep(1000)
        async with orders(lease=30) as queue:
            await queue.put(Message("order 1", created=990.0))
            await queue.receive()

    async def after() -> tuple[float, float]:
        async with orders() as queue:
            message = (await queue.receive()).message
            return anyio.current_time(), message.created

    simulate(before)
    assert simulate(after).result == (pytest.approx(30), pytest.approx(-10))


def test_a_shift_once_chosen_is_kept(orders: Open) -> None:
    """Two openings on the same machine see the same time, and so the time between them counts."""

    async def life(sleep: float) -> float:
        await anyio.sleep(sleep)
        async with orders(lease=100) as queue:
            if not len(queue) and not queue.counts.in_flight:
                await fill(queue, "order 1")
                await queue.receive()
                return math.nan
            await fill(queue, "a message that writes down the time")
            due: int = queue.database.one("SELECT due FROM messages WHERE state = 'leased'")[0]
            return queue.database.on_anyio(due) - anyio.current_time()

    simulate(life, 1000)
    assert simulate(life, 10).result == pytest.approx(100)
    assert simulate(life, 70).result == pytest.approx(40)


def test_deadlines_and_the_times_of_dead_letters_move_with_the_clock(orders: Open) -> None:
    """What the file keeps is told in the time of whoever reads it."""

    async def before() -> None:
        await anyio.sleep(1000)
        async with orders(policy=DeadLetterPolicy(max_failures=1)) as queue:
            await queue.put(Message("late", deadline=1005.0))
            await queue.put(Message("poison"))
            await queue.receive()
            await (await queue.receive()).nack()

    async def after() -> tuple[float | None, ...]:
        async with orders(lease=30) as queue:
            assert queue.dead_letters is not None
            letter = (await queue.dead_letters.receive()).message
            file = queue.database
            (envelope,) = file.one("SELECT envelope FROM messages WHERE queue = 'orders'")
            late = Message.from_json(envelope, shift=file.shift)
            return late.deadline, letter.headers["dead-letter-first"], letter.headers["dead-letter-last"]

    simulate(before)
    assert simulate(after).result == pytest.approx((5, 0, 0))


# Several that have the file open


@everywhere
def test_two_queues_on_one_file_never_hand_out_the_same_message(play: Play, orders: Open) -> None:
    """As two processes would: every lease is in the file before its message is handed out."""

    async def scenario() -> None:
        async with orders() as one, orders() as two:
            await fill(one, *range(4))
            leases = [await queue.receive(timeout=0) for queue in (one, two, one, two)]
            assert [lease.message.body for lease in leases] == [0, 1, 2, 3]
            assert [lease.token for lease in leases] == [1, 2, 3, 4]

    play(scenario)


@everywhere
def test_a_lease_that_somebody_else_saw_expire_is_over_here_too(play: Play, orders: Open) -> None:
    """Its consumer gets its credit back, although the file no longer knows of the lease."""

    async def scenario() -> None:
        def ahead() -> float:
            return anyio.current_time() + 1

        async with orders(lease=5) as one, orders(lease=1000, clock=ahead) as two:
            await fill(one, "order 1")
            await one.put(Message("order 2"), delay=4.7)  # wakes the expiry task once more before the end
            over = anyio.Event()
            lease = await one.receive()
            lease.on_end.append(over.set)
            await anyio.sleep(4.5)
            assert (await two.receive(timeout=0)).message.body == "order 1"
            with anyio.fail_after(0.5 + TICK):
                await over.wait()
            assert await lease.ack() is Settled.STALE

    play(scenario)


# Several that have the file open, and faults that pass


def in_another_process(path: Path, code: str) -> None:
    """Run lines of Python in a process of their own, with the file's path as argument."""
    command = [sys.executable, "-c", code, str(path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


PUT = """
import sys, anyio
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.message import Message

async def main(path):
    async with SQLiteQueue(path, "orders") as queue:
        await queue.put(Message("from elsewhere"))
anyio.run(main, sys.argv[1])
"""


def test_a_waiting_receiver_hears_of_what_another_process_has_put(path: Path, orders: Open) -> None:
    """It is looked for again and again; the interval is the database's."""

    async def main() -> Any:
        queue = SQLiteQueue(Database(path, poll=0.01), "orders")
        async with queue, anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, in_another_process, path, PUT)
            with anyio.fail_after(30):
                return (await queue.receive()).message.body

    assert anyio.run(main) == "from elsewhere"


TAKE_AND_DIE = """
import os, sys, anyio
from eip_ref.durable_queue import SQLiteQueue

async def main(path):
    async with SQLiteQueue(path, "orders") as queue:
        await queue.receive(lease=0.5)
        os._exit(0)
anyio.run(main, sys.argv[1])
"""


def test_a_lease_of_a_process_that_died_ends_in_time_for_who_looked_meanwhile(path: Path) -> None:
    """A look that finds the file changed must not keep it from the task that sleeps until a lease ends."""

    async def main() -> int:
        async with SQLiteQueue(Database(path, poll=0.01), "orders") as queue:
            await queue.put(Message("order 1"))
            await anyio.wait_all_tasks_blocked()
            in_another_process(path, TAKE_AND_DIE)  # this loop stands still until it is over
            assert queue.counts.accepted == 1
            with anyio.fail_after(30):
                return (await queue.receive()).failures

    assert anyio.run(main) == 1


async def test_a_waiting_receiver_hears_of_what_another_opener_has_put(orders: Open) -> None:
    """At once: they share the line of those who wait."""
    async with orders() as one, orders() as two, anyio.create_task_group() as group:
        start = anyio.current_time()

        async def put_later() -> None:
            await anyio.sleep(3)
            await fill(two, "order 1")

        group.start_soon(put_later)
        assert (await one.receive()).message.body == "order 1"
        assert anyio.current_time() - start == pytest.approx(3)


@pytest.mark.parametrize("share", [Path, Database], ids=["a file", "a connection"])
async def test_a_lease_of_an_opener_that_is_gone_expires_for_the_others(
    path: Path, share: Callable[[Path], Path | Database]
) -> None:
    """Whoever waits gets the message at the instant, though another has granted the lease."""
    orders = partial(SQLiteQueue, share(path), "orders")
    async with orders() as one, anyio.create_task_group() as group:
        start = anyio.current_time()

        async def take_and_leave() -> None:
            async with orders(lease=5) as two:
                await fill(two, "order 1")
                await two.receive()

        async def wait() -> None:
            await anyio.sleep(1)
            assert (await one.receive()).failures == 1
            assert anyio.current_time() - start == pytest.approx(5)

        await take_and_leave()
        group.start_soon(wait)


async def test_of_two_openers_one_moves_the_dead_elsewhere(orders: Open) -> None:
    """A dead letter that both had carried would be there twice."""
    graveyard = SlowQueue("graveyard", policy=NEVER)
    dying = partial(orders, policy=DeadLetterPolicy(max_failures=1), dead_letters=graveyard)
    async with graveyard, dying() as one, dying():
        await fill(one, *range(3))
        for _ in range(3):
            await (await one.receive()).nack()
        await anyio.sleep(100)
        assert sorted(await bodies(graveyard)) == [0, 1, 2]
        assert one.counts == (0, 0, 0, 3, 0, 3, 0)


@virtual_time_only
async def test_what_a_process_died_of_moving_is_moved_by_another(orders: Open) -> None:
    """Half a minute after it began, since it might only have been slow."""
    graveyard = SlowQueue("graveyard", policy=NEVER)
    dying = partial(orders, policy=DeadLetterPolicy(max_failures=1), dead_letters=graveyard)

    async def first() -> None:
        async with dying() as queue:
            await fill(queue, "poison")
            await (await queue.receive()).nack()
            await anyio.sleep(1000)

    async with graveyard:
        await Participant("first", first, crashes=(Crash(at=1),)).run()
        async with dying() as queue:
            await anyio.sleep(33)
            assert (len(graveyard), queue.counts.dead) == (0, 0)
            await anyio.sleep(2)
            assert (len(graveyard), queue.counts.dead) == (1, 1)


@virtual_time_only
async def test_what_was_dying_is_handed_out_again_by_a_queue_without_dead_letters(orders: Open) -> None:
    """Whoever opens the file next may take no dead letters: the message is not lost, nor kept unseen."""
    graveyard = SlowQueue("graveyard", policy=NEVER)

    async def first() -> None:
        async with orders(policy=DeadLetterPolicy(max_failures=1), dead_letters=graveyard) as queue:
            await fill(queue, "poison")
            await (await queue.receive()).nack()
            await anyio.sleep(1000)

    async with graveyard:
        await Participant("first", first, crashes=(Crash(at=1),)).run()
        async with orders(policy=NEVER) as queue:
            lease = await queue.receive(timeout=60)
            assert (lease.message.body, lease.failures) == ("poison", 1)
            await lease.nack(delay=0)
            assert (await queue.receive()).failures == 2
    assert "orders has no dead letters now" in recorded().filter("note")[0].data["text"]


NACK_AND_DIE = """
import os, sys, anyio
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.message_queue import DeadLetterPolicy, MessageQueue

async def main(path):
    policy, dead_letters = DeadLetterPolicy(max_failures=1), MessageQueue("graveyard")
    async with SQLiteQueue(path, "orders", policy=policy, dead_letters=dead_letters) as queue:
        await (await queue.receive()).nack()
        os._exit(0)  # before anything is moved
anyio.run(main, sys.argv[1])
"""


def test_what_a_process_died_before_moving_is_moved_by_another(path: Path) -> None:
    """It looks for it every `poll` seconds, also while nobody calls."""

    async def main() -> object:
        policy = DeadLetterPolicy(max_failures=1)
        database = Database(path, poll=0.01)
        async with (
            MessageQueue("graveyard", policy=NEVER) as graveyard,
            SQLiteQueue(database, "orders", policy=policy, dead_letters=graveyard) as queue,
        ):
            await queue.put(Message("poison"))
            await anyio.to_thread.run_sync(in_another_process, path, NACK_AND_DIE)
            with anyio.fail_after(30):
                return (await graveyard.receive()).message.body

    assert anyio.run(main) == "poison"


async def test_receivers_of_a_closed_opener_are_told_when_another_settles_the_last(orders: Open) -> None:
    """Nobody waits for ever on what has been closed."""
    async with orders(lease=50) as one, orders(lease=50) as two, anyio.create_task_group() as group:
        await fill(one, "order 1")
        lease = await two.receive()

        async def wait() -> None:
            with pytest.raises(QueueClosed):
                await one.receive(timeout=20)
            assert anyio.current_time() - start == pytest.approx(2)

        start = anyio.current_time()
        group.start_soon(wait)
        await anyio.sleep(1)
        one.close()
        await anyio.sleep(1)
        await lease.ack()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes for a while."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_lock_of_another_program_ends_no_queue(path: Path) -> None:
    """A lease runs out while the file is locked for longer than anybody waits: that is late, no more."""

    async def main() -> int:
        database = Database(path, busy_timeout=0.05, poll=0.01)
        async with SQLiteQueue(database, "orders", lease=0.05) as queue:
            await queue.put(Message("order 1"))
            await queue.receive()
            with locked(path):
                await anyio.sleep(0.5)
            with anyio.fail_after(60):
                return (await queue.receive()).failures

    assert anyio.run(main) == 1


def test_a_lock_of_another_program_stops_no_loop(path: Path) -> None:
    """Whoever waits for the file waits beside the loop: it goes round while the lock is held."""

    async def main() -> int:
        database = Database(path, busy_timeout=30, poll=0.01)
        async with SQLiteQueue(database, "orders", lease=0.05) as queue:
            await queue.put(Message("order 1"))
            await queue.receive()
            with anyio.fail_after(20), locked(path):
                await anyio.sleep(0.2)  # the lease is over, and its expiry wants to write
                for _ in range(20):
                    await anyio.sleep(0.01)
            with anyio.fail_after(60):
                return (await queue.receive()).failures

    assert anyio.run(main) == 1


async def test_only_the_callers_own_call_fails_while_the_file_is_locked(path: Path) -> None:
    """And the queue goes on afterwards."""
    async with SQLiteQueue(Database(path, busy_timeout=0), "orders") as queue:
        await fill(queue, "order 1")
        with locked(path), pytest.raises(sqlite3.OperationalError, match=r"shop\.db: database is locked"):
            await queue.receive()
        assert await bodies(queue) == ["order 1"]


# Transactional Client


async def test_receive_and_send_are_one_commit(path: Path) -> None:
    """Whatever fails in the block undoes all of it: nothing was received, nothing was sent."""
    with Database(path) as database:
        async with SQLiteQueue(database, "orders") as orders, SQLiteQueue(database, "invoices") as invoices:
            await fill(orders, "order 1")

            def invoice(*, fails: bool) -> None:
                with database.transaction():
                    lease = orders.receive_nowait()
                    invoices.put_nowait(Message(f"invoice of {lease.message.body}"))
                    orders.ack_nowait(lease)
                    if fails:
                        raise ConnectionError("no printer")

            with pytest.raises(ConnectionError):
                invoice(fails=True)
            assert (orders.counts[:3], len(invoices)) == ((1, 0, 0), 0)
            assert recorded().count("acked", "delivered") == 0
            invoice(fails=False)
            assert (orders.counts[:3], len(invoices)) == ((0, 0, 1), 1)
            assert await bodies(invoices) == ["invoice of order 1"]


@pytest.mark.parametrize("shared", [{}, {"group_commit": 2, "linger": 0.01}])
async def test_a_put_that_falls_into_the_transaction_of_another_task_is_refused(
    path: Path, shared: dict[str, Any]
) -> None:
    """Never confirmed and then undone with that task's error; the next put is the first."""
    with Database(path) as database:
        async with SQLiteQueue(database, "orders", **shared) as queue:

            async def fails_later() -> None:
                with suppress(ConnectionError), database.transaction():
                    await anyio.sleep(1)  # the mistake: an await inside
                    raise ConnectionError

            async with anyio.create_task_group() as group:
                group.start_soon(fails_later)
                await anyio.sleep(0.5)
                with pytest.raises(ForeignTransaction):
                    await queue.put(Message("order 1"))
            assert queue.counts.accepted == 0
            await queue.put(Message("order 2"))
            assert await bodies(queue) == ["order 2"]


async def test_the_example_of_one_commit_runs(path: Path) -> None:
    """As it stands in the class, between two queues of one database."""
    assert SQLiteQueue.__doc__ is not None
    code = textwrap.dedent(re.findall(r"(?:^ {8}.*\n)+", SQLiteQueue.__doc__, re.M)[0])
    with Database(path) as database:
        async with SQLiteQueue(database, "orders") as orders, SQLiteQueue(database, "invoices") as invoices:
            await fill(orders, "order-1")
            exec(code, {"database": database, "orders": orders, "invoices": invoices, "Message": Message})
            assert orders.counts[:3] == (0, 0, 1)
            assert (await invoices.receive()).message.causation_id == "order-1"


async def test_a_call_that_does_not_wait_is_all_or_nothing_by_itself(orders: Open) -> None:
    """Outside a transaction it is one of its own."""
    async with orders() as queue:
        queue.database.execute(
            "CREATE TRIGGER trouble BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            queue.put_nowait(Message("order 1"))
        assert queue.counts.accepted == 0


# Time


@pytest.mark.parametrize("now", [1_700_000_000_000.0, math.nan, -1.0])
def test_a_clock_that_counts_no_seconds_is_refused_and_changes_nothing(orders: Open, now: float) -> None:
    """Milliseconds in a file would make leases that never end, for good."""

    async def scenario() -> None:
        with pytest.raises(ValueError, match="clock must"):
            async with orders(clock=lambda: now):
                pass
        async with orders(lease=5) as queue:
            await fill(queue, "order 1")
            await queue.receive()
            start = anyio.current_time()
            await queue.receive()
            assert anyio.current_time() - start == pytest.approx(5)

    simulate(scenario)


def test_on_trio_a_file_has_the_clock_of_the_machine(path: Path) -> None:
    """Trio's own begins anywhere in each run, and a lease would end at once or last for days."""

    async def life() -> float:
        async with SQLiteQueue(path, "orders", lease=1000) as queue:
            return anyio.current_time() + queue.database.shift - time.monotonic()

    for _ in range(2):
        assert abs(anyio.run(life, backend="trio")) < 5


# Bad input


@pytest.mark.parametrize("body", [{1, 2}, (1, 2), {1: "one"}, math.nan, math.inf, object(), {"deep": [(1,)]}])
def test_a_body_that_would_come_back_changed_is_refused(orders: Open, body: Any) -> None:
    """What comes out equals what went in."""

    async def scenario() -> None:
        async with orders() as queue:
            with pytest.raises(TypeError, match="message 'm9'"):
                await queue.put(Message(body, id="m9"))
            assert queue.counts.accepted == 0

    simulate(scenario)


def test_an_envelope_comes_back_as_it_was(orders: Open) -> None:
    """Every field of it."""

    async def scenario() -> None:
        message = Message(
            {"lines": [1, 2.5, None, "tea 'n' \N{HOT BEVERAGE}"]},
            type="OrderPlaced",
            key="c-1",
            id="order-17",
            correlation_id="c",
            causation_id="m0",
            reply_to="answers",
            deadline=1e6,
            version=3,
            headers={"channel": "web", "tags": ["new"]},
        )
        async with orders() as queue:
            await queue.put(message)
            assert (await queue.receive()).message == message

    simulate(scenario)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"synchronous": "MAYBE"}, "FULL"),
        ({"dedup": -1}, "dedup"),
        ({"group_commit": 0}, "group_commit"),
        ({"linger": -1}, "linger"),
    ],
)
def test_wrong_settings_are_refused_in_words(orders: Open, settings: dict[str, Any], words: str) -> None:
    """A setting that cannot work is an error where it is made."""
    with pytest.raises(ValueError, match=words):
        orders(**settings)


@everywhere
def test_a_queue_that_is_not_open_says_so(play: Play, orders: Open) -> None:
    """Before and after, and a lease of another queue is not settled."""

    async def scenario() -> None:
        queue = orders()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="async with"):
                await queue.put(Message("order 1"))
            with pytest.raises(RuntimeError, match="async with"):
                await queue.receive()
            async with queue:
                await queue.put(Message("order 2"))
        async with queue, SQLiteQueue(queue.database, "invoices") as other:
            with pytest.raises(ValueError, match="one of orders, not of invoices"):
                await other.ack(await queue.receive())

    play(scenario)


@pytest.mark.parametrize("version", [1, VERSION - 1, 99])
def test_a_file_of_another_format_is_left_alone(path: Path, orders: Open, version: int) -> None:
    """Older or later, it is not guessed at: it is named, and stays as it was."""
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA application_id = {APPLICATION}")
        other.execute(f"PRAGMA user_version = {version}")
        other.execute("CREATE TABLE messages (id TEXT)")
    before = path.read_bytes()

    async def scenario() -> None:
        async with orders():
            pass

    with pytest.raises(ValueError, match=rf"shop\.db has format {version}; this program reads format"):
        simulate(scenario)
    assert path.read_bytes() == before


def test_the_example_of_the_package_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And prints what a restart keeps."""
    assert durable_queue.__doc__ is not None
    block = durable_queue.__doc__.split("    async def story", 1)[1].split("\nRead `queue.py`", 1)[0]
    lines = ["async def story", *block.splitlines()]
    code = lines[0] + "\n".join(line.removeprefix("    ") for line in lines[1:])
    names: dict[str, Any] = {"SQLiteQueue": SQLiteQueue, "Message": Message, "anyio": anyio}
    exec(code, names)
    simulate(names["story"], path)
    assert capsys.readouterr().out.splitlines() == [
        "after the restart: Counts(ready=1, in_flight=1, acked=1, dead=0, dropped=0, accepted=3, delayed=0)",
        "  0 s  order 3, delivery 1",
        " 30 s  order 2, delivery 2",
        "in the end: Counts(ready=0, in_flight=0, acked=3, dead=0, dropped=0, accepted=3, delayed=0)",
    ]
    assert len(lines) <= 30


async def test_a_queue_that_is_opened_again_looks_at_everything_anew(orders: Open) -> None:
    """What another has leased while this one was left is due at its time here too."""
    one = orders(lease=5)
    async with one:
        await fill(one, "order 1")
        await one.put(Message("later"), delay=500)
    async with orders(lease=5) as two:
        await two.receive()
    start = anyio.current_time()
    async with one:
        assert (await one.receive()).message.body == "order 1"
        assert anyio.current_time() - start == pytest.approx(5)
