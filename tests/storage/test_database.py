"""The file: whose it is, what a transaction covers, and who waits for whom."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.storage import Database, ForeignTransaction
from eip_ref.storage.database import VERSION

TABLE = ("CREATE TABLE IF NOT EXISTS words (word TEXT)",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


def words(database: Database) -> list[str]:
    return [word for (word,) in database.execute("SELECT word FROM words ORDER BY rowid")]


def write(database: Database, word: str) -> None:
    database.execute("INSERT INTO words VALUES (?)", word)


# Whose file it is


def everything(path: Path) -> tuple[Any, ...]:
    with closing(sqlite3.connect(path)) as connection:
        pragmas = ("journal_mode", "application_id", "user_version")
        return (
            *(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas),
            connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall(),
        )


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 1",
        f"PRAGMA user_version = {VERSION}",
        "CREATE TABLE theirs (x)",
        "PRAGMA application_id = 7",
    ],
)
def test_the_file_of_another_program_is_refused_by_name_and_left_as_it_is(path: Path, statement: str) -> None:
    """Its tables, its version and its journal mode are not ours to change."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    before = everything(path)
    database = Database(path)
    with pytest.raises(ValueError, match=r"shop\.db is the file of another program"), database:
        pass
    with pytest.raises(RuntimeError, match="is not open"):
        database.rows("SELECT 1")
    assert everything(path) == before


def test_what_is_no_database_at_all_is_refused_by_name(path: Path) -> None:
    """And not overwritten."""
    path.write_text("Dear Ann, " * 1000)
    with pytest.raises(sqlite3.DatabaseError, match=r"shop\.db: file is not a database"), Database(path):
        pass
    assert path.read_text().startswith("Dear Ann")


def test_a_file_that_cannot_be_made_is_named(path: Path) -> None:
    """As any error of the disk names the file."""
    with (
        pytest.raises(sqlite3.OperationalError, match=r"shop\.db: unable to open"),
        Database(path.parent / "nowhere" / path.name),
    ):
        pass


def test_a_file_of_ours_is_opened_again(path: Path) -> None:
    """With all that was committed."""
    with Database(path) as database:
        database.create(TABLE)
        with database.transaction():
            write(database, "kept")
    with Database(path) as database:
        assert words(database) == ["kept"]


def test_an_error_of_sqlite_names_the_file(path: Path) -> None:
    """And keeps its type."""
    insert = "INSERT INTO missing VALUES (?)"
    with Database(path) as database:
        for call in (
            lambda: database.execute(insert, "word"),
            lambda: database.execute_many(insert, [("word",)]),
            lambda: database.rows("SELECT * FROM missing"),
        ):
            with pytest.raises(sqlite3.OperationalError, match=r"shop\.db: no such table"):
                call()


def test_what_could_not_be_opened_in_it_leaves_it_closed(path: Path) -> None:
    """A queue whose tables cannot be made holds no file open."""
    database = Database(path)
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        database.open(("CREATE nothing",))
    with pytest.raises(RuntimeError, match="is not open"):
        database.rows("SELECT 1")


@pytest.mark.parametrize("ask", ["SELECT word FROM words", "SELECT count(*), max(word) FROM words"])
def test_a_damaged_file_is_named_wherever_the_damage_is(path: Path, ask: str) -> None:
    """Also where the first rows can be read and a later one cannot."""
    with Database(path) as database:
        database.create(TABLE)
        with database.transaction():
            for number in range(2_000):
                write(database, f"word {number} {'x' * 50}")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 8 * 7 // 4096 * 4096)
        file.write(b"\xff" * 8192)
    with (
        Database(path) as database,
        pytest.raises(sqlite3.DatabaseError, match=r"shop\.db: database disk image is malformed"),
    ):
        database.rows(ask)


@pytest.mark.parametrize("setting", [{"busy_timeout": -1}, {"poll": 0}, {"synchronous": "SOMETIMES"}])
def test_a_wrong_setting_is_refused_where_it_is_given(path: Path, setting: dict[str, Any]) -> None:
    """By its name."""
    with pytest.raises(ValueError, match=f"{next(iter(setting))} must be"):
        Database(path, **setting)


# What a transaction covers


def test_what_fails_inside_another_transaction_undoes_its_own_part(path: Path) -> None:
    """A savepoint: the outer one goes on, and commits the rest."""
    told: list[str] = []
    with Database(path) as database:
        database.create(TABLE)
        with database.transaction():
            write(database, "first")
            with suppress(KeyError), database.transaction():
                write(database, "undone")
                database.after_commit(lambda: told.append("undone"))
                with database.transaction():
                    write(database, "undone with it")
                with suppress(KeyError), database.transaction():
                    raise KeyError
                raise KeyError
            with database.transaction():
                write(database, "second")
                database.after_commit(lambda: told.append("second"))
            assert told == []
        assert words(database) == ["first", "second"]
    assert told == ["second"]


def test_when_the_outer_one_fails_all_of_it_is_undone(path: Path) -> None:
    """Nothing of it is told to anybody."""
    told: list[str] = []
    with Database(path) as database:
        database.create(TABLE)
        with suppress(KeyError), database.transaction():
            with database.transaction():
                write(database, "inner")
                database.after_commit(lambda: told.append("inner"))
            raise KeyError
        assert words(database) == []
    assert told == []


def test_what_cannot_be_committed_leaves_the_file_as_it_was(path: Path) -> None:
    """Nothing of it is told, and the next transaction is one of its own."""
    told: list[str] = []
    later = "CREATE TABLE later (word TEXT REFERENCES known DEFERRABLE INITIALLY DEFERRED)"

    def refer_to_nothing() -> None:
        with database.transaction():
            write(database, "undone")
            database.execute("INSERT INTO later VALUES ('unknown')")
            database.after_commit(lambda: told.append("undone"))

    with Database(path) as database:
        database.create((*TABLE, "CREATE TABLE known (word TEXT PRIMARY KEY)", later))
        database.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError, match=r"shop\.db"):
            refer_to_nothing()
        with database.transaction():
            write(database, "kept")
        assert words(database) == ["kept"]
    assert told == []


async def test_a_transaction_of_another_task_is_refused(path: Path) -> None:
    """Else it would be told that it is done, and rolled back with the first task's transaction."""
    with Database(path) as database:
        database.create(TABLE)

        async def first() -> None:
            with suppress(KeyError), database.transaction():
                write(database, "first")
                await anyio.sleep(2)  # the mistake: an await inside
                raise KeyError

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.sleep(1)
            with pytest.raises(ForeignTransaction, match="no await may stand inside"), database.transaction():
                write(database, "second")
        with database.transaction():
            write(database, "third")
        assert words(database) == ["third"]


async def test_a_task_started_inside_a_transaction_is_another_task_afterwards(path: Path) -> None:
    """What it inherited is over."""
    with Database(path) as database:
        database.create(TABLE)

        async def child() -> None:
            with database.transaction():
                write(database, "child")

        async with anyio.create_task_group() as group:
            with database.transaction():
                write(database, "parent")
                group.start_soon(child)
        assert words(database) == ["parent", "child"]


# Who waits for whom


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file, as another process does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_lock_that_passes_is_waited_for_and_the_loop_goes_on(path: Path) -> None:
    """In real time, since another process has it; it passes when the loop has gone round often enough."""

    async def main() -> list[str]:
        with Database(path, busy_timeout=30) as database:
            database.create(TABLE)
            async with anyio.create_task_group() as group:
                with locked(path):
                    group.start_soon(database.run, write, database, "after the lock")
                    for _ in range(20):
                        await anyio.sleep(0.001)
            return words(database)

    assert anyio.run(main) == ["after the lock"]


async def test_a_lock_that_does_not_pass_is_an_error_that_names_the_file(path: Path) -> None:
    """After `busy_timeout` seconds, for both ways to begin."""
    with Database(path, busy_timeout=0) as database:
        database.create(TABLE)
        with locked(path):
            with pytest.raises(sqlite3.OperationalError, match=r"shop\.db: database is locked"):
                await database.run(write, database, "never")
            with pytest.raises(sqlite3.OperationalError, match="locked"), database.transaction():
                write(database, "never")


async def test_two_openers_in_one_process_share_a_signal(path: Path) -> None:
    """Whoever waits at the one hears of what the other has committed."""
    with Database(path) as one, Database(path.parent / "." / path.name) as other:
        assert one.signal("queue orders") is other.signal("queue orders")
        assert one.signal("queue orders") is not one.signal("queue returns")


def test_what_another_process_writes_is_looked_for_every_poll_seconds(path: Path) -> None:
    """Nobody here can be told of it."""

    async def main() -> None:
        with Database(path, poll=0.01) as database:
            signal = database.signal("queue orders")
            with anyio.fail_after(10):
                await database.news(signal)

    anyio.run(main)


# Time


@pytest.mark.parametrize("clock", [None, time.time])
def test_the_clock_of_the_file_goes_on_in_another_event_loop(
    path: Path, clock: Callable[[], float] | None
) -> None:
    """Opened where there is none, and used by trio, whose clock starts anywhere, and by asyncio."""
    with Database(path, clock=clock) as database:
        before = database.now()

        async def main() -> None:
            assert 0 <= database.now() - before < 60_000_000
            now = anyio.current_time()
            assert database.on_anyio(database.now()) == pytest.approx(now, abs=60)

        anyio.run(main, backend="trio")
        anyio.run(main)
        assert 0 <= database.now() - before < 60_000_000
