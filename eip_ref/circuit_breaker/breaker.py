"""The breaker itself: its states, which calls are let in, what they say, and when the state changes.

Between two awaits nothing else runs, so each method here is atomic and there is no lock. Nothing
happens by itself either, there are no tasks and no timers: a breaker looks at the clock when a call
asks to be let in and when one is settled, and in the closed state only where its policy needs the time.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar, overload

import anyio
import anyio.lowlevel

from .. import values
from ..trace import Kind, listening, record
from .policies import (
    FAILURE,
    NEUTRAL,
    SUCCESS,
    ConsecutiveFailures,
    HalfOpen,
    OpenDuration,
    Policy,
    Predicates,
    Verdict,
)

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
_TICK = 0.001  # at the very end of the open duration the breaker is still open, so wait a moment longer


class State(StrEnum):
    """The three states of the pattern, and three that only an operator sets."""

    CLOSED = "closed"  #: calls pass, and their results are counted
    OPEN = "open"  #: calls are rejected, until the open duration is over
    HALF_OPEN = "half-open"  #: a few calls pass as probes, and their results decide
    FORCED_OPEN = "forced open"  #: calls are rejected, until somebody resets the breaker
    DISABLED = "disabled"  #: calls pass and nothing is counted
    OBSERVING = "observing"  #: calls pass and are counted; it says when it would have opened


CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, DISABLED, OBSERVING = State  # as in policies.py


class Transition(NamedTuple):
    """A change of state, as the callback of a breaker hears of it."""

    breaker: str
    was: State
    now: State
    reason: str
    generation: int  #: the one that begins with this transition
    at: float  #: on anyio's clock


class CallRejected(Exception):
    """The breaker did not let the call in: the dependency was certainly not called.

    The last error of the dependency is the `__cause__`.
    """

    def __init__(self, breaker: str, words: str, retry_after: float | None = None) -> None:
        super().__init__(f"{breaker} {words}")
        self.breaker = breaker
        self.retry_after = retry_after  #: seconds until a call may be let in, or None: nobody can say


class BreakerOpen(CallRejected):
    """The breaker is open, by itself or by hand."""


class HalfOpenFull(CallRejected):
    """The breaker tries the dependency again, and as many probes as it allows are on their way."""


@dataclass(eq=False, slots=True)
class Permit:
    """The right to make one call, to be settled once. Each way to settle says whether the call counted.

    It does not when it is neutral or stale, or settled already. As a context manager around the call,
    `with breaker.admit(): …`, it has an exception judged; leaving without one is a success, unless
    the permit was settled inside.
    """

    breaker: CircuitBreaker
    message: str  #: the name of the call in the trace
    generation: int  #: of the breaker when it let the call in
    admitted: float  #: when that was, on anyio's clock; 0 where the breaker need not know
    settled: bool = False

    def success(self) -> bool:
        """Settle: the dependency did its work."""
        return self.breaker.settle(self, SUCCESS)

    def failure(self, error: BaseException | None = None) -> bool:
        """Settle: the dependency did not do its work."""
        return self.breaker.settle(self, FAILURE, error)

    def neutral(self, error: BaseException | None = None) -> bool:
        """Settle: the call says nothing about the dependency. It was cancelled, or the caller was wrong."""
        return self.breaker.settle(self, NEUTRAL, error)

    def judged(self, result: object = None, error: BaseException | None = None) -> bool:
        """Settle as the breaker's predicates judge the result or the error. What they raise comes out."""
        if self.settled:
            return False
        try:
            verdict = self.breaker.predicates.judge(result, error)
        except BaseException as broken:  # a predicate with a fault must not keep the slot
            self.neutral(broken)
            raise
        return self.breaker.settle(self, verdict, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            self.judged(error=error)
        else:
            self.success()


class CircuitBreaker:
    """Stands before one dependency and turns calls away while that is sick.

    `policy` says when it opens, `open_duration` for how long, `half_open` how it tries again,
    `predicates` what counts as a failure. `on_change` is a plain function, called once per transition,
    after it is complete; what it raises is logged and goes no further. `random` is what jitter is
    drawn from. A breaker that comes into another event loop, with another clock, waits no longer there
    than is set here.
    """

    def __init__(
        self,
        name: str,
        *,
        policy: Policy | None = None,
        open_duration: OpenDuration | None = None,
        half_open: HalfOpen | None = None,
        predicates: Predicates | None = None,
        random: Random | None = None,
        on_change: Callable[[Transition], object] | None = None,
    ) -> None:
        self.name = values.name("name", name)
        self.policy = policy or ConsecutiveFailures()
        self.open_duration = open_duration or OpenDuration()
        self.half_open = half_open or HalfOpen()
        self.predicates = predicates or Predicates()
        if self.open_duration.jitter and random is None:
            raise ValueError("jitter is drawn from a generator that you hand in: give random=Random(seed)")
        values.must_not_be_async("on_change", on_change)
        self._random = random
        self._on_change = on_change
        self._counted: Policy
        self.state: State  #: stays open until a call asks after the open duration
        self.generation = 0  #: of results that count; each transition begins another
        self._numbers = itertools.count(1)
        self._openings = 0  # since it was last closed
        self._changed_at: float | None = None
        self._open_for = 0.0  # when open: the open duration, and where it ends
        self._until = 0.0
        self.last_error: BaseException | None = None  #: of the last failure since it was closed
        self._start_generation(CLOSED, "")

    @property
    def retry_after(self) -> float | None:
        """Seconds until a call may be let in: 0 when not open, None when forced open."""
        if self.state is OPEN:
            return max(0.0, self._left(anyio.current_time()))
        return None if self.state is FORCED_OPEN else 0.0

    def health(self) -> dict[str, Any]:
        """The breaker as it stands, in JSON values for a health page. Asking changes nothing.

        Counts are since the last transition, `seconds` ago, None before the first, whose `reason` is told.
        `measured` says in words what the policy has counted of them, and `measured_rate` is the share of
        bad calls in its window, None where it has none.
        """
        calls, now = self._successes + self._failures, anyio.current_time()
        return {
            "state": self.state,
            "reason": self._reason,
            "seconds": None if self._changed_at is None else max(0.0, now - self._changed_at),
            "calls": calls,
            "failures": self._failures,
            "failure_rate": self._failures / calls if calls else 0.0,
            "rejected": self._rejected,
            "measured": self._counted.words(now),
            "measured_rate": self._counted.rate(now),
            "retry_after": self.retry_after,
            "last_error": self.last_error and _in_words(self.last_error),
        }

    # Three ways to use it: as a decorator, around one call, and in two steps

    def __call__(self, function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """Decorate an async function. Raises TypeError for any other function."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"a breaker decorates async functions, and {function!r} is not one")

        @functools.wraps(function)
        async def protected(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.call(function, *args, **kwargs)

        return protected

    @overload
    async def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def call(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call `function(…)`, plain or async, and judge what comes of it; that comes out unchanged.

        Raises `BreakerOpen` or `HalfOpenFull` instead of calling. Even then others get their turn, so
        that a caller who tries again in a loop stops nobody.
        """
        try:
            permit = self.admit()
        except CallRejected:
            await anyio.lowlevel.checkpoint()
            raise
        try:
            result = function(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            permit.judged(error=error)
            raise
        permit.judged(result)
        return result

    def admit(self, message: str = "") -> Permit:
        """Let a call in, or raise `BreakerOpen` or `HalfOpenFull`. `message` names it in the trace."""
        now = anyio.current_time() if self._timed else 0.0
        if self.state is not CLOSED:
            self._give_up_on_probes(now)
            self._try_again(now)
        number = next(self._numbers)
        permit = Permit(self, message or f"{self.name}#{number}", self.generation, now)
        if self.state is not CLOSED and (refusal := self._refusal(now)) is not None:
            self._rejected += 1
            after = refusal.retry_after
            record(Kind.REFUSED, self.name, permit.message, reason=self.state, retry_after=after)
            raise refusal from self.last_error
        if self.state is HALF_OPEN:
            self._probes[permit] = None
        if listening():
            record(Kind.STARTED, self.name, permit.message, generation=self.generation)
        return permit

    # Who is let in

    def _refusal(self, now: float) -> CallRejected | None:
        if self.state is OPEN:
            left = self._left(now)
            return BreakerOpen(self.name, f"is open ({self._reason}); try again in {left:.1f} s", left)
        if self.state is FORCED_OPEN:
            return BreakerOpen(self.name, f"is forced open ({self._reason})")
        limit = self.half_open.max_probes
        if len(self._probes) >= limit:  # which only a half-open breaker has
            return HalfOpenFull(self.name, f"is half-open, and {limit} of {limit} probes are on their way")
        return None

    def _left(self, now: float) -> float:
        """Seconds until a call may be let in, never more than the whole open duration."""
        return min(self._until, now + self._open_for) - now + _TICK

    def _try_again(self, now: float) -> None:
        """Strictly after the open duration, and not at its very end, a call finds the breaker half-open."""
        if self.state is not OPEN:
            return
        self._until = min(self._until, now + self._open_for)  # else that was on another loop's clock
        if now > self._until:
            self._change(HALF_OPEN, "the open time is over")

    def _give_up_on_probes(self, now: float) -> None:
        """Open again, as of the deadline of the oldest probe, when that has passed."""
        if not self._probes:
            return
        oldest = next(iter(self._probes))
        oldest.admitted = min(oldest.admitted, now)  # else that was on another loop's clock
        deadline = oldest.admitted + self.half_open.probe_timeout
        if now > deadline:
            words = f"a probe was not settled within {self.half_open.probe_timeout:g} s"
            self._open(words, since=deadline)

    # Settling

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        """Count a call, once, for its `Permit`; say whether it counted."""
        if permit.settled:
            return False
        permit.settled = True
        now = anyio.current_time() if self._timed else 0.0
        if self._probes:
            self._give_up_on_probes(now)
        stale = permit.generation != self.generation
        if listening():
            self._record_end(permit, verdict, error, stale)
        if stale:
            return False
        self._probes.pop(permit, None)
        if verdict is NEUTRAL or self.state is DISABLED:
            return False
        failed = verdict is FAILURE
        if failed:
            self._failures += 1
            self.last_error = error
        else:
            self._successes += 1
        self._count(failed, now - permit.admitted, now, permit)
        return True

    def _record_end(self, permit: Permit, verdict: Verdict, error: BaseException | None, stale: bool) -> None:
        cancelled = error is not None and not isinstance(error, Exception)
        failed = verdict is FAILURE or (verdict is NEUTRAL and error is not None)
        kind = Kind.CANCELLED if cancelled else Kind.FAILED if failed else Kind.FINISHED
        said: dict[str, Any] = {} if error is None else {"error": _in_words(error)}
        record(kind, self.name, permit.message, verdict=verdict, stale=stale, **said)

    def _count(self, failed: bool, seconds: float, at: float, by: Permit) -> None:
        if self.state is HALF_OPEN:
            self._count_probe(failed or seconds > self.policy.slow_after, by)
        elif (reason := self._counted.add(failed, seconds, at)) is None:
            return
        elif self.state is OBSERVING:
            self._note(f"{self.name} would have opened: {reason}")
            self._counted = self.policy.fresh()
        else:
            self._open(reason, by=by.message)

    def _count_probe(self, bad: bool, by: Permit) -> None:
        self._bad_probes += bad
        verdict, reason = self.half_open.verdict(self._successes + self._failures, self._bad_probes)
        if verdict is FAILURE:
            self._open(reason, by=by.message)
        elif verdict is SUCCESS:
            self._change(CLOSED, reason, by=by.message)

    # Changing state

    def _open(self, reason: str, *, since: float | None = None, by: str = "") -> None:
        """Open for the open duration, counted from `since` or from now."""
        now = anyio.current_time()
        self._open_for = self.open_duration.seconds(self._openings + 1, self._random)
        self._until = (now if since is None else since) + self._open_for
        self._change(OPEN, reason, by=by, open_for=self._until - now)

    def _change(self, now: State, reason: str, *, by: str = "", manual: bool = False, **more: Any) -> None:
        """One transition. Tell the trace and the callback when it is complete."""
        was, self._changed_at = self.state, anyio.current_time()
        self._start_generation(now, reason)
        if now is OPEN:
            self._openings += 1
        elif now is HALF_OPEN:
            more["limit"] = self.half_open.max_probes
        else:
            self._openings, self.last_error = 0, None
        told = {"generation": self.generation, "by": by, "manual": manual, **more}
        record(Kind.STATE, self.name, who="", was=was, now=now, reason=reason, **told)
        self._tell(Transition(self.name, was, now, reason, self.generation, self._changed_at))

    def _start_generation(self, state: State, reason: str) -> None:
        """A new generation, with nothing counted."""
        self.state, self._reason = state, reason
        self.generation += 1
        self._counted = self.policy.fresh()
        self._successes = self._failures = self._rejected = self._bad_probes = 0
        self._probes: dict[Permit, None] = {}  # unsettled ones of this half-open, the oldest first
        # A look at the clock costs as much as a call
        self._timed = state is not CLOSED or self._counted.timed

    def _tell(self, transition: Transition) -> None:
        try:
            if self._on_change is not None:
                self._on_change(transition)
        except Exception as error:  # a listener must not fail the call of somebody else
            self._note(f"the callback of {self.name} raised {error!r}", error)

    def _note(self, text: str, error: Exception | None = None) -> None:
        record(Kind.NOTE, self.name, who="", text=text)
        _log.warning(text, exc_info=error)

    # By hand

    def force_open(self, reason: str = "by hand") -> None:
        """Reject every call until `reset`. Idempotent, like all four."""
        self._by_hand(FORCED_OPEN, reason)

    def disable(self, reason: str = "by hand") -> None:
        """Let every call pass and count none until `reset`."""
        self._by_hand(DISABLED, reason)

    def observe(self, reason: str = "by hand") -> None:
        """Let every call pass, count them, and note in the trace and the log when it would have opened."""
        self._by_hand(OBSERVING, reason)

    def reset(self, reason: str = "by hand") -> None:
        """Back to closed, with nothing counted."""
        self._by_hand(CLOSED, reason)

    def _by_hand(self, state: State, reason: str) -> None:
        if state is not self.state:
            self._change(state, reason, manual=True)


def _in_words(error: BaseException) -> str:
    """A cancellation's own text names an address in memory, which no two runs share."""
    return repr(error) if isinstance(error, Exception) else type(error).__name__


class Breakers(dict[str, CircuitBreaker]):
    """The breakers of a program, by the name of the dependency; each is made when first asked for.

        breakers = Breakers(lambda name: CircuitBreaker(name, policy=ConsecutiveFailures(3)))
        await breakers["payments"].call(charge, order)

    One per dependency, so that one sick service does not cut off the others. At most `capacity` are
    made: a name is that of a dependency, never that of a request.
    """

    def __init__(self, make: Callable[[str], CircuitBreaker], *, capacity: int = 1_000) -> None:
        super().__init__()
        values.must_not_be_async("make", make)
        self._make = make
        self._capacity = values.count("capacity", capacity)

    def __missing__(self, dependency: str) -> CircuitBreaker:
        """Make the breaker. Raises ValueError for one too many, and for a `make` that renames it."""
        if len(self) >= self._capacity:
            words = f"there are {self._capacity} breakers already"
            raise ValueError(f"{words}; name them after dependencies, not after requests")
        made = self._make(dependency)
        if made.name != dependency:
            raise ValueError(f"the breaker of {dependency!r} must have that name, not {made.name!r}")
        self[dependency] = made
        return made
