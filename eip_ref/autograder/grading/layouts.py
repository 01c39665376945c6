"""Whose notebook is it, and of which lesson? The usual layouts of a folder of submissions.

- A file for each learner: `alice.ipynb`, `alice_02b_acks_and_leases.ipynb`.
- A folder for each learner: `alice/02b_acks_and_leases.ipynb`, at any depth.
- nbgrader: `submitted/alice/lesson-2/02b_acks_and_leases.ipynb`.
- GitHub Classroom: `lesson-2-alice/exercises/02b_acks_and_leases.ipynb`, a copy of the course for each.
- A learner's clone of the course: `alice/my/exercises/02b_acks_and_leases.ipynb`.

The lesson is told by the file's name, else by the exercises that the notebook mentions, else it is
the one that was named for all, else the only one that the class handed in.

A name is cut only where this makes no two learners one: of `alice.ipynb` and `alice (1).ipynb` each has
a learner of its own. What was cut is said.

When one learner has several notebooks of one lesson, the first of these counts: one that tells its
lesson, the one in a folder `exercises`, the one with the lesson's own name, the one that lies highest,
the first by name.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..registry import Outline
from .late import lateness
from .lesson_detection import mentioned, named
from .owners import owners
from .roster import Roster, near
from .safe_files import (
    MOST_PROBLEMS,
    MOST_READ,
    NotRead,
    Problem,
    handed_in,
    holds_cells,
    is_answer,
    is_notebook,
    notebooks_in,
    problem_of,
    read,
    why_no_notebook,
)
from .untrusted import shown_name, shown_names

__all__ = ["Found", "Submission", "find_submissions"]


@dataclass(frozen=True)
class Submission:
    """One notebook that counts."""

    learner: str
    lesson: str  #: the lesson's module
    path: Path
    notes: tuple[str, ...] = ()  #: what was odd about how it was handed in
    late: str = ""  #: by how much, in words; "" when it was handed in in time


@dataclass(frozen=True)
class Found:
    """The contents of a folder of submissions, by learner and lesson."""

    submissions: tuple[Submission, ...]
    learners: tuple[str, ...]  #: all of them, also who handed in nothing that can be graded
    problems: tuple[Problem, ...]
    missing: tuple[str, ...] = ()  #: those of the roster who handed in nothing at all


def find_submissions(
    folder: Path,
    lessons: Sequence[Outline],
    *,
    lesson: str = "",
    leave_out: Collection[Path] = (),
    roster: Roster | None = None,
    deadline: datetime | None = None,
) -> Found:
    """Find out who handed in what below `folder`. `lesson` is for notebooks that do not tell theirs.

    `leave_out` are folders and files that are nobody's, such as the results. Raises OSError when `folder`
    itself cannot be opened, and ValueError when it holds too much to be that of a class.
    """
    root = folder / "submitted" if (folder / "submitted").is_dir() else folder
    search = _Search(root, lessons, lesson, roster, deadline)
    left_out = {os.path.realpath(path) for path in leave_out}  # which also reads links that lead in a circle
    for entry in handed_in(root):
        if os.path.realpath(entry.path) not in left_out:
            search.look_at(entry)
    return search.found()


@dataclass(frozen=True)
class _Notebook:
    path: Path
    lesson: str


class _Search:
    def __init__(
        self,
        root: Path,
        lessons: Sequence[Outline],
        fallback: str,
        roster: Roster | None,
        deadline: datetime | None,
    ) -> None:
        self.root, self.fallback, self.roster, self.deadline = root, fallback, roster, deadline
        self.lessons = {each.module: each for each in lessons}
        self.notebooks: dict[str, list[_Notebook]] = defaultdict(list)
        self.files: list[_Notebook] = []  # those that lie in no folder of a learner's own
        self.no_notebooks: list[Path] = []  # likewise, what somebody handed in in place of one
        self.problems: list[Problem] = []
        self.folders: list[str] = []
        self.copies: list[bool] = []  # whether each folder is a copy of the course
        self.cut: dict[Path, str] = {}  # the mark of a copy that was taken off a file's name

    def look_at(self, entry: os.DirEntry[str]) -> None:
        path, problem = Path(entry.path), problem_of(entry)
        if problem:
            self._left_out(path, problem, True)
        elif entry.is_dir(follow_symlinks=False):
            self._look_into(path)
        elif is_notebook(entry):
            self.files.append(self._notebook(path))
        elif entry.is_file(follow_symlinks=False):
            told = bool(named(path.name, self.lessons.values()))
            self._left_out(path, why_no_notebook(path), told or is_answer(path))

    def _left_out(self, path: Path, words: str, an_answer: bool) -> None:
        """Name a file that is not graded; who handed it in is a learner all the same."""
        self.problems.append(Problem(self._place(path), words))
        if an_answer:
            self.no_notebooks.append(path)

    def _look_into(self, folder: Path) -> None:
        files = notebooks_in(folder, self.root)
        self.problems += files.problems
        mine = self.notebooks[folder.name]
        mine += [self._notebook(path) for path in files.notebooks if not _of_the_course(path, folder)]
        if not mine:
            self.problems.append(Problem(shown_name(folder.name), "no notebook in it"))
        self.folders.append(folder.name)
        self.copies.append((folder / "exercises").is_dir())
        if not self.copies[-1]:
            self._other_files(files.others, {each.lesson for each in mine})

    def _other_files(self, paths: Sequence[Path], has: Collection[str]) -> None:
        """Name what a learner may have handed in for a lesson of which there is no notebook."""
        lost = paths if not has else [path for path in paths[:MOST_READ] if self._is_lost(path, has)]
        self.problems += [Problem(self._place(path), why_no_notebook(path)) for path in lost[:MOST_PROBLEMS]]
        if len(lost) > MOST_PROBLEMS:
            words = f"{len(lost) - MOST_PROBLEMS} more files that are no notebooks"
            self.problems.append(Problem(self._place(lost[0].parent), words))

    def _is_lost(self, path: Path, has: Collection[str]) -> bool:
        """True for an answer that none of the notebooks of lessons `has` can hold."""
        if not is_answer(path):
            return False
        lesson = self._notebook(path).lesson
        return lesson not in has and (bool(lesson) or holds_cells(path))

    def _own_files(self) -> None:
        """Find the learner of each file."""
        taken = [(owner, each.lesson) for owner, mine in self.notebooks.items() for each in mine]
        paths = [*(each.path for each in self.files), *self.no_notebooks]
        found = owners(paths, self.lessons.values(), self.root.resolve().name, taken)
        self.cut = {path: owner.cut for path, owner in found.items()}
        for each in self.files:
            self.notebooks[found[each.path].name].append(each)
        for path in self.no_notebooks:
            self.notebooks[found[path].name] += ()

    def _notebook(self, path: Path) -> _Notebook:
        return _Notebook(path, named(path.stem, self.lessons.values()) or self._mentioned(path))

    def _mentioned(self, path: Path) -> str:
        try:
            return mentioned(read(path), self.lessons.values())
        except NotRead:
            return ""

    def found(self) -> Found:
        self._own_files()
        fallback = self.fallback or self._only_lesson()
        names = self._listed(self._learners())
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
        listed = self.roster.names if self.roster else {}
        learners = sorted({*names.values(), *listed}, key=_order)
        problems = sorted(self.problems, key=lambda problem: (problem.where, problem.words))
        missing = [each for each in learners if each not in names.values()]
        return Found(tuple(submissions), tuple(learners), tuple(problems), tuple(missing))

    def _only_lesson(self) -> str:
        known = {each.lesson for notebooks in self.notebooks.values() for each in notebooks} - {""}
        return known.pop() if len(known) == 1 else ""

    def _choose(self, learner: str, lesson: str, notebooks: Sequence[_Notebook]) -> Submission:
        self.problems += self._several(notebooks)
        first, *others = sorted(notebooks, key=lambda each: (not each.lesson, *self._rank(each.path, lesson)))
        notes = [f"`{self._place(each.path)}` is of the same lesson and was not graded." for each in others]
        if others:
            notes = [f"Graded is `{self._place(first.path)}`.", *notes[:5], *_and_more(notes[5:])]
        if mark := self.cut.get(first.path, "").strip():
            notes.append(f"`{mark}` in the file's name was taken for a copy's mark.")
        if not first.lesson:
            title = self.lessons[lesson].title
            notes.append(f"It does not tell its lesson and was taken for “{title}”.")
        return Submission(learner, lesson, first.path, tuple(notes), self._late(first.path))

    def _late(self, path: Path) -> str:
        with suppress(OSError):  # somebody removed it; that is said where it is read
            return lateness(path, self.deadline, nbgrader=self.root.name == "submitted")
        return ""

    def _several(self, notebooks: Sequence[_Notebook]) -> Iterator[Problem]:
        """Name a folder that may be of several learners: its notebooks of one lesson have such names."""
        found = owners([each.path for each in notebooks], self.lessons.values(), "", ()).values()
        if len({owner.name for owner in found if owner.name.strip() == owner.name != ""}) > 1:
            where = self._place(Path(os.path.commonpath([each.path.parent for each in notebooks])))
            words = "several notebooks of one lesson; one was graded. "
            yield Problem(where, f"{words}If each is of another learner, grade this folder by itself")

    def _rank(self, path: Path, lesson: str) -> tuple[bool, bool, int, str]:
        own = path.name.lower() == self.lessons[lesson].notebook
        return path.parent.name != "exercises", not own, len(path.parts), str(path)

    def _place(self, path: Path) -> str:
        return shown_name(str(path.relative_to(self.root)))

    def _listed(self, names: Mapping[str, str]) -> Mapping[str, str]:
        """The same, by the roster: who is not in it keeps the name that was found, and is named."""
        if self.roster is None:
            return names
        known = self.roster.known(list(names)) | self.roster.known(list(names.values()))
        listed = {owner: known.get(name) or known.get(owner) for owner, name in names.items()}
        count = Counter(listed.values())
        found = {}
        for owner, name in names.items():
            learner = listed[owner]
            if learner is None or count[learner] > 1:
                learner = f"{name} (not in the roster)" if name in self.roster.names else name
                words = f"not in the roster{near(name, self.roster.names)}"
                self.problems.append(Problem(learner, words))
            found[owner] = learner
        return found

    def _learners(self) -> Mapping[str, str]:
        """The learner's name for each folder or file; GitHub Classroom puts the assignment before it."""
        cut = 0
        if len(self.folders) > 1 and all(self.copies):
            cut = _common(min(self.folders), max(self.folders)).rfind("-") + 1
        short = shown_names({name: name[cut:] if name in self.folders else name for name in self.notebooks})
        if not cut or len(set(short.values())) < len(short):
            return shown_names({name: name for name in self.notebooks})
        words = "was taken off the folders' names: it is the same in all of them"
        self.problems.append(Problem(shown_name(self.folders[0][:cut]), words, harmless=True))
        return short


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
