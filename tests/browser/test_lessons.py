"""Lessons in JupyterLab, as a reader uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.lab import ROOT, LabPage

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL_SCREEN = 599  # pixels that JupyterLab leaves a notebook on 1280 × 720
HEIGHTS = """() => Array.from(document.querySelectorAll(".eip-demo"), (demo) =>
    demo.querySelector(".eip-player, .eip-first").getBoundingClientRect().bottom
    - demo.getBoundingClientRect().top)"""
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


@each_lesson
def test_a_lesson_that_is_opened_shows_its_stored_pictures_and_no_error(lab: LabPage, lesson: Path) -> None:
    """It reads well before any cell is run."""
    lab.open(f"notebooks/{lesson.name}")
    pictures = lab.page.locator(".jp-OutputArea-output img, .jp-OutputArea-output svg")
    assert pictures.count() > 0
    assert lab.errors() == []


@each_lesson
def test_a_lesson_runs_from_top_to_bottom_without_an_error(lab: LabPage, lesson: Path) -> None:
    """Not in an output, a widget, the page. A demo's first picture is seen with its controls."""
    lab.open(f"my/notebooks/{lesson.name}")
    lab.run_all()
    lab.screenshot(lesson.stem)
    assert lab.not_run() == []
    assert lab.errors() == []
    assert [height for height in lab.page.evaluate(HEIGHTS) if height > SMALL_SCREEN] == []
