"""Whose notebook is it, and of which lesson? The usual layouts of a folder of submissions.

- A file for each learner: `alice.ipynb`, `alice_02b_acks_and_leases.ipynb`.
- A folder for each learner: `alice/02b_acks_and_leases.ipynb`, at any depth.
- nbgrader: `submitted/alice/lesson-2/02b_acks_and_leases.ipynb`.
- GitHub Classroom: `lesson-2-alice/exercises/02b_acks_and_leases.ipynb`, a copy of the course for each.
- A learner's clone of the course: `alice/my/exercises/02b_acks_and_leases.ipynb`.

The lesson is told by the file's name, else by the exercises that the notebook mentions, else it is
the one that was named for all, else the only one that the class handed in.

When one learner has several notebooks of one lesson, the first of these counts: one that tells its
lesson, the one in a folder `exercises`, the one with the lesson's own name, the one that lies highest,
the first by name.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..registry import Lesson
from .lesson_detection import as_written, mentioned, named
from .safe_files import NotRead, Problem, entries_of, is_notebook, notebooks_in, problem_of, read
from .untrusted import shown_name

__all__ = ["Found", "Submission", "find_submissions"]

COPY = re.compile(r"(-copy\d*|[ _-]*\(\d+\)|-\d)$", re.IGNORECASE)  #: what browsers and JupyterLab add


@dataclass(frozen=True)
class Submission:
    """One notebook that counts."""

    learner: str
    lesson: str  #: the lesson's module
    path: Path
    notes: tuple[str, ...] = ()  #: what was odd about how it was handed in


@dataclass(frozen=True)
class Found:
    """The contents of a folder of submissions, by learner and lesson."""

    submissions: tuple[Submission, ...]
    learners: tuple[str, ...]  #: all of them, also who handed in nothing that can be graded
    problems: tuple[Problem, ...]


def find_submissions(
    folder: Path, lessons: Sequence[Lesson], *, lesson: str = "", leave_out: Path | None = None
) -> Found:
    """Find out who handed in what below `folder`. `lesson` is for notebooks that do not tell theirs.

    `leave_out` is a folder that is not looked into, such as that of the results. Raises OSError when
    `folder` itself cannot be opened.
    """
    root = folder / "submitted" if (folder / "submitted").is_dir() else folder
    search = _Search(root, lessons, lesson)
    for entry in entries_of(root):
        if leave_out is None or Path(entry.path).resolve() != leave_out.resolve():
            search.look_at(entry)
    return search.found()


@dataclass(frozen=True)
class _Notebook:
    path: Path
    lesson: str


class _Search:
    def __init__(self, root: Path, lessons: Sequence[Lesson], fallback: str) -> None:
        self.root, self.fallback = root, fallback
        self.lessons = {each.module: each for each in lessons}
        self.notebooks: dict[str, list[_Notebook]] = defaultdict(list)
        self.problems: list[Problem] = []
        self.folders: list[str] = []
        self.copies: list[bool] = []  # whether each folder is a copy of the course

    def look_at(self, entry: os.DirEntry[str]) -> None:
        path, problem = Path(entry.path), problem_of(entry)
        if problem:
            self.problems.append(Problem(shown_name(entry.name), problem))
        elif entry.is_dir(follow_symlinks=False):
            self._look_into(path)
        elif is_notebook(entry):
            self.notebooks[self._owner(path)].append(self._notebook(path))

    def _look_into(self, folder: Path) -> None:
        files = notebooks_in(folder, self.root)
        self.problems += files.problems
        mine = self.notebooks[folder.name]
        mine += [self._notebook(path) for path in files.notebooks if not _of_the_course(path, folder)]
        if not mine:
            self.problems.append(Problem(shown_name(folder.name), "no notebook in it"))
        self.folders.append(folder.name)
        self.copies.append((folder / "exercises").is_dir())

    def _owner(self, path: Path) -> str:
        """The learner of a file that lies in no folder of a learner's own."""
        stem = COPY.sub("", path.stem)
        lesson = self.lessons.get(named(stem, self.lessons.values()))
        if lesson:
            stem = re.sub(rf"(\b|_)(0?{lesson.number}{lesson.letter}[_ -]*)?{as_written(lesson)}", "", stem)
        return stem.strip("_- ") or self.root.resolve().name

    def _notebook(self, path: Path) -> _Notebook:
        return _Notebook(path, named(path.stem, self.lessons.values()) or self._mentioned(path))

    def _mentioned(self, path: Path) -> str:
        try:
            return mentioned(read(path), self.lessons.values())
        except NotRead:
            return ""

    def found(self) -> Found:
        fallback = self.fallback or self._only_lesson()
        names = self._learners()
        handed_in: dict[tuple[str, str], list[_Notebook]] = defaultdict(list)
        for owner, notebooks in self.notebooks.items():
            for notebook in notebooks:
                handed_in[names[owner], notebook.lesson or fallback].append(notebook)
        for learner in set(names.values()):
            for unclear in handed_in.pop((learner, ""), []):
                words = "its lesson is unclear; name it with --lesson, or in the file's name"
                self.problems.append(Problem(self._place(unclear.path), words))
        submissions = [self._choose(*key, notebooks) for key, notebooks in handed_in.items()]
        numbers = {module: each.label for module, each in self.lessons.items()}
        submissions.sort(key=lambda each: (_order(each.learner), numbers[each.lesson]))
        learners = sorted(set(names.values()), key=_order)
        problems = sorted(self.problems, key=lambda problem: (problem.where, problem.words))
        return Found(tuple(submissions), tuple(learners), tuple(problems))

    def _only_lesson(self) -> str:
        known = {each.lesson for notebooks in self.notebooks.values() for each in notebooks} - {""}
        return known.pop() if len(known) == 1 else ""

    def _choose(self, learner: str, lesson: str, notebooks: Sequence[_Notebook]) -> Submission:
        first, *others = sorted(notebooks, key=lambda each: (not each.lesson, *self._rank(each.path, lesson)))
        notes = [f"`{self._place(each.path)}` is of the same lesson and was not graded." for each in others]
        if others:
            notes = [f"Graded is `{self._place(first.path)}`.", *notes[:5], *_and_more(notes[5:])]
        if not first.lesson:
            title = self.lessons[lesson].title
            notes.append(f"It does not tell its lesson and was graded as {title}.")
        return Submission(learner, lesson, first.path, tuple(notes))

    def _rank(self, path: Path, lesson: str) -> tuple[bool, bool, int, str]:
        own = path.name.lower() == self.lessons[lesson].notebook
        return path.parent.name != "exercises", not own, len(path.parts), str(path)

    def _place(self, path: Path) -> str:
        return shown_name(str(path.relative_to(self.root)))

    def _learners(self) -> Mapping[str, str]:
        """The learner's name for each folder or file; GitHub Classroom puts the assignment before it."""
        cut = 0
        if len(self.folders) > 1 and all(self.copies):
            cut = _common(min(self.folders), max(self.folders)).rfind("-") + 1
        return {name: shown_name(name[cut:] if name in self.folders else name) for name in self.notebooks}


def _of_the_course(path: Path, folder: Path) -> bool:
    """True for a notebook of the course in which a learner with all of it does not answer.

    That is a lesson, a model answer, and an exercise of which they have a copy to work in.
    """
    parts = path.relative_to(folder).parts
    for depth, part in enumerate(parts[:-1]):
        above = folder.joinpath(*parts[:depth])
        if part in ("notebooks", "solutions") and (above / "exercises").is_dir():
            return True
        if part == "exercises" and (above / "my" / "exercises" / path.name).is_file():
            return True
    return False


def _common(first: str, last: str) -> str:
    """The longest text with which both names begin."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in same)


def _and_more(rest: Sequence[str]) -> list[str]:
    return [f"{len(rest)} more were not graded."] if rest else []


def _order(name: str) -> tuple[str, str]:
    return name.casefold(), name
