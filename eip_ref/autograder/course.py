"""The places of the course on this machine, and of what is a learner's own.

The course is the folder with `exercises/` whose `pyproject.toml` is that of this package, found from the
working folder upwards, else beside the installed package. Beside it are the learner's copy of its
notebooks, in `my/`, and what is remembered, in `.eip/`; the environment variable EIP_HOME names another
folder for these two, and the course too when it has one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "EDITION",
    "FOLDERS",
    "PACKAGE",
    "Mixture",
    "NoCourse",
    "Refused",
    "backups",
    "base",
    "in_solutions",
    "my",
    "own",
    "progress_file",
    "reason",
    "refuse_mixture",
    "root",
    "stamp",
]

PACKAGE = "eip-ref"  #: by which the course is known, in its `pyproject.toml`
EDITION = "0.1.0"  #: of package and notebooks; they go together
FOLDERS = ("notebooks", "exercises")  #: what a learner gets a copy of


class NoCourse(FileNotFoundError):
    """The folder of the course was not found."""


class Refused(ValueError):
    """Nothing was done with the learner's copy; the text says why, and what to do."""


class Mixture(Refused):
    """Notebooks and package are of two editions."""


def root() -> Path:
    """The folder of the course. Raises `NoCourse`."""
    for folder in _candidates():
        if _is_course(folder):
            return folder
    raise NoCourse(
        "the folder of the course is neither here nor above; go to it, or name it in the environment "
        "variable EIP_HOME"
    )


def _is_course(folder: Path) -> bool:
    """True for the folder of this course, and false for other projects, whatever folders they have."""
    try:
        told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return (folder / "exercises").is_dir() and told["project"]["name"] == PACKAGE
    except (OSError, ValueError, LookupError, TypeError):
        return False


def my() -> Path:
    """The folder of the learner's copy, which need not exist. Raises `NoCourse`."""
    return _home() / "my"


def own(path: Path) -> Path:
    """The learner's copy of the course's notebook at `path`, where there is one; any other path as it is.

    A path that leads nowhere is looked for in the copy.
    """
    try:
        within = path.resolve().relative_to(root()) if path.exists() else path
        copied = my() / within
    except (NoCourse, ValueError):
        return path
    return copied if copied.is_file() else path


def progress_file() -> Path:
    """The file that progress is kept in, which need not exist. Raises `NoCourse`."""
    return _remembered() / "progress.jsonl"


def backups() -> Path:
    """The folder for copies of notebooks that were changed, which need not exist. Raises `NoCourse`."""
    return _remembered() / "backups"


def base() -> Path:
    """The folder for notebooks as the learner got them, which need not exist. Raises `NoCourse`."""
    return _remembered() / "base"


def stamp() -> Path:
    """The file that tells the edition of the learner's copy, which need not exist. Raises `NoCourse`."""
    return base() / "edition"


def refuse_mixture() -> None:
    """Raise `Mixture` in a notebook of the learner's copy that does not go with the package."""
    here = Path.cwd()
    try:
        told = stamp().read_text(encoding="utf-8") if my() in (here, *here.parents) else EDITION
    except OSError:  # no course here, or no copy
        return
    if told != EDITION:
        raise Mixture(
            f"your copy is of edition {told}, and the course of edition {EDITION}. Save and close your "
            "notebooks, then run `eip update` (or `make lab`); what you wrote stays"
        )


def in_solutions() -> bool:
    """True where a notebook of `solutions/` runs: what it passes is nobody's progress."""
    here = Path.cwd()
    return here.name == "solutions" and _is_course(here.parent)


def reason(error: OSError) -> str:
    """The system's words for what went wrong with a file, and which file that is."""
    words = error.strerror or str(error)
    return f"{words}: {error.filename}" if error.filename else words


def _home() -> Path:
    chosen = os.environ.get("EIP_HOME")
    return Path(chosen) if chosen else root()


def _remembered() -> Path:
    return _home() / ".eip"


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get("EIP_HOME")
    if chosen:
        yield Path(chosen)
    here = Path.cwd()
    yield from (here, *here.parents)
    yield Path(__file__).resolve().parents[2]
