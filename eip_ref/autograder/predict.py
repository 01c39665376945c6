"""A prediction: the learner says what will happen before the notebook shows it.

`predict("lesson/name")` is the last line of a cell. In a running notebook it shows the choices,
nothing chosen beforehand; the answer and the reason come once the learner has committed to one. It
never waits, so a notebook runs from top to bottom without anybody. Where there is no kernel a static
form is left, with the answer folded away.

*Left out:* hiding the answer from somebody who reads the notebook's source.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import course, page, registry
from .progress import Fact, remember

if TYPE_CHECKING:
    import anywidget

__all__ = ["Prediction", "UnknownPrediction", "predict", "predictions"]


class UnknownPrediction(LookupError):
    """No prediction or lesson has this name."""


@dataclass(frozen=True)
class Prediction:
    """A question, its options, the right one, and why. Displays itself; raises ValueError when wrong."""

    question: str
    options: tuple[str, ...]
    answer: str
    why: str
    name: str  #: "message_queue/who_works": what the progress board knows it by

    def __post_init__(self) -> None:
        if len(self.options) < 2 or len(set(self.options)) != len(self.options):
            raise ValueError(f"a prediction needs two options or more, all different, not {self.options}")
        if self.answer not in self.options:
            raise ValueError(f"the answer {self.answer!r} must be one of the options {self.options}")

    def outcome(self, chosen: int) -> dict[str, Any]:
        """The outcome of a choice, as the learner is told: right or not, in words and as HTML."""
        right = self.options[chosen] == self.answer
        verdict = "✓ Right." if right else f"✗ Not so. The answer is: {self.answer}"
        return {"right": right, "verdict": page.prose(verdict), "why": page.prose(self.why)}

    def chosen(self, choice: int) -> dict[str, Any]:
        """Remember a choice in the learner's progress, and return its outcome."""
        outcome = self.outcome(choice)
        facts = {"choice": self.options[choice], "right": outcome["right"]}
        if unsaved := remember(Fact("predicted", self.name, facts)):
            outcome["why"] += page.prose(f"\n{unsaved}")
        return outcome

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """The live widget, and beside it what is read where no kernel runs."""
        live = _widget(self)._repr_mimebundle_() or ({}, {})
        views = live[0] if isinstance(live, tuple) else live
        views = {kind: view for kind, view in views.items() if not kind.startswith("text/")}
        return {"text/plain": str(self), "text/html": self._html(), **views}

    def __str__(self) -> str:
        options = "\n".join(f"  ( ) {option}" for option in self.options)
        return (
            f"Predict: {self.question}\n{options}\nRun this cell in Jupyter to choose and to see the answer."
        )

    __repr__ = __str__

    def _html(self) -> str:
        return page.render("prediction.html", asked=self)


def predict(name: str) -> Prediction:
    """Ask for the prediction "lesson/name" of `eip_ref.course.<lesson>.predictions`.

    Raises `UnknownPrediction`, with the names that there are, and `Mixture` in a copy that does not go with
    the package.
    """
    course.refuse_mixture()
    lesson = name.partition("/")[0]
    known = {each.name: each for each in predictions(lesson)}
    if name not in known:
        raise UnknownPrediction(f"there is no prediction {name!r}; {lesson} has {', '.join(known)}")
    return known[name]


def predictions(lesson: str) -> tuple[Prediction, ...]:
    """All predictions of a lesson, in their order. Raises `UnknownPrediction`."""
    try:
        found = importlib.import_module(f"{registry.PACKAGE}.{lesson}.predictions")
    except ModuleNotFoundError as error:
        words = f"no lesson {lesson!r} has predictions; there are {', '.join(registry.names())}"
        raise UnknownPrediction(words) from error
    return tuple(found.PREDICTIONS)


def _widget(prediction: Prediction) -> anywidget.AnyWidget:
    widget: anywidget.AnyWidget = _widget_class()(
        question=page.prose(prediction.question), options=[page.prose(each) for each in prediction.options]
    )

    def answer(change: Any) -> None:
        widget.outcome = prediction.chosen(change["new"])

    widget.observe(answer, "choice")
    return widget


@cache
def _widget_class() -> type[anywidget.AnyWidget]:
    import anywidget  # loaded when a prediction is shown, not when eip_ref is imported
    import traitlets

    class PredictionWidget(anywidget.AnyWidget):
        """The question in the browser. The answer is not sent there before a choice is made."""

        _esm = Path(__file__).with_name("predict.js")
        question = traitlets.Unicode().tag(sync=True)
        options = traitlets.List(traitlets.Unicode()).tag(sync=True)
        choice = traitlets.Int(-1).tag(sync=True)
        outcome = traitlets.Dict().tag(sync=True)

    return PredictionWidget
