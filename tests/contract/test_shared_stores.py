"""All that lives in a store of documents, when its file is shared, and when a transaction is left early.

One row for each: what somebody does for the first, second and third time, and what everybody sees of it.
What two openers of one file do by turns, or two processes, comes to what one does alone.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest

from eip_ref.apps.shop_dashboard.services import DASHBOARD
from eip_ref.cqrs import DomainEvent, Inbox, Outbox, ReadModel, event
from eip_ref.event_sourcing import (
    FORGOTTEN,
    Forgotten,
    Loaded,
    Projection,
    Projector,
    Recorded,
    Shredder,
    Snapshots,
    View,
    query,
)
from eip_ref.message import Message
from eip_ref.saga import LogRecord, Phase, RecordType, SagaLog
from eip_ref.storage import MemoryStore, SQLiteStore, Store, Transaction


class Kept(NamedTuple):
    """A thing that is kept in a store."""

    do: Callable[[Store, int], object]
    see: Callable[[Store], Any]
    end: Any  #: what is seen when it was done three times


LATE = [2, 1, 3]  #: versions in the order in which they come


def fact(version: int) -> Message:
    changed = DomainEvent("Charged", {"cents": 10**version})
    return event(changed, "billing/ann", version, id=f"ann/{version}", causation_id="c")


# The view of a projection


def take(store: Store, n: int) -> None:
    def add(view: View, event: Recorded) -> None:
        view.put(event.message.type, [*view.get(event.message.type, []), event.message.body])

    said = Recorded(n, "talk", n, Message(n, "Said", "talk", f"said {n}"), 0.0)
    Projector(store, Projection("words", {"Said": add})).take([said])


def viewed(store: Store) -> Any:
    with query(store, "words") as view:
        return view.items(), view.position


# The read model, whose second version comes first


def model(store: Store) -> ReadModel:
    return ReadModel(store, "dashboard", DASHBOARD)


def read(store: Store) -> Any:
    view = model(store)
    charged = [row["charged"] for row in view.rows().values()]
    return charged, view.since(0)[0], view.seen("billing/ann"), view.lag.held_back


# Snapshots, keys, sagas


def snap(store: Store, n: int) -> None:
    Snapshots(store).put("order-17", Loaded(Message(n, "State", id=f"state {n}"), LATE[n - 1]))


def snapped(store: Store) -> Any:
    snapshot = Snapshots(store).get("order-17")
    return snapshot and (snapshot.version, snapshot.state.body)


def seal(store: Store, n: int) -> None:
    written = Message({"who": "ann", "name": f"Ann {n}"}, id=f"e{n}")
    sealed = Shredder(store).seal(written, "ann", ("name",))
    with store.transaction() as transaction:
        transaction.put("sealed", sealed.id, sealed.body)


def opened(store: Store) -> Any:
    with store.reading() as transaction:
        sealed = transaction.scan("sealed")
    return [Shredder(store).open(Message(body, id=key)).body["name"] for key, body in sealed]


RECORDS = [
    LogRecord(RecordType.BEGUN, data={"name": "order", "data": 1, "deadline": None}),
    LogRecord(RecordType.INTENT, "payment", {"euros": 7}),
    LogRecord(RecordType.DONE, "payment", "paid"),
]


def append(store: Store, n: int) -> None:
    log = SagaLog(store)
    log.append("o1", len(log.read("o1")), [RECORDS[n - 1]])


def appended(store: Store) -> Any:
    return SagaLog(store).read("o1"), SagaLog(store).find(Phase.RUNNING)


# Outbox and inbox


def publish(store: Store, n: int) -> None:
    outbox = Outbox(store)
    if n == 1:
        with store.transaction() as transaction:
            outbox.add(transaction, fact(1))
            outbox.add(transaction, fact(2))
        return
    claimed = outbox.claim(f"relay {n}", seconds=1000, limit=10)
    assert outbox.claim("another", seconds=1000, limit=10) == []
    assert outbox.mark(claimed[0])
    outbox.release(claimed)


def unpublished(store: Store) -> Any:
    return len(Outbox(store))


def inbox(store: Store) -> Inbox:
    inbox = Inbox(store, "billing")
    inbox.on("Said", lambda transaction, message: transaction.count(f"effects of {message.id}"))
    return inbox


def said(n: int) -> Message:
    return Message(n, "Said", id="once" if n == 1 else "twice")


def handled(store: Store) -> Any:
    with store.reading() as transaction:
        return [transaction.get("counters", f"effects of {each}") for each in ("once", "twice")]


KEPT = {
    "view": Kept(take, viewed, ([("Said", [1, 2, 3])], 3)),
    "read model": Kept(lambda store, n: model(store).handle(fact(LATE[n - 1])), read, ([1110], 3, 3, 0)),
    "snapshots": Kept(snap, snapped, (3, 3)),
    "keys": Kept(seal, opened, ["Ann 1", "Ann 2", "Ann 3"]),
    "saga log": Kept(append, appended, (RECORDS, ["o1"])),
    "outbox": Kept(publish, unpublished, 0),
    "inbox": Kept(lambda store, n: inbox(store).handle(said(n)), handled, [1, 1]),
}
every_kept = pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())


@every_kept
async def test_what_two_openers_do_by_turns_is_what_one_does_alone(kept: Kept, tmp_path: Path) -> None:
    """Each goes on from what the other has committed, and sees it."""
    path = tmp_path / "shop.db"
    with SQLiteStore(path, synchronous="OFF") as one, SQLiteStore(path, synchronous="OFF") as other:
        for n, store in enumerate((one, other, one), 1):
            kept.do(store, n)
        assert kept.see(one) == kept.see(other) == kept.end


def second(path: str) -> None:
    """The part of a second process: it does all of it for the second time."""

    async def main() -> None:
        with SQLiteStore(path, synchronous="OFF") as store:
            for kept in KEPT.values():
                kept.do(store, 2)

    anyio.run(main)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is seen after a second process has done what comes between what this one does."""
    path = tmp_path_factory.mktemp("shared") / "shop.db"

    async def main() -> dict[str, Any]:
        with SQLiteStore(path, synchronous="OFF") as store:
            for kept in KEPT.values():
                kept.do(store, 1)
            code = f"import sys; from {__name__} import second; second(sys.argv[1])"
            await anyio.run_process([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2])
            for kept in KEPT.values():
                kept.do(store, 3)
            return {name: kept.see(store) for name, kept in KEPT.items()}

    return anyio.run(main)


@pytest.mark.parametrize("name", KEPT)
def test_what_two_processes_do_by_turns_is_what_one_does_alone(name: str, seen: dict[str, Any]) -> None:
    """Both have the file open, and each goes on from what the other has committed."""
    assert seen[name] == KEPT[name].end


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "shop.db"
    with MemoryStore() if request.param == "memory" else SQLiteStore(path, synchronous="OFF") as store:
        yield store


@pytest.mark.parametrize("exit", [KeyError, KeyboardInterrupt, GeneratorExit])
@every_kept
async def test_what_was_done_in_a_transaction_that_is_left_early_is_undone(
    store: Store, kept: Kept, exit: type[BaseException]
) -> None:
    """Whatever it is left by; afterwards the same can be done as if nothing had been."""
    kept.do(store, 1)
    before = kept.see(store)

    def fails(transaction: Transaction) -> None:
        kept.do(store, 2)
        assert kept.see(store) != before or kept.do is snap
        raise exit

    with pytest.raises(exit), store.transaction() as transaction:
        fails(transaction)
    assert kept.see(store) == before
    for n in (2, 3):
        kept.do(store, n)
    assert kept.see(store) == kept.end


CALLS: dict[str, Callable[[Store, int], Awaitable[object]]] = {
    "read model": lambda store, n: model(store)(fact(LATE[n - 1])),
    "inbox": lambda store, n: inbox(store)(said(n)),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_is_cancelled_before_it_begins_does_nothing(store: Store, name: str) -> None:
    """And one that has committed says so, though it was cancelled meanwhile."""
    kept, call = KEPT[name], CALLS[name]
    before = kept.see(store)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(store, 1)
        raise AssertionError
    assert kept.see(store) == before
    for n in (1, 2, 3):
        await call(store, n)
    assert kept.see(store) == kept.end


async def test_a_person_whom_one_opener_forgets_is_forgotten_for_the_other(tmp_path: Path) -> None:
    """It reads nothing personal any more, and writes nothing under a new key."""
    path = tmp_path / "keys.db"
    with SQLiteStore(path) as one, SQLiteStore(path) as other:
        seal(one, 1)
        assert opened(other) == ["Ann 1"]
        await Shredder(one).forget("ann")
        assert opened(other) == [FORGOTTEN]
        with pytest.raises(Forgotten):
            seal(other, 2)
