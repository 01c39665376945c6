"""Participants: once each, in any order; their books; and the countermeasures against half-done work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from eip_ref.lab import invariants
from eip_ref.lab.invariants.sagas import saga_outcome
from eip_ref.message import Message
from eip_ref.saga import (
    Changed,
    LocalTransaction,
    Locked,
    NotDone,
    Participant,
    Refused,
    Revoked,
    action,
    add,
    compensation,
    lock,
    question,
    reread,
    unlock,
)
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from tests.backends import Play, everywhere, recorded

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    memory = MemoryStore()
    on_disk = request.param == "sqlite"
    return lambda: (
        SQLiteStore(tmp_path / "books.db", synchronous="OFF", clock=lambda: 0.0) if on_disk else memory
    )


def reserve(command: Message, books: LocalTransaction) -> int:
    books.effect("reserved", stock=-command.body)
    return int(add(books, "stock", -command.body, minimum=0))


def release(command: Message, books: LocalTransaction) -> None:
    books.effect("released", stock=command.body)
    add(books, "stock", command.body)


@contextmanager
def books_of(store: Store) -> Iterator[LocalTransaction]:
    """A local transaction of the inventory that nobody commanded."""
    with store.transaction() as transaction:
        yield LocalTransaction(transaction, "inventory", DO)


def holding(**documents: Any) -> MemoryStore:
    """A store in which the inventory has these documents."""
    store = MemoryStore()
    with books_of(store) as books:
        for key, document in documents.items():
            books.put(key, document)
    return store


def inventory(store: Store, stock: int) -> Participant:
    with books_of(store) as books:
        books.put("stock", stock)
    return Participant("inventory", store, {"Reserve": reserve, "Release": release})


DO = action("o1", "stock", "Reserve", 2)
UNDO = compensation("o1", "stock", "Release", 2)
ASK = question("o1", "stock", "Reserve")


async def test_a_repeated_action_has_one_effect_and_the_same_answer(opened: Open) -> None:
    """The participant is idempotent: the record commits with the effect."""
    with opened() as store:
        participant = inventory(store, 5)
        assert [await participant(DO) for _ in range(3)] == [3, 3, 3]
        assert participant.business() == {"stock": 3}
    trace = recorded()
    assert (trace.count("effect"), trace.count("duplicate")) == (1, 2)


async def test_a_repeated_compensation_has_one_effect(opened: Open) -> None:
    """Compensation is idempotent too."""
    with opened() as store:
        participant = inventory(store, 5)
        await participant(DO)
        for _ in range(3):
            assert await participant(UNDO) is None
        assert participant.business() == {"stock": 5}
    trace = recorded()
    assert [e.data["effect"] for e in trace.filter("effect")] == ["reserved", "released"]
    assert trace.messages("duplicate") == ["o1/stock/undo"] * 2


@everywhere
def test_a_compensation_that_comes_first_leaves_a_tombstone(play: Play, opened: Open) -> None:
    """The late action finds it and is refused, however often it comes, also after a restart."""

    async def scenario() -> None:
        with opened() as store:
            await inventory(store, 5)(UNDO)
        with opened() as store:
            participant = Participant("inventory", store, {"Reserve": reserve, "Release": release})
            for _ in range(2):
                with pytest.raises(Revoked, match="o1/stock was revoked before"):
                    await participant(DO)
            await participant(UNDO)
            assert participant.business() == {"stock": 5}

    trace = play(scenario)
    assert trace.count("effect") == 0
    (tombstone,) = trace.filter("state")
    assert (tombstone.message, tombstone.data["was"], tombstone.data["now"]) == (
        "o1/stock",
        "unknown",
        "revoked",
    )


@pytest.mark.parametrize("stock", [5, 1], ids=["done", "refused"])
async def test_action_and_compensation_commute(opened: Open, stock: int) -> None:
    """Any order of two copies of each leaves the same books."""
    for number, order in enumerate(sorted(set(permutations(["do", "do", "undo", "undo"])))):
        with opened() as store:
            participant, saga = inventory(store, stock), f"o{number}"
            for what in order:
                if what == "undo":
                    await participant(compensation(saga, "stock", "Release", 2))
                    continue
                with suppress(Refused):
                    await participant(action(saga, "stock", "Reserve", 2))
            assert participant.business() == {"stock": stock}


@everywhere
def test_a_refusal_changes_nothing_and_is_remembered(play: Play, opened: Open) -> None:
    """What the handler wrote before it refused is gone; the same key gets the same no."""

    def greedy(command: Message, books: LocalTransaction) -> None:
        books.put("touched", True)
        books.effect("touched")
        reserve(command, books)

    async def scenario() -> None:
        with opened() as store:
            inventory(store, 1)
            participant = Participant("inventory", store, {"Reserve": greedy, "Release": release})
            for _ in range(2):
                with pytest.raises(Refused, match="stock is 1"):
                    await participant(DO)
            with books_of(store) as books:
                books.put("stock", 10)  # better late than never does not hold: the answer was given
            with pytest.raises(Refused, match="stock is 1"):
                await participant(DO)
            await participant(UNDO)
            assert participant.business() == {"stock": 10}

    trace = play(scenario)
    assert trace.count("effect") == 0
    assert trace.messages("refused") == ["o1/stock"] * 3


@everywhere
def test_a_handler_that_fails_leaves_nothing_and_may_be_tried_again(play: Play, opened: Open) -> None:
    """An error is not an answer: no value, no record, no effect."""
    failing = [True]

    def handler(command: Message, books: LocalTransaction) -> int:
        left = reserve(command, books)
        if failing:
            failing.clear()
            raise ZeroDivisionError
        return left

    async def scenario() -> None:
        failing[:] = [True]
        with opened() as store:
            inventory(store, 5)
            participant = Participant("inventory", store, {"Reserve": handler, "Release": release})
            with pytest.raises(ZeroDivisionError):
                await participant(DO)
            assert participant.business() == {"stock": 5}
            assert await participant(ASK) == {"state": "unknown", "answer": None}
            assert await participant(DO) == 3

    assert play(scenario).count("effect") == 1


@everywhere
def test_a_participant_can_be_asked_what_became_of_an_operation(play: Play, opened: Open) -> None:
    """Unknown, done with its answer, refused, revoked; to ask leaves no tombstone."""

    async def scenario() -> list[Any]:
        with opened() as store:
            participant = inventory(store, 3)
            said = [await participant(ASK)]
            await participant(DO)
            said.append(await participant(ASK))
            with pytest.raises(Refused):
                await participant(action("o2", "stock", "Reserve", 2))
            said.append(await participant(question("o2", "stock", "Reserve")))
            await participant(UNDO)
            said.append(await participant(ASK))
            return said

    states = [(said["state"], said["answer"]) for said in play(scenario).result]
    assert states == [("unknown", None), ("done", 1), ("refused", None), ("revoked", None)]


async def test_a_command_that_nobody_handles_is_an_error_in_words() -> None:
    """Not a refusal: a refusal would compensate."""
    participant = inventory(MemoryStore(), 3)
    with pytest.raises(LookupError, match="inventory does not know how to 'Paint'"):
        await participant(action("o1", "paint", "Paint", None))


async def test_two_participants_in_one_store_share_nothing(opened: Open) -> None:
    """Each has a table of its own, and remembers its own operations."""
    with opened() as store:
        one = inventory(store, 5)
        other = Participant("warehouse", store, {"Reserve": lambda command, books: books.get("stock", 0)})
        assert (await one(DO), await other(DO)) == (3, 0)
        assert (one.business(), other.business()) == ({"stock": 3}, {})


@everywhere
@pytest.mark.parametrize(
    "answer", [(1, 2), {1: 2}, float("nan"), object()], ids=["a tuple", "a number as key", "nan", "an object"]
)
def test_an_answer_that_would_come_back_changed_is_refused_before_anything_is_done(
    play: Play, opened: Open, answer: Any
) -> None:
    """A definite error, in memory as on a disk: no document, no effect, and no record of the operation."""

    def handler(command: Message, books: LocalTransaction) -> Any:
        reserve(command, books)
        return answer

    async def scenario() -> None:
        with opened() as store:
            inventory(store, 5)
            participant = Participant("inventory", store, {"Reserve": handler})
            with pytest.raises(NotDone, match="the answer of inventory to Reserve cannot be written"):
                await participant(DO)
            assert participant.business() == {"stock": 5}
            assert (await participant(ASK))["state"] == "unknown"

    assert play(scenario).count("effect") == 0


def test_a_handler_that_would_have_to_be_awaited_is_refused_when_it_is_handed_over() -> None:
    """A local transaction waits for nothing."""

    async def handler(command: Message, books: LocalTransaction) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="the handler of 'Reserve' is called without waiting"):
        Participant("inventory", MemoryStore(), {"Reserve": handler})


@everywhere
def test_an_exception_in_a_transaction_leaves_nothing(play: Play, opened: Open) -> None:
    """And a value that was read can be changed without changing the books."""

    def try_it(store: Store) -> None:
        with books_of(store) as books:
            books.put("x", [1])
        with books_of(store) as books:
            books.get("x").append(2)
            assert books.get("none", 7) == 7
        with suppress(ZeroDivisionError), books_of(store) as books:
            books.put("x", 3)
            assert books.get("x") == 3
            raise ZeroDivisionError
        assert Participant("inventory", store, {}).business() == {"x": [1]}

    async def scenario() -> None:
        with opened() as store:
            try_it(store)

    play(scenario)


# 8. No isolation: lost update, dirty read, fuzzy read, and what helps


def write_back(seen: int) -> Callable[[Message, LocalTransaction], None]:
    """A handler of a saga that read the stock earlier, and writes what it makes of it."""

    def handler(command: Message, books: LocalTransaction) -> None:
        books.put("stock", seen - command.body)

    return handler


def by(saga: str, type: str = "Reserve", body: Any = 2) -> Message:
    return action(saga, "stock", type, body)


async def test_writing_back_what_was_read_before_loses_an_update() -> None:
    """The anomaly: two sagas take 2 of 10 each, and 8 are left."""
    store = holding(stock=10)
    seen = Participant("inventory", store, {}).business()["stock"]  # both read
    for saga in ("o1", "o2"):  # both write
        await Participant("inventory", store, {"Reserve": write_back(seen)})(by(saga))
    assert Participant("inventory", store, {}).business()["stock"] == 8


async def test_a_commutative_update_loses_nothing_in_any_order() -> None:
    """The cure: both change by an amount, and so does the compensation of one of them."""
    work = [by("o1"), by("o2", body=3), compensation("o1", "stock", "Release", 2)]
    for order in permutations(work):
        participant = inventory(MemoryStore(), 10)
        for command in order:
            try:
                await participant(command)
            except Revoked:
                assert command is work[0]
        assert participant.business() == {"stock": 7}


async def test_a_dirty_read_is_acted_on_and_then_taken_back() -> None:
    """The anomaly: somebody sells what a saga put into stock, and the saga takes it away again."""
    store = holding(stock=0)
    with books_of(store) as books:
        add(books, "stock", 5)  # goods returned, by a saga that has not ended
    with books_of(store) as books:
        add(books, "stock", -4, minimum=0)  # and sold
    with books_of(store) as books:
        add(books, "stock", -5)  # the return is compensated
    assert Participant("inventory", store, {}).business()["stock"] == -4


async def test_a_semantic_lock_keeps_others_from_what_is_not_final() -> None:
    """The cure: not final until its saga ends; the other is told to come again, which is no refusal."""

    def guarded(command: Message, books: LocalTransaction) -> None:
        lock(books, "tea", command.correlation_id or "")
        reserve(command, books)

    def over(command: Message, books: LocalTransaction) -> None:
        unlock(books, "tea", command.correlation_id or "")

    store = holding(stock=10)
    participant = Participant("inventory", store, {"Reserve": guarded, "Release": over})
    await participant(by("o1"))
    with pytest.raises(Locked, match="tea is not final: saga o1 holds it"):
        await participant(by("o2"))
    assert participant.business()["stock"] == 8
    await participant(action("o2", "end", "Release", None))  # the lock of another stays
    with pytest.raises(Locked):
        await participant(by("o2"))
    await participant(action("o1", "end", "Release", None))
    await participant(by("o2"))
    assert participant.business() == {"stock": 6, "lock tea": "o2"}


async def test_a_saga_may_take_its_own_lock_again() -> None:
    """A repetition under another step does not block itself."""
    with books_of(MemoryStore()) as books:
        lock(books, "tea", "o1")
        lock(books, "tea", "o1")
        unlock(books, "tea", "o1")
        lock(books, "tea", "o2")


@everywhere
def test_a_fuzzy_read_sees_two_prices_and_reread_finds_out(play: Play) -> None:
    """The anomaly and the cure: the price changed between two steps, so the second is refused."""

    def charge(command: Message, books: LocalTransaction) -> None:
        reread(books, "price", command.body)
        books.put("paid", command.body)

    async def scenario() -> None:
        store = holding(price=30)
        with pytest.raises(Changed), books_of(store) as books:
            reread(books, "price", 29)
        participant = Participant("inventory", store, {"Charge": charge})
        await participant(action("o1", "charge", "Charge", 30))
        with books_of(store) as books:
            books.put("price", 40)
        with pytest.raises(Refused, match="price was 30 and is 40 now"):
            await participant(action("o2", "charge", "Charge", 30))
        assert participant.business() == {"price": 40, "paid": 30}

    play(scenario)


async def test_effects_are_told_with_what_they_are_of() -> None:
    """Saga, step, role and amounts: enough for a judgement over the trace."""
    participant = inventory(MemoryStore(), 5)
    await participant(DO)
    await participant(UNDO)
    trace = recorded()
    one, other = trace.filter("effect")
    assert (one.where, one.who, one.message) == ("inventory", "inventory", "o1/stock")
    assert one.data == {
        "effect": "reserved",
        "amounts": {"stock": -2},
        "saga": "o1",
        "step": "stock",
        "role": "action",
    }
    assert (other.data["role"], other.data["amounts"]) == ("compensation", {"stock": 2})
    invariants.assert_holds(trace, saga_outcome(open_ok=True))
