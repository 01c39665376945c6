"""A crash at each await of a program: a strip with a sign for every place at which it may die."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...lab import Crash
from ...trace import Kind, Trace
from .files import simulate_on_a_disk

__all__ = ["Strip", "crash_at_every_await"]

Program = Callable[[Path, list[str]], Awaitable[object]]

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


def crash_at_every_await(program: Program, *orders: str) -> Strip:
    """Run `program(path, todo)` once for each of its awaits, and let its process die there.

    It starts again a second later, with the file at `path` and the list `todo` as they were: the list is
    the paper on which the till has what it must still send.
    """
    signs, step = "", 0
    while True:
        step += 1
        crash = Crash(step=step, restart_after=1)
        trace = simulate_on_a_disk(program, list(orders), crashes=(crash,), name="tea house")
        if not trace.count(Kind.CRASHED):
            return Strip(signs)
        signs += _sign(trace, orders)


def _sign(trace: Trace, orders: Sequence[str]) -> str:
    """`LOST` for an order that never had its effect; orders are told apart by their labels."""
    labels = {event.message: event.data["label"] for event in trace.filter(Kind.SENT)}
    effects = [labels[event.message] for event in trace.filter(Kind.EFFECT)]
    if set(orders) - set(effects):
        return LOST
    return TWICE if len(set(effects)) < len(effects) else FINE
