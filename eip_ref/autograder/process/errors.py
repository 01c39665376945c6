"""Errors on their way between the two processes: by name, and the same object when they come home.

An error crosses as a number, the names of its class and of all classes above it, and its text. The receiver
takes the first class that it knows as base. When the error comes back to the side that it came from, that
side finds its own object by the number: a transaction that looks for its own error sees it.
"""

from __future__ import annotations

import asyncio
import linecache
import traceback
from collections.abc import Callable
from typing import Any

from ..exercise import OWN_LINE
from .values import Uncrossable, class_named, name_of

__all__ = ["CELL", "Errors"]

NOT_THEIRS = (OWN_LINE, "trace")  #: attributes of an error that the judge alone sets
KNOWN = ("builtins", "anyio", "asyncio", "eip_ref", "json", "sqlite3", "concurrent", "decimal")
STOPS = (KeyboardInterrupt, SystemExit)  #: would stop the process they come to, so there they only look alike
CELL = "<cell "  #: how the file names of cells begin
MOST = 10_000  #: errors that one side remembers
MAX_TEXT = 2_000  #: characters of an error's text


class Errors:
    """The errors that crossed, in either direction, as one side knows them."""

    def __init__(self, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        self._pack, self._unpack = pack, unpack
        self._sent: dict[int, BaseException] = {}
        self._numbers: dict[int, int] = {}  # of those that were sent, by identity
        self._theirs: dict[int, tuple[int, BaseException]] = {}  # those that came, by identity
        self._came: dict[int, BaseException] = {}

    def pack(self, error: BaseException) -> Any:
        """The error as JSON."""
        line = _own_line(error)
        if id(error) in self._theirs:
            return {"$home": [self._theirs[id(error)][0], line]}
        number = self._number(error)
        if isinstance(error, BaseExceptionGroup):
            inner = [self.pack(each) for each in error.exceptions]
            return {"$group": [number, _names(error), error.message[:MAX_TEXT], inner]}
        return {"$error": [number, _names(error), _text(error), *self._facts(error), line]}

    def _number(self, error: BaseException) -> int:
        if id(error) not in self._numbers:
            if len(self._sent) >= MOST:
                raise Uncrossable(f"more than {MOST:,} errors have crossed")
            self._numbers[id(error)] = len(self._sent) + 1
            self._sent[len(self._sent) + 1] = error
        return self._numbers[id(error)]

    def _facts(self, error: BaseException) -> tuple[Any, Any]:
        """The arguments and public attributes of an error, as far as they can cross."""
        attributes = {}
        for name, value in vars(error).items():
            if not name.startswith("_") and name not in NOT_THEIRS:
                try:
                    attributes[name] = self._pack(value)
                except TypeError:
                    continue
        try:
            return [self._pack(each) for each in error.args], attributes
        except TypeError:
            return None, attributes

    def unpack(self, tag: str, content: Any) -> BaseException:
        """The error of that JSON: one that came before, or was sent from here, is the same object."""
        match tag, content:
            case "$home", [int(number), line] if number in self._sent:
                error = self._sent[number]
                _mark(error, line)
                return error
            case "$group", [int(number), list(names), str(text), list(inner)] if inner:
                return self._keep(number, lambda: _group(text, [self._unpack(each) for each in inner]))
            case "$error", [int(number), list(names), str(text), args, dict(attributes), line]:
                error = self._keep(number, lambda: self._make(names, text[:MAX_TEXT], args, attributes))
                _mark(error, line)
                return error
        raise Uncrossable("no such error")

    def _keep(self, number: int, make: Callable[[], BaseException]) -> BaseException:
        if number not in self._came:
            if len(self._came) >= MOST:
                raise Uncrossable(f"more than {MOST:,} errors have crossed")
            error = self._came[number] = make()
            self._theirs[id(error)] = (number, error)
        return self._came[number]

    def _make(self, names: list[Any], text: str, args: Any, attributes: dict[str, Any]) -> BaseException:
        base, name = _base(names), str(names[0][1]).rpartition(".")[2] if names else ""
        kind = base if base.__name__ == name or not name.isidentifier() else type(name[:80], (base,), {})
        error = _bare(kind, tuple(map(self._unpack, args)) if isinstance(args, list) else (text,))
        for key, value in attributes.items():
            if key.isidentifier() and key[:1] != "_" and key not in NOT_THEIRS:
                try:
                    setattr(error, key, self._unpack(value))
                except AttributeError:
                    continue
        if _text(error) == text:
            return error
        told = type(kind.__name__, (kind,), {"__str__": lambda self: text, "__module__": kind.__module__})
        again = _bare(told, error.args)
        again.__dict__.update(vars(error))
        return again


def _bare(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An error of that class without a call of its `__init__`, which may want other arguments."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def _names(error: BaseException) -> list[list[str]]:
    return [name_of(kind) for kind in type(error).__mro__[:-1]]


def _base(names: list[Any]) -> type[BaseException]:
    for module, name in names:
        if str(module).partition(".")[0] in KNOWN:
            found = class_named(module, name)
            if found is not None and issubclass(found, BaseException) and not _is_the_judges(found):
                return found
    raise Uncrossable("an error without a class that is known")


def _is_the_judges(kind: type) -> bool:
    """True for what would stop whoever judges, or would say how the run ended."""
    return issubclass(kind, STOPS) or kind.__module__.startswith("eip_ref.autograder.")


def _group(text: str, inner: list[Any]) -> BaseException:
    if not all(isinstance(each, BaseException) for each in inner):
        raise Uncrossable("a group of what are no errors")
    text = text[:MAX_TEXT]
    return BaseExceptionGroup(text, inner)  # becomes an ExceptionGroup when all of them are Exceptions


def _text(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except BaseException:  # the learner's own `__str__`
        return ""


def _mark(error: BaseException, line: Any) -> None:
    match line:
        case [int(number), str(code)] if not hasattr(error, OWN_LINE):
            try:
                setattr(error, OWN_LINE, (number, code[:200]))
            except AttributeError:
                return


def _own_line(error: BaseException) -> list[Any] | None:
    """The line of a cell that the error left last, as its number and its text."""
    if isinstance(error, asyncio.CancelledError):
        return None
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(CELL):
            found = [number, linecache.getline(frame.f_code.co_filename, number).strip()[:200]]
    return found
