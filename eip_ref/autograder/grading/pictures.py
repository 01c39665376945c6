"""Pictures of traces that failed. Equal traces give equal pictures, so a class needs few."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from .. import registry
from ..judging import judge_trace
from ..report import picture
from .results import Results, course_digest, digest

__all__ = ["Picture", "Pictures", "draw", "missing"]


@dataclass(frozen=True)
class Picture:
    """An SVG and the same in words; both "" where there was nothing to draw."""

    svg: str = ""
    alt: str = ""
    why: str = ""  #: the reason why there is none, in words


def draw(exercise: str, trace: str) -> str:
    """The picture of a trace as JSON; an empty one when the trace cannot be drawn.

    A trace comes from the process that ran a learner's code, so that it can hold anything.
    """
    try:
        drawn = Picture(*picture(judge_trace(registry.find(exercise), trace, seed=0)) or ("", ""))
    except Exception:
        return missing("this run cannot be drawn")
    return _to_json(drawn)


def missing(why: str) -> str:
    """As `draw`, for a picture that was not drawn."""
    return _to_json(Picture(why=f"The picture is missing: {why}."))


def _to_json(picture: Picture) -> str:
    return json.dumps(asdict(picture), ensure_ascii=False)


class Pictures:
    """Those that are kept with the results, by what they show."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def name(self, exercise: str, trace: str) -> str:
        """The name of the picture of this trace, whether it is drawn or not; "" for no trace."""
        lesson = exercise.partition("/")[0]
        return digest(exercise, trace, course_digest(lesson))[:32] if trace else ""

    def __contains__(self, name: str) -> bool:
        return self._results.has(self._file(name))

    def keep(self, name: str, picture: str) -> None:
        """Keep what `draw` gave."""
        self._results.write(self._file(name), picture)

    def get(self, name: str) -> Picture:
        """The picture of this name; an empty one when there is none."""
        text = self._results.read(self._file(name)) if name else ""
        return Picture(**json.loads(text)) if text else Picture()

    @staticmethod
    def _file(name: str) -> str:
        return f".pictures/{name}.json"
