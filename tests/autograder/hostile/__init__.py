"""Submissions that attack the grader, by theme, each with a name in words and what must become of it."""

from __future__ import annotations

from . import endings, memory, neighbours, outside, protocol, values
from .submissions import Hostile

__all__ = ["HOSTILE", "Hostile"]

HOSTILE: tuple[Hostile, ...] = tuple(
    each for theme in (values, protocol, memory, endings, neighbours, outside) for each in theme.ATTACKS
)
