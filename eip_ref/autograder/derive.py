"""Exercises are derived from solutions: `python -m eip_ref.autograder.derive`, or `eip derive`.

`solutions/NN_lesson.ipynb` is written by hand, in nbgrader's metadata format; from it
`exercises/NN_lesson.ipynb` is made, the same bytes each time. With `--check` nothing is written and
every difference is shown. A solution that a learner or nbgrader would stumble over is refused.
With `--add lesson/exercise` the cells of a new exercise are written into the solution notebook.

*Left out:* nbgrader's checksums and database, which `nbgrader generate_assignment` makes itself.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from . import course, registry
from .exercise import Exercise
from .notebooks import read, text, whole, write
from .regions import UnclearRegion, regions, stops_the_notebook, stubbed
from .workbook import answer_cells, back_up, grading

__all__ = ["STORY", "TASK", "BadSolution", "add", "derive", "main", "problems", "update"]

Notebook = dict[str, Any]
Cell = dict[str, Any]

ONLY_IN_SOLUTIONS = "solutions-only"  #: the tag of a cell that learners do not get
KEYS = ("grade", "grade_id", "locked", "schema_version", "solution", "task")
GRADE_ID = re.compile(r"[a-zA-Z0-9_\-]+")
STORY, TASK = "The story.", "**Task.** What to write."  #: in a new exercise, until its author writes them


class BadSolution(ValueError):
    """A solution notebook from which no exercise can be made. Its text lists every reason."""


def derive(solution: Notebook, lesson: registry.Lesson) -> Notebook:
    """The exercise notebook for a solution notebook of `lesson`. Raises `BadSolution`."""
    found = list(problems(solution, lesson))
    if found:
        raise BadSolution("\n".join(f"{lesson.notebook}: {problem}" for problem in found))
    cells = [
        _derived(cell)
        for cell in solution["cells"]
        if ONLY_IN_SOLUTIONS not in cell["metadata"].get("tags", ())
    ]
    return whole(cells)


def _derived(cell: Cell) -> Cell:
    cell = copy.deepcopy(cell)
    cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key in ("nbgrader", "tags")}
    nbgrader = grading(cell)
    if nbgrader:
        nbgrader["cell_type"] = cell["cell_type"]
        cell["metadata"]["deletable"] = False
        if nbgrader["locked"]:
            cell["metadata"]["editable"] = False
    if nbgrader.get("solution"):
        cell["source"] = stubbed(cell["source"], code=cell["cell_type"] == "code")
    if cell["cell_type"] == "code":
        cell["outputs"], cell["execution_count"] = [], None
    return cell


def problems(solution: Notebook, lesson: registry.Lesson) -> Iterator[str]:
    """Every reason not to derive an exercise from this notebook, in words."""
    seen: set[str] = set()
    checked: list[str] = []
    for cell in solution["cells"]:
        nbgrader = grading(cell)
        yield from _metadata_problems(cell, nbgrader, seen)
        yield from _region_problems(cell, nbgrader)
        if cell["cell_type"] == "code":
            calls, problem = _checks(cell["source"])
            if problem:
                yield problem
            if calls or (nbgrader.get("grade") and not nbgrader.get("solution")):
                yield from _check_problems(calls, nbgrader, solution, lesson)
            checked += [name for name, _ in calls]
    for exercise in lesson.exercises:
        if checked.count(exercise.name) != 1:
            yield f"the exercise {exercise.name} needs one check cell, and has {checked.count(exercise.name)}"


def _metadata_problems(cell: Cell, nbgrader: Cell, seen: set[str]) -> Iterator[str]:
    if not nbgrader:
        return
    grade_id = str(nbgrader.get("grade_id", ""))
    missing = [key for key in KEYS if key not in nbgrader]
    if missing:
        yield f"cell {grade_id!r} lacks {', '.join(missing)} in its nbgrader metadata"
    if not GRADE_ID.fullmatch(grade_id):
        yield f"the grade_id {grade_id!r} must be made of letters, digits, - and _"
    if grade_id in seen:
        yield f"the grade_id {grade_id!r} is there twice"
    seen.add(grade_id)
    if nbgrader.get("schema_version") != 3:
        yield f"cell {grade_id!r} must have schema_version 3"
    if nbgrader.get("grade") and "points" not in nbgrader:
        yield f"cell {grade_id!r} is graded and has no points"
    if cell["cell_type"] == "markdown" and nbgrader.get("grade") is not nbgrader.get("solution"):
        yield f"text cell {grade_id!r} must be both graded and a solution, or neither"


def _region_problems(cell: Cell, nbgrader: Cell) -> Iterator[str]:
    grade_id = nbgrader.get("grade_id", cell.get("id"))
    try:
        found = regions(cell["source"])
    except UnclearRegion as error:
        yield f"cell {grade_id!r}: {error}"
        return
    if found and not nbgrader.get("solution"):
        yield f"cell {grade_id!r} has a solution region and is not marked as a solution"
    if nbgrader.get("solution") and not found:
        yield f"cell {grade_id!r} is a solution and has no region"
    if cell["cell_type"] == "code" and found and stops_the_notebook(cell["source"]):
        yield (
            f"cell {grade_id!r}: its stub would raise when the cell runs, and stop whoever runs the whole "
            "notebook; put the region inside a function, or give it starting lines with '#~'"
        )


def _checks(source: str) -> tuple[list[tuple[str, str]], str | None]:
    """The exercise and the answer's name in each call of `check`; and what is unclear."""
    if "check(" not in source:
        return [], None
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return [], f"the cell that begins with {source.splitlines()[0]!r} is no valid Python"
    calls: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="check"), args=[ast.Constant(value=str(name)), ast.Name(id=answer)]
            ):
                calls.append((name, answer))
            case ast.Call(func=ast.Name(id="check")):
                return [], f'{ast.unparse(node)}: write check("lesson/exercise", answer)'
    return calls, None


def _check_problems(
    calls: list[tuple[str, str]], nbgrader: Cell, solution: Notebook, lesson: registry.Lesson
) -> Iterator[str]:
    if len(calls) != 1 or not nbgrader.get("grade") or not nbgrader.get("locked"):
        where = nbgrader.get("grade_id") or ", ".join(name for name, _ in calls)
        yield f"check cell {where!r} must be graded and locked, and call check once"
        return
    name, answer = calls[0]
    known = {exercise.name: exercise for exercise in lesson.exercises}
    if name not in known:
        yield f"check cell {nbgrader['grade_id']!r}: this lesson has no exercise {name!r}"
        return
    exercise = known[name]
    if nbgrader.get("points") != exercise.points:
        yield f"check cell {nbgrader['grade_id']!r}: {name} is worth {exercise.points} points"
    if answer != exercise.answer:
        yield f"check cell {nbgrader['grade_id']!r}: the answer of {name} is called {exercise.answer!r}"
    if not answer_cells(solution, exercise):
        yield f"no solution cell has the grade_id {exercise.slug!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 when exercises are as derived, 1 when one differs or cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m eip_ref.autograder.derive",
        description="Make exercises/ from solutions/. What it replaces is kept in .eip/backups/.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; show what differs")
    parser.add_argument("--add", metavar="EXERCISE", help="write the cells of a new exercise into solutions/")
    return run(parser.parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises `UnknownExercise`."""
    if options.add:
        return add(course.root(), registry.find(options.add))
    return update(course.root(), check=options.check)


def update(folder: Path, *, check: bool = False) -> int:
    """Derive every exercise of the course in `folder`, or with `check` only show what differs."""
    found = 0
    for path in sorted((folder / "solutions").glob("*.ipynb")):
        try:
            notebook = derive(read(path), registry.lesson(path.stem.partition("_")[2]))
        except (BadSolution, registry.UnknownExercise) as error:
            print(error, file=sys.stderr)
            found = 1
            continue
        found |= (_differs if check else _replace)(notebook, folder / "exercises" / path.name)
    for path in sorted((folder / "exercises").glob("*.ipynb")):
        if not (folder / "solutions" / path.name).exists():
            print(f"exercises/{path.name} has no solution; delete it", file=sys.stderr)
            found = 1
    return found


def _differs(notebook: Notebook, path: Path) -> int:
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    name = f"exercises/{path.name}"
    lines = difflib.unified_diff(
        stored.split("\n"), text(notebook).split("\n"), name, f"{name}, derived", lineterm=""
    )
    difference = "\n".join(lines)
    if difference:
        print(f"{difference}\n{name} differs from what solutions/ gives; run `eip derive`", file=sys.stderr)
    return 1 if difference else 0


def _replace(notebook: Notebook, path: Path) -> int:
    if path.exists():
        if path.read_text(encoding="utf-8") == text(notebook):
            return 0
        back_up(path, course.backups())  # it may hold somebody's answers
    path.parent.mkdir(exist_ok=True)
    write(notebook, path)
    print(f"exercises/{path.name}")
    return 0


# The cells of a new exercise


def add(folder: Path, exercise: Exercise) -> int:
    """Write the cells of a new exercise into the lesson's solution notebook, behind the last check.

    The notebook is made if it is not there. An exercise that has a check there already is left alone.
    """
    lesson = registry.lesson_of(exercise)
    path = folder / "solutions" / lesson.notebook
    notebook = read(path) if path.exists() else _begun(lesson)
    checked = {n: _checks(cell["source"])[0] for n, cell in enumerate(notebook["cells"], 1)}
    checks = [n for n, calls in checked.items() if calls]
    if any((exercise.name, exercise.answer) in calls for calls in checked.values()):
        print(f"solutions/{lesson.notebook} has {exercise.name} already", file=sys.stderr)
        return 1
    place = checks[-1] if checks else len(notebook["cells"])
    notebook["cells"][place:place] = _new_cells(exercise, number=len(checks) + 1)
    path.parent.mkdir(exist_ok=True)
    write(notebook, path)
    print(f"solutions/{lesson.notebook}: cells {place + 1} to {place + 3} are those of {exercise.name}")
    return 0


def _begun(lesson: registry.Lesson) -> Notebook:
    number = lesson.label
    minutes = sum(exercise.minutes for exercise in lesson.exercises)
    size = f"{len(lesson.exercises)} exercises, {lesson.points} points, {minutes} minutes in all."
    words = f"# Exercises {number} · {lesson.title}\n\n{size}"
    imports = "import anyio\n\nfrom eip_ref.autograder import check, hint, reset, solution"
    cells = [_cell("markdown", f"title-{number}", words), _cell("code", f"imports-{number}", imports)]
    return whole(cells)


def _new_cells(exercise: Exercise, *, number: int) -> list[Cell]:
    story = f"## {number} · {exercise.title}\n\n*{exercise.size}*\n\n{STORY}\n\n{TASK}"
    check = f'check("{exercise.name}", {exercise.answer})'
    slug = exercise.slug.replace("_", "-")
    graded = {"grade": True, "locked": True, "points": exercise.points}
    return [
        _cell("markdown", f"{slug}-story", story),
        _cell("code", slug, _skeleton(exercise.signature), grade_id=exercise.slug, solution=True),
        _cell("code", f"{slug}-check", check, grade_id=f"{exercise.slug}-check", **graded),
    ]


def _cell(kind: str, identity: str, source: str, **nbgrader: Any) -> Cell:
    cell: Cell = {"cell_type": kind, "id": identity, "metadata": {}, "source": source}
    if nbgrader:
        nothing = {key: False for key in KEYS if key not in ("grade_id", "schema_version")}
        cell["metadata"]["nbgrader"] = {**nothing, "schema_version": 3, **nbgrader}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def _skeleton(signature: str) -> str:
    """The answer's first lines, with a region for the model answer in each function."""
    head, _, methods = signature.partition(" with ")
    region = "    ### BEGIN SOLUTION\n    ### END SOLUTION"
    if not methods:
        return f"{head}:\n{region}"
    heads = (re.sub(r"(\w+)$", r"def \1(self)", method.strip()) for method in methods.split(","))
    parts = "\n\n".join(f"{each}:\n{region}" for each in heads)
    return f"{head.partition('(')[0]}:\n{indent(parts, '    ')}"


if __name__ == "__main__":
    sys.exit(main())
