"""How a step can end: done, refused, certainly not done, or in doubt.

Two of these come from the participant: it did the work, or it refused it for a reason of the
business. The other two say how well the way to it worked. `NotDone` is definite; anything else that
a carrier raises, a timeout too, is in doubt: it may have happened, or may yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from ..message_queue import Backoff
from ..request_reply import NotDone

__all__ = ["NotDone", "Outcome", "Refused", "Result", "Retry", "Revoked"]


class Refused(Exception):
    """A business failure: the participant answered no, changed nothing, and will give the same answer
    again. Not worth a retry."""


class Revoked(Refused):
    """The action came after its own compensation, which had left a tombstone: it is refused."""


class Outcome(StrEnum):
    """What is known of a step when its attempts are over."""

    DONE = "done"
    REFUSED = "refused"  #: definite, by the participant
    NOT_DONE = "not done"  #: definite: no attempt was carried out
    DOUBT = "doubt"  #: some attempt may have been carried out, or may yet be


@dataclass(frozen=True, slots=True)
class Result:
    """An outcome with the participant's answer, or with the reason in words."""

    outcome: Outcome
    answer: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a command is carried at most, and how long to rest in between."""

    attempts: int = 4
    backoff: Backoff = field(default_factory=partial(Backoff, first=0.5, factor=2.0, most=30.0))

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")
