"""Whatever the order

Complete · medium · 4 points · 12 minutes

Answer: class Customer() with take, row
Called: A new `Customer()`, which takes the five events of Ann in every order, one of them twice: 120 times.
    In half of them both charges are of the same amount.
Promised: Before anything has come there is no name and no charge. When all have come, the row is the same in
    every run: the newest name, the number of her charges and their sum, each counted once.
Hint: `version` counts the events of one stream: 1, 2, 3. What does it tell you when an event comes?
Hint: A version that you have had is a duplicate. One that is too early cannot be taken yet, and must not be
    forgotten.
Hint: Keep for each stream the last version taken, and a dictionary of what waits. In `take`, put the event
    into what waits, unless it was taken; then `while` the next version waits, take it.
Why: The version says which event is next. What is early waits, what is known is passed over, so every order
    ends in the order of the stream. Two streams wait for each other nowhere.

counted-twice: A charge was counted twice. An event that comes again asks for nothing new.
streams-mixed: The versions of two streams are taken for one. Each stream counts its own: “billing 1” is
    not “users 1”.
charge-missing: A charge is missing. Each counts, also one that comes late, after one that is newer.
same-amount: Two charges of the same amount are two charges. What tells them apart is their version.
not-empty: A new row has something in it already. It belongs to another `Customer`.
old-name: An old name has won. It came last, and it is not the newest.
never-released: What was held back never came. Its place in the stream is free, and it still waits.
other-row: The row has another form. It is a dictionary with `name`, `charges` and `cents`.
error-came-out (raised): `take` or `row` raised an error. The events can come in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from random import Random
from typing import Any

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "every_order"]

Event = dict[str, Any]
USERS, BILLING = "users/ann", "billing/ann"
CHARGES_FIRST = 90  #: billing 1 and 2, then users 1, 2 and 3: whoever counts no charge at all is seen here


def the_events(seed: int, same_amount: bool) -> list[Event]:
    """Ann has registered, is charged twice, and has a new name twice."""
    first = Random(seed).randint(1, 9) * 100
    return [
        {"stream": USERS, "version": 1, "type": "Registered", "name": "Ann"},
        {"stream": USERS, "version": 2, "type": "Renamed", "name": "Ann Ho"},
        {"stream": USERS, "version": 3, "type": "Renamed", "name": "Ann Lee"},
        {"stream": BILLING, "version": 1, "type": "Charged", "cents": first},
        {"stream": BILLING, "version": 2, "type": "Charged", "cents": first if same_amount else first + 50},
    ]


def every_order(seed: int) -> Iterator[list[Event]]:
    """Each order of the five, with one of them a second time at the end, or right behind itself."""
    orders = list(zip(*(permutations(the_events(seed, same)) for same in (False, True)), strict=True))
    for number in sorted(range(len(orders)), key=lambda number: number != CHARGES_FIRST):
        order = orders[number][number >= 60]
        place = 4 - number % 5
        again = place + 1 if number // 5 % 2 else len(order)
        yield [*order[:again], order[place], *order[again:]]


async def one_order(customer_class: kit.Answer, order: Sequence[Event], seed: int) -> None:
    """Let a new row take the events in this order."""
    customer = customer_class()
    empty = _written(customer.row())
    for event in order:
        name = f"{event['stream']}/{event['version']}"
        record(Kind.DELIVERED, "dashboard", name, who="dashboard", type=event["type"])
        customer.take(dict(event))
    kit.write_down(order=list(order), empty=empty, row=_written(customer.row()))


def _written(row: Any) -> Any:
    return dict(row) if isinstance(row, dict) else repr(row)


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    row, order = facts["row"], facts["order"]
    names = " ".join(f"{event['stream'].partition('/')[0]} {event['version']}," for event in order)
    words = f"after {names} the row is {row}."
    if not isinstance(row, dict) or set(row) != {"name", "charges", "cents"}:
        yield kit.seen("other-row", words, trace)
        return
    if facts["empty"] != {"name": None, "charges": 0, "cents": 0}:
        yield kit.seen("not-empty", f"before anything has come the row is {facts['empty']}.", trace)
        return
    cents = {event["version"]: event["cents"] for event in order if event["stream"] == BILLING}
    if row["charges"] > 2 or row["cents"] > sum(cents.values()):
        yield kit.seen("counted-twice", words, trace)
    elif row["charges"] == 1 and cents[1] == cents[2]:
        yield kit.seen("same-amount", words, trace)
    elif row["charges"] < 2 and _charges_in_order_among_others(order):
        yield kit.seen("streams-mixed", words, trace)
    elif row["cents"] == cents[1]:
        yield kit.seen("never-released", words, trace)
    elif row["charges"] < 2 or row["cents"] < sum(cents.values()):
        yield kit.seen("charge-missing", words, trace)
    elif row["name"] != "Ann Lee":
        yield kit.seen("old-name", words, trace)


def _charges_in_order_among_others(order: Sequence[Event]) -> bool:
    """Nothing of billing was late, and something of users came before its last charge."""
    streams = [(event["stream"], event["version"]) for event in order]
    last = streams.index((BILLING, 2))
    return streams.index((BILLING, 1)) < last and any(stream == USERS for stream, _ in streams[:last])


# The seed chooses the amounts alone: each run plays every order.
EXERCISE = kit.exercise(__name__, __doc__, kit.cases(one_order, every_order, judge), judge, seeds=(1,))
