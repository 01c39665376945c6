"""The mistakes of durable queues: each is caught by the test that the real one passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import DeadLetterPolicy, Empty
from tests.broken.durable_queue import (
    ConfirmsBeforeWriting,
    ForgetsCounts,
    RewritesTheWholeFile,
    TransientMessages,
    WithoutConfirms,
    WritesOnExit,
)

Make = Callable[..., Any]
Producer = Callable[[Any, list[str]], Awaitable[None]]


async def patient(queue: Any, confirmed: list[str]) -> None:
    """Puts an order and waits for the confirm, again and again."""
    for n in range(1000):
        await queue.put(Message(f"order {n}", id=f"order-{n}"))
        confirmed.append(f"order-{n}")
        await anyio.sleep(0.3)


async def hasty(queue: Any, confirmed: list[str]) -> None:
    """Takes the handing over for the confirm."""
    async with anyio.create_task_group() as group:
        await patient(WithoutConfirms(queue.put, group), confirmed)


async def lost(path: Path, make: Make, producer: Producer, at: float) -> set[str]:
    """What the producer took for confirmed, and a process that opens the file after the crash cannot find."""
    confirmed: list[str] = []

    async def process() -> None:
        async with make(path, "orders") as queue:
            await producer(queue, confirmed)

    await Participant("shop", process, (), (Crash(at=at),)).run()
    found = set()
    async with make(path, "orders") as queue:
        while True:
            try:
                found.add((await queue.receive(timeout=0)).message.id)
            except Empty:
                return set(confirmed) - found


def group_commit(path: Path, name: str) -> SQLiteQueue:
    return SQLiteQueue(path, name, group_commit=4, linger=0.5, synchronous="OFF")


@pytest.mark.parametrize(
    ("make", "producer"),
    [
        (WritesOnExit, patient),
        (ConfirmsBeforeWriting, patient),
        (TransientMessages, patient),
        (group_commit, hasty),
    ],
    ids=["written on exit", "confirmed before it is written", "transient messages", "without confirms"],
)
def test_a_crash_shows_what_was_only_said_to_be_kept(tmp_path: Path, make: Make, producer: Producer) -> None:
    """Something that the producer took for confirmed is gone after the crash."""
    assert simulate(lost, tmp_path / "shop.db", make, producer, 4.0).result


@pytest.mark.parametrize("make", [partial(SQLiteQueue, synchronous="OFF"), group_commit])
def test_the_durable_queue_keeps_what_it_confirmed(tmp_path: Path, make: Make) -> None:
    """The same crash, at many instants, and nothing is gone."""
    for number in range(20):
        path = tmp_path / f"{number}.db"
        assert simulate(lost, path, make, patient, 1 + number / 7).result == set()


async def lives_of_poison(path: Path, make: Make) -> int:
    """How many processes a message has killed before it was among the dead letters, at most 20."""
    for life in range(20):
        async with make(path, "orders", lease=5, policy=DeadLetterPolicy(max_failures=4)) as queue:
            if life == 0:
                await queue.put(Message("poison"))
            if queue.counts.dead:
                return life
            await queue.receive()
        await anyio.sleep(5)
    return 20


def test_without_stored_counts_poison_is_immortal(tmp_path: Path) -> None:
    """The real queue gives it four lives."""
    assert simulate(lives_of_poison, tmp_path / "a.db", ForgetsCounts).result == 20
    assert simulate(lives_of_poison, tmp_path / "b.db", SQLiteQueue).result == 4


def test_a_crash_while_the_whole_file_is_rewritten_loses_everything(tmp_path: Path) -> None:
    """The file is emptied first: wherever the crash cuts the new text, no message can be read."""
    path = tmp_path / "orders.json"
    queue = RewritesTheWholeFile(path)
    for n in range(20):
        queue.put(f"order {n}")
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            RewritesTheWholeFile.read(path)


def test_rewriting_the_whole_file_costs_more_with_every_message(tmp_path: Path) -> None:
    """Ten times the messages, a hundred times the bytes; SQLite writes about the same for each."""

    def rewritten(count: int) -> int:
        queue = RewritesTheWholeFile(tmp_path / "orders.json")
        for _ in range(count):
            queue.put("order")
        return queue.written

    async def appended(path: Path, count: int) -> int:
        async with SQLiteQueue(path, "orders", synchronous="OFF") as queue:
            queue.database.execute("PRAGMA wal_autocheckpoint = 0")
            for _ in range(count):
                await queue.put(Message("order"))
            return path.with_name(f"{path.name}-wal").stat().st_size

    assert rewritten(300) / rewritten(30) > 90
    few, many = (simulate(appended, tmp_path / f"{n}.db", n).result for n in (30, 300))
    assert many / few < 15
