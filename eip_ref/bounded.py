"""Bounded memory: the last entries by key, so that whatever must remember cannot grow without end."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from . import values

__all__ = ["LastN"]

K = TypeVar("K")
V = TypeVar("V")


class LastN(OrderedDict[K, V]):
    """A dictionary of at most `capacity` entries: one more evicts the oldest.

    An entry that is written again keeps its place; `move_to_end` makes it the youngest. With a
    capacity of 0 it remembers nothing.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = values.count("capacity", capacity, minimum=0)

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self.capacity:
            self.popitem(last=False)
