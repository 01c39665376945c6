"""Fan-out: ask several backends at the same time, and compose one answer out of what comes in time.

This is Scatter-Gather for one request. Its latency is the longest of its branches, not their sum.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from .. import values
from ..trace import Kind, acting, record, whoami
from .errors import AllFailed, GatewayTimeout, NeedFailed, RequiredFailed, Skipped, log_failure, public_error
from .spans import in_time, part_of, span

# What is asked


@dataclass(frozen=True, slots=True)
class BranchInput:
    """The input of one branch."""

    request: Any  #: what the fan-out was called with
    results: Mapping[str, Any]  #: the values of the branches that it needs
    until: float  #: on anyio's clock: after this nobody waits for its answer


@dataclass(frozen=True, slots=True)
class Branch:
    """One field: `call(ask)` brings its value, in at most `timeout` seconds.

    Without a `required` branch there is no answer; without another there is a partial one. `needs`
    names branches whose values it is called with, so that it is asked after them. When one of them has
    no value it is not asked: it is skipped, and that one's error says why, or it fails where
    `fails_without` says so, or it is required.
    """

    name: str
    call: Callable[[BranchInput], Awaitable[Any] | Any]
    required: bool = False
    timeout: float = math.inf
    needs: Sequence[str] = ()
    fails_without: bool = False

    def __post_init__(self) -> None:
        values.name("the name of a branch", self.name)
        values.duration(f"the timeout of branch {self.name}", self.timeout, zero=False, infinite=True)
        if isinstance(self.needs, str):
            raise ValueError(f"branch {self.name} needs a list of names; write needs=[{self.needs!r}]")
        if self.fails_without and not self.needs:
            raise ValueError(f"branch {self.name}: fails_without is about the branches that it needs")


def check_branches(branches: Sequence[Branch], timeout: float) -> None:
    """Raise ValueError unless the names differ, the needs can be met, and each can time out in time."""
    names = [branch.name for branch in branches]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a fan-out needs branches with different names, not {names}")
    for branch in branches:
        if unknown := set(branch.needs) - set(names):
            raise ValueError(f"branch {branch.name} needs {sorted(unknown)}, and there is no such branch")
        if timeout < branch.timeout < math.inf:
            raise ValueError(
                f"branch {branch.name} has {branch.timeout:g} s, but the answer must be ready to be put "
                f"together after {timeout:g} s: give the branch less or the fan-out more"
            )
    try:
        TopologicalSorter({branch.name: branch.needs for branch in branches}).prepare()
    except CycleError as error:
        raise ValueError(f"these branches wait for each other: {' → '.join(error.args[1])}") from None


# What is answered


@dataclass(frozen=True, slots=True)
class FieldError:
    """The reason why a field is missing: a code for programs, never the words of an exception."""

    code: str
    because: str | None = None  #: the field without which this one could not be asked for


@dataclass(frozen=True, slots=True)
class ComposedAnswer:
    """The values of the branches that answered, in the order in which the branches were declared.

    A field is either in `data` or in `errors`, never in both and never silently null.
    """

    data: Mapping[str, Any]
    errors: Mapping[str, FieldError] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """True when every branch answered."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        errors = {name: {k: v for k, v in asdict(error).items() if v} for name, error in self.errors.items()}
        return {"data": dict(self.data), "complete": self.complete, "errors": errors}


# Asking


class FanOut:
    """Asks its branches and answers within `timeout` seconds, and `reserve` before a deadline around it.

    Deadlines shrink hop by hop: branches have until `reserve` seconds before the answer is due. What is
    left over then is cancelled and awaited, so nothing runs on after the answer. At most
    `max_concurrent` branches run at a time; others wait for their turn.
    """

    def __init__(
        self,
        *branches: Branch,
        name: str = "fan-out",
        timeout: float = math.inf,
        reserve: float = 0.05,
        max_concurrent: int = 16,
    ) -> None:
        values.duration("timeout", timeout, zero=False, infinite=True)
        if not values.duration("the reserve", reserve, zero=False) < timeout:
            raise ValueError(
                f"the reserve must be less than the timeout of {timeout:g} s, not {reserve:g}: it is the "
                "time to cancel what is left and to put the answer together"
            )
        check_branches(branches, timeout - reserve)
        self.name = values.name("name", name)
        self.branches = branches
        self._timeout = timeout
        self._reserve = reserve
        self.max_concurrent = values.count("max_concurrent", max_concurrent)

    async def __call__(self, request: Any = None) -> ComposedAnswer:
        """The answer to `request`, partial when an optional branch has no value.

        Raises `RequiredFailed` as soon as a required branch has none, `AllFailed` when no branch has
        one, `GatewayTimeout` when there is no time to ask, and ValueError when nothing says how long it
        may take.
        """
        await anyio.lowlevel.checkpoint()
        around = anyio.current_effective_deadline() - self._reserve
        until = min(anyio.current_time() + self._timeout, around)
        if until == math.inf:
            raise ValueError(f"{self.name} needs a timeout, or a deadline around it, or it may wait for ever")
        identity = part_of(self.name)
        names = [branch.name for branch in self.branches]
        with acting(whoami() or self.name), span(self.name, identity, until=until, branches=names):
            if anyio.current_time() >= until - self._reserve:
                raise GatewayTimeout(f"{self.name} has no time left to ask anybody")
            return await _Run(self, identity, request, until - self._reserve).answer()


class _Run:
    """One fan-out under way."""

    def __init__(self, view: FanOut, identity: str, request: Any, until: float) -> None:
        self._branches = view.branches
        self._identity = identity
        self._request = request
        self._until = until
        self._turns = anyio.Semaphore(view.max_concurrent, fast_acquire=True)
        self._settled = {branch.name: anyio.Event() for branch in view.branches}
        self._values: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}
        self._fatal: tuple[str, Exception] | None = None  # the first failure of a required branch

    async def answer(self) -> ComposedAnswer:
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
            else:
                log_failure(f"the branch {branch.name} of {self._identity}", error)
        self._settled[branch.name].set()

    async def _value(self, branch: Branch) -> Any:
        identity = f"{self._identity}.{branch.name}"
        if missing := [need for need in branch.needs if need in self._errors]:
            fails = branch.required or branch.fails_without
            error = (NeedFailed if fails else Skipped)(branch.name, missing[0])
            record(Kind.REFUSED, branch.name, identity, reason=error.code, needs=missing[0])
            raise error
        until = min(anyio.current_time() + branch.timeout, self._until)
        with (
            span(branch.name, identity, required=branch.required, until=until),
            in_time(until, f"{branch.name} did not answer in time"),
        ):
            async with self._turns:
                got = {need: self._values[need] for need in branch.needs}
                return await values.finished(branch.call(BranchInput(self._request, got, until)))

    def _merged(self) -> ComposedAnswer:
        """The same answer whichever branch was first: all in the order of declaration."""
        if self._fatal is not None:
            raise RequiredFailed(*self._fatal) from self._fatal[1]
        names = [branch.name for branch in self._branches]
        errors = {name: self._errors[name] for name in names if name in self._errors}
        if not self._values:
            raise AllFailed(errors) from errors[names[0]]
        values = {name: self._values[name] for name in names if name in self._values}
        told = {name: public_error(error) for name, error in errors.items()}
        return ComposedAnswer(values, {name: FieldError(e.code, e.because) for name, e in told.items()})
