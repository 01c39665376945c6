"""What a result or an exception says about the dependency: three predicates over both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .states import Verdict

__all__ = ["Outcomes", "Sign"]

Sign = type[Exception] | tuple[type[Exception], ...] | Callable[[object], bool]
"""Exception types, or a function that is given the exception or the result and says whether it fits."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Sorts what came of a call; the first predicate that fits decides, in the order below.

    Where none fits, an exception is a failure and a result is a success. The caller's own errors,
    such as an order that is not valid, belong to `neutral`: they say nothing about the dependency.
    """

    neutral: Sign | None = None
    failure: Sign | None = None
    success: Sign | None = None

    def of_result(self, result: object) -> Verdict:
        """What it says that the call returned this."""
        return self._of(result, Verdict.SUCCESS)

    def of_error(self, error: BaseException) -> Verdict:
        """What it says that the call raised this; a cancellation or an interrupt says nothing."""
        return self._of(error, Verdict.FAILURE) if isinstance(error, Exception) else Verdict.NEUTRAL

    def _of(self, outcome: object, otherwise: Verdict) -> Verdict:
        if self.neutral is not None and _fits(self.neutral, outcome):
            return Verdict.NEUTRAL
        if self.failure is not None and _fits(self.failure, outcome):
            return Verdict.FAILURE
        if self.success is not None and _fits(self.success, outcome):
            return Verdict.SUCCESS
        return otherwise


def _fits(sign: Sign, outcome: object) -> bool:
    if isinstance(sign, type | tuple):
        return isinstance(outcome, sign)
    return bool(sign(outcome))
