"""Countermeasures: a saga is not isolated, so others see and change what it has half done.

    lost update   two sagas read a value, and the later write wipes out the earlier one
    dirty read    somebody acts on what a saga wrote and then takes back
    fuzzy read    a saga reads a value twice, and in between another has changed it

Against the first: change by an amount, which commutes, and never write back what was read before.
Against the second: a semantic lock says "not final" until its saga ends. Against the third: reread,
and go on only if what was read still holds. (Garcia-Molina and Salem, *Sagas*, 1987; Frank and Zahle,
*Semantic ACID properties in multidatabases*, 1998.)
"""

from __future__ import annotations

from typing import Any

from ..request_reply import NotDone
from .participant import LocalTransaction, Refused

_LOCK = "lock "


class Locked(NotDone):
    """Another saga holds the lock: certainly not done, and worth another attempt."""


class Changed(Refused):
    """Something that the saga had read does not hold any more."""


def lock(books: LocalTransaction, name: str, saga: str) -> None:
    """Semantic lock: `name` is not final until this saga unlocks it. Raises `Locked`.

    It is a value like any other, so it survives a crash with the saga that holds it. Two sagas that
    take two locks in different orders wait for each other until their attempts are used up: take
    locks in one order everywhere.
    """
    holder = books.get(_LOCK + name)
    if holder not in (None, saga):
        raise Locked(f"{name} is not final: saga {holder} holds it")
    books.put(_LOCK + name, saga)


def unlock(books: LocalTransaction, name: str, saga: str) -> None:
    """Give up the lock of this saga on `name`. The lock of another saga stays."""
    if books.get(_LOCK + name) == saga:
        books.delete(_LOCK + name)


def add(books: LocalTransaction, name: str, amount: float, *, minimum: float | None = None) -> float:
    """Commutative update: change by an amount, in any order with others. Raises `Refused` below `minimum`."""
    value: float = books.get(name, 0) + amount
    if minimum is not None and value < minimum:
        raise Refused(f"{name} is {books.get(name, 0):g}, which does not allow {amount:+g}")
    books.put(name, value)
    return value


def reread(books: LocalTransaction, name: str, seen: Any) -> Any:
    """The value of `name`, if it is still what the saga saw. Raises `Changed`."""
    value = books.get(name)
    if value != seen:
        raise Changed(f"{name} was {seen!r} and is {value!r} now")
    return value
