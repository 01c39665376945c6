"""Stubs: what one side holds in place of the functions, objects and awaitables of the other.

A part of an object behaves as its description says: `wait` and `async` may suspend, `sync` and `plain` do
not, `now` is awaited and does not suspend, `attribute` and `shared` are read.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from functools import lru_cache, partial
from typing import Any

from .values import Uncrossable

__all__ = ["DUNDERS", "LEAVING", "Caller", "Stub", "is_async", "leaving", "make_stub", "told_name"]


DUNDERS = {  # what an object of the learner's may have besides public methods, and how it behaves
    **dict.fromkeys(("__anext__", "__aenter__", "__aexit__"), "async"),
    **dict.fromkeys(("__aiter__", "__iter__", "__next__", "__len__", "__contains__", "__enter__"), "plain"),
    **dict.fromkeys(("__exit__", "__getitem__", "__call__"), "plain"),
}
BEHAVIOURS = ("async", "wait", "now", "plain", "sync", "attribute", "shared")
LEAVING = ("__exit__", "__aexit__")  #: they are told the error alone, which says the rest


class Caller(ABC):
    """The side that holds the stubs."""

    @abstractmethod
    async def call(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the other side's that may suspend."""

    @abstractmethod
    def sync(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the other side's that does not suspend."""

    @abstractmethod
    def read(self, number: int, name: str) -> Any:
        """An attribute of one of the other side's objects."""


class Stub:
    """Stands for an object."""

    _stub_of: tuple[Caller, int]


class _Awaitable(Stub):
    def __await__(self) -> Generator[Any, Any, Any]:
        caller, number = self._stub_of
        return caller.call([number], (), {}).__await__()


def is_async(function: Any) -> bool:
    """True for what gives a coroutine when it is called, as far as can be seen."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or (
        not inspect.isroutine(function) and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    )


def leaving(method: Callable[..., Any]) -> Callable[[BaseException | None], Any]:
    """The end of a block, which is told of an error in three parts."""
    return lambda error: (
        method(type(error), error, error.__traceback__) if error else method(None, None, None)
    )


def told_name(value: Any, otherwise: str) -> str:
    """The name of a function or class, as far as it can be told."""
    name = getattr(value, "__name__", otherwise)
    return name if _is_name(name) else otherwise


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and len(name) < 100


def make_stub(
    caller: Caller, number: int, kind: Any, name: Any, parts: Any, base: type[Stub], fixed: dict[str, Any]
) -> Any:
    """The stub of a thing that the other side has described. Raises `Uncrossable`."""
    if not (_is_name(name) and isinstance(parts, dict)):
        raise Uncrossable("a description that describes nothing")
    match kind:
        case "async" | "plain" | "class":
            stub: Any = _function(caller, number, name, kind)
        case "awaitable":
            stub = _Awaitable()
        case "object":
            kind = _type(base, name, tuple((part, how) for part, how in parts.items() if how in BEHAVIOURS))  # type: ignore[arg-type]
            stub = kind()
        case _:
            raise Uncrossable(f"{kind!r} is no kind of thing")
    vars(stub).update(fixed, _stub_of=(caller, number))
    return stub


def _function(caller: Caller, number: int, name: str, kind: str) -> Any:
    async def later(*args: Any, **named: Any) -> Any:
        return await caller.call([number], args, named)

    def now(*args: Any, **named: Any) -> Any:
        return caller.sync([number], args, named)

    function = later if kind == "async" else now
    function.__name__ = function.__qualname__ = name
    return function


@lru_cache(maxsize=200)  # an answer may tell of any number
def _type(base: Any, name: str, parts: tuple[tuple[str, str], ...]) -> type[Stub]:
    """A class whose instances stand for one object each."""
    usable = (each for each in parts if each[0] in DUNDERS or (each[0].isidentifier() and each[0][0] != "_"))
    return type(name, (base,), {part: _part(name, part, how) for part, how in usable})


def _part(owner: str, name: str, how: str) -> Any:
    async def waits(self: Stub, *args: Any, **named: Any) -> Any:
        caller, number = self._stub_of
        return await caller.call([number, name], _left(name, args), named)

    async def asks(self: Stub, *args: Any, **named: Any) -> Any:
        return calls(self, *args, **named)

    def calls(self: Stub, *args: Any, **named: Any) -> Any:
        caller, number = self._stub_of
        return caller.sync([number, name], _left(name, args), named)

    def reads(self: Stub) -> Any:
        caller, number = self._stub_of
        return caller.read(number, name)

    if how in ("attribute", "shared"):
        return property(reads)
    part: Any = waits if how in ("async", "wait") else asks if how == "now" else calls
    part.__name__, part.__qualname__ = name, f"{owner}.{name}"
    part.__code__ = part.__code__.replace(co_qualname=f"{owner}.{name}")  # said in the words of a deadlock
    return part


def _left(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args[1:2] if name in LEAVING else args
