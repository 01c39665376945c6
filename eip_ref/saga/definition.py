"""The definition of a saga: steps that can be undone, a point of no return, then steps that will succeed.

    compensatable …  →  at most one pivot  →  retriable …

Before the pivot the saga can turn back; after it, it can only go on. The order is checked when the
saga is defined, not when the first customer finds out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any

from .. import values
from ..message_queue import Backoff


def key_part(parameter: str, value: str) -> str:
    """Text without '/', which stands between the parts of a key. Raises ValueError for any other."""
    if "/" in values.name(parameter, value):
        raise ValueError(f"{parameter} must be text without '/', not {value!r}")
    return value


class StepKind(IntEnum):
    """The three kinds, in the order in which a saga may have them."""

    COMPENSATABLE = 1
    PIVOT = 2
    RETRIABLE = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """The number of attempts that a command gets at most, and the delays between them."""

    attempts: int = 4
    backoff: Backoff = field(default_factory=partial(Backoff, initial=0.5, factor=2.0, max_delay=30.0))

    def __post_init__(self) -> None:
        values.count("attempts", self.attempts)


@dataclass(frozen=True)
class Step:
    """One local transaction of one participant, named by the type of the command that asks for it.

    `undo` is the type of the command that takes it back. `body(data, answers)`, a plain function, makes
    the command's body from the saga's data and the answers of earlier steps; by default it is the data.
    When that fails the step cannot begin, and the saga turns back, or is stuck. `timeout` is in seconds,
    for each attempt. With `ask`, recovery first asks the participant what became of a command, and
    repeats it only when it does not know.
    """

    name: str
    command: str
    _: KW_ONLY
    undo: str | None = None
    kind: StepKind = StepKind.COMPENSATABLE
    timeout: float = 10.0
    retry: Retry | None = None
    body: Callable[[Any, Mapping[str, Any]], Any] | None = None
    ask: bool = False

    def __post_init__(self) -> None:
        key_part("a step's name", self.name)
        values.name(f"the command of step {self.name}", self.command)
        values.duration(f"the timeout of step {self.name}", self.timeout, zero=False, infinite=True)
        values.must_not_be_async(f"the body of step {self.name}", self.body)
        compensatable = self.kind is StepKind.COMPENSATABLE
        if compensatable and self.undo is None:
            raise ValueError(f"step {self.name} is compensatable: name the command that undoes it, undo=…")
        if not compensatable and self.undo is not None:
            raise ValueError(
                f"step {self.name} is {self.kind.name.lower()}: it is never undone; leave out {self.undo}"
            )


def pivot(name: str, command: str, **settings: Any) -> Step:
    """The point of no return: when it is done, the saga will complete."""
    return Step(name, command, kind=StepKind.PIVOT, **settings)


def retriable(name: str, command: str, **settings: Any) -> Step:
    """A step after the pivot: it cannot be refused, only delayed."""
    return Step(name, command, kind=StepKind.RETRIABLE, **settings)


class Parallel(tuple[Step, ...]):
    """Steps that run beside each other: `Parallel(step, step, …)`."""

    def __new__(cls, *steps: Step) -> Parallel:
        return super().__new__(cls, steps)


@dataclass(frozen=True)
class Saga:
    """A definition: the stages in their order. Raises ValueError for an order that cannot be kept.

    `timeout`, in seconds from the start, makes it turn back; it has no power once the pivot is begun,
    or a retriable step.
    """

    name: str
    steps: Sequence[Step | Parallel]
    _: KW_ONLY
    timeout: float = math.inf
    retry: Retry = field(default_factory=Retry)  #: for steps that do not say otherwise
    undo_retry: Retry = field(default_factory=partial(Retry, attempts=8))
    parallel_compensation: bool = False  #: all at once, instead of one by one in reverse
    stages: tuple[tuple[Step, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        values.name("a saga's name", self.name)
        stages = tuple((stage,) if isinstance(stage, Step) else tuple(stage) for stage in self.steps)
        object.__setattr__(self, "stages", stages)
        if not all(stages) or not stages:
            raise ValueError(f"saga {self.name} needs at least one step, and so does each Parallel")
        values.duration(f"the timeout of saga {self.name}", self.timeout, zero=False, infinite=True)
        self._check_names()
        self._check_order()

    def __iter__(self) -> Iterator[Step]:
        return (step for stage in self.stages for step in stage)

    def step(self, name: str) -> Step:
        """The step with that name. Raises LookupError."""
        for step in self:
            if step.name == name:
                return step
        raise LookupError(
            f"saga {self.name} has no step {name!r}, which its log speaks of; recover it with the "
            f"definition that began it. This one has: {', '.join(step.name for step in self)}"
        )

    def _check_names(self) -> None:
        seen: set[str] = set()
        for step in self:
            if step.name in seen:
                raise ValueError(f"saga {self.name} has two steps named {step.name}; one name, one step")
            seen.add(step.name)

    def _check_order(self) -> None:
        """Compensatable, then at most one pivot, then retriable."""
        before: Step | None = None
        for stage in self.stages:
            kinds = {step.kind for step in stage}
            if len(stage) > 1 and (len(kinds) > 1 or StepKind.PIVOT in kinds):
                raise ValueError(f"saga {self.name}: steps in parallel must be of one kind, and no pivot")
            step = stage[0]
            if before is not None and step.kind is before.kind is StepKind.PIVOT:
                raise ValueError(f"saga {self.name} has two pivots, {before.name} and {step.name}; keep one")
            if before is not None and step.kind < before.kind:
                raise ValueError(
                    f"saga {self.name}: {step.name} is {step.kind.name.lower()} and comes after "
                    f"{before.name}, which is {before.kind.name.lower()}; "
                    "the order is compensatable, pivot, retriable"
                )
            before = step
