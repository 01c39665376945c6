"""A store whose transaction is left in any way, and one that two openers or two processes share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from eip_ref.storage import Database, MemoryStore, SQLiteStore, Store, Transaction


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "shop.db"
    with MemoryStore() if request.param == "memory" else SQLiteStore(path, synchronous="OFF") as store:
        yield store


def contents(store: Store) -> list[tuple[str, object]]:
    with store.reading() as documents:
        return documents.scan("t")


@pytest.mark.parametrize("exit", [KeyError, KeyboardInterrupt, GeneratorExit, SystemExit])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_whatever_a_transaction_is_left_by_leaves_nothing(
    store: Store, exit: type[BaseException], depth: int
) -> None:
    """At every depth; it comes out as itself, and the next transaction is a new one."""

    def enter(levels: int) -> None:
        with store.transaction() as transaction:
            transaction.put("t", str(levels), levels)
            if levels < depth:
                enter(levels + 1)
            raise exit

    with pytest.raises(exit):
        enter(1)
    assert contents(store) == []
    with store.transaction() as transaction:
        transaction.put("t", "k", 1)
    assert contents(store) == [("k", 1)]


async def test_a_step_that_is_cancelled_before_it_begins_leaves_nothing(store: Store) -> None:
    """And one that has run is told: there is no await between its commit and its answer."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        await store.run(lambda transaction: transaction.put("t", "never", 1))
    assert contents(store) == []

    def write_and_cancel(transaction: Transaction) -> str:
        transaction.put("t", "k", 1)
        scope.cancel()
        return "done"

    with anyio.CancelScope() as scope:
        assert await store.run(write_and_cancel) == "done"
        assert contents(store) == [("k", 1)]


async def test_two_openers_of_one_file_are_one_store(tmp_path: Path) -> None:
    """What one commits the other reads at once, counts on from, and is woken by."""
    path = tmp_path / "shop.db"
    with SQLiteStore(path) as one, SQLiteStore(path) as other:
        woken: list[float] = []
        start = anyio.current_time()

        async def wait() -> None:
            await other.news()
            woken.append(anyio.current_time() - start)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(1)
            for number, store in enumerate((one, other, one), 1):
                with store.transaction() as transaction:
                    assert transaction.count("n") == number
                    transaction.remember("t", str(number), number, capacity=2)
        assert contents(one) == contents(other) == [("2", 2), ("3", 3)]
        assert woken == [1]


async def test_a_smaller_memory_forgets_all_that_is_too_much() -> None:
    """And not one for each that is new."""
    store = MemoryStore()
    for number, capacity in enumerate([9] * 9 + [2], 1):
        with store.transaction() as transaction:
            transaction.remember("t", str(number), number, capacity=capacity)
    assert contents(store) == [("10", 10), ("9", 9)]


ANSWERS = """
import sys, anyio
from eip_ref.storage import Database, SQLiteStore

async def main():
    with SQLiteStore(Database(sys.argv[1], poll=0.01)) as store:
        while True:
            with store.transaction() as transaction:
                asked = transaction.get("t", "question")
                if asked is not None:
                    transaction.put("t", "answer", [asked, transaction.count("n")])
                    return
            await store.news()

anyio.run(main)
"""


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    """Each waits for what the other commits, and hears of it by looking."""
    path = tmp_path / "shop.db"

    async def main() -> object:
        with SQLiteStore(Database(path, poll=0.01)) as store, anyio.fail_after(60):
            with store.transaction() as transaction:
                transaction.count("n")
            command = [sys.executable, "-c", ANSWERS, str(path)]
            with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
                with store.transaction() as transaction:
                    transaction.put("t", "question", "is it paid?")
                while (answer := dict(contents(store)).get("answer")) is None:
                    await store.news()
                assert await anyio.to_thread.run_sync(process.wait) == 0
            return answer

    assert anyio.run(main) == ["is it paid?", 2]
