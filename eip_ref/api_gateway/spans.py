"""Spans: work that begins and ends, as two facts in the trace; whose part it is, and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio

from ..trace import Kind, listening, new_id, record
from .errors import GatewayTimeout

_current: ContextVar[str] = ContextVar("span", default="")


def part_of(name: str) -> str:
    """An id for a part of the work that runs here: "r1.user"; for work of its own a new id."""
    return f"{_current.get()}.{name}" if _current.get() else new_id("r")


def on_its_own() -> None:
    """From here on, what runs in this task is part of nobody's work."""
    _current.set("")


class span:
    """Whatever runs inside is one bar: "started", then "finished", "failed", "timed out" or "cancelled".

    `parent` in its data is the span around it, which must not end before it.
    """

    __slots__ = ("_began", "_data", "_message", "_token", "_where")

    def __init__(self, where: str, message: str, **data: Any) -> None:
        self._where, self._message, self._data = where, message, data

    def __enter__(self) -> None:
        if listening():
            parent = _current.get()
            self._began = anyio.current_time()
            data = {"parent": parent, **self._data} if parent else self._data
            record(Kind.STARTED, self._where, self._message, **data)
        self._token = _current.set(self._message)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _current.reset(self._token)
        if not listening():
            return
        if error is None:
            record(Kind.FINISHED, self._where, self._message)
        elif isinstance(error, GatewayTimeout | TimeoutError):
            after = anyio.current_time() - self._began
            record(Kind.TIMED_OUT, self._where, self._message, after=after)
        elif isinstance(error, Exception):
            record(Kind.FAILED, self._where, self._message, error=repr(error))
        else:
            record(Kind.CANCELLED, self._where, self._message)


@contextmanager
def in_time(until: float, words: str) -> Iterator[None]:
    """Run the block until then. At the instant it is too late, whatever has come of it.

    Raises `GatewayTimeout` with these words.
    """
    try:
        with anyio.CancelScope(deadline=until) as scope:
            yield
    except Exception as error:
        if anyio.current_time() >= until:
            raise GatewayTimeout(words) from error
        raise
    if scope.cancelled_caught or anyio.current_time() >= until:
        raise GatewayTimeout(words)
