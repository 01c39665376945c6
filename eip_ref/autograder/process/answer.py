"""An answer as cells of text, which can be run as if it were the function or class that they define.

Each simulation gets a process of its own, and so does each life of a participant in it: what the answer keeps
in memory is gone when its process is killed. A process that was only asked for what returns at once, and so
has no tasks, serves the next simulation too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ...lab.crash import Life
from ...message_queue import MessageQueue
from ..exercise import Exercise
from .judge_side import Learner
from .start import NotStarted, Zygote
from .table import SHARING
from .values import Uncrossable
from .wire import Budget, Ended, misunderstood

__all__ = ["Answer", "Missing", "Problem"]

MADE_HERE = {"eip_ref.message_queue:MessageQueue": MessageQueue}  #: what a test makes, and the judge keeps
Cell = tuple[str, str]  #: the name of its file in tracebacks, and its text


class Problem(NamedTuple):
    """The problem of a cell that failed, as its process tells it."""

    kind: str  #: "syntax-error" or "cell-error"
    file: str  #: of the cell
    line: int | None
    words: str


class Missing(Exception):
    """The cells do not define the answer: the problems of those that failed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(each.words for each in problems) or "no cell defines it")
        self.problems = problems


class Answer:
    """The answer of one exercise, as cells. It is called as what the cells define would be."""

    def __init__(self, exercise: Exercise, cells: Sequence[Cell], zygote: Zygote) -> None:
        self._zygote, self._cells = zygote, [*cells]
        self._name, self._signature = exercise.answer, exercise.signature
        test = exercise.kind == "write the test"
        self._makes = MADE_HERE if test else {} if exercise.name in SHARING else None
        self._budget = Budget(0.0)  # until a run begins
        self._at_hand: list[tuple[Learner, Any]] = []
        self._of_run: tuple[Learner, Any] | None = None
        self._last: tuple[Learner, Any] | None = None  # of a simulation
        self._of: WeakKeyDictionary[Any, tuple[Learner, Any]] = WeakKeyDictionary()  # a life, or a loop
        self._alive: list[tuple[Any, Learner]] = []
        self._not_started: NotStarted | None = None

    def complaint(self) -> str | None:
        """The complaint about the answer's form, or None. Raises `Missing` and `Ended`."""
        learner, complaint, thing = self._start()
        if complaint is None:
            self._at_hand.append((learner, thing))
        return complaint

    def stub(self) -> Any:
        """A function that stands where the answer would stand in one process."""
        if self._signature.startswith("async def"):

            async def answer(*args: Any, **named: Any) -> Any:
                return await self._here()(*args, **named)
        else:

            def answer(*args: Any, **named: Any) -> Any:  # type: ignore[misc]
                return self._here()(*args, **named)

        answer.__name__, answer.__module__ = self._name, ""
        return answer

    def begin(self, budget: Budget) -> None:
        """A new run begins, within these bounds."""
        self._zygote.await_memory(budget.memory // 2)
        self._budget = budget
        budget.begin()

    def end(self) -> None:
        """End all processes. Raises `NotStarted` when one was not to be had, whatever the run made of it."""
        for _, learner in self._alive:
            learner.kill()
        self._alive.clear()
        self._at_hand.clear()
        self._of_run = self._last = None
        if self._not_started is not None:
            raise self._not_started

    def _here(self) -> Any:
        """The thing in the process of whoever calls: a life, a simulation, or the run itself."""
        loop, life = asyncio._get_running_loop(), Life.current()
        if loop is None:
            self._of_run = self._of_run or self._new()
            return self._of_run[1]
        place = life or loop
        if place not in self._of:
            self._of[place] = self._of_simulation() if life is None else self._new()
            if life is not None:
                self._of[place][0].die_with_this_life()
        return self._of[place][1]

    def _of_simulation(self) -> tuple[Learner, Any]:
        """A process for a simulation: that of the last one, if it is as new."""
        self._end_old_ones()
        if self._last is None or not self._last[0].is_as_new():
            self._last = self._new()
        return self._last

    def _end_old_ones(self) -> None:
        """End the processes of simulations that are over, but for the last: it may serve again."""
        for loop, learner in self._alive:
            if loop is not None and loop.is_closed() and not (self._last and learner is self._last[0]):
                learner.kill()
        self._alive = [each for each in self._alive if not each[1].over]

    def _new(self) -> tuple[Learner, Any]:
        if self._at_hand:
            return self._at_hand.pop()
        learner, complaint, thing = self._start()
        if complaint is not None:
            raise TypeError(complaint)
        return learner, thing

    def _start(self) -> tuple[Learner, str | None, Any]:
        self._budget.begin(self._zygote.holds_more)
        try:
            wire, kill = self._zygote.start(self._budget)
        except NotStarted as error:
            self._not_started = error
            raise Ended("died") from None
        learner = Learner(wire, self._budget, kill, self._makes)
        self._alive.append((asyncio._get_running_loop(), learner))
        makes = None if self._makes is None else [*self._makes]
        cells = [[*cell] for cell in self._cells]
        wire.send(["cells", cells, self._name, self._signature, makes])
        match said := wire.receive():
            case ["ready", None | str() as complaint, [kind, name, methods], int(number)]:
                with suppress(Uncrossable):
                    thing = None if complaint else learner.adopt(number, kind, name, methods)
                    return learner, complaint and complaint[:500], thing
            case ["missing", list(problems)]:
                raise Missing([*map(_problem, problems)])
        raise misunderstood(said)


def _problem(told: Any) -> Problem:
    match told:
        case [("syntax-error" | "cell-error") as kind, str(file), None | int() as line, str(words)]:
            return Problem(kind, file, line, words[:1000])
    raise misunderstood(told)
