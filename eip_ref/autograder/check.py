"""The calls of a learner's notebook: `check`, `hint`, `solution` and `reset`.

Each returns something to look at, so it belongs on the last line of a cell.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import apart, course, page
from .exercise import Exercise
from .progress import Fact, remember, so_far
from .registry import find, lesson_of
from .report import Report

__all__ = ["Note", "check", "hint", "reset", "solution"]


@dataclass(frozen=True)
class Note:
    """A short text under a title, with code below it when there is some."""

    title: str
    words: str
    code: str = ""

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        html = page.render("note.html", title=self.title, words=self.words, code=self.code)
        return {"text/plain": str(self), "text/html": html}

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.title, self.words, self.code)))

    __repr__ = __str__


def check(name: str, answer: object) -> Report | None:
    """Run and judge an answer, remember how it went, and return the report to be displayed.

    Raises `UnknownExercise` for a name that no exercise has, and `Mixture` in a copy that does not go with
    the package. Where nbgrader runs the notebook (it sets
    NBGRADER_EXECUTION) it returns nothing, since nbgrader takes what a cell shows for its points, and
    raises AssertionError with the report's text unless the answer passes.
    """
    course.refuse_mixture()
    exercise = find(name)
    verdict, remark = apart.judge(exercise, answer)
    if os.environ.get("NBGRADER_EXECUTION"):
        if not verdict.passed:
            raise AssertionError(str(Report(verdict, remark)))
        return None
    mistake = verdict.diagnosis.name if verdict.diagnosis else ""
    facts = [Fact("checked", name, {"mistake": mistake, "points": verdict.points})]
    facts += [Fact("passed", name, {"points": verdict.points})] if verdict.passed else []
    return Report(verdict, _lines(remark, remember(*facts)))


def hint(name: str) -> Note:
    """The next hint: a step further at each call. Raises `UnknownExercise`."""
    exercise = find(name)
    given = so_far().of(name).hints
    if given >= len(exercise.hints):
        words = f'That was all. `solution("{name}", show=True)` shows the model answer.'
        return Note(f"No more hints: {exercise.title}", f"{exercise.hints[-1]}\n{words}")
    unsaved = remember(Fact("hinted", name, {"step": given + 1}))
    title = f"Hint {given + 1} of {len(exercise.hints)}: {exercise.title}"
    return Note(title, _lines(exercise.hints[given], unsaved))


def solution(name: str, *, show: bool = False) -> Note:
    """The model answer, once yours has passed, or at once with `show=True`.

    Raises `UnknownExercise`, and `NoCourse` where the folder of the course is not found.
    """
    exercise = find(name)
    if not (show or so_far().of(name).passed or course.in_solutions()):
        words = f'Pass the check first, or ask outright: `solution("{name}", show=True)`.'
        return Note(f"Not yet: {exercise.title}", words)
    from . import workbook  # reading notebooks loads a second's worth of code

    code = workbook.solved(course.root(), _notebook(exercise), exercise)
    unsaved = remember(Fact("solution shown", name))
    return Note(f"Model answer: {exercise.title}", _lines(exercise.explanation, unsaved), code)


def reset(name: str) -> Note:
    """Put the stub back into the exercise's cells of your copy and count it as not begun.

    The notebook as it was is kept beside the progress, in `.eip/backups/`. Raises `UnknownExercise`,
    `NoCourse` where the folder of the course is not found, and FileNotFoundError where there is no copy.
    """
    exercise = find(name)
    from . import workbook

    mine = course.my() / "exercises" / _notebook(exercise)
    backup = workbook.reset(course.root(), mine, course.backups(), exercise)
    unsaved = remember(Fact("reset", name))
    words = (
        f"`{exercise.answer}` is as it was in the beginning. The notebook as you had saved it is kept in "
        f"`.eip/backups/{backup.name}`. If the notebook is open, load it again without saving: "
        "in JupyterLab, File, Reload Notebook from Disk."
    )
    return Note(f"Reset: {exercise.title}", _lines(words, unsaved))


def _lines(*words: str) -> str:
    return "\n".join(filter(None, words))


def _notebook(exercise: Exercise) -> str:
    return lesson_of(exercise).notebook
