"""The contract of a view, in every store of documents: the sentences of `View`, one test each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from eip_ref.event_sourcing import Parked, Recorded, View, live_generation, query, swap
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from tests.event_sourcing.views import Copy, live, live_view, view_named

Make = Callable[[], AbstractContextManager[Store]]
D = "dashboard.1"


@pytest.fixture(params=[MemoryStore, SQLiteStore])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the same store each time that it is called."""
    if request.param is SQLiteStore:
        return lambda: SQLiteStore(tmp_path / "views.db", synchronous="OFF")
    store = MemoryStore()
    return lambda: store


def broken(position: int, stream: str = "order-17") -> Recorded:
    return Recorded(position, stream, 2, Message({"euros": None}, "OrderPaid", stream, "x"), 3.0)


def fill(view: View) -> None:
    view.put("b", {"count": 1})
    view.put("a", [1])
    view.park(broken(7), "it is broken")
    view.track(8)


PARKED = [Parked(broken(7), "it is broken")]
FILLED = Copy(8, {"a": [1], "b": {"count": 1}}, PARKED)
EMPTY = Copy(0, {}, [])


@contextlib.contextmanager
def changing(store: Store, name: str = D) -> Iterator[View]:
    with store.transaction() as transaction:
        yield View(transaction, name)


def test_documents_position_and_parked_events_are_kept_together(make: Make) -> None:
    """All of a transaction is there after it, and each view has its own."""
    with make() as store:
        with changing(store) as view:
            fill(view)
        with changing(store, "other.1") as view:
            view.put("a", 2)
    with make() as store:
        assert view_named(store, D) == live_view(store, "dashboard") == FILLED
        assert view_named(store, "other.1") == Copy(0, {"a": 2}, [])
        assert view_named(store, "nobody.1") == EMPTY


def test_an_exception_undoes_the_whole_transaction(make: Make) -> None:
    """New, changed and removed documents, the position, and what was set aside are as before."""
    with make() as store:
        with changing(store) as view:
            fill(view)
        with contextlib.suppress(ZeroDivisionError), changing(store) as view:
            view.put("a", 8)
            view.put("a", 9)
            view.put("c", 9)
            view.delete("b")
            view.delete("never")
            assert (view.unpark(7), view.unpark(7)) == (True, False)
            view.park(broken(9), "too")
            view.track(20)
            assert (view.position, view.items()) == (20, [("a", 9), ("c", 9)])
            assert view.parked == [Parked(broken(9), "too")]
            raise ZeroDivisionError
        assert view_named(store, D) == FILLED


def test_a_part_that_fails_is_undone_alone(make: Make) -> None:
    """A transaction inside another is a savepoint, for each of them."""
    with make() as store:
        with changing(store) as view:
            fill(view)
            with contextlib.suppress(ZeroDivisionError), changing(store) as inner:
                inner.put("a", 9)
                inner.track(20)
                inner.park(broken(9), "too")
                raise ZeroDivisionError
            with changing(store, "other.1") as other:
                other.put("a", 2)
            view.put("c", 3)
        assert view_named(store, D) == FILLED._replace(documents={**FILLED.documents, "c": 3})
        assert view_named(store, "other.1").get("a") == 2


def test_a_transaction_sees_its_own_changes(make: Make) -> None:
    """What was set is got, what was deleted is not; a missing key has a default."""
    with make() as store, changing(store) as view:
        fill(view)
        view.put("a", 2)
        assert (view.get("a"), view.get("z"), view.get("z", 5)) == (2, None, 5)
        view.delete("a")
        assert view.get("a") is None
        view.unpark(7)
        assert view.parked == []
        view.put("none", None)
        assert view.get("none", 5) is None


def test_tracking_only_grows(make: Make) -> None:
    """A step back is refused; the same position again is none."""
    with make() as store:
        with changing(store) as view:
            view.track(8)
            view.track(8)
            with pytest.raises(ValueError, match="up to position 8, and not to 7 only"):
                view.track(7)
        assert view_named(store, D).position == 8


def test_a_view_changes_only_in_a_transaction(make: Make) -> None:
    """Queries cannot write, and a projection that is over cannot either, nor read on."""
    with make() as store:
        with changing(store) as over:
            fill(over)

        def changes(view: View) -> list[Callable[[], object]]:
            return [
                lambda: view.put("a", 2),
                lambda: view.delete("a"),
                lambda: view.track(9),
                lambda: view.park(broken(1), ""),
                lambda: view.unpark(7),
                lambda: view.clear(),
            ]

        with query(store, "dashboard") as queried:
            for change in changes(queried):
                with pytest.raises(RuntimeError, match="inside a transaction"):
                    change()
        uses: list[Callable[[], object]] = [lambda: over.get("a"), lambda: queried.items()]
        for change in changes(over) + uses:
            with pytest.raises(RuntimeError, match="is over"):
                change()
        assert view_named(store, D) == FILLED


def test_documents_are_json_and_shared_with_nobody(make: Make) -> None:
    """What a reader changes is its own copy; what would come back changed is refused."""
    with make() as store:
        with changing(store) as view:
            document = {"orders": [1]}
            view.put("a", document)
            document["orders"].append(2)
            view.get("a")["orders"].append(3)
            for bad in ({1, 2}, float("nan"), (1, 2), {1: 2}):
                with pytest.raises(TypeError):
                    view.put("a", bad)
        with query(store, "dashboard") as view:
            view.items()[0][1]["orders"].append(4)
            assert view.get("a") == {"orders": [1]}


def test_a_swap_waits_until_the_new_view_has_caught_up(make: Make) -> None:
    """It never sends a reader back; which view is live is kept with the views."""

    def swapped(store: Store, generation: int) -> bool:
        with store.transaction() as transaction:
            return swap(transaction, "dashboard", generation)

    with make() as store:
        with changing(store) as view:
            fill(view)
        with changing(store, "dashboard.3") as view:
            view.put("a", 3)
            view.track(7)
        assert not swapped(store, 3)
        assert (live(store, "dashboard"), live_view(store, "dashboard")) == (1, FILLED)
        with changing(store, "dashboard.3") as view:
            view.track(8)
        assert swapped(store, 3)
    with make() as store:
        assert live(store, "dashboard") == 3
        assert live_view(store, "dashboard").get("a") == 3
        assert live(store, "other") == 1
        with pytest.raises(ValueError, match="2 is older"):
            swapped(store, 2)
        assert swapped(store, 3)


def test_a_query_shows_one_generation_and_ends_with_its_block(make: Make) -> None:
    """Whoever asks during a swap sees the old view, whole, and the new one the next time."""
    with make() as store:
        for name, shown in ((D, "old"), ("dashboard.2", "new")):
            with changing(store, name) as view:
                view.put("a", shown)
        with store.transaction() as transaction, query(store, "dashboard") as view:
            assert view.get("a") == "old"
            assert swap(transaction, "dashboard", 2)
            assert live_generation(transaction, "dashboard") == 2
            assert view.get("a") == "old"
        assert live_view(store, "dashboard").get("a") == "new"


def test_a_cleared_view_is_empty(make: Make) -> None:
    """Documents, position and parked events go; other views stay."""
    with make() as store:
        for name in (D, "other.1"):
            with changing(store, name) as view:
                fill(view)
        for name in (D, "never.1"):
            with changing(store, name) as view:
                view.clear()
        assert view_named(store, D) == EMPTY
        assert view_named(store, "other.1") == FILLED
