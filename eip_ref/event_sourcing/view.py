"""The view: what a projection makes of the events, kept together with the position that it shows.

A view is documents under keys in a `Store`. It is changed in transactions of that store: the documents,
the position up to which events have been taken in, and the events that were set aside are kept
together, or not at all.

A projection that is rebuilt has a second *generation* of its view beside the live one; which of them
is live is one document, changed in one transaction.

*Left out:* queries other than by key. On SQLite a handler may write tables of its own through
`store.database`, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..message import Message
from ..storage import Store, Table, Transaction, key_of
from ..trace import Kind, record
from .store import Recorded

POSITIONS, GENERATIONS = "positions", "generations"  # tables for all views of a store


class Parked(NamedTuple):
    """An event that a view has set aside, whole, and the reason."""

    event: Recorded
    reason: str


class View(Table):
    """One generation of a view, inside a transaction of its store or inside `reading()`."""

    def __init__(self, transaction: Transaction, name: str) -> None:
        super().__init__(transaction, name)
        self._parked = f"{name}.parked"

    @property
    def position(self) -> int:
        """All events up to this position are in the view, or passed over on purpose."""
        return int(self.transaction.get(POSITIONS, self.name, 0))

    def track(self, position: int) -> None:
        """The view shows everything up to here. Raises ValueError for a position further back."""
        if position < (was := self.position):
            raise ValueError(f"{self.name} shows everything up to position {was}, and not to {position} only")
        self.transaction.put(POSITIONS, self.name, position)

    def park(self, event: Recorded, reason: str) -> None:
        """Set an event aside."""
        position, stream, version, message, at = event
        shift = self.transaction.shift
        kept = [stream, version, message.to_json(shift=shift), at + shift, reason]
        self.transaction.put(self._parked, key_of(position), kept)

    def unpark(self, position: int) -> bool:
        """Forget an event that was set aside; false when it is not there any more."""
        there = self.transaction.get(self._parked, key_of(position)) is not None
        self.transaction.delete(self._parked, key_of(position))
        return there

    @property
    def parked(self) -> list[Parked]:
        """Everything that is set aside, in order of position."""
        shift, parked = self.transaction.shift, []
        for key, (stream, version, text, at, reason) in self.transaction.scan(self._parked):
            message = Message.from_json(text, shift=shift)
            parked.append(Parked(Recorded(int(key), stream, version, message, at - shift), reason))
        return parked

    def clear(self) -> None:
        """Forget the view, with all that it holds and its position."""
        self.transaction.clear(self.name)
        self.transaction.clear(self._parked)
        self.transaction.delete(POSITIONS, self.name)


# Generations


def generation_name(name: str, generation: int) -> str:
    """The name of one generation of the view of a projection, such as 'dashboard.2'."""
    return f"{name}.{generation}"


def live_generation(transaction: Transaction, name: str) -> int:
    """The generation of the live view; 1 unless another has been swapped in."""
    return int(transaction.get(GENERATIONS, name, 1))


def swap(transaction: Transaction, name: str, generation: int) -> bool:
    """Make this generation the live one, if it has caught up with the one that is live now.

    False when it has not, and nothing is changed. Raises ValueError for an older generation.
    """
    live = live_generation(transaction, name)
    if generation < live:
        raise ValueError(f"generation {live} of {name} is live; {generation} is older")
    new, old = (View(transaction, generation_name(name, each)) for each in (generation, live))
    if new.position < old.position:
        return False
    if generation != live:
        transaction.put(GENERATIONS, name, generation)
        facts = {"was": old.name, "now": new.name, "reason": "swapped"}
        transaction.after_commit(lambda: record(Kind.STATE, name, who=new.name, **facts))
    return True


@contextmanager
def query(store: Store, name: str) -> Iterator[View]:
    """The live view of a projection, to be read: `with query(store, "dashboard") as view`.

    It shows one moment, waits for nobody, and is over at the end of the block.
    """
    with store.reading() as transaction:
        yield View(transaction, generation_name(name, live_generation(transaction, name)))
