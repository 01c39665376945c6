"""Three ways to use a breaker: as a decorator, as a context manager, and in two steps."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import anyio.lowlevel

from .permit import Permit
from .states import CallRejected

__all__ = ["Uses"]

P = ParamSpec("P")
T = TypeVar("T")


class Uses(ABC):
    """What stands on `admit`: all ways to make a call through a breaker."""

    @abstractmethod
    def admit(self, message: str = "") -> Permit:
        """In two steps: ask for a permit, and settle it when the call is over."""

    def __call__(self, function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """As a decorator of an async function. Raises TypeError for any other function."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"a breaker decorates async functions, and {function!r} is not one")

        @functools.wraps(function)
        async def protected(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.call(function, *args, **kwargs)

        return protected

    async def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `function(…)` and judge what comes of it; that comes out unchanged.

        Raises `BreakerOpen` or `HalfOpenFull` instead of calling. Even then others get their turn, so
        that a caller who tries again in a loop stops nobody.
        """
        try:
            permit = self.admit()
        except CallRejected:
            await anyio.lowlevel.checkpoint()
            raise
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            permit.raised(error)
            raise
        permit.returned(result)
        return result

    @contextmanager
    def guard(self, message: str = "") -> Iterator[Permit]:
        """As a context manager around the call: `with breaker.guard(): …`.

        An exception is judged, and leaving the block without one is a success, unless the permit was
        settled inside: `permit.returned(response)` judges a result.
        """
        permit = self.admit(message)
        try:
            yield permit
        except BaseException as error:
            permit.raised(error)
            raise
        permit.success()
