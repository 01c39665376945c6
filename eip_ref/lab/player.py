"""The player: a trace as a moving picture, in JupyterLab, Notebook and VS Code.

Python works out what is to be seen (`scene.py`); the browser half, in the `.js` files beside this one,
moves it. Beside the widget the display holds a static figure and a sentence, for print and for places
without a kernel.

*Left out:* recording a video, and synchronising two players.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..trace import Trace
from .figures import sequence
from .scene import scene
from .static_image import static_image
from .wording import describe

__all__ = ["Player", "player"]

_HERE = Path(__file__).parent
_PARTS = ("film", "plan", "stage")
_SCRIPTS = (*(f"player_{part}.js" for part in _PARTS), "player.js")


class Player(anywidget.AnyWidget):
    """A widget that plays a trace. Assign `trace`, or call `show`, to play another in its place."""

    _esm = "\n".join((_HERE / script).read_text(encoding="utf-8") for script in _SCRIPTS)
    _css = (_HERE / "player.css").read_text(encoding="utf-8")

    title = traitlets.Unicode().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)  #: the trace in words, for screen readers
    speed = traitlets.Float(1.0).tag(sync=True)  #: with which it starts; 1 takes 4 to 45 seconds
    scene = traitlets.Dict().tag(sync=True)
    trace = traitlets.Instance(Trace, args=((),))
    columns = traitlets.Any(None, allow_none=True)  #: names by column, or None to work them out

    @traitlets.observe("trace", "columns")
    def _redraw(self, _: object) -> None:
        with self.hold_sync():
            self.description = describe(self.trace)
            self.scene = scene(self.trace, self.columns)

    def show(self, trace: Trace) -> None:
        """Play another trace in the same place, at the same moment and speed."""
        self.trace = trace

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = super()._repr_mimebundle_(**options)
        bundle, metadata = shown if isinstance(shown, tuple) else (shown or {}, {})
        return {**bundle, **static_image(sequence(self.trace).svg, self.description)}, metadata


def player(
    trace: Trace,
    *,
    title: str = "",
    layout: Sequence[Sequence[str]] | None = None,
    speed: float = 1.0,
) -> Player:
    """A widget that plays the trace; `layout` names the boxes of each column, from left to right.

    Raises ValueError for a speed of 0 or less.
    """
    if speed <= 0:
        raise ValueError(f"the speed must be more than 0, not {speed:g}")
    return Player(trace=trace, title=title, columns=layout, speed=speed)
