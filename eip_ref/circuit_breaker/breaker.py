"""The breaker itself: who is let in, what is counted, and when the state changes.

Between two awaits nothing else runs, so each method here is atomic and there is no lock. Nothing
happens by itself either, there are no tasks and no timers: a breaker looks at the clock when a call
asks to be let in and when one is settled.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from random import Random
from typing import Any

import anyio

from ..trace import Kind, record
from .outcomes import Outcomes
from .permit import Permit
from .policies import Call, ConsecutiveFailures, Policy
from .recovery import HalfOpen, OpenTime
from .states import BreakerOpen, CallRejected, Change, HalfOpenFull, State, Verdict
from .uses import Uses

__all__ = ["CircuitBreaker"]

_log = logging.getLogger(__name__)
_TICK = 0.001  # at the very end of the open time the breaker is still open, so wait a moment longer


class CircuitBreaker(Uses):
    """Stands before one dependency and turns calls away while that is sick.

    `policy` says when it opens, `open_time` for how long, `half_open` how it tries again, `outcomes`
    what counts as a failure. `on_change` is called once per transition, after it is complete, with a
    `Change`; what it raises is logged and goes no further. `random` is what jitter is drawn from.
    """

    def __init__(
        self,
        name: str,
        *,
        policy: Policy | None = None,
        open_time: OpenTime | None = None,
        half_open: HalfOpen | None = None,
        outcomes: Outcomes | None = None,
        random: Random | None = None,
        on_change: Callable[[Change], object] | None = None,
    ) -> None:
        self.name = name
        self.policy = policy or ConsecutiveFailures()
        self.open_time = open_time or OpenTime()
        self.half_open = half_open or HalfOpen()
        self.outcomes = outcomes or Outcomes()
        if self.open_time.jitter and random is None:
            raise ValueError("jitter is drawn from a generator that you hand in: give random=Random(seed)")
        self._random = random
        self._on_change = on_change
        self._state = State.CLOSED
        self._generation = 1
        self._counts = self.policy.start()
        self._trial = self.half_open.verdict.start()
        self._probes: dict[int, Permit] = {}  # unsettled ones of this half-open, the oldest first
        self._until = math.inf  # when open: the end of the open time
        self._openings = 0  # since it was last closed
        self._why = ""  # of the last transition
        self._numbers = itertools.count(1)

    @property
    def state(self) -> State:
        """Where the breaker is. It stays open until a call asks after the open time."""
        return self._state

    @property
    def generation(self) -> int:
        """Grows with each transition; a result counts only in the generation that admitted its call."""
        return self._generation

    @property
    def retry_after(self) -> float | None:
        """Seconds until a call may be let in: 0 when not open, None when forced open."""
        if self._state is State.OPEN:
            return max(0.0, self._until - anyio.current_time() + _TICK)
        return None if self._state is State.FORCED_OPEN else 0.0

    # Letting in

    def admit(self, message: str = "") -> Permit:
        """Let a call in, or raise `BreakerOpen` or `HalfOpenFull`. `message` names it in the trace."""
        now = anyio.current_time()
        self._give_up_on_probes(now)
        self._try_again(now)
        number = next(self._numbers)
        message = message or f"{self.name}#{number}"
        if (refusal := self._refusal(now)) is not None:
            record(Kind.REFUSED, self.name, message, reason=self._state, retry_after=refusal.retry_after)
            raise refusal
        permit = Permit(self, message, number, self._generation, now)
        if self._state is State.HALF_OPEN:
            self._probes[number] = permit
        record(Kind.STARTED, self.name, message, generation=self._generation)
        return permit

    def _refusal(self, now: float) -> CallRejected | None:
        if self._state is State.OPEN:
            left = self._until - now + _TICK
            return BreakerOpen(self.name, f"is open ({self._why}); try again in {left:.1f} s", left)
        if self._state is State.FORCED_OPEN:
            return BreakerOpen(self.name, f"is forced open ({self._why})")
        if self._state is State.HALF_OPEN and len(self._probes) >= self.half_open.limit:
            limit = self.half_open.limit
            return HalfOpenFull(self.name, f"is half-open, and {limit} of {limit} probes are on their way")
        return None

    def _try_again(self, now: float) -> None:
        """Strictly after the open time, and not at its very end, a call finds the breaker half-open."""
        if self._state is State.OPEN and now > self._until:
            self._change(State.HALF_OPEN, "the open time is over")

    def _give_up_on_probes(self, now: float) -> None:
        """Open again, as of the deadline of the oldest probe, when that has passed."""
        if not self._probes:
            return
        deadline = next(iter(self._probes.values())).admitted + self.half_open.within
        if now > deadline:
            self._open(f"a probe was not settled within {self.half_open.within:g} s", since=deadline)

    # Settling

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        """The second step, for `Permit`: count the call, once; say whether it was counted."""
        if permit.settled:
            return False
        permit.settled = True
        now = anyio.current_time()
        self._give_up_on_probes(now)
        stale = self._is_stale(permit)
        said = {} if error is None else {"error": _in_words(error)}
        record(_how_it_ended(verdict, error), self.name, permit.message, verdict=verdict, stale=stale, **said)
        if stale:
            return False
        self._probes.pop(permit.number, None)
        if verdict is Verdict.NEUTRAL or self._state is State.DISABLED:
            return False
        self._count(Call(verdict is Verdict.FAILURE, now - permit.admitted, now), permit.message)
        return True

    def _is_stale(self, permit: Permit) -> bool:
        """Let in under another generation: what it says is about a time that is over."""
        return permit.generation != self._generation

    def _count(self, call: Call, by: str) -> None:
        if self._state is State.HALF_OPEN:
            self._count_probe(call, by)
        elif (reason := self._counts.add(call)) is None:
            return
        elif self._state is State.OBSERVING:
            self._note(f"{self.name} would have opened: {reason}")
            self._counts = self.policy.start()
        else:
            self._open(reason, since=call.at, by=by)

    def _count_probe(self, call: Call, by: str) -> None:
        match self._trial.add(call.failed or call.seconds > self.policy.slow_after):
            case (State.OPEN, reason):
                self._open(reason, since=call.at, by=by)
            case (State.CLOSED, reason):
                self._change(State.CLOSED, reason, by=by)

    # Changing state

    def _open(self, reason: str, *, since: float, by: str = "") -> None:
        self._until = since + self.open_time.seconds(self._openings + 1, self._random)
        self._change(State.OPEN, reason, by=by, open_for=self._until - anyio.current_time())

    def _change(self, now: State, reason: str, *, by: str = "", manual: bool = False, **more: float) -> None:
        """One transition: a new generation, with nothing counted. Then tell the trace and the callback."""
        was, self._state, self._why = self._state, now, reason
        self._generation += 1
        self._counts = self.policy.start()
        self._trial = self.half_open.verdict.start()
        self._probes.clear()
        if now is State.OPEN:
            self._openings += 1
        elif now is not State.HALF_OPEN:
            self._openings = 0
        if now is State.HALF_OPEN:
            more["limit"] = self.half_open.limit
        facts: dict[str, Any] = {"was": was, "now": now, "reason": reason, "generation": self._generation}
        record(Kind.STATE, self.name, who="", **{**facts, "by": by, "manual": manual, **more})
        self._tell(Change(self.name, was, now, reason, self._generation, anyio.current_time()))

    def _tell(self, change: Change) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(change)
        except Exception as error:  # a listener must not fail the call of somebody else
            self._note(f"the callback of {self.name} raised {error!r}", error)

    def _note(self, text: str, error: Exception | None = None) -> None:
        record(Kind.NOTE, self.name, who="", text=text)
        _log.warning(text, exc_info=error)

    # By hand

    def force_open(self, reason: str = "by hand") -> None:
        """Reject every call until `reset`. Idempotent, like all four."""
        self._by_hand(State.FORCED_OPEN, reason)

    def disable(self, reason: str = "by hand") -> None:
        """Let every call pass and count none until `reset`."""
        self._by_hand(State.DISABLED, reason)

    def observe(self, reason: str = "by hand") -> None:
        """Let every call pass, count them, and note in the trace and the log when it would have opened."""
        self._by_hand(State.OBSERVING, reason)

    def reset(self, reason: str = "by hand") -> None:
        """Back to closed, with nothing counted."""
        self._by_hand(State.CLOSED, reason)

    def _by_hand(self, state: State, reason: str) -> None:
        if state is not self._state:
            self._change(state, reason, manual=True)


def _how_it_ended(verdict: Verdict, error: BaseException | None) -> Kind:
    if error is not None and not isinstance(error, Exception):
        return Kind.CANCELLED
    failed = verdict is Verdict.FAILURE or (verdict is Verdict.NEUTRAL and error is not None)
    return Kind.FAILED if failed else Kind.FINISHED


def _in_words(error: BaseException) -> str:
    """A cancellation's own text names an address in memory, which no two runs share."""
    return repr(error) if isinstance(error, Exception) else type(error).__name__
