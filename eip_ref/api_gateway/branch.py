"""A branch: one field of a composed answer, and the call that it comes from."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Any

from .errors import NeedFailed, Skipped

__all__ = ["Ask", "Branch", "WhenMissing", "check_branches"]


class WhenMissing(StrEnum):
    """What becomes of a branch when one that it needs has no value. It is not asked in either case."""

    SKIP = "skip"  #: left out; the error of the one that it needs says why
    FAIL = "fail"  #: failed, with all that follows when it is required


@dataclass(frozen=True, slots=True)
class Ask:
    """What a branch is asked."""

    given: Any  #: what the fan-out was called with
    got: Mapping[str, Any]  #: the values of the branches that it needs
    until: float  #: on anyio's clock: after this nobody waits for its answer


@dataclass(frozen=True, slots=True)
class Branch:
    """One field: `call(ask)` brings its value, in at most `timeout` seconds.

    Without a `required` branch there is no answer; without another there is a partial one. `needs`
    names branches whose values it is called with, so that it is asked after them.
    """

    name: str
    call: Callable[[Ask], Awaitable[Any]]
    required: bool = False
    timeout: float = math.inf
    needs: Sequence[str] = ()
    when_missing: WhenMissing | None = None  #: by default a required one fails, another is skipped

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"branch {self.name} must have more than 0 seconds, not {self.timeout:g}")
        if isinstance(self.needs, str):
            raise ValueError(f"branch {self.name} needs a list of names; write needs=[{self.needs!r}]")
        if self.required and self.when_missing is WhenMissing.SKIP:
            raise ValueError(f"branch {self.name} is required, so it cannot be skipped; let it fail")

    def without(self, need: str) -> NeedFailed:
        """The error of this branch when the one named `need` has no value."""
        fails = self.required or self.when_missing is WhenMissing.FAIL
        return (NeedFailed if fails else Skipped)(self.name, need)


def check_branches(branches: Sequence[Branch], within: float) -> None:
    """Raise ValueError unless the names differ, the needs can be met, and each can time out in time."""
    names = [branch.name for branch in branches]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a fan-out needs branches with different names, not {names}")
    for branch in branches:
        if unknown := set(branch.needs) - set(names):
            raise ValueError(f"branch {branch.name} needs {sorted(unknown)}, and there is no such branch")
        if within < branch.timeout < math.inf:
            raise ValueError(
                f"branch {branch.name} has {branch.timeout:g} s, but the answer must be ready to be put "
                f"together after {within:g} s: give the branch less or the fan-out more"
            )
    try:
        TopologicalSorter({branch.name: branch.needs for branch in branches}).prepare()
    except CycleError as error:
        raise ValueError(f"these branches wait for each other: {' → '.join(error.args[1])}") from None
