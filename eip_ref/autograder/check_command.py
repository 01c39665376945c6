"""The command `eip check`: one notebook, graded as the teacher will.

All that is done with it is done in a child, which is ended when it does not come back.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from . import registry
from .course import own
from .marks import Mark, Marks, next_step
from .registry import Lesson

if TYPE_CHECKING:
    from .grading.jobs import Job

__all__ = ["WORDS", "add_arguments", "run"]

WORDS = "Grade one notebook as the teacher will, with seeds that nobody has seen."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `eip check` takes."""
    parser.add_argument("notebook", type=Path, help="such as exercises/02b_acks_and_leases.ipynb")
    lesson = "the lesson of a notebook that does not tell its own, such as acks_and_leases"
    parser.add_argument("--lesson", default="", help=lesson)
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="also write the marks as Gradescope's results.json"
    )


def run(options: argparse.Namespace) -> int:
    """Grade, print the marks, and return the exit code: 0 when every exercise has passed."""
    from .grading import jobs  # what learners' other commands do without
    from .grading.safe_files import NotRead, read
    from .grading.workers import Failed, in_a_child

    notebook = own(options.notebook)
    if notebook != options.notebook:
        print(f"Graded is your copy, {notebook}.")
    try:
        data = read(Path(os.path.realpath(notebook)))  # a link of one's own is followed
        about = notebook.name, data, options.lesson
        lesson, seconds = in_a_child(_lesson_and_seconds, about, jobs.OF_A_JOB)
        job = jobs.Job(data, lesson, secrets.token_bytes(32))
        passed, said, results = in_a_child(_checked, job, seconds)
    except (NotRead, Failed) as error:
        print(f"eip check: {options.notebook}: {error}", file=sys.stderr)
        return 1
    print(said)
    if options.results:
        options.results.write_text(results, encoding="utf-8")
    return 0 if passed else 1


def _lesson_and_seconds(about: tuple[str, bytes, str]) -> tuple[str, float]:
    """The lesson of a notebook, by its file's name, its bytes, and the name that was told; and its time.

    What its answers need is begun.
    """
    from .grading import jobs
    from .isolation.sandbox import best_isolation

    name, data, told = about
    lesson = told or _lesson(Path(name), data)
    jobs.begin([lesson], best_isolation())
    return lesson, jobs.seconds(jobs.Job(data, lesson, b""))


def _checked(job: Job) -> tuple[bool, str, str]:
    """True when every exercise has passed; the marks as text, and as Gradescope's JSON."""
    from .grading import jobs
    from .grading.class_record import Graded
    from .grading.gradescope import gradescope

    lesson, marks = registry.lesson(job.lesson), Marks.from_json(jobs.grade(job))
    passed = all(mark.passed for mark in marks.marks)
    return passed, report(marks, lesson), gradescope(Graded("", marks), lesson)


def report(marks: Marks, lesson: Lesson) -> str:
    """The marks of a notebook as text."""
    titles = {exercise.name: exercise.title for exercise in lesson.exercises}
    parts = [_line(mark, titles[mark.exercise]) for mark in marks.marks]
    total = f"{lesson.label} {lesson.title}: {marks.points} of {marks.most} points."
    return "\n".join([*parts, *marks.notes, total, f"Sandbox: {marks.isolation}."])


def _line(mark: Mark, title: str) -> str:
    if mark.passed:
        return f"✓ {mark.points}/{mark.most}  {title}"
    if mark.mistake == "not-started":
        return f"– 0/{mark.most}  {title}: not started"
    said = "\n".join(
        filter(
            None,
            (
                *map(str, mark.parts),
                mark.seen,
                f"Looks like: {mark.title}. {mark.explanation}",
                f"Next: {next_step(mark)}",
            ),
        )
    )
    return f"✗ {mark.points}/{mark.most}  {title}\n{indent(said, '       ')}"


def _lesson(notebook: Path, data: bytes) -> str:
    """The module of the lesson that a notebook's name or exercises tell. Raises `UnknownExercise`."""
    from .grading.lesson_detection import mentioned, named

    known = registry.outlines()
    module = named(notebook.stem, known) or mentioned(data, known)
    if not module:
        names = ", ".join(each.module for each in known)
        raise registry.UnknownExercise(
            f"{notebook.name!r} does not tell its lesson; say it with --lesson: {names}"
        )
    return module
