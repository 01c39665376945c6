"""A grader for tests of what surrounds grading: quick, without a sandbox, for answers of our own alone."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from typing import Any

from eip_ref.autograder import registry, workbook
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.grading.jobs import Drawing, Job
from eip_ref.autograder.judging import judge_answer
from eip_ref.autograder.marks import Mark, Marks

__all__ = ["draw_or_hang", "grade", "grade_or_die", "grade_or_hang"]


def grade(job: Job) -> str:
    """The marks of a notebook by the seeds of its own checks; who sends no JSON has no answers."""
    lesson = registry.lesson(job.lesson)
    marks = tuple(_mark(exercise, _answer(job.data, exercise)) for exercise in lesson.exercises)
    return Marks(lesson.module, marks, isolation="none at all", seconds={marks[0].exercise: 0.25}).to_json()


def grade_or_die(job: Job) -> str:
    """The same, but a notebook that says "die" ends the process that grades it."""
    if b"die, grader" in job.data:
        os._exit(1)
    return grade(job)


def grade_or_hang(job: Job) -> str:
    """Marks of wrong answers, the first one's trace is the notebook; "hang in reading" hangs."""
    if b"hang in reading" in job.data:
        threading.Event().wait()
    exercises = registry.exercises(job.lesson)
    marks = [Mark(each.name, 0, each.points, "wrong", "Wrong") for each in exercises]
    marks[0] = replace(marks[0], trace=job.data.decode())
    return Marks(job.lesson, tuple(marks)).to_json()


def draw_or_hang(drawing: Drawing) -> str:
    """An empty picture; one that says "hang in drawing" is never drawn."""
    if "hang in drawing" in drawing.trace:
        threading.Event().wait()
    return '{"svg": "", "alt": ""}'


def _answer(data: bytes, exercise: Exercise) -> Any:
    try:
        notebook = json.loads(data)
    except ValueError:
        return None
    cells = [cell["source"] for cell in workbook.answer_cells(notebook, exercise)]
    imports = next(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    names: dict[str, Any] = {"__name__": "the_notebook"}
    exec("\n\n".join([imports, *cells]), names)
    return names.get(exercise.answer)


def _mark(exercise: Exercise, answer: Any) -> Mark:
    if answer is None:
        return Mark(exercise.name, 0, exercise.points, "not-found", "The answer was not found")
    verdict = judge_answer(exercise, answer)
    return verdict.mark if verdict.trace.messages() else replace(verdict.mark, trace="")
