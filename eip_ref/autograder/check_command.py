"""The command `eip check`: one notebook, graded as the teacher will."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from textwrap import indent

from . import registry
from .course import own, reason
from .marks import Mark, Marks, next_step
from .registry import Lesson

__all__ = ["WORDS", "add_arguments", "run"]

WORDS = "Grade one notebook as the teacher will, with seeds that nobody has seen."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `eip check` takes."""
    parser.add_argument("notebook", type=Path, help="such as exercises/02b_acks_and_leases.ipynb")
    parser.add_argument(
        "--lesson", default="", help="its lesson, when it does not tell, such as acks_and_leases"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="also write the marks as Gradescope's results.json"
    )


def run(options: argparse.Namespace) -> int:
    """Grade, print the marks, and return the exit code: 0 when every exercise has passed."""
    from .isolation.isolated import SandboxFailed, grade_notebook  # what learners' other commands do without
    from .isolation.sandbox import best_isolation

    notebook = own(options.notebook)
    if notebook != options.notebook:
        print(f"Graded is your copy, {notebook}.")
    try:
        data = notebook.read_bytes()
        lesson = registry.lesson(options.lesson) if options.lesson else _lesson(notebook, data)
        marks = grade_notebook(data, lesson, secret=secrets.token_bytes(32), isolation=best_isolation())
    except FileNotFoundError:
        print(f"eip check: there is no file {options.notebook}", file=sys.stderr)
        return 1
    except (OSError, SandboxFailed) as error:
        print(f"eip check: {reason(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    print(report(marks, lesson))
    if options.results:
        _write(marks, lesson, options.results)
    return 0 if all(mark.passed for mark in marks.marks) else 1


def report(marks: Marks, lesson: Lesson) -> str:
    """The marks of a notebook as text."""
    titles = {exercise.name: exercise.title for exercise in lesson.exercises}
    parts = [_line(mark, titles[mark.exercise]) for mark in marks.marks]
    total = f"{lesson.label} {lesson.title}: {marks.points} of {marks.most} points."
    return "\n".join([*parts, *marks.notes, total, f"Answers ran in: {marks.isolation}."])


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


def _lesson(notebook: Path, data: bytes) -> Lesson:
    """The lesson that a notebook's name or exercises tell. Raises `UnknownExercise`."""
    from .grading.lesson_detection import mentioned, named

    known = registry.lessons()
    module = named(notebook.stem, known) or mentioned(data, known)
    if not module:
        names = ", ".join(each.module for each in known)
        raise registry.UnknownExercise(
            f"{notebook.name!r} does not tell its lesson; say it with --lesson: {names}"
        )
    return registry.lesson(module)


def _write(marks: Marks, lesson: Lesson, path: Path) -> None:
    from .grading.class_record import Graded
    from .grading.gradescope import gradescope

    path.write_text(gradescope(Graded("", marks), lesson), encoding="utf-8")
