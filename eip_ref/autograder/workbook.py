"""A learner's exercise notebook on disk: its answer cells, the model answers, and how to begin again."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from .exercise import Exercise, slug_in
from .notebooks import read, write
from .regions import model_answer, stubbed

__all__ = ["NoAnswer", "answer_cells", "back_up", "grading", "reset", "solved"]

Notebook = dict[str, Any]
Cell = dict[str, Any]


class NoAnswer(LookupError):
    """The solution notebook, or the cell of this exercise in it, is not there."""


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
    return "\n\n\n".join(model_answer(cell["source"]) for cell in _model_cells(root, name, exercise))


def reset(root: Path, path: Path, backups: Path, exercise: Exercise) -> Path:
    """Put the stubs back into the answer cells of the learner's notebook; return where a copy of it is.

    A cell that was deleted comes back, before the exercise's check. Raises `NoAnswer`, and
    FileNotFoundError when the learner has no such notebook.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path} to reset; `eip start` makes your copy of the course")
    models = _model_cells(root, path.name, exercise)
    backup = back_up(path, backups)
    notebook = read(path)
    mine = {grading(cell)["grade_id"]: cell for cell in answer_cells(notebook, exercise)}
    for model in models:
        cell = mine.get(grading(model)["grade_id"]) or _insert(notebook, model, exercise)
        cell["source"] = stubbed(model["source"], code=model["cell_type"] == "code")
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    write(notebook, path)
    return backup


def _model_cells(root: Path, name: str, exercise: Exercise) -> list[Cell]:
    path = root / "solutions" / name
    cells = answer_cells(read(path), exercise) if path.exists() else []
    if not cells:
        raise NoAnswer(f"no cell of solutions/{name} has the answer of {exercise.name}")
    return cells


def _insert(notebook: Notebook, model: Cell, exercise: Exercise) -> Cell:
    cell = copy.deepcopy(model)
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
