"""Lessons in JupyterLab, as a reader uses them: run once, then predicted, played and tried out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.controls import (
    MAY_BE_IDLE,
    controls_of,
    matters,
    name_of,
    picture,
    wait_for_change,
    wait_until_still,
)
from tests.browser.lab import PATIENCE, LabPage

SMALL_SCREEN = 599  # pixels that JupyterLab leaves a notebook on 1280 × 720
HEIGHTS = """() => Array.from(document.querySelectorAll(".eip-demo"), (demo) =>
    demo.querySelector(".eip-player, .eip-first").getBoundingClientRect().bottom
    - demo.getBoundingClientRect().top)"""
LABELS = ".eip-demo .widget-label, .eip-demo .widget-label-basic"
CUT = "labels => labels.filter(it => it.scrollWidth > it.clientWidth + 1).map(it => it.innerText)"


def test_a_lesson_that_is_opened_shows_its_stored_pictures_and_no_error(opened: LabPage) -> None:
    """It reads well before any cell is run."""
    pictures = opened.page.locator(".jp-OutputArea-output img, .jp-OutputArea-output svg")
    assert pictures.count() > 0
    assert opened.errors() == []


def test_a_lesson_runs_from_top_to_bottom_without_an_error(lesson: LabPage) -> None:
    """Not in an output, a widget, the page. A demo's picture is seen with its controls, no label cut."""
    assert lesson.not_run() == []
    assert lesson.errors() == []
    assert [height for height in lesson.page.evaluate(HEIGHTS) if height > SMALL_SCREEN] == []
    assert lesson.page.eval_on_selector_all(LABELS, CUT) == []


def test_a_prediction_is_chosen_by_keyboard_and_only_then_told(lesson: LabPage) -> None:
    """The first of a lesson, and no other with it: the answer is not on the page before."""
    predictions = lesson.page.locator(".eip-predict")
    told = predictions.get_by_text(re.compile("✓ Right|✗ Not so"))
    expect(told).to_have_count(0)
    predictions.get_by_role("radio").first.press("Space")
    predictions.get_by_role("button", name="This is my prediction").first.press("Enter")
    expect(told).to_have_count(1)
    assert lesson.errors() == []


@pytest.fixture
def player(lesson: LabPage) -> Locator:
    """The first player of a lesson."""
    found = lesson.page.locator(".eip-player").first
    if not found.count():
        pytest.skip("no player in this lesson")
    return found


def test_a_player_plays_and_pauses(lesson: LabPage, player: Locator) -> None:
    """Its clock runs, its picture moves, and both stand still when it is told to."""
    canvas, clock = player.locator("canvas.eip-stage"), player.locator(".eip-clock")
    wait_until_still(lesson.page, canvas)
    before, time = picture(canvas), clock.inner_text()
    player.get_by_role("button", name="Play", exact=True).click()
    assert wait_for_change(lesson.page, canvas, before, PATIENCE)
    expect(clock).not_to_have_text(time)
    player.get_by_role("button", name="Pause", exact=True).click()
    wait_until_still(lesson.page, canvas)
    assert lesson.errors() == []


def test_a_player_is_wound_and_stepped_by_keyboard(lesson: LabPage, player: Locator) -> None:
    """From the first event to the last, and one at a time."""
    clock = player.locator(".eip-clock")
    player.get_by_role("slider", name="Time").press("Home")
    expect(clock).to_have_text(re.compile(r", event 1 of \d+$"))
    player.locator("canvas.eip-stage").press("ArrowRight")
    expect(clock).to_have_text(re.compile(r", event 2 of \d+$"))
    player.get_by_role("slider", name="Time").press("End")
    expect(clock).to_have_text(re.compile(r", event (\d+) of \1$"))
    assert lesson.errors() == []


def test_a_control_of_each_kind_changes_the_picture_of_its_demo(lesson: LabPage) -> None:
    """By keyboard alone, and without an error. All controls are set to their ends without a browser."""
    controls = controls_of(lesson.page)
    idle = {name_of(control) for control in controls if not matters(lesson, control)}
    assert idle - MAY_BE_IDLE == set()
    assert lesson.errors() == []
