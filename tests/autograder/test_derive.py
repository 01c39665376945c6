"""Exercises are made from solutions, the same bytes each time, and hold nothing of the answers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder import derive, registry
from eip_ref.autograder.notebooks import read, text, write
from eip_ref.autograder.regions import UnclearRegion, model_answer, regions, stubbed
from eip_ref.autograder.registry import Lesson

from .answers import MODE, SOLUTION, TEST, WORKER, notebook

COURSE = Path(__file__).parents[2]
Cells = list[dict[str, Any]]


def test_a_region_becomes_nbgraders_stub() -> None:
    """What stands before the region stays, and the stub is indented like the region."""
    assert stubbed(MODE) == "def mode(job):\n    # YOUR CODE HERE\n    raise NotImplementedError()"


def test_a_region_with_starting_lines_becomes_the_broken_code() -> None:
    """The learner finds what there is to mend."""
    assert stubbed(WORKER).endswith("        await orders.ack(order)\n        await charge(order)")
    assert "#~" not in stubbed(WORKER)


def test_a_text_answer_becomes_nbgraders_text() -> None:
    """An answer in prose is derived alike."""
    assert (
        stubbed("Why?\n### BEGIN SOLUTION\nBecause.\n### END SOLUTION", code=False)
        == "Why?\nYOUR ANSWER HERE"
    )


def test_the_model_answer_is_the_cell_without_markers() -> None:
    """It can be run as it is shown."""
    compile(model_answer(MODE), "mode", "exec")
    assert model_answer(WORKER).endswith("        await charge(order)\n        await orders.ack(order)")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("### BEGIN SOLUTION\nx", "there is no '### END SOLUTION'"),
        ("x\n### END SOLUTION", "before any region begins"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "inside a region"),
    ],
)
def test_markers_that_do_not_pair_are_refused(source: str, words: str) -> None:
    """A region without an end would give the answer away or swallow the cell."""
    with pytest.raises(UnclearRegion, match=words):
        regions(source)


def test_an_exercise_has_no_outputs_and_keeps_its_cells(toys: Lesson) -> None:
    """Ids, order and nbgrader's metadata stay; outputs and counts go."""
    solution = notebook(*copy.deepcopy(SOLUTION))
    solution["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    made = derive.derive(solution, toys)
    assert [cell["id"] for cell in made["cells"]] == [cell["id"] for cell in solution["cells"]]
    assert all(cell.get("outputs", []) == [] for cell in made["cells"])
    assert all(cell.get("execution_count") is None for cell in made["cells"])
    assert made["cells"][3]["metadata"]["nbgrader"]["points"] == 3


def test_a_locked_cell_cannot_be_edited_in_the_exercise(toys: Lesson) -> None:
    """As nbgrader does it when it makes an assignment."""
    made = derive.derive(notebook(*SOLUTION), toys)
    assert [cell["metadata"].get("editable", True) for cell in made["cells"][2:4]] == [True, False]
    assert made["cells"][2]["metadata"]["deletable"] is False


def test_a_cell_for_solutions_only_stays_there(toys: Lesson) -> None:
    """The tag keeps a remark about the answers from the learner."""
    remark = {"cell_type": "markdown", "id": "x", "metadata": {"tags": ["solutions-only"]}, "source": "Psst"}
    assert len(derive.derive(notebook(*SOLUTION, remark), toys)["cells"]) == len(SOLUTION)


def test_deriving_twice_gives_the_same_bytes(toys: Lesson) -> None:
    """CI compares them."""
    first, second = (text(derive.derive(notebook(*SOLUTION), toys)) for _ in range(2))
    assert first == second


def _without_region(cells: Cells) -> None:
    cells[4]["source"] = "def mode(job):\n    return 1"


def _unclosed(cells: Cells) -> None:
    cells[4]["source"] = MODE.replace("    ### END SOLUTION", "")


def _stops(cells: Cells) -> None:
    cells[4]["source"] = "### BEGIN SOLUTION\nmode = 1\n### END SOLUTION"


def _twice(cells: Cells) -> None:
    cells[4]["metadata"]["nbgrader"]["grade_id"] = "mend_the_worker"


def _unknown(cells: Cells) -> None:
    cells[5]["source"] = 'check("toy/choose_a_mode", mode)'


def _other_answer(cells: Cells) -> None:
    cells[5]["source"] = 'check("toy/choose_the_mode", worker)'


def _other_points(cells: Cells) -> None:
    cells[5]["metadata"]["nbgrader"]["points"] = 7


def _unlocked(cells: Cells) -> None:
    cells[5]["metadata"]["nbgrader"]["locked"] = False


def _ungraded(cells: Cells) -> None:
    del cells[5]["metadata"]["nbgrader"]


def _no_check(cells: Cells) -> None:
    del cells[5]


def _no_answer(cells: Cells) -> None:
    cells[4]["metadata"]["nbgrader"]["grade_id"] = "something_else"


def _not_a_solution(cells: Cells) -> None:
    cells[4]["metadata"]["nbgrader"]["solution"] = False


def _old_schema(cells: Cells) -> None:
    cells[4]["metadata"]["nbgrader"]["schema_version"] = 2


def _incomplete(cells: Cells) -> None:
    del cells[4]["metadata"]["nbgrader"]["task"]


def _spaces(cells: Cells) -> None:
    cells[5]["metadata"]["nbgrader"]["grade_id"] = "choose the mode"


def _syntax(cells: Cells) -> None:
    cells[5]["source"] = 'check("toy/choose_the_mode", mode'


def _computed(cells: Cells) -> None:
    cells[5]["source"] = 'check("toy/" + "choose_the_mode", mode)'


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_region, "'choose_the_mode' is a solution and has no region"),
        (_unclosed, "there is no '### END SOLUTION'"),
        (_stops, "stop whoever runs the whole notebook"),
        (_twice, "'mend_the_worker' is there twice"),
        (_unknown, "no exercise 'toy/choose_a_mode'"),
        (_other_answer, "is called 'mode'"),
        (_other_points, "is worth 1 points"),
        (_unlocked, "must be graded and locked"),
        (_ungraded, "must be graded and locked"),
        (_no_check, "toy/choose_the_mode needs one check cell, and has 0"),
        (_no_answer, "no solution cell has the grade_id 'choose_the_mode'"),
        (_not_a_solution, "is not marked as a solution"),
        (_old_schema, "must have schema_version 3"),
        (_incomplete, "lacks task in its nbgrader metadata"),
        (_spaces, "must be made of letters"),
        (_syntax, "is no valid Python"),
        (_computed, 'write check\\("lesson/exercise", answer\\)'),
    ],
)
def test_a_solution_that_a_learner_would_stumble_over_is_refused(
    toys: Lesson, spoil: Callable[[Cells], None], words: str
) -> None:
    """The author learns which cell it is and what is wrong with it."""
    cells = copy.deepcopy(list(SOLUTION))
    spoil(cells)
    with pytest.raises(derive.BadSolution, match=words):
        derive.derive(notebook(*cells), toys)


def test_check_finds_no_difference_after_deriving(course: Path) -> None:
    """What was derived is up to date."""
    assert derive.update(course, check=True) == 0


def test_check_shows_what_differs_and_writes_nothing(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The difference is shown line by line."""
    path = course / "exercises" / "07_toy.ipynb"
    path.write_text(path.read_text().replace("# Toys", "# Tays"))
    assert derive.update(course, check=True) == 1
    assert '-    "# Tays"' in capsys.readouterr().err
    assert "# Tays" in path.read_text()


def test_an_exercise_without_a_solution_is_reported(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody would notice a left-over."""
    write(notebook(), course / "exercises" / "08_gone.ipynb")
    assert derive.update(course, check=True) == 1
    assert "08_gone.ipynb has no solution" in capsys.readouterr().err


def test_deriving_keeps_a_copy_of_what_it_replaces(course: Path) -> None:
    """A learner who runs it by mistake loses nothing."""
    path = course / "exercises" / "07_toy.ipynb"
    path.write_text(path.read_text().replace("await charge", "await my_charge"))
    assert derive.update(course) == 0
    assert "my_charge" in (course / ".eip" / "backups" / "07_toy-1.ipynb").read_text()


def test_a_bad_solution_leaves_the_exercise_alone(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written when an exercise cannot be made."""
    path = course / "solutions" / "07_toy.ipynb"
    cells = copy.deepcopy(list(SOLUTION))
    _unclosed(cells)
    write(notebook(*cells), path)
    before = (course / "exercises" / "07_toy.ipynb").read_text()
    assert derive.update(course) == 1
    assert "07_toy.ipynb: cell 'choose_the_mode'" in capsys.readouterr().err
    assert (course / "exercises" / "07_toy.ipynb").read_text() == before


def test_the_cells_of_a_new_exercise_are_written_and_can_be_derived(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind the last check, each with its metadata; the author fills in the story and the answer."""
    path = course / "solutions" / "07_toy.ipynb"
    write(notebook(*SOLUTION[:-2]), path)
    assert derive.add(course, registry.find("toy/write_the_test")) == 0
    story, answer, check = read(path)["cells"][-3:]
    assert story["source"].startswith(
        "## 3 · Write the test\n\n*Write the test · medium · 2 points · 5 minutes*"
    )
    assert answer["source"].startswith("async def test_bell(make):\n    ### BEGIN SOLUTION")
    assert check["metadata"]["nbgrader"]["points"] == 2
    assert derive.update(course) == 0
    assert derive.add(course, registry.find("toy/write_the_test")) == 1
    assert "has toy/write_the_test already" in capsys.readouterr().err


def test_the_notebook_of_a_new_lesson_is_begun(course: Path) -> None:
    """With a title, what a learner calls, and the exercise; a class has a region for each of its methods."""
    path = course / "solutions" / "07_toy.ipynb"
    path.unlink()
    desk = dataclasses.replace(
        registry.find("toy/mend_the_worker"), signature="class Desk(orders) with async work, replay"
    )
    assert derive.add(course, desk) == 0
    title, imports, _, answer, _ = (cell["source"] for cell in read(path)["cells"])
    assert title == "# Exercises 07 · Toys\n\n3 exercises, 6 points, 20 minutes in all."
    assert "from eip_ref.autograder import check, hint, reset, solution" in imports
    assert regions(answer) == [[], []]
    assert answer.startswith("class Desk:\n    async def work(self):\n        ### BEGIN SOLUTION")


def _leaks(solution: dict[str, Any], exercise: dict[str, Any]) -> set[str]:
    """Lines of answers that the exercise has, other than those that the learner is given anyway."""
    secret = {line.strip() for cell in solution["cells"] for part in regions(cell["source"]) for line in part}
    given = {line.strip() for cell in solution["cells"] for line in stubbed(cell["source"]).split("\n")}
    there = {line.strip() for cell in exercise["cells"] for line in cell["source"].split("\n")}
    return (secret - given) & there - {""}


def test_no_line_of_an_answer_is_in_an_exercise(course: Path) -> None:
    """The toy exercise holds no answer; put one there and it is found."""
    solution, exercise = (read(course / folder / "07_toy.ipynb") for folder in ("solutions", "exercises"))
    assert _leaks(solution, exercise) == set()
    exercise["cells"][6]["source"] = model_answer(TEST)
    assert _leaks(solution, exercise) == {
        "with anyio.fail_after(60):",
        'assert await make().ring() == "ding"',
    }


def test_no_line_of_the_courses_answers_is_in_an_exercise() -> None:
    """Also of the real ones."""
    for path in COURSE.glob("solutions/*.ipynb"):
        assert _leaks(read(path), read(COURSE / "exercises" / path.name)) == set()


def test_the_courses_exercises_are_as_derived() -> None:
    """Nobody edits them by hand."""
    assert derive.update(COURSE, check=True) == 0
