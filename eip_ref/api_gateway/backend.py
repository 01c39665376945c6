"""A backend: all calls to one service, each of them bounded in time, in number and in repetition.

From the outside in: retries, the hedge, the bulkhead, the breaker, the timeout. The timeout is the
innermost, so the breaker learns that a backend hangs; a caller that gives up before says nothing about it.
This is the only layer that retries.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import anyio

from ..circuit_breaker import CallRejected, CircuitBreaker, Outcomes
from ..request_reply import NotDone
from .budget import Budget
from .errors import BulkheadFull, GatewayError
from .hedging import Hedging, hedged
from .limits import Bulkhead
from .spans import in_time, span

__all__ = ["Backend", "is_answer"]

T = TypeVar("T")


def is_answer(outcome: object) -> bool:
    """Whether the backend answered, if with an error that is the client's, such as `NotFound`."""
    return isinstance(outcome, GatewayError) and outcome.status < 500


class Backend:
    """Calls to the service `name`: `timeout` seconds for each attempt, `at_most` under way at a time.

    `waiting` more may wait for a place. A call that is idempotent is made again after each of the
    `pauses` (seconds) while it fails, and is hedged as `hedging` says; both only as `budget` allows.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: float,
        at_most: int = 10,
        waiting: int = 0,
        breaker: CircuitBreaker | None = None,
        pauses: Sequence[float] = (),
        hedging: Hedging | None = None,
        budget: Budget | None = None,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"{name} must have more than 0 seconds for a call, not {timeout:g}")
        self.name = name
        self.timeout = timeout
        self.bulkhead = Bulkhead(name, at_most=at_most, waiting=waiting)
        self.breaker = breaker or CircuitBreaker(f"{name} breaker", outcomes=Outcomes(success=is_answer))
        if self.breaker.name == name:
            raise ValueError(f"the breaker of {name} needs another name, such as '{name} breaker'")
        self.budget = budget or Budget()
        self._pauses = pauses
        self._hedging = hedging
        self._numbers = itertools.count(1)

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any, idempotent: bool = False) -> T:
        """What `function(*args)` returns or raises. Without `idempotent` it is called once.

        Raises `BulkheadFull` or a `CallRejected` instead of calling, and `TimedOut`.
        """
        self.budget.earn()
        extra = ""
        for pause in (*self._pauses, None):
            try:
                return await self._hedged(function, args, idempotent, extra)
            except Exception as error:
                if pause is None or not self._again(error, pause, idempotent):
                    raise
            extra = "retry"
            await anyio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _again(self, error: Exception, pause: float, idempotent: bool) -> bool:
        """Only what may happen twice or did not happen, may help, has time left, and is paid for."""
        if is_answer(error) or isinstance(error, CallRejected | BulkheadFull):
            return False
        in_time = anyio.current_time() + pause < anyio.current_effective_deadline()
        return (idempotent or isinstance(error, NotDone)) and in_time and self.budget.spend()

    async def _hedged(
        self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...], idempotent: bool, extra: str
    ) -> T:
        if not idempotent or self._hedging is None:
            return await self._attempt(function, args, extra)

        async def attempt(number: int) -> T:
            return await self._attempt(function, args, "hedge" if number else extra)

        return await hedged(attempt, self._hedging, self.budget.spend)

    async def _attempt(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...], extra: str) -> T:
        identity = f"{self.name}#{next(self._numbers)}"
        budget = {"extra": extra, "share": self.budget.share, "spare": self.budget.spare} if extra else {}
        async with self.bulkhead.place(identity):
            with (
                span(self.name, identity, limit=self.bulkhead.at_most, **budget),
                self.breaker.guard(identity) as permit,
            ):
                until = anyio.current_time() + self.timeout
                with in_time(until, f"{self.name} did not answer within {self.timeout:g} s"):
                    result = await function(*args)
                permit.returned(result)
                return result
