"""Controls of demos, moved by keyboard as a reader moves them, and the pictures that they change."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, TimeoutError

from tests.browser.lab import LOOK, LabPage

__all__ = [
    "MAY_BE_IDLE",
    "controls_of",
    "matters",
    "name_of",
    "picture",
    "wait_for_change",
    "wait_until_still",
]

NOT_IN_A_PLAYER = ":not(.eip-player *)"
KINDS = [
    control + NOT_IN_A_PLAYER
    for control in ("[role=slider]", "select", "input[type=checkbox]", "input[type=number]")
]
# The keys that set a control one further and one back, and a slider then to its ends. JupyterLab takes
# arrows from a closed list, and presses of letters too, so that a list is opened first.
FORTH, BACK = ["Space", "ArrowDown", "Enter"], ["Space", "ArrowUp", "Enter"]
MOVES = {
    "slider": [["ArrowRight"], ["ArrowLeft"], ["End"], ["Home"]],
    "checkbox": [["Space"]],
    "number": [["ArrowUp"]] * 3,
}
MAY_BE_IDLE = {"Seed"}  # a scenario in which nothing is left to chance is the same for every seed

# All that is drawn in the output of which `control` is a part, but not the icons of buttons; as a number, for
# the drawings of a demo are a megabyte.
PICTURE = """control => {
    const drawn = Array.from(
        control.closest(".jp-OutputArea-output").querySelectorAll("img, canvas, svg:not(button svg)"),
        it => it.tagName === "CANVAS" ? it.toDataURL() : it.src || it.outerHTML,
    ).join();
    let sum = drawn.length;
    for (let i = 0; i < drawn.length; i++) sum = (Math.imul(sum, 31) + drawn.charCodeAt(i)) | 0;
    return sum;
}"""


# To find a control by what it is takes 10 ms in a page with 30,000 nodes, each time that it is used.
MARK = """kinds => {
    const demos = Array.from(document.querySelectorAll(".eip-demo"));
    const found = demos.flatMap(demo => kinds.map(kind => demo.querySelector(kind))).filter(it => it);
    found.forEach((control, number) => { control.dataset.control = number; });
    return found.length;
}"""


def controls_of(page: Page) -> list[Locator]:
    """The first control of each kind in each demo, outside of its player."""
    return [page.locator(f"[data-control='{number}']") for number in range(page.evaluate(MARK, KINDS))]


def picture(part: Locator) -> int:
    drawn: int = part.evaluate(PICTURE)
    return drawn


def wait_for_change(page: Page, part: Locator, before: int, milliseconds: float) -> bool:
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
    for keys in moves(control):
        before = picture(control)
        for key in keys:
            control.press(key)
        if wait_for_change(lab.page, control, before, 300):
            return True
        lab.settle()  # a machine with much to do may draw it later
        if picture(control) != before:
            return True
    return False


def moves(control: Locator) -> list[list[str]]:
    """The keys of each move: of a list as many one way as it may take, three at most, and as many back."""
    kind: str = control.evaluate("node => node.getAttribute('role') ?? node.type")
    if kind == "select-one":
        most = min(3, control.locator("option").count() - 1)
        return [FORTH] * most + [BACK] * most
    return MOVES[kind]


def name_of(control: Locator) -> str:
    """What is written beside a control."""
    name: str = control.evaluate("node => node.closest('.jupyter-widgets').innerText.split('\\n')[0]")
    return name
