"""Circuit breakers that make one mistake each. The tests catch every one of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from eip_ref.circuit_breaker import (
    BreakerOpen,
    Breakers,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    Permit,
    State,
    Transition,
    Verdict,
)


class OpensAtMoreThan(ConsecutiveFailures):
    """E1: the default of a well-known library trips on *more than* five failures in a row."""

    def fresh(self) -> Any:
        return ConsecutiveFailures(self.threshold + 1)


class ClaimsACache:
    """E2: says "cached response" where there is no cache, and takes every error for an open breaker."""

    def __init__(
        self, breaker: CircuitBreaker, function: Callable[..., Awaitable[Any]], *fallbacks: object
    ) -> None:
        self._breaker = breaker
        self._function = function

    async def __call__(self, *args: Any) -> Any:
        try:
            return await self._breaker.call(self._function, *args)
        except Exception:
            return "cached response"


class CountsTheCallersErrors(CircuitBreaker):
    """An order that is not valid, and a caller who gave up, open the breaker for everybody."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        return super().settle(permit, verdict if error is None else Verdict.FAILURE, error)


class WallClock(CircuitBreaker):
    """Takes the open time from the wall clock, which jumps, and which no test can move."""

    def _open(self, reason: str, *, since: float | None = None, by: str = "") -> None:
        super()._open(reason, since=time.time(), by=by)

    def _try_again(self, now: float) -> None:
        super()._try_again(time.time())


class FreeForAll(CircuitBreaker):
    """Half-open lets everybody in: the dependency that was about to recover gets the whole crowd."""

    def _refusal(self, now: float) -> CallRejected | None:
        return None if self.state is State.HALF_OPEN else super()._refusal(now)


class CountsStaleResults(CircuitBreaker):
    """Results of calls from before the outage re-open or close it."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        permit.generation = self.generation
        return super().settle(permit, verdict, error)


class OneForAll(Breakers):
    """One global breaker: a sick payment service cuts off the stock."""

    def __getitem__(self, dependency: str) -> CircuitBreaker:
        return next(iter(self.values()), None) or super().__getitem__(dependency)


class KeepsTheSlot(CircuitBreaker):
    """A cancelled probe never gives its slot back."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        return verdict is not Verdict.NEUTRAL and super().settle(permit, verdict, error)


class CountsRejections(CircuitBreaker):
    """Each rejected call starts the open time anew, so a busy caller never gets back in."""

    def _refusal(self, now: float) -> CallRejected | None:
        refusal = super()._refusal(now)
        if isinstance(refusal, BreakerOpen):
            self._until = now + self.open_duration.first
        return refusal


class LooksAtFailuresOnly(CircuitBreaker):
    """Asks the policy on failures only, so a rate that a success completes goes unseen."""

    def _count(self, failed: bool, seconds: float, at: float, by: Permit) -> None:
        if not failed:
            self._counted.add(failed, seconds, at)
            return
        super()._count(failed, seconds, at, by)


class KeepsItsCounts(CircuitBreaker):
    """What was counted before a transition still counts after it."""

    def _change(self, now: State, reason: str, **more: Any) -> None:
        kept = self._counted
        super()._change(now, reason, **more)
        self._counted = kept


class OpensUpTooEarly(CircuitBreaker):
    """Lets a probe in at the very end of the open time, when the timers of others say still open."""

    def _try_again(self, now: float) -> None:
        super()._try_again(now + 1e-9)


class WaitsForLostProbes(CircuitBreaker):
    """Half-open without a deadline: one lost probe holds its slot for ever."""

    def _give_up_on_probes(self, now: float) -> None:
        pass


class LetsCallbacksFailTheCall(CircuitBreaker):
    """What a callback raises reaches whoever happened to make the call."""

    def _tell(self, transition: Transition) -> None:
        if self._on_change is not None:
            self._on_change(transition)


class TellsTooEarly(CircuitBreaker):
    """Tells the callback before the transition is done: it finds the old state."""

    def _change(self, now: State, reason: str, **more: Any) -> None:
        self._tell(Transition(self.name, self.state, now, reason, self.generation, anyio.current_time()))
        on_change, self._on_change = self._on_change, None
        super()._change(now, reason, **more)
        self._on_change = on_change
