"""Controls: what a reader may change about a scenario, and between which ends.

A control is a small fact that tests can read; its widget is made only for display.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anywidget
import ipywidgets

__all__ = ["Control", "Names", "choice", "slider", "toggle"]


@dataclass(frozen=True)
class Control:
    """One argument of a scenario that the reader sets."""

    label: str
    value: Any  #: at the start, and after a reset
    ends: tuple[Any, ...]  #: the least and the most, or every choice
    allows: Callable[[Any], bool]
    make: Callable[[], Any]  #: a fresh widget, without its label

    def widget(self, name: str, label_width: str) -> Any:
        """The widget for the argument `name`."""
        made = self.make()
        made.description = self.label_of(name)
        made.style.description_width = label_width
        made.layout.width = "auto"
        made.layout.max_width = "520px"
        return made

    def label_of(self, name: str) -> str:
        """What the reader sees: the label, or else the argument's name in words."""
        return self.label or name.replace("_", " ").capitalize()


class Names(anywidget.AnyWidget):
    """Gives the sliders of a demo their names for screen readers, which ipywidgets leaves out."""

    _esm = """
    export default {
      render({ el }) {
        el.style.display = "none";
        const handles = () => [...(el.closest(".eip-demo")?.querySelectorAll(".noUi-handle") ?? [])];
        const name = (handle) => {
          const label = handle.closest(".widget-slider")?.querySelector(".widget-label");
          if (label) handle.setAttribute("aria-label", label.textContent);
        };
        let tries = 0; // the sliders appear when their own views are ready
        const timer = setInterval(() => {
          handles().forEach(name);
          if (++tries === 20) clearInterval(timer);
        }, 250);
        return () => clearInterval(timer);
      },
    };
    """


def slider(
    least: float, most: float, step: float = 1, *, value: float | None = None, label: str = ""
) -> Control:
    """A number from `least` to `most`; whole when all that is given is whole.

    Raises ValueError when `least` is not below `most`, or `value` is not between them.
    """
    start = least if value is None else value
    if not least < most or step <= 0:
        raise ValueError(f"a slider needs least < most and a step above 0, not {least:g}, {most:g}, {step:g}")
    if not least <= start <= most:
        raise ValueError(f"the value {start:g} is not between {least:g} and {most:g}")
    whole = all(isinstance(number, int) for number in (least, most, step, start))
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    options = {} if whole else {"readout_format": f".{_decimals(step)}f"}
    return Control(
        label,
        start,
        (least, most),
        lambda v: isinstance(v, int if whole else int | float) and least <= v <= most,
        lambda: kind(value=start, min=least, max=most, step=step, continuous_update=True, **options),
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
        lambda: ipywidgets.Dropdown(options=shown, value=start),
    )


def toggle(value: bool = False, *, label: str = "") -> Control:
    """Yes or no."""
    return Control(
        label,
        value,
        (False, True),
        lambda v: isinstance(v, bool),
        lambda: ipywidgets.Checkbox(value=value),
    )


def _decimals(step: float) -> int:
    text = f"{step:.6f}".rstrip("0")
    return len(text) - text.index(".") - 1
