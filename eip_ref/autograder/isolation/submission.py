"""Reading a submitted notebook: bytes in, code cells out, and a name for whatever is wrong with it.

Nothing of it runs here. A cell belongs to an exercise when its `grade_id` says so; in a notebook that
has lost its metadata, when it defines the exercise's answer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..exercise import Exercise, slug_in
from ..registry import Lesson
from .magics import MOST_CHARACTERS, is_python, python_of, tree_of

__all__ = ["COURSE", "MOST_BYTES", "Submission", "Unreadable", "read", "sources"]

MOST_BYTES = 50 * 2**20  #: of a notebook; pictures in its outputs need most of them
MOST_CELLS = 2_000
MOST_SOURCE = 200_000  #: characters of code; Python needs a thousand bytes to read one
DEFINES = r"(?m)^(?:(?:async )?def|class) {}\b"  #: in a text
COURSE = "course"  #: the owner of a cell that is as the course wrote it


class Unreadable(ValueError):
    """The file is no notebook that can be graded. Its text says why, and what to do."""


@dataclass(frozen=True)
class Submission:
    """The code cells of a notebook, and what is odd about it."""

    cells: tuple[dict[str, Any], ...]  #: each with `number`, `source` and `of`, for `cells.Notebook`
    notes: tuple[str, ...]
    no_python: Mapping[str, str] = field(default_factory=dict)
    """Why nothing of an exercise's cell runs, by its slug: it is text, or another program's."""


def read(data: bytes, lesson: Lesson, course: Iterable[str] = ()) -> Submission:
    """Read the bytes of a notebook of `lesson`. `course` is the code of the course's own cells.

    Raises `Unreadable`.
    """
    notebook = _notebook(data)
    cells = [*enumerate(_cells(notebook), 1)]
    code = [(n, c) for n, c in cells if c.get("cell_type") == "code"]
    given = [(number, _source(cell), _metadata(cell)) for number, cell in code]
    if sum(len(source) for _, source, _ in given) > MOST_SOURCE:
        raise Unreadable(
            "The notebook holds more than 200,000 characters of code. Remove what is not an answer."
        )
    owned = list(_owned(given, lesson, frozenset(course)))
    twice = [grade_id for grade_id, times in Counter(grade_id for *_, grade_id in given).items() if times > 1]
    notes = [
        f"More than one cell has the grade_id {each!r}. They ran in order, so the last one counts."
        for each in sorted(twice)
        if slug_in(each) in {exercise.slug for exercise in lesson.exercises}
    ]
    no_python = dict(_texts(cells, lesson)) | dict(_other_programs(given, owned))
    return Submission(tuple(owned), (*_notes(notebook, owned, lesson), *notes), no_python)


def sources(data: bytes) -> list[str]:
    """The code of every code cell. Raises `Unreadable`."""
    return [_source(cell) for cell in _cells(_notebook(data)) if cell.get("cell_type") == "code"]


def _notebook(data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise Unreadable("The file is empty. Save the notebook and hand it in again.")
    if len(data) > MOST_BYTES:
        raise Unreadable("The file is larger than 50 MB. Clear the outputs, save, and hand it in again.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable(
            "The file is not UTF-8 text, so it is no notebook. Hand in the .ipynb file itself."
        ) from None
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable(
            "The file is not JSON, so it is no notebook. Hand in the .ipynb file itself."
        ) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise Unreadable(
            "The file is JSON and no notebook: it lacks `nbformat`. Hand in the .ipynb file itself."
        )
    return notebook


def _cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    if notebook["nbformat"] == 3:
        sheets = notebook.get("worksheets")
        first = sheets[0] if isinstance(sheets, list) and sheets else {}
        cells = first.get("cells") if isinstance(first, dict) else None
    elif notebook["nbformat"] == 4:
        cells = notebook.get("cells")
    else:
        raise Unreadable(
            f"The notebook is of format {notebook['nbformat']}, and formats 3 and 4 are known. "
            "Save it with JupyterLab 4 and hand it in again."
        )
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise Unreadable(
            "The notebook has no list of cells. Open it in JupyterLab, save it, and hand it in again."
        )
    if len(cells) > MOST_CELLS:
        raise Unreadable("The notebook has more than 2,000 cells. Remove what is not an answer.")
    return cells


def _source(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    return source if isinstance(source, str) else ""


def _metadata(cell: Mapping[str, Any]) -> str:
    """The `grade_id` of a cell that is to hold an answer, or ""."""
    metadata = cell.get("metadata")
    grading = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(grading, dict) or not grading.get("solution"):
        return ""
    return str(grading.get("grade_id", ""))


def _owned(
    given: list[tuple[int, str, str]], lesson: Lesson, course: frozenset[str]
) -> Iterator[dict[str, Any]]:
    slugs = {exercise.slug: exercise for exercise in lesson.exercises}
    named = {slug for _, _, grade_id in given if (slug := slug_in(grade_id)) in slugs}
    lost = [exercise for slug, exercise in slugs.items() if slug not in named]
    left = MOST_CHARACTERS  # for all cells together
    for number, source, grade_id in given:
        of = slug_in(grade_id)
        if of not in slugs:
            of = _by_name(source, lost) or (COURSE if source in course else "")
        if not is_python(source) and len(source) <= left:
            left -= len(source)
            source = python_of(source)
        yield {"number": number, "source": source, "of": of}


def _texts(cells: Iterable[tuple[int, Mapping[str, Any]]], lesson: Lesson) -> Iterator[tuple[str, str]]:
    """The exercises whose answer stands in a cell of text."""
    for number, cell in cells:
        if cell.get("cell_type") != "code":
            source, slug = _source(cell), slug_in(_metadata(cell))
            kind = "raw" if cell.get("cell_type") == "raw" else "Markdown"
            for exercise in lesson.exercises:
                if exercise.slug == slug or re.search(DEFINES.format(exercise.answer), source):
                    yield exercise.slug, f"Cell {number} holds it, and is {kind} text in place of code."


def _other_programs(
    given: Iterable[tuple[int, str, str]], owned: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """The exercises whose cell a magic in its first line hands to another program."""
    for (number, source, _), cell in zip(given, owned, strict=True):
        first = source.lstrip().partition("\n")[0]
        if first.startswith("%%") and not cell["source"].strip():
            yield (
                cell["of"],
                f"Cell {number} begins with `{first.split()[0]}`, so Python reads nothing of it.",
            )


def _by_name(source: str, lost: list[Exercise]) -> str:
    """The exercise whose answer the cell defines at its top level, or ""."""
    if not any(exercise.answer in source for exercise in lost):
        return ""
    if (tree := tree_of(source)) is None:
        return next((each.slug for each in lost if f" {each.answer}" in source), "")
    defined = {getattr(node, "name", "") for node in tree.body}
    return next((each.slug for each in lost if each.answer in defined), "")


def _notes(notebook: dict[str, Any], cells: list[dict[str, Any]], lesson: Lesson) -> Iterator[str]:
    language = _language(notebook)
    if language.lower() not in ("", "python"):
        yield f"The notebook says that its language is {language[:40]!r}. It was graded as Python."
    if notebook["nbformat"] != 4:
        yield f"The notebook is of the old format {notebook['nbformat']}. JupyterLab 4 saves it as format 4."
    order = [cell["of"] for cell in cells if cell["of"] not in ("", COURSE)]
    expected = [each.slug for each in lesson.exercises if each.slug in order]
    if list(dict.fromkeys(order)) != expected:
        yield "The answer cells are not in the order of the exercise notebook. That costs nothing."
    own = sum(not cell["of"] for cell in cells)
    if own:
        cells_are, they = ("cell", "it") if own == 1 else ("cells", "them")
        yield f"{own} {cells_are} of your own ran as well, where an answer needs {they}."


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    for part, name in (("kernelspec", "language"), ("language_info", "name")):
        held = found.get(part)
        if isinstance(held, dict) and isinstance(held.get(name), str):
            return str(held[name])
    return ""
