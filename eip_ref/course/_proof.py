"""Predictions whose answer is proved: by a run of their lesson, and a reading of it.

A lesson's notebook runs something and keeps it under a name. Of that run a prediction takes one reading, and
says for each of its options what the reading would be if this option were right. A test runs each notebook
and finds that the answer's claim holds and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..autograder.predict import Prediction

__all__ = ["Proved"]


@dataclass(frozen=True, kw_only=True)
class Proved(Prediction):
    """A prediction with its proof. Raises ValueError when it is wrong."""

    run: str  #: the name that the notebook gives to the run: of a trace, or of what the reading runs itself
    reading: Callable[[Any], object]  #: of the run: a value to compare with the claims
    claims: Mapping[str, object]  #: for each option the reading that would make it true
    options: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.claims))
        super().__post_init__()

    def true_options(self, notebook: Mapping[str, Any]) -> list[str]:
        """The options whose claim holds in a notebook that has run, given what it calls by which name."""
        found = self.reading(notebook[self.run])
        return [option for option, claim in self.claims.items() if claim == found]
