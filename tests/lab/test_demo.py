"""Demos: values in, trace and picture out, tested without a browser."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from eip_ref.lab.demo import RUNNING, Control, Demo, choice, demo, slider, toggle
from eip_ref.lab.figures import Figure
from eip_ref.lab.static_image import image
from eip_ref.trace import Kind, Trace, record


async def orders(rate: float = 2.0, count: int = 3, how: str = "calm", fail: bool = False) -> None:
    for number in range(1, count + 1):
        record(Kind.SENT, "orders", f"m{number}", who="shop", label=f"order {number}")
        record(Kind.ACCEPTED, "orders", f"m{number}", who="shop")
        await anyio.sleep(1 / rate)
    if fail:
        raise ValueError("no <room> left")


def controls() -> dict[str, Control]:
    return {
        "rate": slider(0.5, 5, 0.5, value=2, label="Arrivals per second"),
        "count": slider(1, 9, value=3),
        "how": choice("calm", "storm"),
        "fail": toggle(),
    }


def shop(**options: Any) -> Demo:
    return demo(orders, controls(), presets={"storm": {"rate": 5, "count": 9}}, **options)


def figure_of(trace: Trace) -> Figure:
    return Figure(f"<svg>{len(trace)} events</svg>", "")


def test_a_demo_runs_its_default_values_at_once() -> None:
    """It never shows nothing."""
    made = shop()
    assert made.default_values == {"rate": 2, "count": 3, "how": "calm", "fail": False}
    assert len(made.trace) == 6
    assert made.player is not None
    assert made.player.trace is made.trace


def test_a_demo_says_while_its_scenario_runs_that_what_it_shows_is_old() -> None:
    """The controls have new values already. It ends with the run, also with one that fails."""
    marked = []

    async def scenario(fail: bool) -> None:
        if made:
            marked.append(RUNNING in made[0].box._dom_classes)
        await orders(fail=fail)

    made: list[Demo] = []
    made.append(demo(scenario, {"fail": toggle()}))
    for fail in (False, True):
        made[0].set(fail=fail)
        assert RUNNING not in made[0].box._dom_classes
    assert marked == [True, True]


def test_end_points_cover_each_end_of_each_control() -> None:
    """Two for a slider and a switch, one for each choice, all else as at the start."""
    ends = list(shop().end_points())
    assert len(ends) == 8
    assert {"rate": 5, "count": 3, "how": "calm", "fail": False} in ends


def test_run_gives_a_trace_and_changes_nothing_that_is_shown() -> None:
    """So that a test may run any values."""
    made = shop()
    assert len(made.run(count=9)) == 18
    assert len(made.trace) == 6


def test_moving_a_control_changes_the_picture() -> None:
    """The trace, the player and the words follow."""
    made = shop()
    made.widgets["count"].value = 5
    assert len(made.trace) == 10
    assert "5 messages" in made._message.value
    assert made.player is not None
    assert len(made.player.scene["at"]) == 10


def test_it_runs_once_for_several_values_and_not_to_be_displayed() -> None:
    """The reader never sees a mixture of old and new values, nor waits for a picture that is there."""
    ran: list[int] = []

    async def count_runs(a: int = 1, b: int = 1) -> None:
        ran.append(a + b)

    made = demo(count_runs, {"a": slider(1, 9), "b": slider(1, 9)})
    made.set(a=4, b=5)
    made._repr_mimebundle_()
    assert ran == [2, 9]


def test_a_preset_button_sets_its_values_and_the_others_as_at_the_start() -> None:
    """A preset is the same picture every time."""
    made = shop()
    made.set(how="storm")
    made.press("storm")
    assert made.values == {"rate": 5, "count": 9, "how": "calm", "fail": False}


def test_reset_sets_all_values_and_the_seed_as_at_the_start() -> None:
    """Nothing of what was tried remains."""
    made = shop(seed=7)
    made.set(seed=8, count=9)
    made.press("Reset")
    assert made.values == made.default_values
    assert made.trace.seed == 7


@pytest.mark.parametrize(
    ("values", "says"),
    [({"speed": 1}, "no control 'speed'"), ({"rate": 9}, "rate=9 is not allowed"), ({"how": "x"}, "how='x'")],
)
def test_a_value_that_no_control_allows_is_an_error(values: dict[str, Any], says: str) -> None:
    """In `set` and `run`, and for presets already when the demo is made."""
    for attempt in (shop().set, shop().run):
        with pytest.raises(ValueError, match=says):
            attempt(**values)
    with pytest.raises(ValueError, match=says):
        demo(orders, controls(), presets={"wrong": values})


def test_an_error_of_the_scenario_is_shown_with_the_trace_so_far() -> None:
    """Never a stale picture; and the error is gone with the next good values."""
    made = shop()
    made.set(fail=True, count=2)
    assert isinstance(made.error, ValueError)
    assert 'role="alert"' in made._message.value
    assert "no &lt;room&gt; left" in made._message.value
    assert len(made.trace) == 4
    made.set(fail=False)
    assert made.error is None
    assert 'role="alert"' not in made._message.value


def test_an_error_of_a_figure_is_shown_in_its_place() -> None:
    """The other figures are drawn all the same."""

    def broken(_: Trace) -> Figure:
        raise RuntimeError("no ink")

    made = shop(figures=[broken, figure_of])
    assert "no ink" in made._drawings[0].value
    assert "6 events" in made._drawings[1].value


def test_figures_wait_until_a_slider_rests() -> None:
    """While it is dragged the player follows at once, and stale figures are never drawn."""
    drawn: list[int] = []

    def figure(trace: Trace) -> Figure:
        drawn.append(len(trace))
        return figure_of(trace)

    async def drag(made: Demo) -> None:
        for count in (4, 5, 6, 7):
            made.widgets["count"].value = count
        assert drawn == []
        await asyncio.wait_for(made.drawn(), 5)

    made = shop(figures=[figure])
    drawn.clear()
    asyncio.run(drag(made))
    assert drawn == [14]


def test_without_a_player_the_figures_follow_at_once() -> None:
    """They are then the only picture."""
    made = shop(player=False, figures=[figure_of])
    made.widgets["count"].value = 9
    assert "18 events" in made._drawings[0].value


def test_the_display_is_the_same_in_every_run_but_for_the_model() -> None:
    """A static figure of the default run and a sentence, whatever the reader has tried."""
    view = "application/vnd.jupyter.widget-view+json"
    first, second = shop(figures=[figure_of]), shop(figures=[figure_of])
    second.set(count=9)
    bundles = [made._repr_mimebundle_() for made in (first, second)]
    assert view in bundles[0]
    assert (
        bundles[0]["text/html"]
        == bundles[1]["text/html"]
        == image("<svg>6 events</svg>", first.summary(first.run()))
    )
    assert bundles[0]["text/plain"] == bundles[1]["text/plain"]


def test_every_control_has_a_name_that_a_reader_sees() -> None:
    """The label, or the argument's name in words."""
    names = {widget.description for widget in shop().widgets.values()}
    assert names == {"Arrivals per second", "Count", "How", "Fail"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: slider(5, 1), "minimum < maximum"),
        (lambda: slider(1, 5, value=9), "not between"),
        (lambda: choice(), "at least one option"),
        (lambda: choice("a", value="b"), "not one of"),
    ],
)
def test_a_control_that_cannot_be_is_refused(wrong: Any, says: str) -> None:
    """With what to do instead."""
    with pytest.raises(ValueError, match=says):
        wrong()


def test_the_seed_is_a_control_where_something_is_left_to_chance() -> None:
    """Elsewhere it would only be in the way."""
    chance, none = shop(), shop(seed=None)
    assert chance.grid.children == (*chance.widgets.values(), chance.seed)
    assert none.grid.children == tuple(none.widgets.values())
    assert none.trace.seed == 0


def test_the_first_picture_of_a_demo_without_a_player_is_small() -> None:
    """So that it is seen with the controls; what comes below keeps its size."""
    made = shop(figures=[figure_of, figure_of], player=False)
    assert ["max-height" in drawn.value for drawn in made._drawings] == [True, False]
    assert "max-height" not in shop(figures=[figure_of])._drawings[0].value
