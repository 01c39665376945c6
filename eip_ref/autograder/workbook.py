"""A learner's exercise notebook on disk: its answer cells, the model answers, and how to begin again."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from .exercise import Exercise, slug_in
from .notebooks import read, write
from .regions import model_answer

__all__ = ["NoAnswer", "answer_cells", "back_up", "grading", "reset", "solved"]

Notebook = dict[str, Any]
Cell = dict[str, Any]


class NoAnswer(LookupError):
    """The course's notebook, or the cell of this exercise in it, is not there."""


def grading(cell: Cell) -> Cell:
    """nbgrader's metadata of a cell; empty when it has none."""
    return cell["metadata"].get("nbgrader") or {}


def answer_cells(notebook: Notebook, exercise: Exercise) -> list[Cell]:
    """The cells that hold the answer."""
    return [
        cell
        for cell in notebook["cells"]
        if grading(cell).get("solution") and slug_in(grading(cell).get("grade_id", "")) == exercise.slug
    ]


def solved(root: Path, name: str, exercise: Exercise) -> str:
    """The model answer's code, from the solution notebook `name` of the course at `root`.

    Raises `NoAnswer`.
    """
    cells = _cells(root / "solutions" / name, exercise)
    return "\n\n\n".join(model_answer(cell["source"]) for cell in cells)


def reset(root: Path, path: Path, backups: Path, exercise: Exercise) -> Path:
    """Put the stubs back into the answer cells of the learner's notebook; return where a copy of it is.

    A cell that was deleted comes back, before the exercise's check. Raises `NoAnswer`, and
    FileNotFoundError when the learner has no such notebook.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path} to reset; `eip start` makes your copy of the course")
    stubs = _cells(root / "exercises" / path.name, exercise)
    backup = back_up(path, backups)
    notebook = read(path)
    mine = {grading(cell)["grade_id"]: cell for cell in answer_cells(notebook, exercise)}
    for stub in stubs:
        cell = mine.get(grading(stub)["grade_id"]) or _insert(notebook, stub, exercise)
        cell["source"] = stub["source"]
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    write(notebook, path)
    return backup


def _cells(path: Path, exercise: Exercise) -> list[Cell]:
    """The answer cells of a notebook of the course. Raises `NoAnswer`."""
    name = f"{path.parent.name}/{path.name}"
    if not path.exists():
        raise NoAnswer(f"{name} is not in this course")
    cells = answer_cells(read(path), exercise)
    if not cells:
        raise NoAnswer(f"no cell of {name} has the answer of {exercise.name}")
    return cells


def _insert(notebook: Notebook, stub: Cell, exercise: Exercise) -> Cell:
    cell = copy.deepcopy(stub)
    call = f'check("{exercise.name}"'
    checks = [at for at, other in enumerate(notebook["cells"]) if call in other["source"]]
    notebook["cells"].insert(checks[0] if checks else len(notebook["cells"]), cell)
    return cell


def back_up(path: Path, folder: Path) -> Path:
    """Copy a notebook into `folder`, counted: 02b_acks_and_leases-1.ipynb and so on; return the copy."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while (copied := folder / f"{path.stem}-{number}{path.suffix}").exists():
        number += 1
    shutil.copyfile(path, copied)
    return copied
