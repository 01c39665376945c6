"""The vocabulary of a breaker: its states, what a call amounts to, and why a call is turned away."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["BreakerOpen", "CallRejected", "Change", "HalfOpenFull", "State", "Verdict"]


class State(StrEnum):
    """The three states of the pattern, and three that only an operator sets."""

    CLOSED = "closed"  #: calls pass, and their results are counted
    OPEN = "open"  #: calls are rejected, until the open time is over
    HALF_OPEN = "half-open"  #: a few calls pass as probes, and their results decide
    FORCED_OPEN = "forced open"  #: calls are rejected, until somebody resets the breaker
    DISABLED = "disabled"  #: calls pass and nothing is counted
    OBSERVING = "observing"  #: calls pass and are counted; it says when it would have opened


class Verdict(StrEnum):
    """What a settled call says about the dependency."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"  #: nothing: it is not counted, and its slot is free again


class Change(NamedTuple):
    """One transition, as the callback of a breaker hears of it."""

    breaker: str
    was: State
    now: State
    reason: str
    generation: int  #: the one that begins with this transition
    at: float  #: on anyio's clock


class CallRejected(Exception):
    """The breaker did not let the call in: the dependency was certainly not called."""

    def __init__(self, breaker: str, words: str, retry_after: float | None = None) -> None:
        super().__init__(f"{breaker} {words}")
        self.breaker = breaker
        self.retry_after = retry_after  #: seconds until a call may be let in, or None: nobody can say


class BreakerOpen(CallRejected):
    """The breaker is open, by itself or by hand."""


class HalfOpenFull(CallRejected):
    """The breaker tries the dependency again, and as many probes as it allows are on their way."""
