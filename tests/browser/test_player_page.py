"""The player's browser half on a page of its own: keys, words, reduced motion, and what it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from playwright.sync_api import Browser, Page

from eip_ref.lab import simulate
from eip_ref.lab.player import Player
from eip_ref.lab.scene import scene
from eip_ref.lab.wording import describe
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.trace import Event, Trace, acting

MOUNT = """async ([script, style, state]) => {
  const sheet = document.createElement("style");
  sheet.textContent = style;
  document.head.append(sheet);
  const module = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const listeners = {};
  window.model = {
    get: (name) => state[name],
    set(name, value) { state[name] = value; (listeners["change:" + name] ?? []).forEach((act) => act()); },
    on(names, act) { names.split(" ").forEach((name) => (listeners[name] ??= []).push(act)); },
    off() {},
  };
  const el = document.getElementById("here");
  module.default.render({ model: window.model, el });
  window.player = el.eipPlayer;
}"""
CHANGE = """(scene) => {
  const drawn = () => player.canvas.toDataURL(), before = drawn();
  model.set("scene", scene);
  return drawn() !== before;
}"""
STILL = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  await frame(); // after it the page has its size, which asks for another one
  do await frame(); while (player.frame);
}"""
PLAY = """async (frames) => {
  const { stage } = player, drawToken = stage.drawToken.bind(stage), render = player.render.bind(player);
  const ask = requestAnimationFrame, drawn = [];
  let pictures = [];
  stage.drawToken = (token, ...how) => { drawToken(token, ...how); pictures.at(-1).add(token); };
  player.render = (dt) => { pictures.push(new Set()); return render(dt); };
  await new Promise((done) => {
    window.requestAnimationFrame = (tick) => ask(() => {
      pictures = [];
      tick(drawn.length); // a millisecond later, however long it took
      drawn.push(pictures.map((tokens) => tokens.size));
      if (drawn.length === frames) done();
    });
    player.toggle();
  });
  return drawn;
}"""
Open = Callable[..., Page]


def burst(count: int, *, workers: int = 3, gap: float = 0.01, work: float = 1.0) -> Trace:
    """Many orders at once, worked on slowly."""

    async def handle(_: Message) -> None:
        await anyio.sleep(work)

    async def scenario() -> None:
        async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
            for number in range(1, workers + 1):
                with acting(f"worker-{number}"):
                    group.start_soon(Worker(queue, handle).run)
            with acting("shop"):
                for number in range(1, count + 1):
                    await queue.put(Message(f"order {number}"))
                    await anyio.sleep(gap)
            queue.close()

    return simulate(scenario)


@pytest.fixture
def open_player(browser: Browser) -> Iterator[Open]:
    """Open a page with a player of a trace; an error on the page fails the test."""
    errors: list[str] = []
    contexts = []

    def open_page(trace: Trace, *, reduced_motion: Any = "no-preference") -> Page:
        context = browser.new_context(viewport={"width": 900, "height": 700}, reduced_motion=reduced_motion)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_content('<body style="background: white"><div id="here"></div>')
        state = {"title": "", "description": describe(trace), "speed": 1, "scene": scene(trace)}
        page.evaluate(MOUNT, [str(Player._esm), str(Player._css), state])
        page.evaluate(STILL)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def shown(page: Page) -> str:
    """The caption, which is written when a frame is drawn."""
    page.evaluate(STILL)
    return page.locator(".eip-caption").inner_text()


def test_keys_step_through_the_events_and_the_caption_says_each(open_player: Open) -> None:
    """Arrows, Home and End on the stage; what happened is said in a live region."""
    page = open_player(burst(3))
    stage = page.locator("canvas.eip-stage")
    stage.press("Home")
    stage.press("ArrowRight")
    second = shown(page)
    stage.press("End")
    assert "worker" in shown(page)
    stage.press("Home")
    stage.press("ArrowRight")
    assert shown(page) == second
    assert page.locator(".eip-caption").get_attribute("aria-live") == "polite"


def test_space_plays_and_pauses(open_player: Open) -> None:
    """While it plays, the live region is silent."""
    page = open_player(burst(3))
    stage = page.locator("canvas.eip-stage")
    stage.press("Space")
    assert page.locator(".eip-caption").get_attribute("aria-live") == "off"
    stage.press("Space")
    assert page.evaluate("player.playing") is False


def test_arrows_up_and_down_show_the_history_of_a_message(open_player: Open) -> None:
    """On the screen and for a screen reader; Escape hides it."""
    page = open_player(burst(5))
    stage, history = page.locator("canvas.eip-stage"), page.locator(".eip-history")
    stage.press("ArrowDown")
    assert "orders accepts order" in history.inner_text()
    assert "orders accepts order" in page.locator(".eip-unseen[role=status]").inner_text()
    stage.press("Escape")
    assert history.is_hidden()


def test_the_history_of_a_chosen_message_stays_and_grows(open_player: Open) -> None:
    """While the pointer leaves and events pass; at the end nothing is left to come."""
    page = open_player(burst(5))
    stage, history = page.locator("canvas.eip-stage"), page.locator(".eip-history")
    stage.press("Home")
    stage.press("ArrowRight")
    page.get_by_role("combobox", name="History").select_option(index=1)
    assert "more to come" in history.inner_text()
    stage.hover(position={"x": 2, "y": 2})
    page.mouse.move(0, 0)
    assert history.is_visible()
    page.get_by_role("button", name="To the end").click()
    page.evaluate(STILL)
    assert "acknowledges order 1" in history.inner_text()
    assert "more to come" not in history.inner_text()


def test_the_history_covers_neither_the_caption_nor_the_controls(open_player: Open) -> None:
    """It opens below them."""
    page = open_player(burst(5))
    page.locator("canvas.eip-stage").press("ArrowDown")
    box = page.locator(".eip-history").bounding_box()
    controls = page.locator(".eip-controls").bounding_box()
    assert box
    assert controls
    assert box["y"] >= controls["y"] + controls["height"]


def test_arrows_step_while_a_button_has_the_focus(open_player: Open) -> None:
    """Space still presses the button, and a list keeps its arrows."""
    page = open_player(burst(3))
    play = page.get_by_role("button", name="Play", exact=True)
    play.press("Home")
    play.press("ArrowRight")
    assert page.evaluate("player.index") == 1
    play.press("Space")
    assert page.evaluate("player.playing") is True
    page.get_by_role("button", name="Pause").press("Space")
    index = page.evaluate("player.index")
    page.get_by_role("combobox", name="Speed").press("ArrowRight")
    assert page.evaluate("[player.index, player.playing]") == [index, False]


def test_the_keys_are_told_on_the_screen(open_player: Open) -> None:
    """And to a screen reader, as the description of the stage."""
    page = open_player(burst(3))
    keys = page.locator(".eip-keys")
    assert keys.is_visible()
    assert "→ one event" in keys.inner_text()
    assert page.locator("canvas.eip-stage").get_attribute("aria-describedby") == keys.get_attribute("id")


def away_for_a_while() -> Trace:
    """A receiver that crashes, and one that goes away and comes back."""
    facts: list[tuple[float, str, str, dict[str, Any]]] = [
        (0, "delivered", "m1", {}),
        (1, "state", "", {"was": "here", "now": "away"}),
        (3, "state", "", {"was": "away", "now": "here"}),
        (4, "delivered", "m2", {}),
    ]
    events = [Event(at, kind, "invoices", message, "billing", data) for at, kind, message, data in facts]
    return Trace((*events, Event(5, "crashed", "billing", "", "billing", {})))


def test_a_receiver_that_is_away_is_hatched_and_said(open_player: Open) -> None:
    """Its box, and the time in the strip, which explains its signs."""
    page = open_player(away_for_a_while())
    billing = page.evaluate("player.film.boxes.findIndex((box) => box[0] === 'billing')")
    seen = []
    for event in range(5):
        page.evaluate(f"player.go({event}); player.render(0)")
        seen.append(page.evaluate(f"player.stage.footer({billing})"))
    assert seen == ["", "away", "", "", "crashed"]
    assert page.evaluate("player.film.absences()") == [[billing, 1, 3]]
    legend = page.evaluate("player.strip.legend(player.film, 1)")
    assert legend.endswith("· × a crash · hatched: billing away")


def test_every_control_has_a_name(open_player: Open) -> None:
    """Buttons, lists and the slider can be told apart without seeing them."""
    page = open_player(burst(3))
    names = ["To the start", "Previous event", "Play", "Next event", "To the end"]
    assert [page.get_by_role("button", name=name, exact=True).count() for name in names] == [1] * 5
    assert [page.get_by_role("combobox", name=name).count() for name in ("History", "Speed")] == [1, 1]
    slider = page.get_by_role("slider", name="Time")
    assert "event" in str(slider.get_attribute("aria-valuetext"))


def test_a_trace_in_which_nothing_happened_is_no_error(open_player: Open) -> None:
    """It says so, and every key may be pressed."""
    page = open_player(Trace(()))
    for key in ("Space", "ArrowRight", "ArrowDown", "Home", "End"):
        page.locator("canvas.eip-stage").press(key)
    assert shown(page) == "Nothing happened in this trace."


def test_with_reduced_motion_tokens_jump(open_player: Open) -> None:
    """After a step each token is at its place at once."""
    page = open_player(burst(6), reduced_motion="reduce")
    page.evaluate("player.go(6)")
    page.evaluate(STILL)
    page.evaluate("player.go(7); player.render(1 / 60)")
    assert page.evaluate("player.stage.visible.every((t) => player.stage.px[t] === player.stage.tx[t])")


def test_another_trace_is_drawn_at_once_in_the_same_place(open_player: Open) -> None:
    """A thousand events, on the canvas when the change returns; the page keeps the canvas and the focus."""
    page = open_player(burst(200))
    page.locator("canvas.eip-stage").focus()
    page.evaluate("window.before = document.activeElement")
    assert page.evaluate(CHANGE, scene(burst(250)))
    assert page.evaluate("player.film.length") > 1000
    assert page.evaluate("document.activeElement === window.before")


def test_each_of_500_messages_is_drawn_in_each_frame(open_player: Open) -> None:
    """No message is left out because there are many, and no frame that was asked for."""
    page = open_player(burst(500, work=20))
    page.evaluate("player.scrub(5 / player.film.end)")
    assert page.evaluate(PLAY, 10) == [[500]] * 10
