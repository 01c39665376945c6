"""Demos: a scenario with controls becomes a player and figures, in a few lines.

A control is a small fact that tests can read; its widget is made only for display. Widgets are loaded with
the first demo, since that takes a fifth of a second: whoever judges answers shows none.

A demo shows itself once and afterwards only changes the values of its own widgets, so that the
stored output of a notebook is the same in every run: a static figure of the default run and a
sentence, and, where there is a kernel, the widgets.

*Left out:* running scenarios in the background. A run is short, and the browser sends the next value
of a slider only when the last one is done, keeping the newest alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..trace import Trace
from .clock import simulate
from .figures import Figure, sequence
from .static_image import filled, static_image
from .wording import describe

__all__ = ["Control", "Demo", "choice", "demo", "slider", "toggle"]

RUNNING = "eip-running"  #: the class of a demo whose scenario runs
_DELAY = 0.1  # seconds without a change after which the figures below the player are drawn
_FIGURE = '<div style="background:#fff;border-radius:6px;overflow-x:auto;padding:4px">{{ svg | safe }}</div>'
_FIRST = (  # the picture of a demo without a player, small enough to be seen with the controls
    "<style>.eip-first svg { height: auto; max-height: 430px; "
    "max-width: 100%; min-width: 560px; width: auto; }</style>"
    '<div class="eip-first">{{ figure | safe }}</div>'
)
_STATUS = '<div role="status" style="line-height:1.5">{{ words }}</div>'
_TITLE = "<b>{{ title }}</b>"
_ALERT = (
    '<div role="alert" style="border-left:4px solid #d55e00;padding:6px 12px;line-height:1.5">'
    '<b>{{ says }}</b><br><span style="white-space:pre-line">{{ error }}</span></div>'
)
_COLUMNS = "repeat(auto-fit, minmax(min(100%, 340px), 1fr))"  # as many as there is room for
_STOPPED = "The scenario stopped with an error. The picture shows what happened until then."


class Demo:
    """A scenario, its controls and what they show. `trace` is that of the values set now."""

    def __init__(
        self,
        scenario: Callable[..., Awaitable[Any]],
        controls: Mapping[str, Control],
        *,
        seed: int | None = 0,
        figures: Sequence[Callable[[Trace], Figure]] = (),
        summary: Callable[[Trace], str] = describe,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        player: bool = True,
        title: str = "",
        layout: Sequence[Sequence[str]] | None = None,
        max_events: int = 100_000,
    ) -> None:
        from .player import Player

        self.controls = dict(controls)
        self.presets = {name: dict(values) for name, values in (presets or {}).items()}
        self.figures = tuple(figures)
        self.summary = summary
        self.trace = Trace(())
        self.error: Exception | None = None
        self._scenario = scenario
        self._max_events = max_events
        self._default_seed = seed or 0
        self._quiet = False
        self._waiting: asyncio.Task[None] | None = None
        self._image: dict[str, str] | None = None
        for values in self.presets.values():
            self._check(values)
        self.player = Player(columns=layout) if player else None
        self.box = self._build(title, with_seed=seed is not None)
        self._run()
        self._at_start = None if self.error else self.trace

    # Values

    @property
    def default_values(self) -> dict[str, Any]:
        """The values at the start, by name, without the seed."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def values(self) -> dict[str, Any]:
        """The values set now, by name, without the seed."""
        return {name: widget.value for name, widget in self.widgets.items()}

    def end_points(self) -> Iterator[dict[str, Any]]:
        """The values to test: each control at each of its ends, the others as at the start."""
        for name, control in self.controls.items():
            for end in control.ends:
                yield {**self.default_values, name: end}

    def run(self, *, seed: int | None = None, **values: Any) -> Trace:
        """The trace for these values, the others as at the start. Nothing that is shown changes.

        Raises ValueError for a value that the controls do not allow, and what the scenario raises.
        """
        self._check(values)
        call = partial(self._scenario, **{**self.default_values, **values})
        chosen = self._default_seed if seed is None else seed
        return simulate(call, seed=chosen, max_events=self._max_events)

    def set(self, *, seed: int | None = None, **values: Any) -> None:
        """Set some controls, as the reader would, and show the outcome. Raises ValueError as `run` does."""
        self._check(values)
        self._quiet = True
        try:
            for name, value in values.items():
                self.widgets[name].value = value
            if seed is not None:
                self.seed.value = seed
        finally:
            self._quiet = False
        self._run()

    def press(self, button: str) -> None:
        """Press a preset's button, or "Reset": its values are set, and the others as at the start."""
        seed = self._default_seed if button == "Reset" else None
        self.set(seed=seed, **{**self.default_values, **self.presets.get(button, {})})

    def _check(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"no control {name!r}; there are {', '.join(self.controls)}")
            if not self.controls[name].allows(value):
                raise ValueError(f"{name}={value!r} is not allowed; its ends are {self.controls[name].ends}")

    # What is shown

    def _build(self, title: str, *, with_seed: bool) -> Any:
        import ipywidgets

        from .demo_page import DemoPage

        beside = [c.label_of(name) for name, c in self.controls.items() if c.ends != (False, True)]
        width = f"{max(map(len, [*beside, 'Seed'])) * 0.58 + 0.8:.1f}em"
        self.widgets = {name: control.widget(name, width) for name, control in self.controls.items()}
        self.seed = ipywidgets.BoundedIntText(
            value=self._default_seed, min=0, max=10**6, description="Seed", layout={"width": "auto"}
        )
        self.seed.style.description_width = width
        self.seed.layout.max_width = "520px"
        self._message = ipywidgets.HTML().add_class("eip-words")
        self._drawings = [ipywidgets.HTML() for _ in self.figures]
        for widget in (*self.widgets.values(), self.seed):
            widget.observe(self._changed, "value")
        self.grid = ipywidgets.GridBox(
            [*self.widgets.values(), *[self.seed][:with_seed]],
            layout={"grid_template_columns": _COLUMNS, "grid_gap": "2px 24px"},
        )
        heading = [ipywidgets.HTML(filled(_TITLE, title=title), layout={"margin": "2px 16px 2px 2px"})]
        bar = ipywidgets.HBox([*heading[: bool(title)], *self._buttons()], layout={"flex_flow": "row wrap"})
        shown = [self.player] if self.player else []
        parts = [bar, self.grid, DemoPage(), self._message, *shown, *self._drawings]
        box = ipywidgets.VBox(parts, layout={"max_width": "1100px"})
        box.add_class("eip-demo")
        return box

    def _buttons(self) -> list[Any]:
        import ipywidgets

        acts = {name: partial(self.press, name) for name in [*self.presets, "Reset"]}
        buttons = []
        for name, act in acts.items():
            icon = "undo" if name == "Reset" else ""
            button = ipywidgets.Button(description=name, icon=icon, layout={"width": "auto"})
            button.on_click(lambda _, act=act: act())
            buttons.append(button)
        return buttons

    def _changed(self, _: object) -> None:
        if not self._quiet:
            self._run(later=True)

    def _run(self, *, later: bool = False) -> None:
        """Run and show; with `later` what is slow to draw waits until the values stay as they are.

        Meanwhile the words of the run before are marked as old.
        """
        self.box.add_class(RUNNING)
        try:
            self._run_and_show(later)
        finally:
            self.box.remove_class(RUNNING)

    def _run_and_show(self, later: bool) -> None:
        self.error = None
        try:
            self.trace = self.run(seed=self.seed.value, **self.values)
            words = filled(_STATUS, words=self.summary(self.trace))
        except Exception as error:
            self.error = error
            self.trace = getattr(error, "trace", Trace(()))
            words = _alert(_STOPPED, error)
        if self.player:
            self.player.show(self.trace)
        self._message.value = words
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None
        if later and self.player:
            self._draw_later()
        else:
            self._draw()

    def _draw_later(self) -> None:
        try:
            self._waiting = asyncio.get_running_loop().create_task(self._draw_after(_DELAY))
        except RuntimeError:  # no loop, so nobody drags a slider
            self._draw()

    async def _draw_after(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._draw()

    async def drawn(self) -> None:
        """Wait until the figures show the values that are set now."""
        if self._waiting:
            await self._waiting

    def _draw(self) -> None:
        for n, (shown, figure) in enumerate(zip(self._drawings, self.figures, strict=True)):
            try:
                drawn = filled(_FIGURE, svg=figure(self.trace).svg)
                shown.value = drawn if n or self.player else filled(_FIRST, figure=drawn)
            except Exception as error:
                shown.value = _alert("This figure could not be drawn.", error)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        if self._image is None:
            trace = self.run() if self._at_start is None else self._at_start
            figure = self.figures[0] if self.figures else sequence
            self._image = static_image(figure(trace).svg, self.summary(trace))
        return {**self.box._repr_mimebundle_(**options), **self._image}


def demo(scenario: Callable[..., Awaitable[Any]], controls: Mapping[str, Control], **options: Any) -> Demo:
    """Make `await scenario(**values)` something to play with; `options` are those of `Demo`.

    `presets` are named sets of values, `figures` functions from a trace to a figure, `summary` one to
    a sentence, and `seed` is a control too: None where nothing is left to chance. Raises ValueError for a
    preset that the controls do not allow.
    """
    return Demo(scenario, controls, **options)


# Controls


@dataclass(frozen=True)
class Control:
    """One argument of a scenario that the reader sets."""

    label: str
    value: Any  #: at the start, and after a reset
    ends: tuple[Any, ...]  #: the least and the most, or every choice
    allows: Callable[[Any], bool]
    kind: str  #: of its widget: the name of a class of ipywidgets
    options: Mapping[str, Any]  #: of that class

    def widget(self, name: str, label_width: str) -> Any:
        """The widget for the argument `name`."""
        import ipywidgets

        made = getattr(ipywidgets, self.kind)(**self.options)
        made.description = self.label_of(name)
        made.style.description_width = label_width
        made.layout.width = "auto"
        made.layout.max_width = "520px"
        return made

    def label_of(self, name: str) -> str:
        """The name that the reader sees: the label, or else the argument's name in words."""
        return self.label or name.replace("_", " ").capitalize()


def slider(
    minimum: float, maximum: float, step: float = 1, *, value: float | None = None, label: str = ""
) -> Control:
    """A number from `minimum` to `maximum`; whole when all that is given is whole.

    Raises ValueError when `minimum` is not below `maximum`, or `value` is not between them.
    """
    start, between = minimum if value is None else value, f"between {minimum:g} and {maximum:g}"
    if not minimum < maximum or step <= 0:
        raise ValueError(f"a slider needs minimum < maximum and a step above 0, not {step:g} {between}")
    if not minimum <= start <= maximum:
        raise ValueError(f"the value {start:g} is not {between}")
    whole = all(isinstance(number, int) for number in (minimum, maximum, step, start))
    form = {} if whole else {"readout_format": f".{_decimals(step)}f"}
    return Control(
        label,
        start,
        (minimum, maximum),
        lambda v: isinstance(v, int if whole else int | float) and minimum <= v <= maximum,
        "IntSlider" if whole else "FloatSlider",
        {"value": start, "min": minimum, "max": maximum, "step": step, "continuous_update": True, **form},
    )


def choice(*options: Any, value: Any = None, label: str = "") -> Control:
    """One of the options, at first the first. Raises ValueError for a value that is none of them."""
    if not options:
        raise ValueError("a choice needs at least one option")
    start = options[0] if value is None else value
    if start not in options:
        raise ValueError(f"{start!r} is not one of {', '.join(map(repr, options))}")
    shown = [(str(option), option) for option in options]
    return Control(
        label,
        start,
        options,
        lambda v: v in options,
        "Dropdown",
        {"options": shown, "value": start},
    )


def toggle(value: bool = False, *, label: str = "") -> Control:
    """Yes or no."""
    return Control(
        label,
        value,
        (False, True),
        lambda v: isinstance(v, bool),
        "Checkbox",
        {"value": value, "indent": False},
    )


def _decimals(step: float) -> int:
    text = f"{step:.6f}".rstrip("0")
    return len(text) - text.index(".") - 1


def _alert(says: str, error: Exception) -> str:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return filled(_ALERT, says=says, error=f"{type(error).__name__}: {error}")
