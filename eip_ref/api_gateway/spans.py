"""Spans: work that begins and ends, as two facts in the trace; whose part it is, and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio

from ..trace import Kind, new_id, record
from .errors import GatewayTimeout

__all__ = ["in_time", "part_of", "span"]

_current: ContextVar[str] = ContextVar("span", default="")


def part_of(name: str) -> str:
    """An id for a part of the work that runs here: "r1.user"; for work of its own a new id."""
    return f"{_current.get()}.{name}" if _current.get() else new_id("r")


@contextmanager
def span(where: str, message: str, **data: Any) -> Iterator[None]:
    """Whatever runs inside is one bar: "started", then "finished", "failed", "timed out" or "cancelled".

    `parent` in its data is the span around it, which must not end before it.
    """
    parent = _current.get()
    began = anyio.current_time()
    record(Kind.STARTED, where, message, **({"parent": parent} if parent else {}), **data)
    token = _current.set(message)
    try:
        yield
    except (GatewayTimeout, TimeoutError):
        record(Kind.TIMED_OUT, where, message, after=anyio.current_time() - began)
        raise
    except Exception as error:
        record(Kind.FAILED, where, message, error=repr(error))
        raise
    except BaseException:
        record(Kind.CANCELLED, where, message)
        raise
    else:
        record(Kind.FINISHED, where, message)
    finally:
        _current.reset(token)


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
