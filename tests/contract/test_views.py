"""The contract of every place for views: the sentences of the protocol, one test each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from eip_ref.event_sourcing import MemoryViews, Parked, SQLiteViews, View, Views
from eip_ref.lab.clock import simulate

Make = Callable[[], AbstractContextManager[Views]]
D = "dashboard.1"


@pytest.fixture(params=[MemoryViews, SQLiteViews])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the same views each time that it is called."""
    if request.param is SQLiteViews:
        return lambda: SQLiteViews(tmp_path / "views.db", synchronous="OFF")
    views = MemoryViews()
    return lambda: contextlib.nullcontext(views)


def fill(view: View) -> None:
    view.set("b", {"count": 1})
    view.set("a", [1])
    view.park(Parked(7, "order-17", "it is broken"))
    view.track(8)


def content(view: View) -> Any:
    return view.position, view.items(), view.parked


FILLED = (8, [("a", [1]), ("b", {"count": 1})], [Parked(7, "order-17", "it is broken")])
EMPTY: tuple[int, list[Any], list[Any]] = (0, [], [])


def test_values_position_and_parked_events_are_kept_together(make: Make) -> None:
    """All of a transaction is there after it, and each view has its own."""

    async def scenario() -> None:
        with make() as views:
            with views.transaction(D) as view:
                fill(view)
            with views.transaction("other.1") as view:
                view.set("a", 2)
        with make() as views:
            assert content(views.view(D)) == FILLED
            assert content(views.view("other.1")) == (0, [("a", 2)], [])
            assert content(views.query("dashboard")) == FILLED
            assert content(views.view("nobody.1")) == EMPTY

    simulate(scenario)


def test_an_exception_undoes_the_whole_transaction(make: Make) -> None:
    """New, changed and removed values, the position, and what was set aside are as before."""

    async def scenario() -> None:
        with make() as views:
            with views.transaction(D) as view:
                fill(view)
            with contextlib.suppress(ZeroDivisionError), views.transaction(D) as view:
                view.set("a", 8)
                view.set("a", 9)
                view.set("c", 9)
                view.delete("b")
                view.delete("never")
                view.unpark(7)
                view.park(Parked(9, "order-18", "too"))
                view.track(20)
                assert content(view) == (20, [("a", 9), ("c", 9)], [Parked(9, "order-18", "too")])
                raise ZeroDivisionError
            assert content(views.view(D)) == FILLED

    simulate(scenario)


def test_a_transaction_sees_its_own_changes(make: Make) -> None:
    """What was set is got, what was deleted is not; a missing key has a default."""

    async def scenario() -> None:
        with make() as views, views.transaction(D) as view:
            fill(view)
            view.set("a", 2)
            assert (view.get("a"), view.get("z"), view.get("z", 5)) == (2, None, 5)
            view.delete("a")
            assert view.get("a") is None
            view.unpark(7)
            assert view.parked == []
            view.set("none", None)
            assert view.get("none", 5) is None

    simulate(scenario)


def test_tracking_only_grows(make: Make) -> None:
    """A step back is refused; the same position again is none."""

    async def scenario() -> None:
        with make() as views:
            with views.transaction(D) as view:
                view.track(8)
                view.track(8)
                with pytest.raises(ValueError, match="cannot go back to 7"):
                    view.track(7)
            assert views.view(D).position == 8

    simulate(scenario)


def test_a_view_changes_only_in_a_transaction(make: Make) -> None:
    """Queries cannot write, and a projection that is over cannot either."""

    async def scenario() -> None:
        with make() as views:
            with views.transaction(D) as view:
                fill(view)
            changes: list[Callable[[], None]] = [
                lambda: view.set("a", 2),
                lambda: view.delete("a"),
                lambda: view.track(9),
                lambda: views.query("dashboard").park(Parked(1, "", "")),
                lambda: views.query("dashboard").unpark(7),
            ]
            for change in changes:
                with pytest.raises(RuntimeError, match="inside a transaction"):
                    change()
            assert content(views.view(D)) == FILLED

    simulate(scenario)


def test_values_are_json_and_shared_with_nobody(make: Make) -> None:
    """What a reader changes is its own copy."""

    async def scenario() -> None:
        with make() as views:
            with views.transaction(D) as view:
                value = {"orders": [1]}
                view.set("a", value)
                value["orders"].append(2)
                view.get("a")["orders"].append(3)
                for bad in ({1, 2}, float("nan")):
                    with pytest.raises((TypeError, ValueError)):
                        view.set("a", bad)
            views.query("dashboard").items()[0][1]["orders"].append(4)
            assert views.query("dashboard").get("a") == {"orders": [1]}

    simulate(scenario)


def test_a_swap_waits_until_the_new_view_has_caught_up(make: Make) -> None:
    """It never sends a reader back; which view is live is kept with the views."""

    async def scenario() -> None:
        with make() as views:
            with views.transaction(D) as view:
                fill(view)
            with views.transaction("dashboard.3") as view:
                view.set("a", 3)
                view.track(7)
            assert not views.swap("dashboard", 3)
            assert (views.live("dashboard"), content(views.query("dashboard"))) == (1, FILLED)
            with views.transaction("dashboard.3") as view:
                view.track(8)
            assert views.swap("dashboard", 3)
        with make() as views:
            assert views.live("dashboard") == 3
            assert views.query("dashboard").get("a") == 3
            assert views.live("other") == 1
            with pytest.raises(ValueError, match="2 is older"):
                views.swap("dashboard", 2)
            assert views.swap("dashboard", 3)

    simulate(scenario)


def test_a_dropped_view_is_empty(make: Make) -> None:
    """Values, position and parked events go; other views stay."""

    async def scenario() -> None:
        with make() as views:
            for name in (D, "other.1"):
                with views.transaction(name) as view:
                    fill(view)
            views.drop(D)
            views.drop("never.1")
            assert content(views.view(D)) == EMPTY
            assert content(views.view("other.1")) == FILLED

    simulate(scenario)
