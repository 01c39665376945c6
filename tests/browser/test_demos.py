"""Players and demos in JupyterLab, moved by keyboard as a reader moves them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.browser.lab import ROOT, LabPage

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)

OUTPUT = ".jp-OutputArea-output"
NOT_IN_A_PLAYER = ":not(.eip-player *)"
CONTROLS = ", ".join(
    f"{OUTPUT} .jupyter-widgets {control}{NOT_IN_A_PLAYER}"
    for control in ("[role=slider]", "select", "input[type=checkbox]", "input[type=number]")
)
# The keys that set a control one further and one back. JupyterLab takes arrows from a closed list, and
# presses of letters too, so that a list is opened first.
KEYS = {
    "slider": (["ArrowRight"], ["ArrowLeft"]),
    "select-one": (["Space", "ArrowDown", "Enter"], ["Space", "ArrowUp", "Enter"]),
    "checkbox": (["Space"],),
    "number": (["ArrowUp"],),
}
MOST_MOVES = {"slider": 8}  # in one direction, until the picture changes; else 3
MAY_BE_IDLE = {"Seed"}  # a scenario in which nothing is left to chance is the same for every seed

# All that is drawn in the output of which `control` is a part, but not the icons of buttons.
PICTURE = """control => Array.from(
    control.closest(".jp-OutputArea-output").querySelectorAll("img, canvas, svg:not(button svg)"),
    drawn => drawn.tagName === "CANVAS" ? drawn.toDataURL() : drawn.src || drawn.outerHTML,
).join()"""


def picture(part: Locator) -> str:
    drawn: str = part.evaluate(PICTURE)
    return drawn


def wait_for_change(page: Page, part: Locator, before: str, milliseconds: float) -> bool:
    """Whether the picture around `part` becomes another one within this time."""
    changed = f"([part, before]) => ({PICTURE})(part) !== before"
    try:
        page.wait_for_function(changed, arg=[part.element_handle(), before], timeout=milliseconds)
    except TimeoutError:
        return False
    return True


def wait_until_still(page: Page, part: Locator) -> None:
    """Until nothing in the output has moved for a while: a widget that appears may glide into place."""
    while wait_for_change(page, part, picture(part), 400):
        pass


def matters(page: Page, control: Locator) -> bool:
    """Whether moving it changes the picture: from the start, or else from one of the presets.

    A control may rest until another is set, such as the size of a buffer that is not in use.
    """
    demo = control.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-output')][1]")
    if moves_the_picture(page, control):
        return True
    for preset in demo.locator(f".jupyter-button{NOT_IN_A_PLAYER}").all():
        preset.press("Enter")
        if moves_the_picture(page, control):
            return True
    return False


def moves_the_picture(page: Page, control: Locator) -> bool:
    """Press keys, first one way and then the other, until the picture changes."""
    wait_until_still(page, control)
    kind = control.evaluate("node => node.getAttribute('role') ?? node.type")
    for keys in KEYS[kind]:
        for _ in range(MOST_MOVES.get(kind, 3)):
            before = picture(control)
            for key in keys:
                control.press(key)
            if wait_for_change(page, control, before, 300):
                return True
    return False


def name_of(control: Locator) -> str:
    """What is written beside a control."""
    name: str = control.evaluate("node => node.closest('.jupyter-widgets').innerText.split('\\n')[0]")
    return name


@each_lesson
def test_each_control_of_each_demo_changes_the_picture(lab: LabPage, lesson: Path) -> None:
    """By keyboard alone, and without an error."""
    lab.open(f"my/notebooks/{lesson.name}")
    lab.run_all()
    controls = lab.page.locator(CONTROLS).all()
    idle = {name_of(control) for control in controls if not matters(lab.page, control)}
    assert idle - MAY_BE_IDLE == set()
    assert lab.errors() == []


@each_lesson
def test_a_player_plays_and_pauses(lab: LabPage, lesson: Path) -> None:
    """Its clock runs, its picture moves, and both stand still when it is told to."""
    player = first_player(lab, lesson)
    canvas, clock = player.locator("canvas.eip-stage"), player.locator(".eip-clock")
    wait_until_still(lab.page, canvas)
    before, time = picture(canvas), clock.inner_text()
    player.get_by_role("button", name="Play", exact=True).click()
    assert wait_for_change(lab.page, canvas, before, 5_000)
    expect(clock).not_to_have_text(time)
    player.get_by_role("button", name="Pause", exact=True).click()
    wait_until_still(lab.page, canvas)
    assert lab.errors() == []


@each_lesson
def test_a_player_is_wound_and_stepped_by_keyboard(lab: LabPage, lesson: Path) -> None:
    """From the first event to the last, and one at a time."""
    player = first_player(lab, lesson)
    clock = player.locator(".eip-clock")
    player.get_by_role("slider", name="Time").press("Home")
    expect(clock).to_have_text(re.compile(r", event 1 of \d+$"))
    player.locator("canvas.eip-stage").press("ArrowRight")
    expect(clock).to_have_text(re.compile(r", event 2 of \d+$"))
    player.get_by_role("slider", name="Time").press("End")
    expect(clock).to_have_text(re.compile(r", event (\d+) of \1$"))
    assert lab.errors() == []


def first_player(lab: LabPage, lesson: Path) -> Locator:
    lab.open(f"my/notebooks/{lesson.name}")
    lab.run_all()
    player = lab.page.locator(".eip-player").first
    if not player.count():
        pytest.skip("no player in this lesson")
    return player
