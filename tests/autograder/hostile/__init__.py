"""Submissions that attack the grader, by theme, each with a name in words and what must become of it."""

from __future__ import annotations

from itertools import chain

from . import endings, forgeries, impostors, machine, outside, patches, reading
from .submissions import Hostile

__all__ = ["HOSTILE", "Hostile"]

HOSTILE: tuple[Hostile, ...] = tuple(
    chain(
        impostors.ATTACKS,
        forgeries.ATTACKS,
        patches.ATTACKS,
        reading.ATTACKS,
        endings.ATTACKS,
        machine.ATTACKS,
        outside.ATTACKS,
    )
)
