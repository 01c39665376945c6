"""Seeded fault runs: one pattern, many seeds, every invariant.

Each module here, named as its pattern, has a list `RUNS`. `test_seeded.py` plays 200 seeds of
each in `make test`; `python -m tests.seeded --seeds 10000` plays as many as you like and prints the
smallest failing seed with its trace.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from eip_ref.trace import Trace

__all__ = [
    "Failure",
    "Outcome",
    "ProvesNothing",
    "SeededRun",
    "every_run",
    "once",
    "play",
    "proves_something",
    "wrong",
]


class ProvesNothing(Exception):
    """A run in which nothing went wrong that could have shown a mistake."""


def proves_something(found: object, otherwise: str) -> None:
    """Raise `ProvesNothing` unless what a judgement rests on has happened."""
    if not found:
        raise ProvesNothing(otherwise)


@dataclass(frozen=True)
class SeededRun:
    """A scenario with faults drawn from a seed, and what must hold whatever they were.

    `play(seed)` returns the trace of one run, and the same trace whenever the seed is the same.
    `judge(trace)` returns what is wrong, in words or as findings: nothing for a good run. It raises
    `ProvesNothing` for a run in which no fault hit; few seeds may do so.
    """

    name: str
    play: Callable[[int], Trace]
    judge: Callable[[Trace], Sequence[object]]


def every_run() -> dict[str, SeededRun]:
    """All runs, by pattern and name: "saga/a crash at any moment"."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    modules = [name for name in names if not name.startswith(("_", "test_"))]
    return {
        f"{module}/{run.name}": run
        for module in modules
        for run in importlib.import_module(f"{__name__}.{module}").RUNS
    }


@dataclass(frozen=True)
class Failure:
    """A seed that did not go well, and what was wrong with it, in words."""

    run: str
    seed: int
    words: tuple[str, ...]


def play(name: str, seeds: range) -> Failure | None:
    """Play a run with these seeds; the first that fails, or None."""
    run = every_run()[name]
    for seed in seeds:
        words = wrong(run, seed)
        if words:
            return Failure(name, seed, tuple(words))
    return None


class Outcome(NamedTuple):
    """One seed, played and judged."""

    words: list[str]  #: what is wrong with it
    kinds: Counter[str]  #: the events of its trace
    idle: bool = False  #: true when it proves nothing


def wrong(run: SeededRun, seed: int) -> list[str]:
    """What is wrong with one seed, in words."""
    return _outcome(run, seed).words


@cache
def once(name: str, seed: int) -> Outcome:
    """The outcome of a seed, which is played once, however many tests ask."""
    return _outcome(every_run()[name], seed)


def _outcome(run: SeededRun, seed: int) -> Outcome:
    kinds = Counter[str]()
    try:
        trace = run.play(seed)
        kinds.update(str(event.kind) for event in trace)
        return Outcome([str(found) for found in run.judge(trace)], kinds)
    except ProvesNothing:
        return Outcome([], kinds, idle=True)
    except Exception as error:  # a deadlock, a runaway, an error that nobody handled
        return Outcome([f"{type(error).__name__}: {error}"], kinds)
