"""Grade hostile submissions in one way, and tell their marks. See `test_hostile.py`, which starts it.

The way and the words of the submissions come on the standard input as JSON; the marks leave on the standard
output. Submissions that come one after the other share what starts their processes, so that one which harms
it is seen; after each an honest answer is graded.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import warnings
from collections import defaultdict
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.isolation import isolated
from eip_ref.autograder.isolation.isolated import seeds_for
from eip_ref.autograder.isolation.sandbox import PYTHON, Isolation, Limits, best_isolation
from eip_ref.autograder.isolation.starter import Starter
from eip_ref.autograder.marks import Mark
from eip_ref.autograder.process import cage
from eip_ref.autograder.registry import Lesson, find, lesson_of

from ..apart import LIMITS_ALONE
from . import HOSTILE, Hostile
from .submissions import CHOOSE, answering, in_bytes

NEW_MOUNTS = 0x00020000
WITHOUT = f"import sys; del sys.argv[1:{1 + len(PYTHON)}]; {LIMITS_ALONE}"
LIMITS = Isolation("limits alone", strong=False, before=(*PYTHON, "-c", WITHOUT))
ROOMY, SHORT = Limits(wall=60.0), Limits(wall=1.0)
SECRET = b"hidden" * 6
NEIGHBOUR = replace(lesson_of(find(CHOOSE)), exercises=(find(CHOOSE),))


_all: list[Starter] = []
_idle: defaultdict[str, list[Starter]] = defaultdict(list)


def _kept(lesson: Lesson, isolation: Isolation) -> SimpleNamespace:
    """In place of a `Starter`: one of this lesson that nobody uses now, and will be used again."""
    idle = _idle[lesson.module]
    try:
        starter = idle.pop()
    except IndexError:
        _all.append(starter := Starter(lesson, isolation))
    return SimpleNamespace(zygote=starter.zygote, close=lambda: idle.append(starter))


def become_a_user() -> None:
    """Give up the rights of root, in a view of the files in which a user may read Python. Raises OSError."""
    if os.geteuid() == 0:
        cage._call("unshare", NEW_MOUNTS)
        cage._call("mount", None, b"/", None, ctypes.c_ulong(cage.PRIVATE | cage.RECURSIVE), None)
        cage._hide(["/root"], cage._needed())
        os.setgroups([])
        os.setresgid(cage.NOBODY, cage.NOBODY, cage.NOBODY)
        os.setresuid(cage.NOBODY, cage.NOBODY, cage.NOBODY)
    for file in (sys.executable, cage.__file__):
        open(file, "rb").close()


def graded(hostile: Hostile, way: str, isolation: Isolation, beside: Executor) -> dict[str, Any]:
    """The marks of a submission, of an honest answer after it, and of a neighbour at the same time."""
    exercise = find(hostile.exercise)
    found = lesson_of(exercise)
    honest = next(each for each in found.exercises if each != exercise and each.kind != "write the test")
    alone, after = (replace(found, exercises=(each,)) for each in (exercise, honest))
    limits = SHORT if hostile.verdict_in(way) == "out-of-time" else ROOMY
    neighbour = beside.submit(_marks, NEIGHBOUR, {}, isolation, ROOMY) if hostile.harms else None
    (mark,) = _marks(alone, {exercise.name: hostile.source}, isolation, limits)
    others = [*_marks(after, {}, isolation, ROOMY), *(neighbour.result() if neighbour else [])]
    return {"mark": asdict(mark), "others": [other.mistake for other in others]}


def _marks(found: Lesson, sources: dict[str, str], isolation: Isolation, limits: Limits) -> list[Mark]:
    notebook = answering(found, sources)
    slugs = {"", *(exercise.slug for exercise in found.exercises)}
    notebook["cells"] = [cell for cell in notebook["cells"] if _answers(cell) in slugs]
    data = in_bytes(notebook)
    marks = isolated.grade_notebook(data, found, secret=SECRET, isolation=isolation, limits=limits)
    return list(marks.marks)


def _answers(cell: dict[str, Any]) -> str:
    told = cell["metadata"].get("nbgrader", {})
    return str(told["grade_id"]) if told.get("solution") else ""


def mode_of(isolation: str) -> str:
    """The mode that a report says in these words; "none" where there is no grading."""
    if isolation.startswith(("none", "no grading")):
        return "none"
    if isolation == LIMITS.words or cage.WORDS["limits"] in isolation:
        return "limits"
    return "bubblewrap" if isolation.startswith("bubblewrap") else "namespaces"


def _few_seeds(exercise: Exercise, secret: bytes) -> list[int]:
    """One of the check and the last hidden one: a wrong answer seldom meets more."""
    seeds = seeds_for(exercise, secret)
    return [seeds[0], seeds[-1]]


def main() -> None:
    """Do what the standard input says."""
    asked = json.load(sys.stdin)
    account, mode = asked["way"].split(", ")
    if account == "a user":
        try:
            become_a_user()
        except OSError as why:
            print(json.dumps({"isolation": f"none: {why}", "marks": {}}))
            return
    isolation = LIMITS if mode == "limits" else best_isolation()
    warnings.filterwarnings("ignore")
    logging.disable()  # of tasks that a run has ended
    vars(isolated).update(Starter=_kept, seeds_for=_few_seeds)
    here = mode_of(isolation.words) == mode  # else nothing is graded: this machine has no such way
    chosen = [hostile for hostile in HOSTILE if here and hostile.words in asked["words"]]
    threads = 2 if len(chosen) > 50 else 1  # each starts what starts processes, for each lesson
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as beside:
        told = list(pool.map(lambda hostile: graded(hostile, asked["way"], isolation, beside), chosen))
        for each in _all:
            each.close()  # before the threads end: bubblewrap ends with the thread that started it
    marks = dict(zip([each.words for each in chosen], told, strict=True))
    print(json.dumps({"isolation": isolation.words, "marks": marks}))


if __name__ == "__main__":
    main()
