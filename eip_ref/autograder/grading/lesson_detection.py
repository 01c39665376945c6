"""Of which lesson is a notebook? Its file's name tells, else the exercises that it mentions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from .. import registry
from ..registry import Lesson, Outline

__all__ = ["as_written", "mentioned", "named"]

MOST_MENTIONS = 5_000  #: a notebook of a lesson has some 20
MENTIONED = re.compile(rb'(?:check\(\\?["\']|"grade_id": *")([a-z0-9_]+)(?:/([a-z0-9_]+))?')


def named(stem: str, lessons: Iterable[Outline]) -> str:
    """The module of the lesson that a file's name tells, however it writes it; "" when it tells none."""
    hits = [each.module for each in lessons if re.search(as_written(each), stem)]
    return max(hits, key=len, default="")


def as_written(lesson: Outline) -> str:
    """A pattern for the lesson in the name of a file: `Message-Queue`, `messagequeue` …"""
    words = r"[_ -]?".join(map(re.escape, lesson.module.split("_")))
    return rf"(?i:(?<![a-z]){words}(?![a-z]))"


def mentioned(data: bytes, lessons: Iterable[Outline]) -> str:
    """The module of the lesson of most exercises that a notebook mentions; "" when it mentions none.

    It is read as bytes, so it need be no JSON. What comes after many mentions is not read. As a rule only
    one pattern is mentioned, and one lesson of it has all the exercises; then no other one is imported.
    """
    mentions = islice(MENTIONED.finditer(data), MOST_MENTIONS)
    names = {tuple(part.decode() for part in found.groups(b"")) for found in mentions}
    packages = {package for package, slug in names if slug}
    likely = _counts(names, (each for each in lessons if each.package in packages))
    counts = likely if len(names) in likely.values() else _counts(names, lessons) if names else {}
    best = max(counts, key=lambda module: counts[module], default="")
    return best if counts.get(best) else ""


def _counts(names: set[tuple[str, ...]], lessons: Iterable[Outline]) -> dict[str, int]:
    """By lesson, how many of these names are of its exercises."""
    return {each.module: _count(registry.lesson(each.module), names) for each in lessons}


def _count(lesson: Lesson, names: Iterable[tuple[str, ...]]) -> int:
    mine = {(lesson.package, exercise.slug) for exercise in lesson.exercises}
    slugs = {(exercise.slug, "") for exercise in lesson.exercises}
    return len((mine | slugs) & set(names))
