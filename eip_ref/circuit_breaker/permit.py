"""The permit: the right to make one call, and the ways in which the call can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .outcomes import Outcomes
from .states import Verdict

__all__ = ["Permit"]


class Judge(Protocol):
    """What a permit needs of the breaker that gave it."""

    outcomes: Outcomes

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool: ...


@dataclass(eq=False, slots=True)
class Permit:
    """The right to make one call, to be settled once. Each way to settle says whether it was counted.

    It is not when the call is neutral or stale, or the permit settled already.
    """

    breaker: Judge
    message: str  #: what the call is named in the trace
    number: int
    generation: int  #: of the breaker when it let the call in
    admitted: float  #: when that was, on anyio's clock
    settled: bool = False

    def success(self) -> bool:
        """The dependency did its work."""
        return self.breaker.settle(self, Verdict.SUCCESS)

    def failure(self, error: BaseException | None = None) -> bool:
        """The dependency did not do its work."""
        return self.breaker.settle(self, Verdict.FAILURE, error)

    def neutral(self, error: BaseException | None = None) -> bool:
        """The call says nothing about the dependency: it was cancelled, or the caller was wrong."""
        return self.breaker.settle(self, Verdict.NEUTRAL, error)

    def returned(self, result: object) -> bool:
        """The call returned this: let the breaker's predicates judge it. What they raise comes out."""
        return self.breaker.settle(self, self._judged(self.breaker.outcomes.of_result, result))

    def raised(self, error: BaseException) -> bool:
        """The call raised this: let the breaker's predicates judge it. What they raise comes out."""
        return self.breaker.settle(self, self._judged(self.breaker.outcomes.of_error, error), error)

    def _judged(self, judge: Callable[[Any], Verdict], outcome: object) -> Verdict:
        try:
            return judge(outcome)
        except BaseException as broken:  # a predicate with a fault must not keep the slot
            self.neutral(broken)
            raise
