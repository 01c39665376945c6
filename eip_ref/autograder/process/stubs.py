"""Stubs: what the judge's side holds in place of the learner's functions, objects and awaitables."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any, Protocol

from .values import Uncrossable

__all__ = ["DUNDERS", "Caller", "is_async", "make_stub", "number_of"]


DUNDERS = {  # what an object of the learner's may have besides public methods, and how it behaves
    **dict.fromkeys(("__anext__", "__aenter__", "__aexit__"), "async"),
    **dict.fromkeys(("__aiter__", "__iter__", "__next__", "__len__", "__contains__", "__enter__"), "plain"),
    **dict.fromkeys(("__exit__", "__getitem__", "__call__"), "plain"),
}


class Caller(Protocol):
    """The process that the things of the stubs are in."""

    async def call(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any: ...
    def sync(self, target: list[Any], args: tuple[Any, ...] = ..., named: dict[str, Any] = ...) -> Any: ...


def is_async(function: Any) -> bool:
    """True for what gives a coroutine when it is called, as far as can be seen."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or (
        not inspect.isroutine(function) and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    )


def number_of(value: Any, caller: Caller) -> int | None:
    """The number that a stub's thing has in the process of `caller`, or None for what is no stub of it."""
    try:
        found, number = object.__getattribute__(value, "_stub_of")
    except (AttributeError, TypeError, ValueError):
        return None
    return number if found is caller else None


def make_stub(caller: Caller, number: int, kind: Any, name: Any, more: Any) -> Any:
    """The stub of a thing that its process has described."""
    if not (isinstance(name, str) and name.isidentifier() and len(name) < 100 and isinstance(more, dict)):
        raise Uncrossable("a description that describes nothing")
    match kind:
        case "async" | "plain" | "class":
            stub: Any = _function(caller, [number], name, kind)
        case "awaitable":
            stub = _Awaitable()
        case "object":
            stub = _object_type(name, more)()
        case _:
            raise Uncrossable(f"{kind!r} is no kind of thing")
    stub._stub_of = (caller, number)
    return stub


def _function(caller: Caller, target: list[Any], name: str, kind: str) -> Any:
    async def later(*args: Any, **named: Any) -> Any:
        return await caller.call(target, args, named)

    def now(*args: Any, **named: Any) -> Any:
        return caller.sync(target, args, named)

    function = later if kind == "async" else now
    function.__name__ = function.__qualname__ = name
    return function


class _Awaitable:
    _stub_of: tuple[Caller, int]

    def __await__(self) -> Generator[Any, Any, Any]:
        caller, number = self._stub_of
        return caller.call([number], (), {}).__await__()


def _object_type(name: str, methods: Mapping[str, Any]) -> type[Any]:
    """A class whose instances stand for one of the learner's objects each."""
    body: dict[str, Any] = {"__getattr__": _read}
    for method, kind in methods.items():
        if kind in ("async", "plain") and method.isidentifier() and (method[:1] != "_" or method in DUNDERS):
            body[method] = _method(method, kind)
    return type(name, (), body)


def _read(self: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    caller, number = self._stub_of
    return caller.sync([number, name, "read"])


def _method(name: str, kind: str) -> Any:
    async def later(self: Any, *args: Any, **named: Any) -> Any:
        caller, number = self._stub_of
        return await caller.call([number, name], args, named)

    def now(self: Any, *args: Any, **named: Any) -> Any:
        caller, number = self._stub_of
        return caller.sync([number, name], args, named)

    method = later if kind == "async" else now
    method.__name__ = name
    return method
