"""Fan-out: ask several backends at the same time, and compose one answer out of what comes in time.

This is Scatter-Gather for one request. Its latency is the longest of its branches, not their sum.
"""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.abc

from ..trace import Kind, acting, record, whoami
from .answer import Answer, FieldError
from .branch import Ask, Branch, check_branches
from .errors import AllFailed, RequiredFailed, TimedOut
from .spans import in_time, part_of, span

__all__ = ["FanOut"]


class FanOut:
    """Asks its branches and answers within `timeout` seconds, and `reserve` before a deadline around it.

    Deadlines shrink hop by hop: branches have until `reserve` seconds before the answer is due. What is
    left over then is cancelled and awaited, so nothing runs on after the answer. At most `at_most`
    branches run at a time; others wait for their turn.
    """

    def __init__(
        self,
        *branches: Branch,
        name: str = "fan-out",
        timeout: float = math.inf,
        reserve: float = 0.05,
        at_most: int = 16,
    ) -> None:
        if not 0 < reserve < timeout:
            raise ValueError(
                f"the reserve must be more than 0 s and less than the timeout of {timeout:g} s, "
                f"not {reserve:g}: it is the time to cancel what is left and to put the answer together"
            )
        if at_most < 1:
            raise ValueError(f"at least 1 branch must run at a time, not {at_most}")
        check_branches(branches, timeout - reserve)
        self.name = name
        self.branches = branches
        self._timeout = timeout
        self._reserve = reserve
        self._at_most = at_most

    async def __call__(self, given: Any = None) -> Answer:
        """The answer to `given`, partial when an optional branch has no value.

        Raises `RequiredFailed` as soon as a required branch has none, `AllFailed` when no branch has
        one, `TimedOut` when there is no time to ask, and ValueError when nothing says how long it may take.
        """
        around = anyio.current_effective_deadline() - self._reserve
        until = min(anyio.current_time() + self._timeout, around)
        if until == math.inf:
            raise ValueError(f"{self.name} needs a timeout, or a deadline around it, or it may wait for ever")
        identity = part_of(self.name)
        names = [branch.name for branch in self.branches]
        with acting(whoami() or self.name), span(self.name, identity, until=until, branches=names):
            if anyio.current_time() >= until - self._reserve:
                raise TimedOut(f"{self.name} has no time left to ask anybody")
            run = _Run(self.branches, identity, given, until - self._reserve, self._at_most)
            return await run.answer()


class _Run:
    """One fan-out under way."""

    def __init__(
        self, branches: tuple[Branch, ...], identity: str, given: Any, until: float, at_most: int
    ) -> None:
        self._branches = branches
        self._identity = identity
        self._given = given
        self._until = until
        self._turns = anyio.Semaphore(at_most, fast_acquire=True)
        self._settled = {branch.name: anyio.Event() for branch in branches}
        self._values: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}
        self._fatal: tuple[str, Exception] | None = None  # the first failure of a required branch

    async def answer(self) -> Answer:
        async with anyio.create_task_group() as group:  # its end awaits every branch, cancelled or not
            for branch in self._branches:
                group.start_soon(self._settle, branch, group.cancel_scope, name=branch.name)
        return self._merged()

    async def _settle(self, branch: Branch, siblings: anyio.CancelScope) -> None:
        """Give the branch a value or an error; only a required one takes its siblings with it."""
        try:
            for need in branch.needs:
                await self._settled[need].wait()
            self._values[branch.name] = await self._value(branch)
        except Exception as error:
            self._errors[branch.name] = error
            if branch.required and self._fatal is None:
                self._fatal = branch.name, error
                siblings.cancel()
        self._settled[branch.name].set()

    async def _value(self, branch: Branch) -> Any:
        identity = f"{self._identity}.{branch.name}"
        if missing := [need for need in branch.needs if need in self._errors]:
            error = branch.without(missing[0])
            record(Kind.REFUSED, branch.name, identity, reason=error.code, needs=missing[0])
            raise error
        until = min(anyio.current_time() + branch.timeout, self._until)
        with (
            span(branch.name, identity, required=branch.required, until=until),
            in_time(until, f"{branch.name} did not answer in time"),
        ):
            async with self._turns:
                got = {need: self._values[need] for need in branch.needs}
                return await branch.call(Ask(self._given, got, until))

    def _merged(self) -> Answer:
        """The same answer whichever branch was first: all in the order of declaration."""
        if self._fatal is not None:
            raise RequiredFailed(*self._fatal) from self._fatal[1]
        names = [branch.name for branch in self._branches]
        errors = {name: self._errors[name] for name in names if name in self._errors}
        if not self._values:
            raise AllFailed(errors) from errors[names[0]]
        values = {name: self._values[name] for name in names if name in self._values}
        return Answer(values, {name: FieldError.of(error) for name, error in errors.items()})
