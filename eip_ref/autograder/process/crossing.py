"""The objects that have crossed between two processes, as one side knows them.

Values are copied. A thing that stays where it is crosses as a number: at first with what is told of it, and
the other side puts a stub in its place. A stub that comes home is the thing itself again.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import Errors
from .shared import Shared
from .stubs import Caller, Stub, make_stub
from .values import Uncrossable, pack, pack_inside, unpack

__all__ = ["Crossing"]


class Crossing(Caller):
    """One side. `sign` is 1 on one side and -1 on the other."""

    base: type[Stub]  #: of the stubs of objects

    def __init__(self, sign: int) -> None:
        self.sharing = False  #: of lists and dictionaries, as a test needs it
        self.shared = Shared(sign, self._pack_inside, self.unpack)
        self.errors = Errors(self.pack, self.unpack)
        self._mine: dict[int, Any] = {}
        self._numbers: dict[Any, int] = {}  # of mine
        self._stubs: dict[int, Any] = {}  # of the other side's
        self._stub_numbers: dict[int, int] = {}  # by identity

    @abstractmethod
    def describe(self, value: Any) -> list[Any]:
        """Tell of a thing that the other side has not heard of: its kind, name, and parts."""

    def adopt(self, number: int, kind: Any, name: Any, parts: Any, fixed: Any = None) -> Any:
        """The stub of a thing that the other side has told of. Raises `Uncrossable`."""
        return self._keep(number, make_stub(self, number, kind, name, parts, self.base, fixed or {}))

    def _keep(self, number: int, stub: Any) -> Any:
        stub = self._stubs.setdefault(number, stub)
        self._stub_numbers[id(stub)] = number
        return stub

    def pack(self, value: Any) -> Any:
        """The value as JSON. Raises `Uncrossable`."""
        return pack(value, self._refer, self.shared.pack if self.sharing else None)

    def pack_call(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """The arguments of a call as JSON, in two parts. Raises `Uncrossable`."""
        return [[*map(self.pack, args)], {name: self.pack(value) for name, value in named.items()}]

    def unpack(self, data: Any) -> Any:
        """The value of that JSON. Raises `Uncrossable`."""
        return unpack(data, self._resolve)

    def hand_out(self, value: Any) -> int:
        """The number under which the other side knows a thing from now on."""
        number = self._numbers[_key(value)] = len(self._mine) + 1
        self._mine[number] = value
        return number

    def with_changes(self, line: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """The line, and before it what has changed in lists and dictionaries that are shared."""
        changes = [*self.shared.changes()] if self.sharing else []
        yield from ([["changed", *changes]] if changes else [])
        yield line

    def _pack_inside(self, value: Any) -> Any:
        return pack_inside(value, self._refer, self.shared.pack if self.sharing else None)

    def _refer(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            return self.errors.pack(value)
        if id(value) in self._stub_numbers:
            return {"$back": self._stub_numbers[id(value)]}
        if _key(value) in self._numbers:
            return {"$ref": [self._numbers[_key(value)]]}
        told = self.describe(value)
        return {"$ref": [self.hand_out(value), *told]}

    def _resolve(self, tag: str, content: Any) -> Any:
        match tag, content:
            case "$back", int(number) if number in self._mine:
                return self._mine[number]
            case "$ref", [int(number)] if number in self._stubs:
                return self._stubs[number]
            case "$ref", [int(number), kind, name, dict(parts), *fixed] if len(fixed) < 2:
                return self.adopt(number, kind, name, parts, *fixed)
            case "$shared", _ if self.sharing:
                return self.shared.unpack(content)
            case (("$home" | "$error" | "$group"), _):
                return self.errors.unpack(tag, content)
        raise Uncrossable(f"{tag} stands for nothing here")


def _key(value: Any) -> Any:
    """The identity of a thing; a method is made anew whenever it is asked for."""
    return (id(value.__self__), value.__func__) if inspect.ismethod(value) else id(value)
