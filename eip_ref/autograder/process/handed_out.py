"""The judge's things that an answer was given: what its process is told of them, and what it may ask."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

from ...trace import new_id
from .crossing import Crossing
from .stubs import LEAVING, Stub, is_async, leaving, told_name
from .surface import kind_of, surface
from .values import Uncrossable
from .wire import Budget, Ended, misunderstood

__all__ = ["HandedOut"]


class _Told(Stub):
    """Stands for an object of the learner's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        caller, number = self._stub_of
        return caller.read(number, name)


class HandedOut(Crossing):
    """The judge's side of what crosses. `makes` is what a test makes here, or None where it is no test."""

    base = _Told

    def __init__(self, budget: Budget, makes: Mapping[str, Any] | None) -> None:
        super().__init__(1)
        self.sharing = makes is not None
        self._budget, self._makes = budget, makes or {}

    @abstractmethod
    def end(self, ending: BaseException) -> NoReturn:
        """The run is over, because of what the process did."""

    def hand_out(self, value: Any) -> int:
        """The number under which the learner's process knows a thing from now on."""
        if len(self._mine) >= self._budget.handed_out:
            self.end(Ended("too-much", "It was given too many things."))
        return super().hand_out(value)

    def adopt(self, number: int, kind: Any, name: Any, parts: Any, fixed: Any = None) -> Any:
        """The stub of a thing that the process has told of. Raises `Uncrossable` and `Ended`."""
        self._budget.hear_of(1 + len(parts) if isinstance(parts, dict) else 1)
        return super().adopt(number, kind, name, parts, {})

    def understand(self, data: Any) -> Any:
        """The value of that JSON; the run ends when it is none."""
        try:
            return self.unpack(data)
        except Exception as why:  # whatever a class says of what it was to be made from
            self.end(Ended("garbled", str(why)))

    def understand_error(self, data: Any) -> BaseException:
        """The error of that JSON; the run ends when it is none."""
        error = self.understand(data)
        if not isinstance(error, BaseException):
            self.end(misunderstood(data))
        return error

    def describe(self, value: Any) -> list[Any]:
        """Tell of a thing: its kind and name, how its parts behave, and fixed values."""
        kind: Any = type(_unveiled(value))
        if surface(kind):
            parts = {name: self._behaviour(value, name) for name in surface(kind)}
            fixed = {name: self.pack(getattr(value, name)) for name, how in parts.items() if how == "fixed"}
            return ["object", kind_of(kind), parts, fixed]
        if inspect.isawaitable(value):
            return ["awaitable", "awaitable", {}, {}]
        if callable(value):
            return ["async" if is_async(value) else "plain", told_name(value, "function"), {}, {}]
        raise Uncrossable(f"the table of what an answer may use has no {kind.__module__}.{kind.__qualname__}")

    def _behaviour(self, value: Any, name: str) -> str:
        """`wait`, `now`, `sync`, `attribute`, `fixed`, `shared`, or "" for what may not be used."""
        kind: Any = type(_unveiled(value))
        how = surface(kind).get(name, "")
        if how.startswith("of-"):
            kind = type(getattr(value, how[3:]))
            return surface(kind).get(name, "wait")
        return how

    def answer(self, words: list[Any]) -> Any:
        """The answer to a question. Raises `Ended` for what nobody may ask, and what the answer raises."""
        match words:
            case ["make", str(name), list(args), dict(named)] if name in self._makes:
                return self._makes[name](*self.understand(args), **self.understand(named))
            case ["id", str(prefix)]:
                return new_id(prefix[:20])
            case ["do", list(target), list(args), dict(named)]:
                how, function = self.target(target)
                if how != "wait":
                    found = function(*self.understand(args), **self.understand(named))
                    return _at_once(found) if how == "now" else found
            case ["get", int(number), str(name)] if number in self._mine:
                how = self._behaviour(self._mine[number], name)
                if how in ("attribute", "fixed", "shared"):
                    found = getattr(self._mine[number], name)
                    return _Shared(found) if how == "shared" else found
        raise misunderstood(words)

    def target(self, target: list[Any]) -> tuple[str, Callable[..., Any]]:
        """A thing, or a method of it that may be used, and how it behaves. Raises `Ended` for any other."""
        match target:
            case [int(number)] if number in self._mine:
                thing = self._mine[number]
                if inspect.isawaitable(thing):
                    return "wait", lambda: thing
                if callable(thing):
                    return ("wait" if is_async(thing) else "sync"), thing
            case [int(number), str(name)] if number in self._mine:
                how = self._behaviour(self._mine[number], name)
                if how in ("wait", "now", "sync"):
                    method = getattr(self._mine[number], name)
                    return how, leaving(method) if name in LEAVING else method
        raise misunderstood(target)


class _Shared:
    """A list of the judge's that is handed out itself."""

    def __init__(self, found: list[Any]) -> None:
        self.append, self.remove, self.pop = found.append, found.remove, found.pop


def _unveiled(value: Any) -> Any:
    """The thing itself, of one that is shown behind a veil."""
    return object.__getattribute__(value, "_thing") if type(value).__name__ == "_Veil" else value


def _at_once(coro: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never suspends."""
    try:
        coro.send(None)
    except StopIteration as stop:
        return stop.value
    coro.close()
    raise RuntimeError("the table says of this that it never suspends, and it does")
