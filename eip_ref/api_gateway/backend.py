"""A backend: all calls to one service, each of them bounded in time, in number and in repetition.

From the outside in: retries, the hedge, the bulkhead, the breaker, the timeout. The timeout is the
innermost, so the breaker learns that a backend hangs; a caller that gives up before says nothing about it.
This is the only layer that retries.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, overload

import anyio
import anyio.abc
import anyio.lowlevel

from .. import values
from ..circuit_breaker import CallRejected, CircuitBreaker, Predicates
from ..request_reply import NotDone
from ..trace import Kind, record
from .errors import BulkheadFull, GatewayError
from .spans import in_time, span

T = TypeVar("T")


def is_answer(outcome: object) -> bool:
    """True when the backend answered, if with an error that is the client's, such as `NotFound`."""
    return isinstance(outcome, GatewayError) and outcome.status < 500


def _may_help(error: Exception) -> bool:
    """True when another call could end better: the backend was asked and did not answer."""
    return not (is_answer(error) or isinstance(error, CallRejected | BulkheadFull))


class Bulkhead:
    """At most `max_concurrent` calls to one backend at a time.

    So a backend that hangs fills its own compartment, and not the whole ship.
    """

    def __init__(self, name: str, *, max_concurrent: int = 10) -> None:
        self.name = values.name("name", name)
        self.max_concurrent = values.count("max_concurrent", max_concurrent)
        self.under_way = 0  #: the number of calls that have a place now

    @contextmanager
    def place(self, message: str = "") -> Iterator[None]:
        """A place for as long as the block runs. Raises `BulkheadFull` when there is none."""
        if self.under_way >= self.max_concurrent:
            record(Kind.REFUSED, self.name, message, reason="bulkhead full")
            words = f"{self.name} has {self.max_concurrent} calls under way and may not have more"
            raise BulkheadFull(words, retry_after=1)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1


class RetryBudget:
    """At most `spare` extra calls, and `share` more for each first call.

    A sick backend makes every call want to be repeated. Without a bound, what was a failure becomes a
    storm; with it, ten calls lead to at most one more when the share is 0.1. What is not used does
    not pile up beyond `spare`.
    """

    def __init__(self, *, share: float = 0.1, spare: int = 3) -> None:
        self.share = values.share("share", share)
        self.spare = values.count("spare", spare, minimum=1 if share else 0)
        self._left = float(spare)

    def earn(self) -> None:
        """A first call is made; one that was turned away before is none."""
        self._left = min(self._left + self.share, self.spare)

    def spend(self) -> bool:
        """Take an extra call from the budget; False when there is none left."""
        if self._left < 1 - 1e-9:  # ten times a tenth is a little less than one
            return False
        self._left -= 1
        return True


# Hedging: when an answer takes long or fails, ask once more, and take whichever answer comes first


@dataclass(frozen=True, slots=True)
class Hedging:
    """Ask again after `delay` seconds without an answer, and again, at most `max_extra` times.

    A failure for which `on_error` is true does not wait for the delay: the next call begins at once, as
    with gRPC's non-fatal status codes. By default there is none. `dispose` is awaited with each answer
    that nobody will use: one that came when another had won, or when the caller had gone.
    """

    delay: float
    max_extra: int = 1
    dispose: Callable[[Any], Awaitable[object] | object] | None = None
    on_error: Callable[[Exception], bool] = lambda error: False

    def __post_init__(self) -> None:
        values.duration("delay", self.delay, zero=False)
        values.count("max_extra", self.max_extra)
        values.must_not_be_async("on_error", self.on_error)


@overload
async def hedged(
    call: Callable[[int], Awaitable[T]], hedging: Hedging, may: Callable[[], bool] = ...
) -> T: ...
@overload
async def hedged(call: Callable[[int], T], hedging: Hedging, may: Callable[[], bool] = ...) -> T: ...
async def hedged(call: Callable[[int], Any], hedging: Hedging, may: Callable[[], bool] = lambda: True) -> Any:
    """The first success of `call(0)`, `call(1)`, …; the losers are cancelled and awaited.

    Only for calls that may happen twice. Each call after the first is made only when `may()` says so.
    When all calls that were made fail, the error of the first comes out. `call` may be plain or async.
    """
    values.must_not_be_async("may", may)
    race = _Race(call, hedging)
    try:
        async with anyio.create_task_group() as group:
            race.start(group)
            for _ in range(hedging.max_extra):
                with anyio.move_on_after(hedging.delay):
                    await race.news.wait()
                if race.over or not may():
                    break
                race.start(group)
    except BaseException as error:  # the caller has gone, and with it the use of an answer that had come
        for answer in race.winner:
            await race.dispose(answer)
        if isinstance(error, ExceptionGroup):  # of one: what `may` or `on_error` raised
            raise error.exceptions[0] from None
        raise
    if not race.winner:
        raise race.errors[min(race.errors)]
    return race.winner[0]


class _Race:
    def __init__(self, call: Callable[[int], Any], hedging: Hedging) -> None:
        self.news: anyio.Event  # it is over, or the next call may begin
        self.over = False  # somebody has won, or all have failed
        self.winner = list[Any]()  # its answer, when there is one
        self.errors: dict[int, Exception] = {}
        self._call = call
        self._hedging = hedging
        self._started = 0

    def start(self, group: anyio.abc.TaskGroup) -> None:
        self.news = anyio.Event()
        group.start_soon(self._run, self._started, group.cancel_scope)
        self._started += 1

    async def _run(self, number: int, others: anyio.CancelScope) -> None:
        try:
            answer = await values.finished(self._call(number))
        except Exception as error:
            self.errors[number] = error
            next_one = self._hedging.on_error(error)
            self.over |= not next_one and len(self.errors) == self._started
            if next_one or self.over:
                self.news.set()
            return
        if self.winner:
            await self.dispose(answer)
            return
        self.winner.append(answer)
        self.over = True
        others.cancel()

    async def dispose(self, answer: Any) -> None:
        if self._hedging.dispose is not None:
            with anyio.CancelScope(shield=True):  # it must be closed although nobody waits any more
                try:
                    await values.finished(self._hedging.dispose(answer))
                except Exception as error:  # the race has its outcome, and this must not replace it
                    record(Kind.NOTE, "hedging", text=f"a loser could not be disposed of: {error!r}")


# All of it


class Backend:
    """Calls to the service `name`: `timeout` seconds for each attempt, `max_concurrent` under way at a time.

    A call that is idempotent is made again after each of the `pauses` (seconds) while it fails, and is
    hedged as `hedging` says; both only as `budget` allows. Raises ValueError for a budget without either.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: float,
        max_concurrent: int = 10,
        breaker: CircuitBreaker | None = None,
        pauses: Sequence[float] = (),
        hedging: Hedging | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self.name = values.name("name", name)
        self.timeout = values.duration("timeout", timeout, zero=False, infinite=True)
        self.bulkhead = Bulkhead(name, max_concurrent=max_concurrent)
        self.breaker = breaker or CircuitBreaker(f"{name} breaker", predicates=Predicates(success=is_answer))
        if self.breaker.name == name:
            raise ValueError(f"the breaker of {name} needs another name, such as '{name} breaker'")
        self.budget = budget or RetryBudget()
        self._pauses = [values.duration("pauses", pause) for pause in pauses]
        if budget is not None and not self._pauses and hedging is None:
            raise ValueError(f"the budget of {name} pays for retries and hedges: give pauses, or hedging")
        self._hedging = hedging and replace(hedging, on_error=lambda e: _may_help(e) and hedging.on_error(e))
        self._numbers = itertools.count(1)

    @overload
    async def call(
        self, function: Callable[..., Awaitable[T]], *args: Any, idempotent: bool = False
    ) -> T: ...
    @overload
    async def call(self, function: Callable[..., T], *args: Any, idempotent: bool = False) -> T: ...
    async def call(self, function: Callable[..., Any], *args: Any, idempotent: bool = False) -> Any:
        """Return or raise what `function(*args)` does, plain or async.

        Without `idempotent` it is called once, and again only after a `NotDone`. Raises `BulkheadFull` or a
        `CallRejected` instead of calling, and `GatewayTimeout`.
        """
        call, extra = partial(function, *args), ""
        for pause in (*self._pauses, None):
            try:
                return await self._hedged(call, idempotent, extra)
            except Exception as error:
                if pause is None or not self._again(error, pause, idempotent):
                    await anyio.lowlevel.checkpoint()  # so that one who calls again in a loop stops nobody
                    raise
            extra = "retry"
            await anyio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _again(self, error: Exception, pause: float, idempotent: bool) -> bool:
        """Only what may help, may happen twice or did not happen, has time left, and is paid for."""
        may = _may_help(error) and (idempotent or isinstance(error, NotDone))
        in_time = anyio.current_time() + pause < anyio.current_effective_deadline()
        return may and in_time and self.budget.spend()

    async def _hedged(self, call: Callable[[], Any], idempotent: bool, extra: str) -> Any:
        if not idempotent or self._hedging is None:
            return await self._attempt(call, extra)

        async def attempt(number: int) -> Any:
            return await self._attempt(call, "hedge" if number else extra)

        return await hedged(attempt, self._hedging, self.budget.spend)

    async def _attempt(self, call: Callable[[], Any], extra: str) -> Any:
        identity = f"{self.name}#{next(self._numbers)}"
        budget = {"extra": extra, "share": self.budget.share, "spare": self.budget.spare} if extra else {}
        with (
            self.bulkhead.place(identity),
            span(self.name, identity, limit=self.bulkhead.max_concurrent, **budget),
            self.breaker.admit(identity) as permit,
        ):
            if not extra:
                self.budget.earn()
            until = anyio.current_time() + self.timeout
            with in_time(until, f"{self.name} did not answer within {self.timeout:g} s"):
                result = await values.finished(call())
            permit.judged(result)
            return result
