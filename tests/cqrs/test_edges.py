"""The edges of CQRS: what may be handed over, what another process has written, a part that is undone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing
from eip_ref.cqrs import (
    Command,
    Commands,
    Decision,
    DomainEvent,
    Feed,
    Inbox,
    ReadModel,
    event,
    read,
)
from eip_ref.message import Message
from eip_ref.signal import Signal, alone
from eip_ref.storage import MemoryStore, SQLiteStore, Store, Transaction

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    memory = MemoryStore()
    return lambda: memory if request.param == "memory" else SQLiteStore(tmp_path / "a.db", synchronous="OFF")


def charged(version: int, who: str = "ann") -> Message:
    fact = DomainEvent("Charged", {"cents": 1})
    return event(fact, f"billing/{who}", version, id=f"{who}{version}", causation_id="c")


# What may be handed over

NO_COUNTS: list[Any] = [1.5, math.nan, math.inf]


async def _would_never_run(*_: object) -> None:
    """Makes a coroutine, which is true."""


_async: Any = _would_never_run


@pytest.mark.parametrize(
    "wrong",
    [
        partial(Commands(MemoryStore(), "users").handler, "Ping", _async),
        partial(Commands(MemoryStore(), "users").handler, "Ping", lambda s, c: Decision({}), check=_async),
        partial(Inbox(MemoryStore(), "mailer").on, "Charged", _async),
        partial(ReadModel, MemoryStore(), "view", {"Charged": _async}),
    ],
    ids=["a decision", "a check", "a handler of an inbox", "a handler of a view"],
)
def test_an_async_def_is_refused_when_it_is_handed_over(wrong: Callable[[], object]) -> None:
    """Nobody would wait for it: a check would let everything through, an effect would never happen."""
    with pytest.raises(TypeError, match="must be a plain function"):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        partial(Command, "", "ann"),
        partial(Command, "Charge", ""),
        partial(Command, "Charge", "ann\0"),
        partial(Command, "Charge", "ann", key=""),
        partial(Command, "Charge", "ann", expects=-1),
        partial(Command, "Charge", "ann", expects=True),
        partial(Commands, MemoryStore(), ""),
        partial(Commands, MemoryStore(), "users", remember=NO_COUNTS[0]),
        partial(Inbox, MemoryStore(), "mailer", remember=NO_COUNTS[1]),
        partial(ReadModel, MemoryStore(), "view", {}, capacity=0),
        partial(ReadModel, MemoryStore(), "", {}),
        partial(ReadModel(MemoryStore(), "view", {}).since, -1),
        partial(Feed, ReadModel(MemoryStore(), "view", {}), capacity=NO_COUNTS[2]),
    ],
)
def test_what_is_no_name_and_no_number_is_refused_when_it_is_given(wrong: Callable[[], object]) -> None:
    """ValueError that names the parameter, and not an error of some store at the first command."""
    with pytest.raises(ValueError, match="must be"):
        wrong()


@pytest.mark.parametrize("setting", [{"timeout": -1}, {"timeout": math.nan}, {"late": "never"}])
async def test_a_setting_of_a_read_that_is_none_is_refused(setting: dict[str, Any]) -> None:
    """Before it waits, and also where nothing is late."""
    with pytest.raises(ValueError, match=r"timeout must be|'never' is not a valid Late"):
        await read(ReadModel(MemoryStore(), "view", {}), "ann", **setting)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_read_that_is_cancelled_before_it_began_answers_nothing(backend: str) -> None:
    """Also when it has nothing to wait for, so a loop of reads can be stopped."""

    async def scenario() -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await read(ReadModel(MemoryStore(), "view", {}), "ann")
        return scope.cancelled_caught

    assert anyio.run(scenario, backend=backend)


@pytest.mark.parametrize("data", [{"cents": (1, 2)}, {1: "one"}, {"cents": math.inf}, {"name": "\ud800"}])
def test_a_command_whose_data_would_come_back_changed_is_refused(data: Any) -> None:
    """When it is made: it would have another fingerprint after a restart, and another event."""
    with pytest.raises(TypeError, match="cannot be written as JSON and read back equal"):
        Command("Charge", "ann", data)


def test_a_repetition_may_say_its_data_in_another_order() -> None:
    """It is the same command all the same."""
    one, other = (Command("Charge", "ann", dict.fromkeys(names, 5)) for names in ("ab", "ba"))
    assert one.fingerprint == other.fingerprint


async def test_a_command_is_what_it_was_when_it_was_made(store_of: Open) -> None:
    """Whatever its caller does to the dictionary afterwards."""
    lines = ["tea"]
    data = {"cents": 1, "lines": lines}
    command = Command("Charge", "ann", data)
    data["cents"] = 1_000
    lines.append("cake")
    assert command.data["lines"] == ["tea"]
    with store_of() as store:
        service = billing(store)
        await service.handle(command)
        assert service.state("ann")[1] == {"owed": 1}


# A part that is undone


async def test_an_attempt_that_fails_inside_a_transaction_of_the_caller_is_no_duplicate(
    store_of: Open,
) -> None:
    """The caller catches the error and commits the rest; the message comes again, and is not lost."""
    with store_of() as store:
        inbox = Inbox(store, "mailer")
        fails = [True, False]

        def mail(transaction: Transaction, message: Message) -> None:
            transaction.count("mails")
            if fails.pop(0):
                raise OSError("no paper")

        inbox.on("Charged", mail)
        with store.transaction() as transaction:
            transaction.count("attempts")
            with pytest.raises(OSError, match="no paper"):
                inbox.handle(charged(1))
        with store.reading() as transaction:
            assert transaction.get("counters", "attempts") == 1
            assert transaction.get("counters", "mails") is None
        assert inbox.handle(charged(1))
        assert not inbox.handle(charged(1))
        with store.reading() as transaction:
            assert transaction.get("counters", "mails") == 1


# Another process


def elsewhere(path: Path) -> SQLiteStore:
    """The same file, as another process has it open: nobody there notifies our signals."""
    store = SQLiteStore(path, synchronous="OFF")
    store.changed = Signal()
    return store


async def test_a_read_sees_what_another_process_has_projected(tmp_path: Path) -> None:
    """It looks again and again, and does not wait for its timeout beside a view that has the version."""
    alone.set(False)
    with SQLiteStore(tmp_path / "a.db", synchronous="OFF") as here, elsewhere(tmp_path / "a.db") as there:
        mine, theirs = (ReadModel(store, "dashboard", DASHBOARD) for store in (here, there))
        start = anyio.current_time()

        async def comes() -> None:
            await anyio.sleep(0.3)
            theirs.handle(charged(1))

        async with anyio.create_task_group() as group:
            group.start_soon(comes)
            reading = await read(mine, "ann", at_least={"billing/ann": 1}, timeout=500)
            assert anyio.current_time() - start < 500
    assert (reading.stale, reading.row["charged"]) == (False, 1)


async def test_a_follower_gets_the_changes_that_another_process_makes(tmp_path: Path) -> None:
    """Between its own ones too: what it hears of after a gap is no reason to pass over the gap."""
    with SQLiteStore(tmp_path / "a.db", synchronous="OFF") as here, elsewhere(tmp_path / "a.db") as there:
        mine, theirs = (ReadModel(store, "dashboard", DASHBOARD) for store in (here, there))
        with Feed(mine) as feed:
            assert feed.next_nowait() is None
            mine.handle(charged(1))
            theirs.handle(charged(1, "bob"))
            mine.handle(charged(2))
            mine.handle(charged(3))
            got = [feed.next_nowait() for _ in range(4)]
            theirs.handle(charged(2, "bob"))
            got += [feed.next_nowait() for _ in range(2)]
    told = [(change.position, change.key) if change else None for change in got]
    assert told == [(1, "ann"), (2, "bob"), (4, "ann"), None, (5, "bob"), None]


async def test_a_follower_that_waits_wakes_for_another_process(tmp_path: Path) -> None:
    """It asks now and then, since nobody can tell it."""
    alone.set(False)
    with SQLiteStore(tmp_path / "a.db", synchronous="OFF") as here, elsewhere(tmp_path / "a.db") as there:
        mine, theirs = (ReadModel(store, "dashboard", DASHBOARD) for store in (here, there))

        async def comes() -> None:
            await anyio.sleep(0.3)
            theirs.handle(charged(1))

        with Feed(mine) as feed, anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(comes)
                assert (await anext(feed)).position == 1


async def test_a_view_that_another_process_has_rebuilt_goes_on_here(tmp_path: Path) -> None:
    """Queries and events of this process are those of the new generation at once."""

    class History:
        def __aiter__(self) -> History:
            self.left = [charged(1)]
            return self

        async def __anext__(self) -> Message:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    with SQLiteStore(tmp_path / "a.db", synchronous="OFF") as here, elsewhere(tmp_path / "a.db") as there:
        mine, theirs = (ReadModel(store, "dashboard", DASHBOARD) for store in (here, there))
        mine.handle(charged(1))
        await theirs.rebuild(History())
        assert not mine.handle(charged(1))
        assert mine.handle(charged(2))
        assert mine.rows() == theirs.rows()
        assert (mine.get("ann")["charged"], theirs.seen("billing/ann")) == (2, 2)
