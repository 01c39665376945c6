"""Controls of demos, moved by keyboard as a reader moves them, and the pictures that they change."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, TimeoutError

from tests.browser.lab import LOOK, LabPage

__all__ = ["CONTROLS", "MAY_BE_IDLE", "matters", "name_of", "picture", "wait_for_change", "wait_until_still"]

OUTPUT = ".jp-OutputArea-output"
NOT_IN_A_PLAYER = ":not(.eip-player *)"
CONTROLS = ", ".join(
    f"{OUTPUT} .jupyter-widgets {control}{NOT_IN_A_PLAYER}"
    for control in ("[role=slider]", "select", "input[type=checkbox]", "input[type=number]")
)
# The keys that set a control one further and one back, and a slider then to its ends. JupyterLab takes
# arrows from a closed list, and presses of letters too, so that a list is opened first.
FORTH, BACK = ["Space", "ArrowDown", "Enter"], ["Space", "ArrowUp", "Enter"]
MOVES = {
    "slider": [["ArrowRight"], ["ArrowLeft"], ["End"], ["Home"]],
    "select-one": [FORTH] * 3 + [BACK] * 3,
    "checkbox": [["Space"]] * 3,
    "number": [["ArrowUp"]] * 3,
}
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
        page.wait_for_function(
            changed, arg=[part.element_handle(), before], timeout=milliseconds, polling=LOOK
        )
    except TimeoutError:
        return False
    return True


def wait_until_still(page: Page, part: Locator) -> None:
    """Until nothing in the output has moved for a while: a widget that appears may glide into place."""
    while wait_for_change(page, part, picture(part), 400):
        pass


def matters(lab: LabPage, control: Locator) -> bool:
    """Whether moving it changes the picture: from the start, or else from one of the presets.

    A control may rest until another is set, such as the size of a buffer that is not in use. One that
    may be idle altogether is moved from the start alone.
    """
    demo = control.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-output')][1]")
    if moves_the_picture(lab, control):
        return True
    if name_of(control) in MAY_BE_IDLE:
        return False
    for preset in demo.locator(f".jupyter-button{NOT_IN_A_PLAYER}").all():
        preset.press("Enter")
        if moves_the_picture(lab, control):
            return True
    return False


def moves_the_picture(lab: LabPage, control: Locator) -> bool:
    """Press keys, first one way and then the other, until the picture changes."""
    wait_until_still(lab.page, control)
    for keys in MOVES[control.evaluate("node => node.getAttribute('role') ?? node.type")]:
        before = picture(control)
        for key in keys:
            control.press(key)
        if wait_for_change(lab.page, control, before, 300):
            return True
        lab.settle()  # a machine with much to do may draw it later
        if picture(control) != before:
            return True
    return False


def name_of(control: Locator) -> str:
    """What is written beside a control."""
    name: str = control.evaluate("node => node.closest('.jupyter-widgets').innerText.split('\\n')[0]")
    return name
