"""The contract of the log of sagas, in a store in memory and on SQLite: one test for each sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.cqrs import Outbox
from eip_ref.message import Message
from eip_ref.saga import IllegalRecord, LogRecord, Phase, RecordType, SagaEnded, SagaLog, TakenOver
from eip_ref.storage import MemoryStore, SQLiteStore, Transaction
from tests.backends import recorded

from ..backends import Play, everywhere

Open = Callable[[], AbstractContextManager[SagaLog]]
BEGUN = LogRecord(RecordType.BEGUN, data={"name": "place order", "data": {"item": "tea"}, "deadline": None})
INTENT, DONE = LogRecord(RecordType.INTENT, "stock", {"item": "tea"}), LogRecord(RecordType.DONE, "stock", 7)


COMMAND = Message("a", id="m1", key="o1", headers={"step": "s"})


@contextmanager
def on_sqlite(path: Path, clock: float = 0.0) -> Iterator[SagaLog]:
    with SQLiteStore(path, synchronous="OFF", clock=lambda: clock) as store:
        yield SagaLog(store)


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens a log. Opened again it is the same one."""
    if request.param == "memory":
        log = SagaLog(MemoryStore())
        return lambda: nullcontext(log)
    return lambda: on_sqlite(tmp_path / "sagas.db", 1000.0)


def outbox_of(log: SagaLog) -> Outbox:
    return Outbox(log.store, "commands", versioned=False)


def write(log: SagaLog, saga: str, number: int, records: Sequence[LogRecord], command: Message) -> None:
    """Records and a command in one transaction, as an orchestrator writes them."""
    with log.store.transaction() as transaction:
        outbox_of(log).add(transaction, command)
        log.append(saga, number, records)


def with_log(opened: Open, test: Callable[[SagaLog], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def scenario() -> Any:
        with opened() as log:
            return await test(log)

    return scenario


@everywhere
def test_records_are_read_as_they_were_written_in_their_order(play: Play, opened: Open) -> None:
    """Several appends and several records in one make one sequence for each saga."""

    async def test(log: SagaLog) -> None:
        log.append("o1", 0, [BEGUN, INTENT])
        log.append("o2", 0, [BEGUN])
        log.append("o1", 2, [DONE])
        assert log.read("o1") == [BEGUN, INTENT, DONE]
        assert log.read("o2") == [BEGUN]
        assert log.read("o3") == []

    play(with_log(opened, test))


async def test_what_was_appended_is_there_when_the_log_is_opened_again(opened: Open) -> None:
    """Records, phases and the outbox."""
    with opened() as log:
        sent = COMMAND.copy(deadline=anyio.current_time() + 5)
        write(log, "o1", 0, [BEGUN, INTENT], sent)
    with opened() as log:
        assert log.read("o1") == [BEGUN, INTENT]
        assert log.find(Phase.RUNNING) == ["o1"]
        (claimed,) = outbox_of(log).claim("relay", seconds=1, limit=9)
        command = claimed.message
        assert (command.id, command.body, command.headers["step"]) == ("m1", "a", "s")
        assert command.deadline == pytest.approx(sent.deadline)


@everywhere
def test_records_cannot_be_changed_from_outside(play: Play, opened: Open) -> None:
    """What is in the log is shared with nobody."""

    async def test(log: SagaLog) -> None:
        body = {"item": "tea"}
        log.append("o1", 0, [BEGUN, LogRecord(RecordType.INTENT, "stock", body)])
        body["item"] = "coffee"
        log.read("o1")[1].data["item"] = "cocoa"
        assert log.read("o1")[1].data == {"item": "tea"}

    play(with_log(opened, test))


@everywhere
@pytest.mark.parametrize("number", [0, 1, 3])
def test_whoever_does_not_know_the_number_of_records_cannot_append(
    play: Play, opened: Open, number: int
) -> None:
    """Two orchestrators that believe to run one saga cannot both write, nor put commands into the outbox."""

    async def test(log: SagaLog) -> None:
        log.append("o1", 0, [BEGUN, INTENT])
        for records in ([DONE], []):
            with pytest.raises(TakenOver):
                write(log, "o1", number, records, COMMAND)
        assert log.read("o1") == [BEGUN, INTENT]
        assert len(outbox_of(log)) == 0

    play(with_log(opened, test))


@everywhere
@pytest.mark.parametrize(
    "end",
    [
        [LogRecord(RecordType.COMPLETED)],
        [LogRecord(RecordType.COMPENSATING, data="why"), LogRecord(RecordType.COMPENSATED)],
        [LogRecord(RecordType.STUCK, data="why")],
    ],
    ids=["completed", "compensated", "stuck"],
)
def test_a_saga_that_has_ended_takes_no_more_records(play: Play, opened: Open, end: list[LogRecord]) -> None:
    """Completed, compensated and stuck exclude each other; only a stuck one can be resumed."""

    async def test(log: SagaLog) -> None:
        log.append("o1", 0, [BEGUN, INTENT, *end])
        number = len(log.read("o1"))
        for type_ in set(RecordType) - {RecordType.RESUMED}:
            with pytest.raises(SagaEnded):
                write(log, "o1", number, [LogRecord(type_, "stock")], COMMAND)
        assert len(log.read("o1")) == number
        assert len(outbox_of(log)) == 0
        resumed = LogRecord(RecordType.RESUMED, data="running")
        if end[0].type is RecordType.STUCK:
            log.append("o1", number, [resumed])
            assert log.find(Phase.RUNNING) == ["o1"]
        else:
            with pytest.raises(SagaEnded):
                log.append("o1", number, [resumed])

    play(with_log(opened, test))


@everywhere
@pytest.mark.parametrize(
    "records",
    [
        [DONE],
        [BEGUN, BEGUN],
        [BEGUN, LogRecord(RecordType.UNDOING, "stock")],
        [BEGUN, LogRecord(RecordType.COMPENSATED)],
        [BEGUN, LogRecord(RecordType.RESUMED, data="running")],
        [BEGUN, LogRecord(RecordType.COMPENSATING, data=""), INTENT],
        [BEGUN, LogRecord(RecordType.COMPENSATING, data=""), LogRecord(RecordType.COMPLETED)],
    ],
)
def test_a_record_that_may_not_follow_is_refused_and_with_it_all_others(
    play: Play, opened: Open, records: list[LogRecord]
) -> None:
    """One transaction: nothing of it is kept, the commands included."""

    async def test(log: SagaLog) -> None:
        with pytest.raises(IllegalRecord, match="cannot follow while the saga is"):
            write(log, "o1", 0, records, COMMAND)
        assert log.read("o1") == []
        assert log.find(*Phase) == []
        assert len(outbox_of(log)) == 0

    play(with_log(opened, test))


@everywhere
@pytest.mark.parametrize("data", [(1, 2), {1: "a"}, float("nan"), {"a", "b"}])
def test_data_that_would_come_back_changed_are_refused(play: Play, opened: Open, data: Any) -> None:
    """Only JSON values; and nothing of the transaction is kept."""

    async def test(log: SagaLog) -> None:
        with pytest.raises((TypeError, ValueError)):
            log.append("o1", 0, [BEGUN, LogRecord(RecordType.INTENT, "stock", data)])
        assert log.read("o1") == []

    play(with_log(opened, test))


@everywhere
def test_sagas_are_found_by_phase_and_name_oldest_first(play: Play, opened: Open) -> None:
    """In any of the phases that are given."""

    async def test(log: SagaLog) -> None:
        other = LogRecord(RecordType.BEGUN, data={"name": "return goods", "data": None, "deadline": None})
        log.append("b", 0, [BEGUN])
        log.append("a", 0, [other, LogRecord(RecordType.STUCK, data="")])
        log.append("c", 0, [BEGUN, LogRecord(RecordType.COMPLETED)])
        log.append("d", 0, [BEGUN])
        log.append("b", 1, [LogRecord(RecordType.COMPENSATING, data="")])
        assert log.find(Phase.RUNNING) == ["d"]
        assert log.find(*Phase) == ["b", "a", "c", "d"]
        assert log.find(Phase.STUCK, Phase.COMPENSATING, name="place order") == ["b"]
        assert log.find() == []

    play(with_log(opened, test))


@everywhere
def test_records_share_the_fate_of_the_transaction_around_them(play: Play, opened: Open) -> None:
    """What fails after them takes them back, and then nothing is told."""

    def append_and_fail(log: SagaLog) -> None:
        with log.store.transaction():
            log.append("o1", 0, [BEGUN])
            raise KeyError

    async def test(log: SagaLog) -> None:
        with pytest.raises(KeyError):
            append_and_fail(log)
        assert (log.read("o1"), log.find(*Phase)) == ([], [])

    assert play(with_log(opened, test)).count("state") == 0


@everywhere
def test_a_refused_record_that_is_caught_leaves_nothing_in_the_transaction_around_it(
    play: Play, opened: Open
) -> None:
    """The records before it are undone, and what else the transaction did is kept."""

    def try_to_append(log: SagaLog, transaction: Transaction) -> None:
        transaction.put("orders", "o1", "seen")
        with pytest.raises(IllegalRecord):
            log.append("o1", 0, [BEGUN, INTENT, BEGUN])

    async def test(log: SagaLog) -> None:
        with log.store.transaction() as transaction:
            try_to_append(log, transaction)
        assert (log.read("o1"), log.find(*Phase)) == ([], [])
        log.append("o1", 0, [BEGUN])

    play(with_log(opened, test))


@everywhere
def test_every_change_of_phase_is_told_in_the_trace_once_it_is_written(play: Play, opened: Open) -> None:
    """At the place of the saga's name; what was refused is not told."""

    async def test(log: SagaLog) -> None:
        log.append("o1", 0, [BEGUN, INTENT])
        with pytest.raises(IllegalRecord):
            log.append("o1", 2, [LogRecord(RecordType.COMPENSATING, data="no"), BEGUN])
        log.append(
            "o1", 2, [LogRecord(RecordType.COMPENSATING, data="why"), LogRecord(RecordType.COMPENSATED)]
        )

    trace = play(with_log(opened, test))
    facts = [
        (e.where, e.message, e.data["was"], e.data["now"], e.data["reason"]) for e in trace.filter("state")
    ]
    assert facts == [
        ("place order", "o1", "", "running", ""),
        ("place order", "o1", "running", "compensating", "why"),
        ("place order", "o1", "compensating", "compensated", ""),
    ]


async def test_the_clock_goes_on(opened: Open) -> None:
    """A second later it shows a second more, also when the log was closed in between."""
    with opened() as log:
        log.append("o1", 0, [BEGUN])
        before = log.now()
        await anyio.sleep(1)
        assert log.now() - before == pytest.approx(1)
        log.append("o1", 1, [INTENT])
    with opened() as log:
        assert log.now() >= before + 0.999


# On SQLite alone


@pytest.mark.parametrize("table", ["sagas/o1", "sagas.running", "commands"])
async def test_records_and_commands_are_one_transaction(tmp_path: Path, table: str) -> None:
    """When one of them cannot be written, neither is."""
    with on_sqlite(tmp_path / "sagas.db") as log:
        connection = sqlite3.connect(tmp_path / "sagas.db", isolation_level=None)
        refuse = f"BEFORE INSERT ON documents WHEN NEW.tbl = '{table}' BEGIN SELECT RAISE(ABORT, 'full'); END"
        connection.execute(f"CREATE TRIGGER full {refuse}")
        connection.close()
        with pytest.raises(sqlite3.DatabaseError, match="full"):
            write(log, "o1", 0, [BEGUN, INTENT], COMMAND)
        assert (log.read("o1"), log.find(*Phase), len(outbox_of(log))) == ([], [], 0)
    assert recorded().count("state") == 0


async def test_two_processes_may_open_one_file(tmp_path: Path) -> None:
    """What one writes the other reads, and they cannot both write one saga."""
    path = tmp_path / "sagas.db"
    with on_sqlite(path) as one, on_sqlite(path) as other:
        one.append("o1", 0, [BEGUN])
        other.append("o1", 1, [INTENT])
        with pytest.raises(TakenOver):
            one.append("o1", 1, [INTENT])
        assert one.read("o1") == [BEGUN, INTENT]
