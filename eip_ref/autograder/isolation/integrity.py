"""The things that a run rests on: modules and classes, and whether they are still what they were.

*Left out:* what is inside the values. A name that means another thing is found; a list that has grown is
not. A judge must not rest on one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import is_, methodcaller
from types import ModuleType
from typing import Any, NamedTuple

__all__ = ["Part", "parts", "top"]

RESTS_ON = frozenset(
    {
        "anyio",
        "asyncio",
        "builtins",
        "contextvars",
        "eip_ref",
        "heapq",
        "json",
        "random",
        "selectors",
        "threading",
    }
)
PARTS = 8  #: so that one can look at a little of it now and then
_GONE = object()


def parts() -> list[Part]:
    """All that a run rests on, as it is now, in parts of like size."""
    places = list(_places())
    return [Part(places[part::PARTS]) for part in range(PARTS)]


def top(module: str) -> str:
    """The package that a module is in."""
    return module.partition(".")[0]


class _Place(NamedTuple):
    """A namespace, and what was in it when the guard began to stand."""

    name: str
    namespace: Mapping[str, Any]
    held: Mapping[str, Any]
    strict: bool  #: whether every value must stay the same object, or only what can be called

    def changed(self) -> str:
        """The first name that means something else now, or ""."""
        now = dict(self.namespace)
        for key, value in self.held.items():
            if now.pop(key, _GONE) is not value and (self.strict or callable(value)):
                return f"{self.name}.{key}"
        return next((f"{self.name}.{key}" for key in sorted(now) if not _may_come(key, now[key])), "")


class Part:
    """Some of the places. That nothing changed, which is nearly always so, is found out at once."""

    def __init__(self, places: Sequence[_Place]) -> None:
        self._places = places
        self._namespaces = [place.namespace for place in places]
        self._sizes = [len(place.held) for place in places]
        self._held = [value for place in places for value in place.held.values()]

    def changed(self) -> str:
        """The first name that means something else now, or ""."""
        with contextlib.suppress(RuntimeError):  # somebody changes one at this very moment
            now = chain.from_iterable(_MAP(_VALUES, self._namespaces))
            if _LIST(_MAP(_LEN, self._namespaces)) == self._sizes and _ALL(_MAP(is_, now, self._held)):
                return ""
        return next(filter(None, (place.changed() for place in self._places)), "")


_VALUES = methodcaller("values")
_ALL, _LEN, _LIST, _MAP = all, len, list, map  #: as they are before an answer can change them


def _places() -> Iterator[_Place]:
    """The places on which a run rests: modules, and the classes that are made in them."""
    seen: set[int] = set()
    for module in [m for name, m in sys.modules.items() if top(name) in RESTS_ON and type(m) is ModuleType]:
        held = dict(vars(module))
        yield _Place(module.__name__, vars(module), held, strict=top(module.__name__) == "eip_ref")
        for each in held.values():
            if isinstance(each, type) and id(each) not in seen and top(each.__module__) in RESTS_ON:
                seen.add(id(each))
                if each.__flags__ & _HEAP:
                    name = f"{module.__name__}.{each.__qualname__}"
                    yield _Place(name, vars(each), dict(vars(each)), strict=True)


_HEAP = 1 << 9  #: a class that is made by Python code, and can be changed by it


def _may_come(key: str, value: object) -> bool:
    """The additions that a module or class may gain while it is used: a submodule, and Python's own notes."""
    noted = key.startswith("__") and not callable(value) and not hasattr(type(value), "__get__")
    return noted or isinstance(value, ModuleType)
