"""Exercises in JupyterLab, answered as a learner answers them: first wrong, then right."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from eip_ref.autograder.notebooks import read
from tests.browser.lab import ROOT, LabPage

EXERCISES = sorted((ROOT / "exercises").glob("*.ipynb"))


def model_answers(name: str) -> dict[str, str]:
    """What a learner is to write: the source of each answer cell of the solution, by its `grade_id`."""
    cells = read(ROOT / "solutions" / name)["cells"]
    graded = [(cell["metadata"].get("nbgrader", {}), cell["source"]) for cell in cells]
    return {about["grade_id"]: source for about, source in graded if about.get("solution")}


def answer_cells(name: str) -> dict[str, int]:
    """Where the answers go: the index of each answer cell of the exercise, by its `grade_id`."""
    cells = enumerate(read(ROOT / "exercises" / name)["cells"])
    graded = [(cell["metadata"].get("nbgrader", {}), index) for index, cell in cells]
    return {about["grade_id"]: index for about, index in graded if about.get("solution")}


def verdicts(lab: LabPage, words: str) -> Locator:
    """The reports that say this."""
    return lab.page.locator(".jp-OutputArea-output", has_text=words)


def the_check(lab: LabPage, after: int) -> int:
    """Where the answer in this cell is checked."""
    return next(n for n, source in enumerate(lab.sources()) if n > after and source.startswith("check("))


@pytest.mark.parametrize("path", EXERCISES[::8], ids=lambda path: path.stem)
def test_the_first_exercise_fails_with_its_stub_and_passes_with_the_right_answer(
    lab: LabPage, path: Path
) -> None:
    """The learner sees the verdict in both cases, and never an error. All are run without a browser too."""
    name, answer = next(iter(answer_cells(path.name).items()))
    lab.open(f"my/exercises/{path.name}")
    check = the_check(lab, answer)
    lab.run_cells(0, check)
    expect(verdicts(lab, "✗ Not passed yet:")).to_have_count(1)
    lab.write(answer, model_answers(path.name)[name])
    lab.run_cells(answer, check)
    expect(verdicts(lab, "✓ Passed:")).to_have_count(1)
    expect(verdicts(lab, "✗ Not passed yet:")).to_have_count(0)
    assert lab.errors() == []


@pytest.mark.parametrize("path", EXERCISES[:1], ids=lambda path: path.stem)
def test_an_answer_that_is_typed_is_what_is_judged(lab: LabPage, path: Path) -> None:
    """By keyboard, in the cell, with Shift and Enter; the verdict follows when the check is run."""
    name, index = next(iter(answer_cells(path.name).items()))
    answer = model_answers(path.name)[name]
    lab.open(f"my/exercises/{path.name}")
    check = the_check(lab, index)
    lab.run_cells(0, check)
    lab.type(index, answer)
    assert lab.sources()[index] == answer
    for _ in range(index, check):
        lab.page.keyboard.press("Shift+Enter")
    expect(verdicts(lab, "✓ Passed:")).to_have_count(1)
    assert lab.active() == check + 1, "the keyboard does not go on after a check"
