"""Grading a notebook: right and wrong answers, broken notebooks, the same marks in every run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.isolation import isolated
from eip_ref.autograder.isolation.isolated import grade_notebook, seeds_for
from eip_ref.autograder.isolation.sandbox import (
    PYTHON,
    Isolation,
    Limits,
    best_isolation,
    environment,
    weak_isolation,
)
from eip_ref.autograder.isolation.starter import SandboxFailed
from eip_ref.autograder.marks import NOT_BEGUN, Marks
from eip_ref.autograder.mistakes import WITHOUT_A_RUN
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.process.wire import Ended
from eip_ref.autograder.registry import Lesson, lesson, lessons
from eip_ref.autograder.workbook import answer_cells

from .apart import LIMITS_ALONE
from .exercise_cases import Kept, kept_answers
from .hostile.submissions import answering, in_bytes, put, solved

POINTS = lesson("point_to_point")
SECRET = b"only the teacher knows" * 2
ROOMY = Limits(wall=60.0)
FEW = replace(POINTS, exercises=(POINTS.exercises[1], POINTS.exercises[3]))
CHOOSE, OUTCOME = FEW.exercises


def grade(data: bytes, found: Lesson = FEW, isolation: Isolation | None = None) -> Marks:
    used = isolation or best_isolation()
    return grade_notebook(data, found, secret=SECRET, isolation=used, limits=ROOMY)


def changed(change: Callable[[dict[str, Any]], object], found: Lesson = FEW) -> Marks:
    """The marks of the solved notebook after a change to it."""
    notebook = solved(found)
    change(notebook)
    return grade(in_bytes(notebook), found)


def mistakes(marks: Marks) -> list[str]:
    return [mark.mistake for mark in marks.marks]


def cell(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


# Right and wrong answers


def _notebooks(found: Lesson) -> list[dict[str, Kept]]:
    """Kept answers of a lesson, one for each exercise to a notebook, and each with another mistake."""
    mine = {exercise.name for exercise in found.exercises}
    chosen = {
        (kept.exercise.name, kept.mistake or kept.name): kept
        for kept in reversed(kept_answers(found.package))
        if kept.exercise.name in mine and (kept.mistake or kept.exercise.name not in MANY_STARTS)
    }
    waiting = [*chosen.values()]
    notebooks = list[dict[str, Kept]]()
    while waiting and len(notebooks) < NOTEBOOKS:
        each = {kept.exercise.name: kept for kept in waiting}
        notebooks.append(each)
        waiting = [kept for kept in waiting if kept not in each.values()]
    return notebooks


NOTEBOOKS = 3  #: of each lesson: all kept answers are judged elsewhere, and here only the way is new
MANY_STARTS = {"cqrs/both_or_neither", "choosing/run_the_whole_shop"}
"""Here a run starts 70 processes and more, so the model answer is the only right one that is graded."""
LESSONS = [found for found in lessons() if found.exercises]
ASSEMBLED = [(found.module, kept) for found in LESSONS for kept in _notebooks(found)]


def one_seed(exercise: Exercise, secret: bytes) -> list[int]:
    """The first of the check: other tests run all of them, and here only the way is new."""
    return seeds_for(exercise, secret)[:1]


@pytest.fixture(scope="module")
def by() -> Iterator[Zygote]:
    """In the quickest mode: what a cage does to an answer is told by its own tests, and by the solutions."""
    rooms = sorted({f"eip_ref.course.{found.package}" for found in LESSONS})
    with Zygote([*PYTHON, "-c", LIMITS_ALONE], environment(tempfile.gettempdir()), rooms) as zygote:
        yield zygote


@pytest.mark.parametrize(("module", "kept"), ASSEMBLED, ids=lambda value: value if type(value) is str else "")
def test_kept_answers_get_their_marks_when_the_notebook_is_graded(
    module: str, kept: dict[str, Kept], by: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right one full marks, a wrong one its own mistake. One zygote serves all of these notebooks."""
    monkeypatch.setattr(isolated, "Starter", lambda *_: SimpleNamespace(zygote=lambda: by, close=int))
    monkeypatch.setattr(isolated, "seeds_for", one_seed)
    found = lesson(module)
    names = [exercise for exercise in found.exercises if exercise.name in kept]
    found = replace(found, exercises=tuple(names))
    sources = {name: each.source for name, each in kept.items()}
    marks = grade(in_bytes(answering(found, sources)), found, weak_isolation())
    expected = {name: each.mistake for name, each in kept.items()}
    assert {mark.exercise: mark.mistake for mark in marks.marks} == expected


@pytest.mark.parametrize(
    ("module", "isolation"),
    [*((found.module, best_isolation()) for found in LESSONS), (POINTS.module, weak_isolation())],
    ids=lambda value: value if type(value) is str else "best" if value == best_isolation() else "weaker",
)
def test_the_solution_gets_full_marks(
    module: str, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a note, and the report says which mode it was. Above, each lesson is in the weaker one.

    Models run apart with the seeds of their check elsewhere, so here with a hidden one, but for one lesson.
    """
    if module != POINTS.module:
        monkeypatch.setattr(isolated, "seeds_for", lambda *of: seeds_for(*of)[-1:])
    found = lesson(module)
    marks = grade(in_bytes(solved(found)), found, isolation)
    assert marks.points == marks.most == found.points
    assert marks.notes == ()
    assert marks.isolation == isolation.words


def test_a_record_that_the_judge_cannot_read_costs_its_own_exercise_alone() -> None:
    """It is named: an error of the judge's must not end the grading of a class."""

    def confused(trace: object) -> NoReturn:
        raise LookupError(trace)

    odd = replace(FEW, exercises=(replace(CHOOSE, judge=confused), OUTCOME))
    assert mistakes(grade(in_bytes(solved(FEW)), odd)) == ["not-judged", ""]


def test_the_marks_are_the_same_bytes_in_every_run() -> None:
    """But for the seconds, whatever the answers do, in words with addresses too."""
    sources = {
        "point_to_point/count_the_links": "def count_the_links():\n    raise ValueError(object())",
        "point_to_point/choose_for_absence": "def when_away(channel):\n    return object(), {1, 2}",
        "point_to_point/report_what_was_not_sent": "import os\nos.abort()",
        "point_to_point/hand_over_before_leaving": "import nothing.there",
    }
    data = in_bytes(answering(POINTS, sources))
    runs = [grade(data, POINTS, mode) for mode in (weak_isolation(), weak_isolation())]
    first, second = (replace(marks, seconds={}).to_json() for marks in runs)
    assert first == second
    assert " at 0x" not in first


def test_another_secret_gives_other_hidden_seeds_after_those_of_the_check() -> None:
    """The same secret gives the same, for the whole class."""
    one, again, other = (seeds_for(CHOOSE, secret) for secret in (b"a", b"a", b"b"))
    assert one == again
    assert tuple(one[: len(CHOOSE.seeds)]) == CHOOSE.seeds
    assert not set(one[len(CHOOSE.seeds) :]) & set(other)


def test_a_sandbox_that_does_not_start_is_no_fault_of_the_notebook() -> None:
    """It is an error for the teacher, and no mark."""
    broken = Isolation("broken", strong=True, before=("/bin/false",))
    with pytest.raises(SandboxFailed, match="doctor"):
        grade(in_bytes(solved(FEW)), FEW, broken)


# Files that are no notebooks

UNREADABLE = {
    "an empty file": b"",
    "only spaces": b" \n\t ",
    "no UTF-8": "{é}".encode("latin-1"),
    "UTF-16": json.dumps(solved(FEW)).encode("utf-16"),
    "no JSON": b"def answer(): ...",
    "half a notebook": in_bytes(solved(FEW))[:3_000],
    "JSON and no notebook": b'{"hello": 1}',
    "a list": b"[]",
    "a number": b"17",
    "deep brackets": b"[" * 100_000,
    "a zip file": b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xff\xfe",
    "a notebook of format 5": in_bytes({**solved(FEW), "nbformat": 5}),
    "a notebook of format 2": in_bytes({**solved(FEW), "nbformat": 2}),
    "a notebook whose format is a text": in_bytes({**solved(FEW), "nbformat": "4"}),
    "a notebook without cells": in_bytes({"nbformat": 4}),
    "cells that are no cells": in_bytes({"nbformat": 4, "cells": [1, 2]}),
    "too many cells": in_bytes({"nbformat": 4, "cells": [cell("1")] * 2_001}),
    "too much code": in_bytes({"nbformat": 4, "cells": [cell("#" * 200_001)]}),
    "a huge file": b" " * (50 * 2**20) + b"{}",
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_notebook_gets_a_mark_that_says_so(data: bytes) -> None:
    """Every exercise is there, with no points, and a sentence that says what to do."""
    marks = grade(data)
    assert [(mark.points, mark.mistake) for mark in marks.marks] == [(0, "unreadable-notebook")] * 2
    assert len(marks.marks[0].seen) > 40


# Notebooks that are odd


def test_a_notebook_of_format_3_is_graded_with_a_note() -> None:
    """Old Jupyters wrote it, with `input` in place of `source`."""
    notebook = solved(FEW)
    cells = [{**each, "input": each["source"]} for each in notebook["cells"]]
    for each in cells:
        del each["source"]
    marks = grade(in_bytes({"nbformat": 3, "metadata": {}, "worksheets": [{"cells": cells}]}))
    assert mistakes(marks) == ["", ""]
    assert "format 3" in marks.notes[0]


def test_a_byte_order_mark_costs_nothing() -> None:
    """Some editors write one."""
    assert mistakes(grade(b"\xef\xbb\xbf" + in_bytes(solved(FEW)))) == ["", ""]


def test_cells_in_another_order_cost_nothing_and_are_noted() -> None:
    """What failed for want of the imports is tried once more after the others."""
    marks = changed(lambda notebook: notebook["cells"].reverse())
    assert mistakes(marks) == ["", ""]
    assert any("order" in note for note in marks.notes)


def test_an_answer_that_is_missing_costs_its_own_mark() -> None:
    """And is called by its name."""
    marks = changed(lambda notebook: notebook["cells"].remove(*answer_cells(notebook, CHOOSE)))
    assert mistakes(marks) == ["not-found", ""]
    assert "when_away" in marks.marks[0].seen


def test_an_answer_that_is_there_twice_counts_the_last_time() -> None:
    """As in a kernel; the teacher reads a note."""

    def twice(notebook: dict[str, Any]) -> None:
        (held,) = answer_cells(notebook, CHOOSE)
        wrong = {**held, "source": "def when_away(channel):\n    return 'block', 0"}
        notebook["cells"].insert(notebook["cells"].index(held), wrong)

    marks = changed(twice)
    assert mistakes(marks) == ["", ""]
    assert "More than one cell" in marks.notes[-1]


def test_an_answer_that_is_split_over_two_cells_is_one_answer() -> None:
    """The part that uses the other may stand in a cell of the learner's own."""

    def split(notebook: dict[str, Any]) -> None:
        (held,) = answer_cells(notebook, OUTCOME)
        place = notebook["cells"].index(held)
        notebook["cells"].insert(place, cell(held["source"].replace("def outcome", "def inner")))
        held["source"] = (
            "async def outcome(send, invoice, limit):\n    return await inner(send, invoice, limit)"
        )

    marks = changed(split)
    assert mistakes(marks) == ["", ""]
    assert "of your own ran as well" in marks.notes[0]


def test_a_helper_in_the_cell_of_another_answer_is_found() -> None:
    """Of other answers those run whose names this one uses."""

    def share(notebook: dict[str, Any]) -> None:
        (first,), (second,) = answer_cells(notebook, CHOOSE), answer_cells(notebook, OUTCOME)
        first["source"] += "\n\nWORD = 'accepted'"
        second["source"] = second["source"].replace('return "accepted"', "return WORD")

    assert mistakes(changed(share)) == ["", ""]


def test_a_notebook_that_lost_its_metadata_is_graded_by_names() -> None:
    """Some tools drop what they do not know."""

    def lose(notebook: dict[str, Any]) -> None:
        for each in notebook["cells"]:
            each["metadata"] = {}

    assert mistakes(changed(lose)) == ["", ""]


def _as_text(notebook: dict[str, Any], exercise: Exercise, kind: str) -> None:
    (held,) = answer_cells(notebook, exercise)
    held["cell_type"] = kind
    del held["outputs"], held["execution_count"]


@cache
def _used_by_people() -> Marks:
    """The solved notebook with what people do to cells, to each answer something else."""

    def decorate(notebook: dict[str, Any]) -> None:
        above = {
            0: "%%time\n?help\n%timeit 1 + 1\n%time names = ['a']\nassert names\n",
            1: "import asyncio\nawait asyncio.sleep(0)\nasync with asyncio.timeout(9):\n    pass\n",
            2: "%%bash\n",
            5: "files = get_ipython().getoutput('ls')\nget_ipython().system('ls')\n",
        }
        for number, lines in above.items():
            exercise = POINTS.exercises[number]
            put(notebook, exercise, lines + answer_cells(notebook, exercise)[0]["source"])
        notebook["metadata"]["kernelspec"] = {"language": "R", "name": "ir", "display_name": "R"}
        notebook["cells"].insert(0, cell("%matplotlib inline\n!ls\nprint('x' * 10_000)"))
        notebook["cells"].insert(1, cell("import warnings\nwarnings.warn('old')\nint?"))
        _as_text(notebook, POINTS.exercises[3], "markdown")
        _as_text(notebook, POINTS.exercises[4], "raw")
        answer_cells(notebook, POINTS.exercises[4])[0]["metadata"] = {}

    return changed(decorate, POINTS)


@pytest.mark.parametrize(
    ("number", "mistake", "words"),
    [
        (0, "", ""),
        (1, "", ""),
        (2, "no-code", "begins with `%%bash`, so Python reads nothing of it"),
        (3, "no-code", "is Markdown text in place of code"),
        (4, "no-code", "is raw text in place of code"),
        (5, "", ""),
    ],
)
def test_a_cell_is_what_it_is_in_jupyter(number: int, mistake: str, words: str) -> None:
    """Magics and top-level await cost nothing; what Jupyter does not run as Python is named."""
    mark = _used_by_people().marks[number]
    assert mark.mistake == mistake
    assert words in mark.seen
    assert mark.points == (0 if mistake else mark.most)


def test_prints_warnings_and_another_kernel_cost_nothing() -> None:
    """The notebook was written for people; that it says another language is noted."""
    assert "'R'" in _used_by_people().notes[0]


def test_the_graders_own_words_for_what_is_not_there_are_no_exercises_mistakes() -> None:
    """Else a wrong answer would be shown as one that was not begun, or that was cut off."""
    own = {*WITHOUT_A_RUN, *NOT_BEGUN, *Ended.WORDS} - {"not-started"}  # which means the same in an exercise
    told = {mistake.name for found in LESSONS for each in found.exercises for mistake in each.mistakes}
    assert own & told == set()


def test_an_import_that_is_refused_does_not_take_the_first_cell_along() -> None:
    """Somebody who imports a library to draw with keeps the other imports."""

    def draw(notebook: dict[str, Any]) -> None:
        first = next(each for each in notebook["cells"] if "import anyio" in each["source"])
        first["source"] = "import inspect, matplotlib.pyplot as plt\n" + first["source"]

    assert mistakes(changed(draw)) == ["", ""]


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("open('/etc/hosts')", ""),
        ("import os; os.abort()", ""),
        ("import eip_ref.point_to_point as p; p.PointToPointChannel.send = None", ""),
        ("1 / 0", ""),
        ("def broken(:", ""),
    ],
)
def test_a_cell_of_the_learners_own_that_does_harm_harms_no_answer(source: str, mistake: str) -> None:
    """The answers are then run without it."""
    marks = changed(lambda notebook: notebook["cells"].insert(1, cell(source)))
    assert mistakes(marks) == [mistake, mistake]


def test_a_slow_cell_of_the_learners_own_costs_no_answer_its_time() -> None:
    """It would run for each process: only what an answer uses does, while that is enough."""
    source = "while True:\n    pass"
    assert mistakes(changed(lambda notebook: notebook["cells"].insert(1, cell(source)))) == ["", ""]


def test_a_cell_of_the_learners_own_runs_where_an_answer_needs_what_no_name_tells() -> None:
    """Such as a name that another cell's function gives to all."""

    def hide(notebook: dict[str, Any]) -> None:
        (held,) = answer_cells(notebook, OUTCOME)
        held["source"] = held["source"].replace('return "accepted"', "return WORD")
        notebook["cells"].insert(1, cell("def begin():\n    global WORD\n    WORD = 'accepted'"))
        notebook["cells"].insert(2, cell("begin()"))

    assert mistakes(changed(hide)) == ["", ""]


@cache
def _broken() -> Marks:
    sources = {
        "point_to_point/count_the_links": "def count_the_links(:",
        "point_to_point/choose_for_absence": "1 / 0",
        "point_to_point/report_what_was_not_sent": "import no_such_module",
        "point_to_point/definite_or_unknown": "outcome = 17",
        "point_to_point/hand_over_before_leaving": "",
    }
    return grade(in_bytes(answering(POINTS, sources)), POINTS)


@pytest.mark.parametrize(
    ("number", "mistake", "words"),
    [
        (0, "syntax-error", "line 1"),
        (1, "cell-error", "ZeroDivisionError"),
        (2, "cell-error", "no_such_module"),
        (3, "wrong-form", "async function"),
        (4, "not-found", "take_orders"),
        (5, "", ""),
    ],
)
def test_a_broken_answer_has_a_verdict_that_says_where(number: int, mistake: str, words: str) -> None:
    """Each its own, in one notebook, and the whole answer beside them keeps its mark."""
    mark = _broken().marks[number]
    assert mark.mistake == mistake
    assert words in mark.seen
