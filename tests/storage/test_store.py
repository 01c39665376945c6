"""The store in memory and the one on SQLite answer alike, operation by operation."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eip_ref.storage import Database, ForeignTransaction, MemoryStore, SQLiteStore, Store, Transaction
from tests.backends import recorded


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "shop.db") as store:
        yield store


@pytest.mark.parametrize("wrong", [(1, 2), {1: "one"}, math.nan, math.inf, {1, 2}, "\ud800", b"x", object()])
def test_what_would_come_back_changed_is_refused(store: Store, wrong: Any) -> None:
    """Before anything is written, and with the key."""
    with pytest.raises(TypeError, match="'ann' of users"), store.transaction() as transaction:
        transaction.put("users", "ann", wrong)
    with store.transaction() as transaction:
        assert transaction.size("users") == 0


@pytest.mark.parametrize("wrong", ["", "a\0b", "\ud800", None, 7])
def test_tables_and_keys_are_text_that_both_can_hold(store: Store, wrong: Any) -> None:
    """Else one would find what the other does not."""
    with store.transaction() as transaction:
        with pytest.raises(ValueError, match="the key of a document in users"):
            transaction.put("users", wrong, 1)
        with pytest.raises(ValueError, match="the name of a table"):
            transaction.put(wrong, "ann", 1)


def test_a_limit_that_cannot_be_one_is_refused(store: Store) -> None:
    """Of what is read, and of what is remembered."""
    with store.transaction() as transaction:
        with pytest.raises(ValueError, match="limit must be a whole number from -1 on"):
            transaction.scan("users", limit=-2)
        with pytest.raises(ValueError, match="capacity must be a whole number from 1 on"):
            transaction.remember("users", "ann", 1, capacity=0)


def test_a_document_is_a_copy_of_its_own(store: Store) -> None:
    """Nobody shares what can change."""
    document = {"items": [1]}
    with store.transaction() as transaction:
        transaction.put("t", "k", document)
        document["items"].append(2)
        transaction.get("t", "k")["items"].append(3)
        assert transaction.get("t", "k") == {"items": [1]}


def test_what_fails_inside_undoes_its_own_part(store: Store) -> None:
    """A savepoint in both."""
    told: list[str] = []
    with store.transaction() as transaction:
        transaction.put("t", "kept", 1)
        with suppress(KeyError), store.transaction() as inner:
            inner.put("t", "kept", 2)
            inner.put("t", "undone", 1)
            inner.after_commit(lambda: told.append("undone"))
            raise KeyError
        transaction.after_commit(lambda: told.append("kept"))
    with store.transaction() as transaction:
        assert transaction.scan("t") == [("kept", 1)]
    assert told == ["kept"]


async def test_a_transaction_of_another_task_is_refused(store: Store) -> None:
    """An await inside a transaction is a mistake that shows at once."""

    async def first() -> None:
        with store.transaction() as transaction:
            transaction.put("t", "first", 1)
            await anyio.sleep(2)

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await anyio.sleep(1)
        with pytest.raises(ForeignTransaction), store.transaction():
            pass


def test_reading_sees_one_moment_and_writes_nothing(store: Store) -> None:
    """Inside a transaction it sees what that has written."""
    with store.transaction() as transaction:
        transaction.put("t", "k", 1)
        with store.reading() as documents:
            assert (documents.get("t", "k"), documents.size("t"), documents.scan("t")) == (1, 1, [("k", 1)])
    with store.reading() as documents:
        assert documents.get("t", "k") == 1
        for write in (
            lambda: documents.put("t", "k", 2),
            lambda: documents.delete("t", "k"),
            lambda: documents.clear("t"),
            lambda: documents.count("c"),
            lambda: documents.after_commit(lambda: None),  # the commit would be somebody else's
        ):
            with pytest.raises(RuntimeError, match="inside a transaction"):
                write()
        with pytest.raises(RuntimeError, match="only read here"), store.transaction():
            pass
        assert documents.get("t", "k") == 1


def test_a_transaction_that_is_over_does_nothing_more(store: Store) -> None:
    """What somebody holds of it would else write without a commit, and read what is not committed."""
    told: list[str] = []
    with store.transaction() as kept, store.transaction() as inner:
        inner.put("t", "k", 1)
    with store.reading() as read:
        pass

    def uses(over: Transaction) -> list[Callable[[], object]]:
        return [
            lambda: over.get("t", "k"),
            lambda: over.put("t", "k", 2),
            lambda: over.delete("t", "k"),
            lambda: over.clear("t"),
            lambda: over.scan("t"),
            lambda: over.size("t"),
            lambda: over.after_commit(lambda: told.append("never")),
        ]

    for use in (*uses(kept), *uses(inner), *uses(read)):
        with pytest.raises(RuntimeError, match="is over"):
            use()
    with store.reading() as documents:
        assert documents.scan("t") == [("k", 1)]


def test_a_full_disk_inside_a_part_undoes_all_also_when_somebody_goes_on(tmp_path: Path) -> None:
    """SQLite may roll back the whole transaction itself; what follows would then be written alone."""
    with SQLiteStore(tmp_path / "shop.db") as store:
        store.database.execute("PRAGMA max_page_count = 20")

        def goes_on() -> None:
            with store.transaction() as transaction:
                transaction.put("t", "before", 1)
                with suppress(sqlite3.OperationalError), store.transaction() as inner:
                    for n in range(100):
                        inner.put("t", f"large {n}", "x" * 3_000)
                transaction.put("t", "after", 1)

        with pytest.raises(sqlite3.OperationalError, match="rolled back all"):
            goes_on()
        with store.reading() as documents:
            assert documents.scan("t") == []
        with store.transaction() as transaction:
            transaction.put("t", "later", 1)


async def test_a_step_is_run_in_a_transaction(store: Store) -> None:
    """What it returns is returned after the commit; what it raises comes out, and undoes it."""

    def step(transaction: Transaction) -> int:
        transaction.put("t", "k", 1)
        return 7

    def fails(transaction: Transaction) -> None:
        transaction.put("t", "k", 2)
        raise KeyError

    assert await store.run(step) == 7
    with pytest.raises(KeyError):
        await store.run(fails)
    with store.reading() as documents:
        assert documents.scan("t") == [("k", 1)]


def test_reading_waits_for_no_writer_of_another_process(tmp_path: Path) -> None:
    """It sees what was committed before, all of one moment, and the writer goes on."""
    path = tmp_path / "shop.db"
    with SQLiteStore(path) as reader, SQLiteStore(path) as writer:
        with writer.transaction() as transaction:
            transaction.put("t", "k", 1)
        with reader.reading() as documents:
            assert documents.get("t", "k") == 1
            with writer.transaction() as transaction:
                transaction.put("t", "k", 2)
                transaction.put("t", "new", 2)
            assert documents.scan("t") == [("k", 1)]
        with writer.transaction(), reader.reading() as documents:
            assert documents.scan("t") == [("k", 2), ("new", 2)]


@pytest.mark.parametrize("how", ["deleted", "replaced", "cleared"])
async def test_what_is_deleted_can_be_erased_from_the_disk(tmp_path: Path, how: str) -> None:
    """Neither the file nor the log beside it holds it any more."""

    def holders() -> list[str]:
        return [path.name for path in tmp_path.iterdir() if b"Anna Andersson" in path.read_bytes()]

    with SQLiteStore(tmp_path / "shop.db", synchronous="OFF") as store:
        with store.transaction() as transaction:
            transaction.put("customers", "anna", {"name": "Anna Andersson", "more": "x" * 10_000})
        assert holders() != []
        with store.transaction() as transaction:
            if how == "deleted":
                transaction.delete("customers", "anna")
            elif how == "cleared":
                transaction.clear("customers")
            else:
                transaction.put("customers", "anna", None)
        await store.erase()
        assert holders() == []


async def test_erasing_beside_a_reader_of_the_old_state_is_no_success(tmp_path: Path) -> None:
    """Else somebody would be told that it is gone, and it is there."""
    path = tmp_path / "shop.db"
    with SQLiteStore(Database(path, busy_timeout=0)) as store, SQLiteStore(path) as other:
        with store.transaction() as transaction:
            transaction.put("t", "k", "Anna Andersson")
        with other.reading() as documents:
            assert documents.size("t") == 1
            with store.transaction() as transaction:
                transaction.delete("t", "k")
            with pytest.raises(sqlite3.OperationalError, match=r"shop\.db: another process reads"):
                await store.erase()
        await store.erase()


async def test_whoever_waits_for_news_hears_of_a_commit_that_wrote_something(store: Store) -> None:
    """And of no other."""
    heard: list[float] = []
    start = anyio.current_time()

    async def wait() -> None:
        await store.news()
        heard.append(anyio.current_time() - start)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(1)
        with store.transaction() as transaction:
            transaction.get("t", "k")
        await anyio.sleep(1)
        with suppress(KeyError), store.transaction() as transaction:
            transaction.put("t", "k", 1)
            raise KeyError
        await anyio.sleep(1)
        with store.transaction() as transaction:
            transaction.put("t", "k", 1)
    assert heard == [3]


async def test_whoever_waits_at_a_file_that_is_left_is_told(tmp_path: Path) -> None:
    """At once, and also where nobody looks every few seconds: nothing can come any more."""
    store, start = SQLiteStore(tmp_path / "shop.db"), anyio.current_time()

    async def wait() -> None:
        await store.news()
        assert anyio.current_time() - start == pytest.approx(1)
        with pytest.raises(RuntimeError, match="is not open"), store.reading():
            pass

    async with anyio.create_task_group() as group:
        with store:
            group.start_soon(wait)
            await anyio.sleep(1)


async def test_a_listener_that_fails_after_the_commit_changes_no_outcome(store: Store) -> None:
    """What is committed stays so: others hear of it, whoever waits is woken, and a note says what failed."""
    heard: list[str] = []

    def fails() -> None:
        raise KeyError("the listener")

    async def wait() -> None:
        await store.news()
        heard.append("woken")

    def step(transaction: Transaction) -> str:
        transaction.after_commit(fails)
        transaction.after_commit(lambda: heard.append("told"))
        transaction.put("t", "k", 1)
        return "done"

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(1)
        assert await store.run(step) == "done"
    assert heard == ["told", "woken"]
    (note,) = recorded().filter("note")
    assert "failed after the commit: KeyError('the listener')" in note.data["text"]


async def test_what_cannot_wait_in_a_transaction_is_refused_when_it_is_handed_over(store: Store) -> None:
    """The coroutine of an `async def` would never run, and its step would be said to be done."""

    async def never(*_: object) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="a step of a transaction"):
        await store.run(cast("Any", never))
    with pytest.raises(TypeError, match="after the commit"), store.transaction() as transaction:
        transaction.after_commit(never)
    with pytest.raises(TypeError, match="after the commit"), store.transaction() as transaction:
        transaction.after_commit(partial(never, 1))


KEYS = st.sampled_from(["a", "b", "c", "\x01", "é"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("count"), KEYS),
        st.tuples(st.just("remember"), KEYS, st.integers(1, 3)),
        st.tuples(st.just("clear")),
        st.tuples(st.just("fail")),
        st.tuples(st.just("scan"), st.one_of(st.none(), KEYS), st.integers(-1, 3)),
    ),
    max_size=12,
)


class Undone(Exception):
    """A part of a transaction that fails on purpose."""


def play(store: Store, parts: list[list[Any]]) -> list[Any]:
    """Each part is a savepoint in one transaction; what was seen by each, and in the end."""
    seen: list[Any] = []

    @contextmanager
    def part() -> Iterator[Any]:
        try:
            with store.transaction() as transaction:
                yield transaction
        except Undone:
            seen.append("undone")

    with store.transaction() as outer:
        for steps in parts:
            with part() as transaction:
                for name, *values in steps:
                    if name == "put":
                        transaction.put("t", *values)
                    elif name == "delete":
                        transaction.delete("t", *values)
                    elif name == "count":
                        seen.append(transaction.count(*values))
                    elif name == "remember":
                        transaction.remember("t", values[0] + "!", 1, capacity=values[1])
                    elif name == "clear":
                        transaction.clear("t")
                    elif name == "scan":
                        seen.append(transaction.scan("t", after=values[0], limit=values[1]))
                    else:
                        raise Undone
            seen.append([outer.scan("t"), outer.size("t")])
    return seen


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(STEPS, max_size=5))
def test_both_answer_alike(parts: list[list[Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is written, counted, remembered, removed and undone."""
    with SQLiteStore(tmp_path_factory.mktemp("store") / "shop.db", synchronous="OFF") as store:
        assert play(MemoryStore(), parts) == play(store, parts)
