"""The contract of every log of sagas: the sentences of the protocol, one test each.

An implementation joins by a function in LOGS that opens it. Those that survive their process also
take part in the tests with a second opening.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.message import Message
from eip_ref.saga import (
    Entry,
    IllegalEntry,
    Mark,
    MemorySagaLog,
    Phase,
    SagaEnded,
    SagaLog,
    SQLiteSagaLog,
    TakenOver,
)

from ..backends import Play, everywhere

Open = Callable[[], AbstractContextManager[SagaLog]]
BEGUN = Entry(Mark.BEGUN, data={"name": "place order", "data": {"item": "tea"}, "deadline": None})
INTENT, DONE = Entry(Mark.INTENT, "stock", {"item": "tea"}), Entry(Mark.DONE, "stock", 7)


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens a log. Opened again it is the same one."""
    if request.param == "memory":
        log = MemorySagaLog()
        return lambda: nullcontext(log)
    return lambda: SQLiteSagaLog(tmp_path / "sagas.db", synchronous="OFF", clock=lambda: 1000.0)


pytestmark = everywhere


def with_log(opened: Open, test: Callable[[SagaLog], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def scenario() -> Any:
        with opened() as log:
            return await test(log)

    return scenario


def test_entries_are_read_as_they_were_written_in_their_order(play: Play, opened: Open) -> None:
    """Several appends and several entries in one make one sequence for each saga."""

    async def test(log: SagaLog) -> None:
        await log.append("o1", 0, [BEGUN, INTENT])
        await log.append("o2", 0, [BEGUN])
        await log.append("o1", 2, [DONE])
        assert await log.read("o1") == [BEGUN, INTENT, DONE]
        assert await log.read("o2") == [BEGUN]
        assert await log.read("o3") == []

    play(with_log(opened, test))


def test_what_was_appended_is_there_when_the_log_is_opened_again(play: Play, opened: Open) -> None:
    """Entries, phases and the outbox."""

    async def scenario() -> None:
        with opened() as log:
            sent = Message("a", id="m1", headers={"step": "s"}, deadline=anyio.current_time() + 5)
            await log.append("o1", 0, [BEGUN, INTENT], [sent])
            ((_, command),) = await log.unsent()
            assert command.deadline == pytest.approx(sent.deadline)
        with opened() as log:
            assert await log.read("o1") == [BEGUN, INTENT]
            assert await log.find(Phase.RUNNING) == ["o1"]
            ((_, command),) = await log.unsent()
            assert (command.id, command.body, command.headers["step"]) == ("m1", "a", "s")

    play(scenario)


def test_entries_cannot_be_changed_from_outside(play: Play, opened: Open) -> None:
    """What is in the log is shared with nobody."""

    async def test(log: SagaLog) -> None:
        body = {"item": "tea"}
        await log.append("o1", 0, [BEGUN, Entry(Mark.INTENT, "stock", body)], [Message(body, id="m")])
        body["item"] = "coffee"
        (await log.read("o1"))[1].data["item"] = "cocoa"
        (await log.unsent())[0][1].body["item"] = "cocoa"
        assert (await log.read("o1"))[1].data == {"item": "tea"}
        assert (await log.unsent())[0][1].body == {"item": "tea"}

    play(with_log(opened, test))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_whoever_does_not_know_the_number_of_entries_cannot_append(
    play: Play, opened: Open, number: int
) -> None:
    """Two orchestrators that believe to run one saga cannot both write, nor put commands into the outbox."""

    async def test(log: SagaLog) -> None:
        await log.append("o1", 0, [BEGUN, INTENT])
        for entries in ([DONE], []):
            with pytest.raises(TakenOver):
                await log.append("o1", number, entries, [Message("a", id="m")])
        assert await log.read("o1") == [BEGUN, INTENT]
        assert await log.unsent() == []

    play(with_log(opened, test))


@pytest.mark.parametrize(
    "end",
    [
        [Entry(Mark.COMPLETED)],
        [Entry(Mark.COMPENSATING, data="why"), Entry(Mark.COMPENSATED)],
        [Entry(Mark.STUCK, data="why")],
    ],
    ids=["completed", "compensated", "stuck"],
)
def test_a_saga_that_has_ended_takes_no_more_entries(play: Play, opened: Open, end: list[Entry]) -> None:
    """Completed, compensated and stuck exclude each other; only a stuck one can be resumed."""

    async def test(log: SagaLog) -> None:
        await log.append("o1", 0, [BEGUN, INTENT, *end])
        number = len(await log.read("o1"))
        for mark in set(Mark) - {Mark.RESUMED}:
            with pytest.raises(SagaEnded):
                await log.append("o1", number, [Entry(mark, "stock")], [Message("a", id="m")])
        assert len(await log.read("o1")) == number
        assert await log.unsent() == []
        resumed = Entry(Mark.RESUMED, data="running")
        if end[0].mark is Mark.STUCK:
            await log.append("o1", number, [resumed])
            assert await log.find(Phase.RUNNING) == ["o1"]
        else:
            with pytest.raises(SagaEnded):
                await log.append("o1", number, [resumed])

    play(with_log(opened, test))


@pytest.mark.parametrize(
    "entries",
    [
        [DONE],
        [BEGUN, BEGUN],
        [BEGUN, Entry(Mark.UNDOING, "stock")],
        [BEGUN, Entry(Mark.COMPENSATED)],
        [BEGUN, Entry(Mark.RESUMED, data="running")],
        [BEGUN, Entry(Mark.COMPENSATING, data=""), INTENT],
        [BEGUN, Entry(Mark.COMPENSATING, data=""), Entry(Mark.COMPLETED)],
    ],
)
def test_an_entry_that_may_not_follow_is_refused_and_with_it_all_others(
    play: Play, opened: Open, entries: list[Entry]
) -> None:
    """One transaction: nothing of it is kept, the commands included."""

    async def test(log: SagaLog) -> None:
        with pytest.raises(IllegalEntry, match="cannot follow while the saga is"):
            await log.append("o1", 0, entries, [Message("a", id="m")])
        assert await log.read("o1") == []
        assert await log.find(*Phase) == []
        assert await log.unsent() == []

    play(with_log(opened, test))


@pytest.mark.parametrize("data", [(1, 2), {1: "a"}, float("nan"), {"a", "b"}])
def test_data_that_would_come_back_changed_are_refused(play: Play, opened: Open, data: Any) -> None:
    """Only JSON values; and nothing of the transaction is kept."""

    async def test(log: SagaLog) -> None:
        with pytest.raises((TypeError, ValueError)):
            await log.append("o1", 0, [BEGUN, Entry(Mark.INTENT, "stock", data)])
        assert await log.read("o1") == []

    play(with_log(opened, test))


def test_sagas_are_found_by_phase_and_name_oldest_first(play: Play, opened: Open) -> None:
    """In any of the phases that are given."""

    async def test(log: SagaLog) -> None:
        other = Entry(Mark.BEGUN, data={"name": "return goods", "data": None, "deadline": None})
        await log.append("b", 0, [BEGUN])
        await log.append("a", 0, [other, Entry(Mark.STUCK, data="")])
        await log.append("c", 0, [BEGUN, Entry(Mark.COMPLETED)])
        await log.append("d", 0, [BEGUN])
        await log.append("b", 1, [Entry(Mark.COMPENSATING, data="")])
        assert await log.find(Phase.RUNNING) == ["d"]
        assert await log.find(*Phase) == ["b", "a", "c", "d"]
        assert await log.find(Phase.STUCK, Phase.COMPENSATING, name="place order") == ["b"]
        assert await log.find() == []

    play(with_log(opened, test))


def test_the_outbox_keeps_the_order_and_forgets_what_was_sent(play: Play, opened: Open) -> None:
    """Places grow for ever; to be told twice that a command was sent does no harm."""

    async def test(log: SagaLog) -> None:
        await log.append("o1", 0, [BEGUN], [Message(n, id=f"m{n}") for n in range(3)])
        first, second, third = await log.unsent()
        assert [m.body for _, m in (first, second, third)] == [0, 1, 2]
        assert [m.body for _, m in await log.unsent(limit=2)] == [0, 1]
        await log.sent(second[0])
        await log.sent(second[0])
        await log.sent(third[0])
        await log.append("o1", 1, [], [Message(3, id="m3")])
        assert [m.body for _, m in await log.unsent()] == [0, 3]
        assert (await log.unsent())[1][0] > third[0]

    play(with_log(opened, test))


def test_a_cancellation_does_not_hide_that_an_append_is_written(play: Play, opened: Open) -> None:
    """It returns, and whoever appended knows what is in the log."""

    async def test(log: SagaLog) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await log.append("o1", 0, [BEGUN])
        with anyio.CancelScope(shield=True):
            assert await log.read("o1") == [BEGUN]
        assert not scope.cancelled_caught

    play(with_log(opened, test))


def test_every_change_of_phase_is_told_in_the_trace_once_it_is_written(play: Play, opened: Open) -> None:
    """At the place of the saga's name; what was refused is not told."""

    async def test(log: SagaLog) -> None:
        await log.append("o1", 0, [BEGUN, INTENT])
        with pytest.raises(IllegalEntry):
            await log.append("o1", 2, [Entry(Mark.COMPENSATING, data="no"), BEGUN])
        await log.append("o1", 2, [Entry(Mark.COMPENSATING, data="why"), Entry(Mark.COMPENSATED)])

    trace = play(with_log(opened, test))
    facts = [
        (e.where, e.message, e.data["was"], e.data["now"], e.data["reason"]) for e in trace.filter("state")
    ]
    assert facts == [
        ("place order", "o1", "", "running", ""),
        ("place order", "o1", "running", "compensating", "why"),
        ("place order", "o1", "compensating", "compensated", ""),
    ]


def test_the_clock_goes_on(play: Play, opened: Open) -> None:
    """A second later it shows a second more, also when the log was closed in between."""

    async def scenario() -> None:
        with opened() as log:
            await log.append("o1", 0, [BEGUN])
            before = log.now()
            await anyio.sleep(1)
            assert log.now() - before == pytest.approx(1)
            await log.append("o1", 1, [INTENT])
        with opened() as log:
            assert log.now() >= before + 0.999

    play(scenario)


# On SQLite alone


@contextmanager
def full(log: SQLiteSagaLog, word: str) -> Iterator[None]:
    """Every statement with this word fails."""

    def refuse(action: int, name: str | None, *_: Any) -> int:
        return sqlite3.SQLITE_DENY if (action, name) == (sqlite3.SQLITE_INSERT, word) else sqlite3.SQLITE_OK

    log.database.connection.set_authorizer(refuse)
    try:
        yield
    finally:
        log.database.connection.set_authorizer(None)


@pytest.mark.parametrize("table", ["entries", "outbox"])
def test_entries_and_commands_are_one_transaction(play: Play, tmp_path: Path, table: str) -> None:
    """When one of them cannot be written, neither is."""

    async def scenario() -> None:
        with SQLiteSagaLog(tmp_path / "sagas.db", synchronous="OFF", clock=lambda: 0.0) as log:
            with full(log, table), pytest.raises(sqlite3.DatabaseError):
                await log.append("o1", 0, [BEGUN, INTENT], [Message("a", id="m")])
            assert await log.read("o1") == []
            assert await log.unsent() == []

    trace = play(scenario)
    assert trace.count("state") == 0


def test_two_processes_may_open_one_file(play: Play, tmp_path: Path) -> None:
    """What one writes the other reads, and they cannot both write one saga."""

    async def scenario() -> None:
        path, settings = tmp_path / "sagas.db", {"synchronous": "OFF", "clock": lambda: 0.0}
        with SQLiteSagaLog(path, **settings) as one, SQLiteSagaLog(path, **settings) as other:
            await one.append("o1", 0, [BEGUN])
            await other.append("o1", 1, [INTENT])
            with pytest.raises(TakenOver):
                await one.append("o1", 1, [INTENT])
            assert await one.read("o1") == [BEGUN, INTENT]

    play(scenario)
