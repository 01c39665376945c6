"""The plans for workshops name sections, predictions, exercises and mistakes that are there."""

from __future__ import annotations

import re
from pathlib import Path

from eip_ref.autograder.notebooks import read
from eip_ref.autograder.registry import lessons
from tests.notebooks.lessons import LESSONS, asked

DOCS = Path(__file__).parents[2] / "docs"
WORKSHOP = (DOCS / "workshop.md").read_text(encoding="utf-8")
STOPS = re.findall(r"\]\((\.\./notebooks/\w+\.ipynb)\) · ([^|\n\[]*)", WORKSHOP)
"""A notebook, and what of it is shown: sections, with semicolons between them, until a remark."""


def _sections(notebook: str) -> set[str]:
    cells = read(DOCS / notebook)["cells"]
    prose = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    return set(re.findall(r"^##+ (.+)$", prose, re.MULTILINE))


def test_each_section_of_a_plan_stands_in_its_notebook() -> None:
    """What follows a link to a notebook, up to a remark in small letters."""
    assert len(STOPS) > 30
    for notebook, told in STOPS:
        for section in re.split(r"; then |; first |; the ", told)[0].strip(" ;").split("; "):
            assert section in _sections(notebook), (notebook, section)


def test_each_section_of_the_advice_stands_in_its_notebook() -> None:
    """Such as *The return address* in 06a."""
    told = re.findall(r"\*([^*]+)\* in (\d\d[a-c])", WORKSHOP)
    assert len(told) > 4
    for section, lesson in told:
        (notebook,) = (path for path in LESSONS if path.name.startswith(lesson))
        assert section in _sections(f"../notebooks/{notebook.name}"), (lesson, section)


def test_each_name_in_code_is_a_prediction_an_exercise_or_a_mistake() -> None:
    """As learners and gradebooks meet it."""
    everything = lessons()
    exercises = {each.name: each for lesson in everything for each in lesson.exercises}
    predictions = {name for path in LESSONS for name in asked(path)}
    mistakes = {mistake.name for each in exercises.values() for mistake in each.mistakes}
    for name in re.findall(r"`([a-z_]+/[a-z_]+)`", WORKSHOP):
        assert name in exercises or name in predictions, name
    for name in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", WORKSHOP):
        assert name in mistakes, name


def test_there_is_advice_for_each_subject() -> None:
    """From 00 to 12."""
    told = {int(number) for number in re.findall(r"^### (\d\d) · ", WORKSHOP, re.MULTILINE)}
    assert told == {int(lesson.label[:2]) for lesson in lessons()}


def test_the_minutes_of_each_plan_are_those_that_its_title_says() -> None:
    """90 minutes are 90 minutes."""
    plans = re.split(r"^## ", WORKSHOP, flags=re.MULTILINE)
    (ninety,) = [plan for plan in plans if plan.startswith("90 minutes")]
    (half,) = [plan for plan in plans if plan.startswith("Half a day")]
    (two,) = [plan for plan in plans if plan.startswith("Two days")]
    assert [sum(_minutes(plan)) for plan in (ninety, half)] == [90, 240]
    assert [sum(_minutes(day)) for day in two.split("second day")] == [360, 360]


def _minutes(plan: str) -> list[int]:
    return [int(number) for number in re.findall(r"^\| (\d+) \|", plan, re.MULTILINE)]
