"""Whose is a file that lies in no folder of a learner's own? Its name tells, without that of the lesson.

Nothing is cut off a name that could be a part of it: a number stays, unless it is the lesson's own and
no other file has another one at its place; and the mark of a copy stays where cutting it would make two
learners one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..registry import Outline
from .lesson_detection import as_written, named

__all__ = ["Owner", "owners"]

COPY = re.compile(r"(-copy\d*|[ _-]*\(\d+\))$", re.IGNORECASE)  #: what browsers and JupyterLab add
ENDINGS = re.compile(
    r"(\.(ipynb|py|html?|pdf|txt|json|zip|tar|gz|tgz|7z|rar|bz2|xz|zst))+$", re.IGNORECASE
)  #: of what learners hand in; another one may be a part of a name


@dataclass(frozen=True)
class Owner:
    """The learner to whom a file belongs."""

    name: str
    cut: str = ""  #: the mark of a copy that was taken off the file's name


def owners(
    paths: Collection[Path], lessons: Collection[Outline], folder: str, taken: Collection[tuple[str, str]]
) -> Mapping[Path, Owner]:
    """The owner of each file. `folder` is the owner of a file that has the lesson's name and no other.

    `taken` are the learners and lessons of which there is a notebook already.
    """
    names = _Names(paths, lessons, folder)
    short = {path: names.of(path, _copy_mark(path)) for path in paths}
    kinds = {path: (short[path], names.lesson(path), path.suffix.lower()) for path in paths}
    count = Counter(kinds.values()) + Counter((*each, ".ipynb") for each in taken)
    return {
        path: Owner(short[path], _copy_mark(path)) if count[kinds[path]] == 1 else Owner(names.of(path))
        for path in paths
    }


class _Names:
    def __init__(self, paths: Collection[Path], lessons: Collection[Outline], folder: str) -> None:
        self._lessons = {each.module: each for each in lessons}
        self._folder = folder
        self._numbers: dict[tuple[str, str], set[str]] = defaultdict(set)
        for path in paths:
            before, number, _ = self._parts(path)
            self._numbers[self.lesson(path), before].add(number)

    def lesson(self, path: Path) -> str:
        return named(path.name, self._lessons.values())

    def of(self, path: Path, copy_mark: str = "") -> str:
        """The name of the owner, when `copy_mark` is no part of it."""
        module = self.lesson(path)
        if not module:
            return _stem(path).removesuffix(copy_mark) or self._folder
        before, number, after = self._parts(path)
        numbers = self._numbers[module, before] - {""}
        the_lessons = number == self._lessons[module].label and len(numbers) == 1
        rest = f"{before}{'' if the_lessons else number}{after.removesuffix(copy_mark)}".strip("_- ")
        return f"{self._folder} {rest}" if COPY.fullmatch(rest) else rest or self._folder

    def _parts(self, path: Path) -> tuple[str, str, str]:
        """The name of a file before the number of its lesson, the number, and what is behind the lesson."""
        stem, module = _stem(path), self.lesson(path)
        if not module:
            return stem, "", ""
        lesson = as_written(self._lessons[module])
        found = re.search(rf"(?:(?<![0-9])([0-9]+[a-z]?)[_ -]*)?{lesson}", stem)
        assert found
        return stem[: found.start()], found[1] or "", stem[found.end() :]


def _stem(path: Path) -> str:
    return ENDINGS.sub("", path.name)


def _copy_mark(path: Path) -> str:
    found = COPY.search(_stem(path))
    return found.group() if found else ""
