"""The contract of a store and of the outbox in it: in memory and on SQLite, on both schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.cqrs import DomainEvent, Outbox, Relay, event
from eip_ref.lab import invariants
from eip_ref.message import EXPIRED, Message
from eip_ref.storage import MemoryStore, SQLiteStore, Store, Transaction, key_of

from ..backends import Play, everywhere

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    memory = MemoryStore()
    return lambda: memory if request.param == "memory" else SQLiteStore(tmp_path / "a.db", synchronous="OFF")


def fact(stream: str, version: int) -> Message:
    return event(
        DomainEvent("Changed", {"n": version}), stream, version, id=f"{stream}/{version}", causation_id="c"
    )


def fill(store: Store, outbox: Outbox, *streams: str) -> None:
    """Add an event for each name, with the version that is next in its stream."""
    with store.transaction() as transaction:
        for n, stream in enumerate(streams):
            outbox.add(transaction, fact(stream, streams[: n + 1].count(stream)))


def undone(store: Store, *steps: Callable[[Transaction], object]) -> None:
    """A transaction that takes these steps and then fails."""
    with store.transaction() as transaction:
        for step in steps:
            step(transaction)
        raise KeyError


# Transactions


@everywhere
def test_all_writes_of_a_transaction_are_committed_together_or_none(play: Play, store_of: Open) -> None:
    """An error undoes what was written, over what was there before too, and is raised."""

    async def scenario() -> Any:
        with store_of() as store:
            with store.transaction() as transaction:
                transaction.put("users", "ann", 1)
            with pytest.raises(KeyError):
                undone(
                    store,
                    lambda t: t.put("users", "ann", 2),
                    lambda t: t.put("users", "bob", 2),
                    lambda t: t.delete("users", "ann"),
                    lambda t: t.count("n"),
                )
            with store.transaction() as transaction:
                return transaction.scan("users"), transaction.count("n")

    assert play(scenario).result == ([("ann", 1)], 1)


@everywhere
def test_a_transaction_inside_another_shares_its_fate(play: Play, store_of: Open) -> None:
    """The inner one ends well, and is undone with the outer one."""

    async def scenario() -> Any:
        with store_of() as store:

            def inside(outer: Transaction) -> None:
                with store.transaction() as inner:
                    inner.put("users", "ann", 1)

            with pytest.raises(KeyError):
                undone(store, inside)
            with store.transaction() as transaction:
                return transaction.get("users", "ann", "nobody")

    assert play(scenario).result == "nobody"


@everywhere
def test_what_waits_for_the_commit_is_called_after_it_and_only_then(play: Play, store_of: Open) -> None:
    """Nobody is told of what was undone; whoever waits for a change is woken by a commit that wrote."""

    async def scenario() -> Any:
        told: list[Any] = []

        def tell(word: str) -> None:
            with store.transaction() as transaction:
                told.append((word, transaction.get("users", "ann")))

        async def listen() -> None:
            await store.changed.wait()
            told.append("rung")

        with store_of() as store:
            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                await anyio.sleep(1)
                with pytest.raises(KeyError):
                    undone(
                        store,
                        lambda t: t.put("users", "ann", 1),
                        lambda t: t.after_commit(lambda: tell("undone")),
                    )
                with store.transaction() as transaction:
                    transaction.get("users", "ann")
                await anyio.sleep(1)
                told.append("and now")
                with store.transaction() as transaction:
                    transaction.after_commit(lambda: tell("done"))
                    transaction.put("users", "ann", 2)
                    told.append("not yet")
        return told

    assert play(scenario).result == ["and now", "not yet", ("done", 2), "rung"]


@everywhere
def test_a_scan_goes_through_a_table_in_the_order_of_its_keys(play: Play, store_of: Open) -> None:
    """Beyond a key, up to a limit, and no other table's."""

    async def scenario() -> Any:
        with store_of() as store, store.transaction() as transaction:
            for number in (10, 9, 100, 2):
                transaction.put("t", key_of(number), number)
            transaction.put("t2", key_of(3), 3)
            transaction.put("t", key_of(9), "nine")
            all_ = [document for _, document in transaction.scan("t")]
            some = [document for _, document in transaction.scan("t", after=key_of(2), limit=2)]
            return all_, some, transaction.size("t"), transaction.scan("t", limit=0)

    assert play(scenario).result == ([2, "nine", 10, 100], ["nine", 10], 4, [])


@everywhere
def test_clearing_a_table_leaves_the_others(play: Play, store_of: Open) -> None:
    """Only the one that was named is empty."""

    async def scenario() -> Any:
        with store_of() as store, store.transaction() as transaction:
            transaction.put("t", "a", 1)
            transaction.put("t.more", "a", 2)
            transaction.clear("t")
            return transaction.scan("t"), transaction.scan("t.more")

    assert play(scenario).result == ([], [("a", 2)])


def test_a_file_keeps_its_documents_and_its_outbox(tmp_path: Path) -> None:
    """Opened again it holds what was committed, and numbers go on."""

    async def scenario() -> Any:
        for _ in range(2):
            with SQLiteStore(tmp_path / "a.db") as store:
                outbox = Outbox(store)
                fill(store, outbox, "a")
        with SQLiteStore(tmp_path / "a.db") as store:
            return len(Outbox(store))

    assert anyio.run(scenario) == 2


# The outbox


@everywhere
def test_an_event_is_in_the_outbox_with_the_state_or_not_at_all(play: Play, store_of: Open) -> None:
    """One transaction: an error after the event was added takes it back, and nothing is recorded."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store)
            with pytest.raises(KeyError):
                undone(store, lambda t: outbox.add(t, fact("a", 1)))
            before = len(outbox)
            fill(store, outbox, "a")
            return before, len(outbox)

    trace = play(scenario)
    assert trace.result == (0, 1)
    assert trace.messages("sent") == trace.messages("accepted") == ["a/1"]
    assert trace.count("opened", where="outbox") == 1


@everywhere
def test_a_claim_hands_out_the_oldest_events_of_whole_streams(play: Play, store_of: Open) -> None:
    """In order, up to the limit, and as they were written."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store)
            fill(store, outbox, "a", "b", "a", "a", "b")
            first = outbox.claim("relay", seconds=10, limit=3)
            assert first[2].message.body == {"n": 2}
            assert first[2].message.headers == {"stream-version": 2}
            return [entry.message.id for entry in first]

    assert play(scenario).result == ["a/1", "b/1", "a/2"]


async def test_a_claim_is_limited_also_past_what_another_relay_has(store_of: Open) -> None:
    """It looks further for what is free, and takes no more for that."""
    with store_of() as store:
        outbox = Outbox(store)
        fill(store, outbox, "a", *"bbbbb")
        outbox.claim("one", seconds=10, limit=1)
        claimed = outbox.claim("two", seconds=10, limit=3)
        assert [each.message.id for each in claimed] == ["b/1", "b/2", "b/3"]


@everywhere
def test_a_stream_belongs_to_one_relay_at_a_time(play: Play, store_of: Open) -> None:
    """Another relay gets other streams, until the claim is released or has run out at its instant."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store)
            fill(store, outbox, "a", "a", "a", "b", "c")

            def ids(relay: str, limit: int = 9) -> list[str]:
                return [entry.message.id for entry in outbox.claim(relay, seconds=10, limit=limit)]

            seen = [ids("one", 1), ids("two", 1), ids("two")]
            await anyio.sleep(9.9)
            seen.append(ids("two"))
            await anyio.sleep(0.1)
            seen.append(ids("two"))
            return seen

    trace = play(scenario)
    assert trace.result == [["a/1"], ["b/1"], ["c/1"], [], ["a/1", "a/2", "a/3", "b/1", "c/1"]]
    for kind in ("expired", "returned"):
        of = [(e.message, e.who) for e in trace.filter(kind)]
        assert of == [("a/1", "one"), ("b/1", "two"), ("c/1", "two")]
    invariants.assert_holds(trace, invariants.conservation, invariants.lease_fencing)


async def test_claims_are_kept_on_the_clock_of_the_store() -> None:
    """That goes on over restarts, and has not the time of anyio's clock, which begins anew."""

    class Elsewhere(MemoryStore):
        shift = 1e6

    await anyio.sleep(5)
    outbox, begun = Outbox(store := Elsewhere()), anyio.current_time()
    fill(store, outbox, "a", "b")
    (first,) = outbox.claim("one", seconds=10, limit=1)
    await anyio.sleep(9)
    (other,) = outbox.claim("two", seconds=10, limit=9)
    assert (other.message.id, outbox.left(first), outbox.left(other)) == ("b/1", 1, 10)
    assert (outbox.free_at - begun, outbox.age) == (10, 9)
    await anyio.sleep(1)
    assert [each.message.id for each in outbox.claim("three", seconds=10, limit=9)] == ["a/1"]


@everywhere
def test_an_old_claim_marks_nothing(play: Play, store_of: Open) -> None:
    """After its time, and when another relay has the stream; the newer claim is not touched."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store)
            fill(store, outbox, "a")
            (old,) = outbox.claim("one", seconds=10, limit=9)
            assert outbox.left(old) == 10
            await anyio.sleep(10)
            late = outbox.mark(old), outbox.left(old)
            (new,) = outbox.claim("two", seconds=10, limit=9)
            fenced = outbox.mark(old), outbox.left(old)
            outbox.release([old])
            return late, fenced, outbox.mark(new), len(outbox)

    trace = play(scenario)
    assert trace.result == ((False, 0.0), (False, 0.0), True, 0)
    assert trace.count("stale", where="outbox") == 2
    invariants.assert_holds(trace, invariants.conservation, invariants.lease_fencing)


@everywhere
def test_what_is_released_can_be_claimed_at_once_and_what_is_marked_never(play: Play, store_of: Open) -> None:
    """The rest of a batch goes to whoever asks next."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store)
            fill(store, outbox, "a", "a", "a")
            entries = outbox.claim("one", seconds=10, limit=2)
            outbox.mark(entries[0])
            outbox.release(entries)
            late = [outbox.mark(entries[1])]
            other = outbox.claim("two", seconds=10, limit=9)
            late.append(outbox.mark(entries[1]))
            outbox.release(entries)
            return late, [entry.message.id for entry in other], outbox.mark(other[0])

    trace = play(scenario)
    assert trace.result == ([False, False], ["a/2", "a/3"], True)
    invariants.assert_holds(trace, invariants.conservation, invariants.lease_fencing)


@everywhere
def test_a_claim_that_a_dead_relay_left_on_nothing_wakes_nobody(play: Play, store_of: Open) -> None:
    """It ran out long ago, and whoever went by it would look again and again without a rest."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox, start = Outbox(store), anyio.current_time()
            fill(store, outbox, "a", "b")
            (last,) = outbox.claim("dead", seconds=1, limit=1)
            outbox.mark(last)  # and it dies before it can give the stream back
            outbox.claim("slow", seconds=10, limit=9)
            await anyio.sleep(2)
            return outbox.free_at - start

    assert play(scenario).result == pytest.approx(10, abs=0.01)


@everywhere
def test_the_outbox_says_how_long_its_oldest_event_has_waited(play: Play, store_of: Open) -> None:
    """That is the lag of the relay; an empty outbox has none."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store)
            empty = outbox.age
            fill(store, outbox, "a")
            await anyio.sleep(3)
            fill(store, outbox, "b")
            return empty, outbox.age

    assert play(scenario).result == (0.0, 3.0)


@everywhere
def test_an_event_without_a_place_in_its_stream_is_refused(play: Play, store_of: Open) -> None:
    """And so is one whose body is not JSON: here, where the mistake is, and not at the relay."""

    async def scenario() -> None:
        with store_of() as store, store.transaction() as transaction:
            outbox = Outbox(store)
            with pytest.raises(ValueError, match="stream-version"):
                outbox.add(transaction, Message("x", key="a"))
            with pytest.raises(ValueError, match="must have a key"):
                outbox.add(transaction, Message("x", headers={"stream-version": 1}))
            with pytest.raises(TypeError):
                outbox.add(transaction, Message(object(), key="a", headers={"stream-version": 1}))
            assert len(outbox) == 0

    play(scenario)


@everywhere
def test_what_is_no_event_needs_a_key_and_no_version(play: Play, store_of: Open) -> None:
    """Commands leave in the order of their key, in an outbox that is made for them."""

    async def scenario() -> Any:
        with store_of() as store:
            outbox = Outbox(store, "commands", versioned=False)
            with store.transaction() as transaction:
                for identity in ("m1", "m2"):
                    outbox.add(transaction, Message("pay", key="order-1", id=identity))
                with pytest.raises(ValueError, match="must have a key"):
                    outbox.add(transaction, Message("pay"))
            return [(c.message.id, c.key) for c in outbox.claim("relay", seconds=1, limit=9)]

    assert play(scenario).result == [("m1", "order-1"), ("m2", "order-1")]


@everywhere
def test_what_has_happened_does_not_expire(play: Play, store_of: Open) -> None:
    """An event with a deadline is refused where it is added; else readers would wait for it for ever."""

    async def scenario() -> None:
        refused = pytest.raises(ValueError, match="has happened does not expire")
        with store_of() as store, store.transaction() as transaction, refused:
            Outbox(store).add(transaction, fact("a", 1).copy(deadline=9.0))

    play(scenario)


@everywhere
def test_a_command_whose_deadline_has_passed_is_dropped_and_the_next_one_leaves(
    play: Play, store_of: Open
) -> None:
    """Counted and recorded, and published to nobody."""
    published: list[str] = []

    async def scenario() -> Any:
        with store_of() as store:
            outbox, now = Outbox(store, "commands", versioned=False), anyio.current_time()
            with store.transaction() as transaction:
                outbox.add(transaction, Message("late", key="o1", id="m1", deadline=now + 1))
                outbox.add(transaction, Message("in time", key="o1", id="m2", deadline=now + 9))
            await anyio.sleep(1)
            relay = Relay(outbox, lambda message: published.append(message.id))
            return await relay.run_once(), len(outbox)

    trace = play(scenario)
    assert (published, trace.result, trace.messages("acked")) == (["m2"], (2, 0), ["m2"])
    assert trace.messages("acked") == ["m2"]
    assert [(e.message, e.data["reason"]) for e in trace.filter("dropped")] == [("m1", EXPIRED)]
    invariants.assert_holds(trace, invariants.conservation, invariants.lease_fencing)


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": math.nan}, {"seconds": 0}, {"limit": 0}, {"limit": 1.5}, {"relay": ""}],
    ids=repr,
)
def test_a_claim_that_makes_no_sense_is_refused_by_name(store_of: Open, wrong: dict[str, Any]) -> None:
    """Where it is given."""
    given: dict[str, Any] = {"relay": "relay", "seconds": 1, "limit": 1} | wrong
    with store_of() as store, pytest.raises(ValueError, match=next(iter(wrong))):
        Outbox(store).claim(given.pop("relay"), **given)
