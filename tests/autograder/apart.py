"""Answers in processes of their own, for tests."""

from __future__ import annotations

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.isolation.sandbox import PYTHON, environment
from eip_ref.autograder.isolation.starter import rooms
from eip_ref.autograder.judging import run_apart
from eip_ref.autograder.process.answer import Answer, Cell
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.process.wire import Budget
from eip_ref.trace import Trace

__all__ = ["LIMITS_ALONE", "PATIENT", "answer", "starter", "trace"]

PATIENT = 300.0  #: seconds of real time for one run, on a machine that others use too
LIMITS_ALONE = (
    "import os, runpy, sys; del os.O_PATH; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""The beginning of a zygote, after `-c`, that plays a system which gives no namespaces."""


def starter() -> Zygote:
    """A process that starts others and has loaded the course."""
    return Zygote(PYTHON, environment("/tmp"), rooms(None))


def answer(exercise: Exercise, *sources: str, by: Zygote) -> Answer:
    """The answer of these cells."""
    cells: list[Cell] = [(f"<cell {number}>", source) for number, source in enumerate(sources, 1)]
    return Answer(exercise, cells, by)


def trace(exercise: Exercise, source: str, seed: int, *, by: Zygote, wall: float = PATIENT) -> Trace:
    """The trace of one run of a cell."""
    return Trace.from_json(run_apart(exercise, answer(exercise, source, by=by), seed, Budget(wall)))
