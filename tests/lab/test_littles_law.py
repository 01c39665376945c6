"""Little's law is measured on any trace that says what a channel accepted and what left it."""

from __future__ import annotations

from typing import Any

import pytest

from eip_ref.lab.littles_law import LittlesLaw, littles_law
from eip_ref.trace import Event, Trace


def trace_of(*rows: tuple[float, str, str]) -> Trace:
    return Trace(Event(at, kind, "orders", message, "", {}) for at, kind, message in rows)


def test_littles_law_is_computed_from_three_separate_measurements() -> None:
    """Two inside for half of the time, one for the rest: L 1.5; two in 4 s; 2 s and 4 s inside."""
    law = littles_law(
        trace_of((0, "accepted", "m1"), (0, "accepted", "m2"), (2, "delivered", "m1"), (4, "dropped", "m2")),
        "orders",
    )
    assert law == LittlesLaw(seconds=4, arrivals=2, number=1.5, rate=0.5, time=3, inside=0)
    assert str(law) == "L 1.5 = λ 0.5/s × W 3 s"


def test_littles_law_counts_what_is_still_inside_up_to_the_end() -> None:
    """And says how many those are, since their time is not complete."""
    law = littles_law(trace_of((0, "accepted", "m1"), (1, "accepted", "m1"), (4, "note", "")), "orders")
    assert (law.number, law.time, law.inside) == (7 / 4, 3.5, 2)
    assert str(law).endswith("(2 still inside)")


@pytest.mark.parametrize("kind", ["acked", "dead", "dropped", "delivered"])
def test_a_journey_ends_with_its_last_step(kind: str) -> None:
    """An ack, a dead letter, a drop, or a delivery without a lease; a lease ends nothing."""
    rows = [Event(0, "accepted", "orders", "m1", "", {})]
    rows += [Event(1, "delivered", "orders", "m1", "", {"lease": 1})]
    rows += [Event(2, kind, "orders", "m1", "", {}), Event(4, "note", "", "", "", {})]
    assert littles_law(Trace(rows), "orders").time == 2


def test_a_trace_that_does_not_add_up_does_not_obey_littles_law() -> None:
    """A message that leaves and never came."""
    law = littles_law(trace_of((0, "accepted", "m1"), (1, "delivered", "m2"), (2, "note", "")), "orders")
    assert not law.holds
    assert str(law) == "L 0.5 ≠ λ 0.5/s × W 2 s = 1 (1 still inside)"


@pytest.mark.parametrize("rows", [[], [(0, "accepted", "m1")], [(1, "sent", "m1")]])
def test_littles_law_needs_arrivals_and_time(rows: Any) -> None:
    """Else there is nothing to measure, and it says so."""
    with pytest.raises(ValueError, match="orders accepted no message in this trace"):
        littles_law(trace_of(*rows), "orders")
