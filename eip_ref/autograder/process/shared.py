"""Lists and dictionaries that both sides share, as if they were one, in exercises of the kind *write the
test*.

There the judge's things may be broken by sharing: a channel that hands the same body to everybody, or keeps
the sender's own. So that a test can see it, a list or dictionary keeps its number when it crosses again, and
what one side has changed in it is told to the other before anything else is said. Elsewhere all are copies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from .values import MAX_DEPTH, Uncrossable

__all__ = ["Shared"]

MOST = 2_000  #: beyond that many, they are copies

Container = list[Any] | dict[Any, Any]


class Shared:
    """The lists and dictionaries that one side shares. `sign` is 1 on one side and -1 on the other."""

    def __init__(self, sign: int, inside: Callable[[Any], Any], understand: Callable[[Any], Any]) -> None:
        self._sign, self._inside, self._understand = sign, inside, understand
        self._held: dict[int, Container] = {}
        self._numbers: dict[int, int] = {}  # by identity
        self._last: dict[int, str] = {}  # what the other side knows of each, as text
        self._open: set[int] = set()  # those that are being packed

    def pack(self, value: Container) -> Any:
        """The container's number and content, as JSON."""
        if id(value) not in self._numbers:
            if len(self._held) >= MOST:
                return self._inside(value)
            self._keep(self._sign * (len(self._held) + 1), value)
        number = self._numbers[id(value)]
        content = self._content(number)
        self._last[number] = json.dumps(content)
        return {"$shared": [number, content]}

    def _content(self, number: int) -> Any:
        if number in self._open or len(self._open) > MAX_DEPTH:
            raise Uncrossable("a list or dictionary is in itself, or too deep")
        self._open.add(number)
        try:
            return self._inside(self._held[number])
        finally:
            self._open.discard(number)

    def unpack(self, content: Any) -> Container:
        """The container of that number, with that content."""
        match content:
            case [int(number), (list() | dict()) as said]:
                kind: type = list if isinstance(said, list) else dict
                if number not in self._held:
                    if len(self._held) >= 2 * MOST:
                        raise Uncrossable("too many lists and dictionaries are shared")
                    self._keep(number, kind())
                held = self._held[number]
                if not isinstance(held, kind):
                    raise Uncrossable("a list that became a dictionary")
                if self._last.get(number) != (text := json.dumps(said)):
                    self._last[number] = text
                    _fill(held, self._understand(said))
                return held
        raise Uncrossable("nothing is shared under that number")

    def forget(self) -> None:
        """Share none of them any more."""
        self._held.clear()
        self._numbers.clear()
        self._last.clear()

    def _keep(self, number: int, value: Container) -> None:
        self._held[number] = value
        self._numbers[id(value)] = number

    def changes(self) -> Iterator[Any]:
        """Give what has changed here since the other side heard of it."""
        for number in [*self._held]:
            try:
                content = self._content(number)
            except Uncrossable:
                continue
            if (text := json.dumps(content)) != self._last.get(number):
                self._last[number] = text
                yield {"$shared": [number, content]}


def _fill(held: Container, content: Any) -> None:
    held.clear()
    if isinstance(held, dict):
        held.update(content)
    else:
        held.extend(content)
