"""The surface of the objects that an answer is given: a table of names for each kind of object.

How a name behaves follows from its class: an `async def` may suspend (`wait`), unless it awaits nothing
(`now`); any other function is called and returns (`sync`); all else is a value that is read when it is asked
for (`attribute`). What stands in no table cannot be called, and an object of no table cannot be handed out.

To add a kind of object, add its class, by its room in `eip_ref` and its name, with what may be used
of it. A subclass has what its classes have together. `now:` before a name says that it never suspends
although it awaits; it holds for that class alone, and not for a subclass that has a method of its own.
`wait:` says that it may suspend in whatever subclass, so that none of them shows. `fixed:` says that a value
never changes, so it is sent along. `shared:` says that a list is the judge's own, not a copy.
"""

from __future__ import annotations

import dis
import inspect
from functools import cache
from typing import Any

from .table import TABLE

__all__ = ["kind_of", "surface"]

FULL = ("course", "autograder")  #: where two classes of a room may have one name
SUSPENDS = frozenset({"GET_AWAITABLE", "GET_AITER", "BEFORE_ASYNC_WITH", "GET_ANEXT", "SEND"})


@cache
def surface(cls: type) -> dict[str, str]:
    """The names that may be used of an instance of the class, and how each behaves. Empty for no such kind.

    A behaviour `of-x` is that of the same name of the object's attribute `x`.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for word in TABLE.get(_key(base), "").split():
            prefix, _, name = word.rpartition(":")
            if prefix == "now" and _definer(cls, name) is not base:
                prefix = ""
            found[name] = prefix or _behaviour(cls, name)
    return found


def kind_of(cls: type) -> str:
    """The name of the nearest class that the table knows."""
    return next((base.__name__ for base in cls.__mro__ if _key(base) in TABLE), cls.__name__)


def _key(cls: type) -> str:
    """The room and name of a class of the patterns, wherever in its room; the full name of any other."""
    parts = cls.__module__.removeprefix("eip_ref.").split(".")
    return f"{parts[0] if parts[0] not in FULL else '.'.join(parts)}.{cls.__qualname__}"


def _definer(cls: type, name: str) -> type | None:
    return next((base for base in cls.__mro__ if name in vars(base)), None)


def _behaviour(cls: type, name: str) -> str:
    found: Any = inspect.getattr_static(cls, name, None)
    if cls.__name__ == "_Shared":
        return "sync"
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    if not callable(found):
        return "attribute"
    if not inspect.iscoroutinefunction(found):
        return "wait" if name in ("__anext__", "__aenter__", "__aexit__") else "sync"
    return "wait" if any(step.opname in SUSPENDS for step in dis.get_instructions(found)) else "now"
