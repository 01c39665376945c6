"""Findings and invariants: a judgement over a trace, and several at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, overload

from ...trace import Event, Trace

P = ParamSpec("P")
Check = Callable[[Trace], "list[Finding]"]  #: anything that judges a trace

_MOST_WORDS = 10  # findings that an AssertionError spells out


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of an invariant: which one, in plain words, and the events that prove it."""

    name: str
    words: str
    events: tuple[Event, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


class Invariant(Generic[P]):
    """A judgement with keyword arguments, which can be given with the trace or before it.

    `prefetch_never_exceeded(trace, limit=2)` judges at once; `prefetch_never_exceeded(limit=2)` is a
    check that waits for its trace, as `check` and `assert_holds` take it.
    """

    def __init__(self, judge: Callable[Concatenate[Trace, P], list[Finding]]) -> None:
        self._judge = judge
        functools.update_wrapper(self, judge)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # P holds keywords only
        self, trace: Trace, /, *args: P.args, **given: P.kwargs
    ) -> list[Finding]: ...
    @overload
    def __call__(self, /, *args: P.args, **given: P.kwargs) -> Check: ...
    def __call__(self, /, *args: Any, **given: Any) -> list[Finding] | Check:
        if args:
            return self._judge(*args, **given)
        return functools.partial(self._judge, **given)


def check(trace: Trace, *invariants: Check) -> list[Finding]:
    """Everything that the invariants find in the trace; an empty list when all of them hold."""
    return [finding for invariant in invariants for finding in invariant(trace)]


def assert_holds(trace: Trace, *invariants: Check) -> None:
    """Raise AssertionError, with the findings in words, unless every invariant holds."""
    if findings := check(trace, *invariants):
        raise AssertionError(in_words(findings))


def in_words(findings: Iterable[Finding]) -> str:
    """The findings as text, one a line; a long list is cut."""
    lines = [str(finding) for finding in findings]
    more = [f"… and {len(lines) - _MOST_WORDS} more"] if len(lines) > _MOST_WORDS else []
    return "\n".join([*lines[:_MOST_WORDS], *more])
