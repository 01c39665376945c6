"""Where the course is on this machine, and where a learner's own files go.

The course is the folder with `exercises/` and `pyproject.toml`, found from the working folder
upwards, else beside the installed package. A learner's files are in `.eip/` there; the environment
variable EIP_HOME names another folder to hold `.eip/`, and the course too when it has one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["NoCourse", "backups", "in_solutions", "progress_file", "root"]


class NoCourse(FileNotFoundError):
    """The folder of the course was not found."""


def root() -> Path:
    """The folder of the course. Raises `NoCourse`."""
    for folder in _candidates():
        if (folder / "exercises").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise NoCourse(
        "no folder with exercises/ and pyproject.toml here or above; go to the folder of the course, "
        "or name it in the environment variable EIP_HOME"
    )


def progress_file() -> Path:
    """The file that progress is kept in, which need not exist. Raises `NoCourse`."""
    return _own() / "progress.jsonl"


def backups() -> Path:
    """The folder for copies of notebooks that were reset, which need not exist. Raises `NoCourse`."""
    return _own() / "backups"


def in_solutions() -> bool:
    """True where a notebook of `solutions/` runs: what it passes is nobody's progress."""
    here = Path.cwd()
    return here.name == "solutions" and (here.parent / "pyproject.toml").is_file()


def _own() -> Path:
    chosen = os.environ.get("EIP_HOME")
    return (Path(chosen) if chosen else root()) / ".eip"


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get("EIP_HOME")
    if chosen:
        yield Path(chosen)
    here = Path.cwd()
    yield from (here, *here.parents)
    yield Path(__file__).resolve().parents[2]
