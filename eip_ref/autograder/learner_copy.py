"""The learner's copy: the notebooks in `my/`, made from an edition and brought up to the next one.

Tracked files are the edition and stay as they are. In the copy no output stands where it would answer a
prediction that is still open: those from a prediction to the next heading are cleared. Each notebook as it
was handed out is kept in `.eip/base/`, and tells what the learner has touched.

*Left out:* two updates at the same moment.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import course
from .cell_merge import merge, untouched
from .notebooks import read, write
from .workbook import back_up

__all__ = ["Update", "edition_in", "handed_out", "plan", "unanswered"]

Notebook = dict[str, Any]
Cell = dict[str, Any]

PREDICTION = re.compile(r"^predict\(", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
NOTHING: Notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def unanswered(cells: Sequence[Cell]) -> Iterator[tuple[Cell, str]]:
    """Each cell from a prediction to the next heading, with its text up to there."""
    asked = False
    for cell in cells:
        source: str = cell["source"]
        if cell["cell_type"] == "markdown":
            heading = HEADING.search(FENCED.sub(lambda fence: " " * len(fence[0]), source))
            if asked and source[: heading.start() if heading else None].strip():
                yield cell, source[: heading.start() if heading else None]
            asked = asked and heading is None
        else:
            asked = asked or PREDICTION.search(source) is not None
            if asked:
                yield cell, source


def handed_out(notebook: Notebook) -> Notebook:
    """The edition's notebook as a learner gets it: without the outputs that answer a prediction."""
    notebook = copy.deepcopy(notebook)
    for cell, _ in unanswered(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def edition_in(folder: Path) -> dict[str, Notebook]:
    """The notebooks of the edition in `folder`, by name, such as "exercises/02b_acks_and_leases.ipynb"."""
    paths = (path for part in course.FOLDERS for path in sorted((folder / part).glob("*.ipynb")))
    return {f"{path.parent.name}/{path.name}": read(path) for path in paths}


@dataclass
class Update:
    """A planned update: the notebooks to write, and the changes in words. `apply` writes."""

    words: list[str] = field(default_factory=list)
    writes: dict[str, tuple[Notebook, Notebook]] = field(
        default_factory=dict
    )  #: name: the learner's, the base
    removes: list[str] = field(default_factory=list)
    forgets: list[str] = field(default_factory=list)  #: no longer in the course, and the learner's alone now

    @property
    def changed(self) -> list[Path]:
        """The learner's notebooks that it changes or removes."""
        names = [name for name, (mine, _) in self.writes.items() if _read(course.my() / name) != mine]
        return [path for name in [*names, *self.removes] if (path := course.my() / name).exists()]

    def apply(self) -> None:
        """Keep what is changed in `.eip/backups/`, then write."""
        for path in self.changed:
            back_up(path, course.backups() / path.parent.name)
        for name, (mine, base) in self.writes.items():
            _write(mine, course.my() / name)
            _write(base, course.base() / name)
        for name in self.removes:
            (course.my() / name).unlink(missing_ok=True)
        for name in [*self.removes, *self.forgets]:
            (course.base() / name).unlink()
        course.stamp().write_text(course.EDITION, encoding="utf-8")


def plan(edition: Mapping[str, Notebook], *, whole: bool, source: str) -> Update:
    """Plan how the learner's copy takes over these notebooks of `source`.

    When they are the `whole` edition, each is looked at only where it differs from what was taken last, so a
    teacher's correction stays until the edition itself has something new. Raises `Mixture`, and `Refused` for
    a notebook of the learner's that cannot be read.
    """
    update = Update()
    for name, notebook in edition.items():
        _refuse_mixture(name, notebook, source)
        base, mine = _read(course.base() / name), _read(course.my() / name)
        taken = _digest(notebook) if whole else (base or NOTHING)["metadata"].get("taken", "")
        if mine and base and whole and base["metadata"].get("taken") == taken:
            continue
        new = handed_out(notebook)
        merged = merge(base or NOTHING, mine, new, course.EDITION) if mine else None
        kept = {**new, "metadata": {**new["metadata"], "taken": taken}}
        update.writes[name] = (merged.notebook if merged else new, kept)
        if merged is None or str(merged):
            update.words.append(f"{name}: {merged or 'new'}")
    if whole:
        _plan_removals(update, set(edition))
    return update


def _plan_removals(update: Update, names: set[str]) -> None:
    for path in sorted(course.base().glob("*/*.ipynb")):
        name = f"{path.parent.name}/{path.name}"
        if name in names:
            continue
        base, mine = _read(path), _read(course.my() / name)
        if mine and base and not untouched(base, mine):
            update.forgets.append(name)
            update.words.append(f"{name}: no longer in the course; yours is kept")
        else:
            update.removes.append(name)
            update.words.append(f"{name}: no longer in the course, removed")


def _refuse_mixture(name: str, notebook: Notebook, source: str) -> None:
    found = notebook["metadata"].get("eip", {}).get("edition", "0")
    if found != course.EDITION:
        raise course.Mixture(
            f"{name} in {source} is of edition {found}, the installed course of edition {course.EDITION}. "
            "Get the same edition of both: `git pull` in the course, then `make lab`, "
            'or `python -m pip install -e ".[course]"` and `eip start`'
        )


def _digest(notebook: Notebook) -> str:
    told = json.dumps(notebook, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _read(path: Path) -> Notebook | None:
    if not path.exists():
        return None
    try:
        return read(path)
    except Exception as error:  # nbformat raises many kinds
        raise course.Refused(
            f"{path} cannot be read as a notebook: {error}. Move it away; the next start copies it anew"
        ) from error


def _write(notebook: Notebook, path: Path) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    write(notebook, beside)
    os.replace(beside, path)
