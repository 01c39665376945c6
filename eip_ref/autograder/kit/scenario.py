"""The parts of a scenario: participants that work, stop and die, and facts that only it can write.

A scenario is an `async` function of the learner's answer and a seed. What changes from run to run is drawn
from the seed, so that an answer written for one run fails in another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import anyio
import anyio.lowlevel

from ...lab.clock import current_seed, simulate
from ...lab.crash import Life
from ...lab.faults import Crash, Participant
from ...message import Message
from ...trace import Event, Kind, Trace, acting, record, whoami
from ..exercise import Run, Vacuous
from .journeys import FACTS, Symptom, receipt

__all__ = [
    "Answer",
    "as_program",
    "cases",
    "die",
    "die_soon",
    "happens",
    "mortal",
    "participants",
    "play",
    "write_down",
]

Answer = Any  #: what the learner wrote, of which nothing is known but its form
T = TypeVar("T")
Case = TypeVar("Case")

NOT_BY_ITSELF = 10**9  #: a step that no life reaches: it ends only when `die` is called
RESTART = 1.0  #: seconds
MAX_TIME = 24 * 3600.0  #: seconds of virtual time


# Runs


def play(scenario: Callable[[Answer, int], Awaitable[object]], *, max_events: int = 20_000) -> Run:
    """Make a `run` of `async scenario(answer, seed)`: it is simulated, within bounds for an exercise."""

    def run(answer: object, seed: int) -> Trace:
        return simulate(scenario, answer, seed, seed=seed, max_events=max_events, max_time=MAX_TIME)

    return run


def cases(
    scenario: Callable[[Answer, Case, int], Awaitable[object]],
    all_cases: Callable[[int], Iterable[Case]],
    judge: Callable[[Trace], Iterable[Symptom]] | None,
    *,
    max_events: int = 20_000,
) -> Run:
    """Make a `run` of one `async scenario(answer, case, seed)` for each of `all_cases(seed)`.

    Each has a simulation of its own. The trace is that of the first case in which `judge` sees something,
    so that its picture shows it alone; else of all, one after the other. Without a `judge` it is always of
    all, so that several mistakes are seen at once: then no two cases have a message id in common.
    """

    def run(answer: object, seed: int) -> Trace:
        events: list[Event] = []
        for case in all_cases(seed):
            trace = simulate(scenario, answer, case, seed, seed=seed, max_events=max_events)
            if judge is not None and _shows_something(judge, trace):
                return trace
            start = events[-1].at if events else 0.0
            events += [event._replace(at=start + event.at) for event in trace]
        return Trace(events, seed=seed)

    return run


def _shows_something(judge: Callable[[Trace], Iterable[Symptom]], trace: Trace) -> bool:
    try:
        return any(True for _ in judge(trace))
    except Vacuous:
        return True


# Participants


class Start(Protocol):
    """Start `main(*args)` as a participant, in a process that may die so often and start again."""

    def __call__(
        self, name: str, main: Callable[..., Awaitable[object]], *args: Any, deaths: int = 0
    ) -> None: ...


@asynccontextmanager
async def participants(*, wait: bool = False) -> AsyncIterator[Start]:
    """Let participants work beside the block: `start("worker-1", work, queue)`.

    Who is still at work when the block ends is stopped, or waited for.
    """
    async with anyio.create_task_group() as group:

        def start(name: str, main: Callable[..., Awaitable[object]], *args: Any, deaths: int = 0) -> None:
            async def run() -> None:
                await main(*args)

            with acting(name):
                group.start_soon(mortal(name, run, deaths=deaths).run if deaths else run, name=name)

        yield start
        if not wait:
            group.cancel_scope.cancel()


def mortal(name: str, main: Callable[..., Awaitable[object]], *args: Any, deaths: int = 4) -> Participant:
    """A participant that dies where the scenario calls `die`, and starts again a second later."""
    crashes = tuple(Crash(step=NOT_BY_ITSELF, restart_after=RESTART) for _ in range(deaths))
    return Participant(name, main, args, crashes)


async def die() -> None:
    """The process that runs this dies here and now: nothing of it runs on."""
    die_soon()
    await anyio.lowlevel.checkpoint()


def die_soon() -> None:
    """The process that runs this dies at its next await."""
    life = Life.current()
    if life is None:
        raise RuntimeError("only a participant that was made by mortal() can die")
    life.end()


async def as_program(main: Callable[[], Awaitable[T]]) -> tuple[T, float, int]:
    """Run `main` as a program of its own, whose end cancels the tasks that it leaves behind.

    Returns what it returned, when, and how many tasks there were.
    """
    await anyio.lowlevel.checkpoint()  # what others have started has begun
    before = asyncio.all_tasks()
    result, ended = await main(), anyio.current_time()
    left_behind = sorted(asyncio.all_tasks() - before, key=hash)
    for task in left_behind:
        task.cancel()
    await asyncio.gather(*left_behind, return_exceptions=True)
    return result, ended, len(left_behind)


# Facts


def happens(message: Message, effect: str) -> None:
    """The message has its effect in the world, now, by the participant that acts here.

    It counts only with its receipt, so an answer gains nothing by recording effects of its own.
    """
    number = receipt(current_seed(), message.id, effect)
    record(Kind.EFFECT, whoami(), message.id, effect=effect, receipt=number)


def write_down(**facts: Any) -> None:
    """Write down what the scenario knows, for the judge. It must be the last thing that it does."""
    record(Kind.NOTE, FACTS, who="", text="the day is over", **facts)
