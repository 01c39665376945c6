"""A crash at each moment of a program: a strip with a sign for every quarter of a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...lab import Crash
from ...trace import Kind, Trace
from .files import simulate_on_a_disk

__all__ = ["Strip", "crash_at_every_moment"]

Program = Callable[[Path, list[str]], Awaitable[object]]

STEP, MOMENTS = 0.25, 36  #: seconds between two crashes, and how many are tried
LOST, TWICE, FINE = "✗", "2", "·"


class Strip(NamedTuple):
    """The signs of all runs: an order was lost, or had its effect twice, or all is well."""

    signs: str

    def __str__(self) -> str:
        return f"{self.signs}  lost in {self.lost}, twice in {self.twice} of {len(self.signs)} runs"

    @property
    def lost(self) -> int:
        return self.signs.count(LOST)

    @property
    def twice(self) -> int:
        return self.signs.count(TWICE)


def crash_at_every_moment(program: Program, *orders: str) -> Strip:
    """Run `program(path, todo)` once for each quarter of a second, and let its process die there.

    It starts again a second later, with the file at `path` and the list `todo` as they were: the list is
    the paper on which the till has what it must still send.
    """
    signs = ""
    for number in range(MOMENTS):
        crash = Crash(at=(number + 0.5) * STEP, restart_after=1)
        trace = simulate_on_a_disk(program, list(orders), crashes=(crash,), name="tea house")
        signs += _sign(trace, orders)
    return Strip(signs)


def _sign(trace: Trace, orders: Sequence[str]) -> str:
    """`LOST` for an order that never had its effect; orders are told apart by their labels."""
    labels = {event.message: event.data["label"] for event in trace.filter(Kind.SENT)}
    effects = [labels[event.message] for event in trace.filter(Kind.EFFECT)]
    if set(orders) - set(effects):
        return LOST
    return TWICE if len(set(effects)) < len(effects) else FINE
