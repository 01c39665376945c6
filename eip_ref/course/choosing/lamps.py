"""The lamps of lesson 12b: what must not be, read from the trace of a storm."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import NamedTuple

from ...trace import Kind, Trace

__all__ = ["LAMPS", "Board", "blamed", "read_the_board"]

PATIENCE = 3.0  #: seconds until the first answer
ROOM = 20  #: orders that a shop may have in hand


class Board(NamedTuple):
    """The end of a storm in numbers. All but `sold` and `refused` are lamps, and should be 0."""

    twice: int  #: customers who paid more than once
    for_nothing: int  #: who paid, and did not hear “yes”
    untrue: int  #: heard “yes”, and it is not paid and reserved
    no_mail: int  #: heard “yes”, and mail neither wrote to them nor set the order aside
    silent: int  #: never heard “yes” or “no”
    slow: int  #: waited more than 3 s for the first word
    in_hand: int  #: orders that the shop had in hand at once, above 20
    sold: int
    refused: int


LAMPS = Board._fields[:7]


def read_the_board(trace: Trace) -> Board:
    """Read a storm's trace."""
    counts = {lamp: len(orders) for lamp, orders in blamed(trace).items()}
    last = [*_words(trace)[1].values()]
    over = max(0, _most_in_hand(trace) - ROOM)
    return Board(**counts, in_hand=over, sold=last.count("yes"), refused=last.count("no"))


def blamed(trace: Trace) -> dict[str, list[str]]:
    """The orders for which each lamp is on, but that of what is in hand."""
    came = {event.message: event.at for event in trace.filter(Kind.STARTED, where="customer")}
    first, last = _words(trace)
    paid, reserved = (_balance(trace, service) for service in ("payments", "stock"))
    yes = _heard_yes(trace)
    written = {*trace.messages(Kind.EFFECT, where="mail"), *trace.messages(Kind.DEAD, where="mail queue")}
    return {
        "twice": [order for order, count in paid.items() if count > 1],
        "for_nothing": [order for order, count in paid.items() if count > 0 and last.get(order) != "yes"],
        "untrue": [order for order in yes if paid[order] < 1 or reserved[order] < 1],
        "no_mail": [order for order in yes if order not in written],
        "silent": [order for order in came if last.get(order) not in ("yes", "no")],
        "slow": [order for order, at in came.items() if first.get(order, trace.end) - at > PATIENCE],
    }


def _heard_yes(trace: Trace) -> list[str]:
    """The customers who ever heard “yes”: a “no” after it does not unsay it."""
    heard = trace.filter(Kind.FINISHED, where="customer", test=lambda event: event.data["said"] == "yes")
    return [*dict.fromkeys(heard.messages())]


def _words(trace: Trace) -> tuple[dict[str, float], dict[str, str]]:
    """The time of the first word to each customer, and the last word."""
    first: dict[str, float] = {}
    last: dict[str, str] = {}
    for event in trace.filter(Kind.NOTE, Kind.FINISHED, where="customer"):
        first.setdefault(event.message, event.at)
        last[event.message] = event.data["said"]
    return first, last


def _balance(trace: Trace, service: str) -> Counter[str]:
    """Count, by order, the work that was done, less the work that was taken back."""
    balance = Counter[str]()
    for event in trace.filter(Kind.EFFECT, where=service):
        balance[event.message] += event.data["by"]
    return balance


def _most_in_hand(trace: Trace) -> int:
    """Taken in at the door, and without a last word; what died with the process is in nobody's hand."""
    most, held = 0, set[str]()
    for _, events in groupby(trace, key=lambda event: event.at):
        for event in events:
            if event.kind == Kind.CRASHED and event.where == "shop":
                held.clear()
            elif event.kind == Kind.STARTED and event.where == "door":
                held.add(event.message)
            elif event.kind == Kind.FINISHED and event.where == "customer":
                held.discard(event.message)
        most = max(most, len(held))
    return most
