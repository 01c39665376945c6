"""The pages of the applications in a browser: long words, two clicks at once, and nobody who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from eip_ref.apps import Opened
from tests.browser.lab import PATIENCE

Start = Callable[[str], tuple[Opened, Page]]
LONG = "W" * 200
NOBODY = "does not answer"


@pytest.fixture
def start(browser: Browser) -> Iterator[Start]:
    """Start an application and open its page; an error on the page fails the test."""
    errors: list[str] = []
    opened: list[Opened] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    expect.set_options(timeout=PATIENCE)

    def open_page(name: str) -> tuple[Opened, Page]:
        opened.append(Opened(name))
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(opened[-1].url)
        expect(page.locator("#state")).to_have_text("live")
        return opened[-1], page

    yield open_page
    context.close()
    for each in opened:
        each.close()
    assert errors == []


def standing(app: Opened) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{app.url}/standing", trust_env=False).json()
    return found


def set_running(app: Opened, part: str, running: bool) -> None:
    httpx.put(f"{app.url}/parts/{part}", json={"running": running}, trust_env=False)


@pytest.mark.parametrize("name", ["dashboard", "gateway"])
@pytest.mark.parametrize("width", [1280, 800, 360])
def test_no_page_is_wider_than_its_window(start: Start, name: str, width: int) -> None:
    """Also with the longest name that a user can have."""
    app, page = start(name)
    page.set_viewport_size({"width": width, "height": 900})
    if name == "dashboard":
        httpx.post(f"{app.url}/users", json={"name": LONG, "email": "w@shop"}, trust_env=False)
        expect(page.locator("#rows")).to_contain_text(LONG)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# The dashboard


def test_a_user_with_the_longest_name_is_registered(start: Start) -> None:
    """The address that the page makes of a name is no longer than an address may be."""
    _, page = start("dashboard")
    page.fill("#name", LONG)
    page.click("#look")
    expect(page.locator("#told-register")).to_contain_text("it is there")


def test_two_clicks_register_one_user(start: Start) -> None:
    """The second one comes while the first is under way."""
    app, page = start("dashboard")
    set_running(app, "projector", False)
    page.dblclick("#look")
    assert standing(app)["log"] + standing(app)["outbox"] == 1


def test_two_users_of_one_name_can_be_told_apart(start: Start) -> None:
    """In the list of customers, and among those who can be billed."""
    app, page = start("dashboard")
    for id in ("first", "second"):
        httpx.post(f"{app.url}/users", json={"id": id, "name": "Ann", "email": "a@shop"}, trust_env=False)
    expect(page.locator("#rows tr").filter(has_text="Ann")).to_have_count(2)
    choices = page.locator("#who option").all_inner_texts()
    rows = page.locator("#rows tr").all_inner_texts()
    assert len(set(choices)) == len(choices)
    assert len(set(rows)) == len(rows)


def test_twenty_charges_are_for_one_customer(start: Start) -> None:
    """Also for somebody new, whom the view has not shown yet."""
    app, page = start("dashboard")
    set_running(app, "projector", False)
    page.click("#burst")
    expect(page.locator("#told-bill")).to_contain_text("version 20")
    set_running(app, "projector", True)
    expect(page.locator("#rows tr").filter(has_text="guest")).to_have_count(1)


def test_events_that_come_again_are_counted_also_after_the_projector_was_dead(start: Start) -> None:
    """Losing its place starts it."""
    _, page = start("dashboard")
    page.click("#burst")
    expect(page.locator("#told-bill")).to_contain_text("version 20")
    expect(page.locator("#n-behind")).to_have_text("0")
    page.click("#b-projector")
    expect(page.locator("#is-projector")).to_have_text("The projector is dead")
    page.click("#repeat")
    expect(page.locator("#told-break")).to_contain_text("The view knew 5 of them, by their versions")


def test_no_event_can_come_again_before_there_is_one(start: Start) -> None:
    """And the page says so."""
    _, page = start("dashboard")
    page.click("#repeat")
    expect(page.locator("#told-break")).to_contain_text("no event yet")


def test_a_rebuild_says_that_it_is_done(start: Start) -> None:
    """Where it was asked for, since nothing else changes; and why not, where it cannot be done."""
    _, page = start("dashboard")
    page.click("#rebuild")
    expect(page.locator("#told-view")).to_contain_text("built again from the log: 0 customers")
    page.click("#poison")
    expect(page.locator("#told-way")).to_contain_text("Set aside")
    page.click("#rebuild")
    expect(page.locator("#told-view")).to_contain_text("409")
    page.click("#mend")
    expect(page.locator("#told-view")).to_contain_text("shows all")
    expect(page.locator("#told-way")).to_be_hidden()


# When nobody answers


BUTTONS = {
    "dashboard": {"look": "register", "charge": "bill", "burst": "bill", "rebuild": "view"}
    | dict.fromkeys(("b-relay", "b-projector", "repeat", "poison", "dual"), "break"),
    "gateway": {"ask": "", "rush": ""},
}


@pytest.mark.parametrize(("name", "buttons"), BUTTONS.items())
def test_a_button_says_that_nobody_answers(start: Start, name: str, buttons: dict[str, str]) -> None:
    """Each where its answers are said, and the page says above all that it is old. No focus is lost."""
    app, page = start(name)
    app.close()
    expect(page.locator("#state")).to_contain_text("what you see is old")
    for button, box in buttons.items():
        told = page.locator(f"#told-{box}" if box else "#told")
        told.evaluate("node => node.textContent = ''")
        page.locator(f"#{button}").press("Enter")
        expect(told).to_contain_text(NOBODY)
        expect(page.locator(f"#{button}")).to_be_focused()


# The gateway


def test_each_bar_says_how_its_call_ended(start: Start) -> None:
    """In words: a colour alone says nothing to some."""
    app, page = start("gateway")
    httpx.put(f"{app.url}/-/services/users", json={"condition": "failing"}, trust_env=False)
    page.click("#ask")
    expect(page.locator("#gantt text", has_text="failed").first).to_be_visible()
    assert "call users failed at" in str(page.locator("#gantt").get_attribute("aria-label"))
    httpx.put(f"{app.url}/-/services/orders", json={"condition": "slow"}, trust_env=False)
    page.click("#ask")
    # The chart is drawn anew twice a second: what was found a moment ago may be in the page no more.
    expect(page.locator("#gantt text.within").first).to_have_css("fill", "rgb(255, 255, 255)")
    expect(page.locator("#gantt .bar.bad").first).to_have_css("fill", "rgb(184, 74, 0)")  # 5.4 to 1


def test_a_click_is_answered_while_the_gateway_waits(start: Start) -> None:
    """Nothing of the answer before is left to be taken for this one."""
    app, page = start("gateway")
    page.click("#ask")
    expect(page.locator("#body")).to_contain_text("Ann")
    httpx.put(f"{app.url}/-/services/orders", json={"condition": "slow"}, trust_env=False)
    page.click("#ask")
    expect(page.locator("#told")).to_have_text("Asking …")
    expect(page.locator("#body")).to_be_hidden()
    expect(page.locator("#told")).to_contain_text("504")
