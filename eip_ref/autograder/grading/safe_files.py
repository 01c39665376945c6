"""Reading a folder that strangers filled: no links followed, no archives opened, nothing endless read.

What is no notebook is named, with what to do, so that nobody who handed in something is lost.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .untrusted import shown_name

__all__ = [
    "LARGEST",
    "MOST_PROBLEMS",
    "MOST_READ",
    "Files",
    "NotRead",
    "Problem",
    "handed_in",
    "holds_cells",
    "is_answer",
    "is_notebook",
    "notebooks_in",
    "problem_of",
    "read",
    "why_no_notebook",
]

LARGEST = 16 * 2**20  #: bytes of a notebook; one of a lesson has some 50,000
MOST_ENTRIES = 20_000  #: files and folders that are looked at for one learner, or lie in a class's folder
MOST_READ = 200  #: files of one learner that are opened to find out what they are
MOST_PROBLEMS = 5  #: that are listed for one learner
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
EXPORTS = (".py", ".html", ".htm", ".pdf")
SKIPPED = {"node_modules", "__pycache__", "__MACOSX", "venv", "Thumbs.db", "desktop.ini"}


class NotRead(Exception):
    """A file that cannot be read, or must not be; the message says why."""


@dataclass(frozen=True)
class Problem:
    """Something that a teacher should look at; it stopped nothing."""

    where: str  #: a file or folder, from the folder of submissions on
    words: str
    harmless: bool = False  #: True for what was understood, and should be known


@dataclass
class Files:
    """The files that were found below one folder."""

    notebooks: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)  #: files that are no notebooks
    problems: list[Problem] = field(default_factory=list)


def notebooks_in(folder: Path, root: Path) -> Files:
    """Every notebook at any depth below `folder`, and what was left out and why.

    Hidden folders are left out, and what no learner writes, such as `node_modules`.
    """
    found = Files()
    for count, entry in enumerate(_entries(folder, root, found.problems)):
        if count == MOST_ENTRIES:
            words = f"more than {MOST_ENTRIES} files and folders; the rest was not looked at"
            found.problems.append(Problem(_place(folder, root), words))
            break
        problem = problem_of(entry)
        if problem:
            found.problems.append(Problem(_place(Path(entry.path), root), problem))
        elif is_notebook(entry):
            found.notebooks.append(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            found.others.append(Path(entry.path))
    if len(found.notebooks) > MOST_READ:
        words = f"more than {MOST_READ} notebooks; the rest was not looked at"
        found.problems.insert(0, Problem(_place(folder, root), words))
        del found.notebooks[MOST_READ:]
    more = len(found.problems) - MOST_PROBLEMS
    if more > 0:
        words = f"{more} more of the like"
        found.problems[MOST_PROBLEMS:] = [Problem(_place(folder, root), words)]
    return found


def is_notebook(entry: os.DirEntry[str]) -> bool:
    """True for a file with the name of a notebook."""
    return entry.name.lower().endswith(".ipynb") and entry.is_file(follow_symlinks=False)


def problem_of(entry: os.DirEntry[str]) -> str:
    """The reason why something that may hold an answer is not looked at; "" for all else."""
    if entry.is_symlink():
        return "a link; links are not followed. Put the file itself in its place"
    if entry.name.lower().endswith(ARCHIVES) and not entry.is_dir(follow_symlinks=False):
        return "an archive; archives are not opened. Unpack it in a folder of the same name"
    if entry.name.lower().endswith(".ipynb") and not entry.is_file(follow_symlinks=False):
        folder = entry.is_dir(follow_symlinks=False)
        return "named like a notebook, but " + ("a folder; rename it" if folder else "no file")
    return ""


def why_no_notebook(path: Path) -> str:
    """Say what a file is that has not the name of a notebook, and what to do."""
    try:
        data = read(path)
    except NotRead as reason:
        return f"no notebook by its name. {reason} Ask for the .ipynb file"
    if not data.strip():
        return "an empty file; ask for the notebook again"
    if _holds_cells(data):
        return f"a notebook with another ending; name it `{_as_notebook(path.name)}` and grade again"
    if path.name.lower().endswith(EXPORTS):
        return "an export, which cannot be graded; ask for the .ipynb file itself"
    return "no notebook; ask for the .ipynb file if it is an answer"


def is_answer(path: Path) -> bool:
    """True for a file that somebody hands in in place of a notebook, and not a teacher's own."""
    return path.name.lower().endswith(EXPORTS) or holds_cells(path)


def holds_cells(path: Path) -> bool:
    """True for a notebook, whatever its name is, and for what cannot be read."""
    try:
        return _holds_cells(read(path))
    except NotRead:
        return True


def _holds_cells(data: bytes) -> bool:
    return data.lstrip().startswith(b"{") and b'"nbformat"' in data and b'"cells"' in data


def _as_notebook(name: str) -> str:
    before, found, _ = shown_name(name).partition(".ipynb")
    return f"{before if found else Path(before).stem}.ipynb"


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of one folder, sorted, without what is hidden. Raises OSError."""
    with os.scandir(folder) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in SKIPPED]
    return sorted(seen, key=lambda entry: entry.name)


def handed_in(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of the folder of a class. Raises OSError, and ValueError when they are too many for one."""
    found = entries_of(folder)
    if len(found) > MOST_ENTRIES:
        words = f"{folder} holds more than {MOST_ENTRIES} files and folders; name the folder of submissions"
        raise ValueError(f"{words}, or grade it in parts")
    return found


def _entries(folder: Path, root: Path, problems: list[Problem]) -> Iterator[os.DirEntry[str]]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = entries_of(here)
        except OSError as error:
            problems.append(Problem(_place(here, root), f"cannot be opened: {error.strerror}"))
            continue
        yield from entries
        waiting += [Path(entry.path) for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]


def _place(path: Path, root: Path) -> str:
    return shown_name(str(path.relative_to(root)))


def read(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a file. Raises `NotRead` for a link, a pipe, a file over `largest` bytes, and the like."""
    flags: Iterable[str] = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")  # not every system has each
    try:
        handle = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise NotRead("It is no ordinary file.")
            data = file.read(largest + 1)
    except OSError as error:
        raise NotRead(f"It cannot be read: {error.strerror}.") from error
    if len(data) > largest:
        raise NotRead(f"It is larger than {largest // 2**20} MB.")
    return data
