"""A class of learners who do not exist: notebooks made of stubs, model answers and kept answers.

By hand: `python -m tests.autograder.class_of 200 /tmp/class`, then `eip grade /tmp/class --out …`.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer
from eip_ref.autograder.registry import Lesson, find, lesson, lesson_of
from eip_ref.autograder.workbook import answer_cells

from .exercise_cases import ROOT, kept_answers
from .hostile import HOSTILE
from .hostile.submissions import answering, batches, in_bytes

LESSONS = ("acks_and_leases", "point_to_point")
FIRST = ("Ada", "Bayo", "Chen", "Dina", "Elif", "Femi", "Göran", "Hana", "Iris", "João", "Kofi", "Lena")
LAST = ("Abara", "Berg", "Costa", "Díaz", "Endo", "Fischer", "Gupta", "Haddad", "Ito", "Jensen")

Notebook = dict[str, Any]


def learners(count: int) -> Iterator[str]:
    """Names, the same for the same number, each one once."""
    for number in range(count):
        number, first = divmod(number, len(FIRST))
        number, last = divmod(number, len(LAST))
        yield f"{FIRST[first]} {LAST[last]}{f' {number + 1}' if number else ''}"


def notebook_of(learner: str, module: str = LESSONS[0]) -> Notebook:
    """What this learner hands in: of each exercise the stub, a right answer or a wrong one."""
    found = lesson(module)
    dice = random.Random(f"{learner}/{module}")
    made = copy.deepcopy(_stored("exercises", found.notebook))
    for exercise in found.exercises:
        kind = dice.choices(("stub", "model", "kept"), (1, 4, 5))[0]
        cells = answer_cells(made, exercise)
        if kind == "model":
            for cell, model in zip(
                cells, answer_cells(_stored("solutions", found.notebook), exercise), strict=True
            ):
                cell["source"] = model_answer(model["source"])
        elif kind == "kept":
            kept = dice.choice([each for each in kept_answers(found.package) if each.exercise == exercise])
            for cell, source in zip(cells, [kept.source, *[""] * len(cells)], strict=False):
                cell["source"] = source
    return made


@cache
def _stored(folder: str, name: str) -> Notebook:
    return read(ROOT / folder / name)


Layout = Callable[[str, Lesson], str]
LAYOUTS: dict[str, Layout] = {
    "files": lambda learner, of: f"{learner}_{of.notebook}",
    "folders": lambda learner, of: f"{learner}/{of.notebook}",
    "nbgrader": lambda learner, of: f"submitted/{learner}/lesson-{of.number}/{of.notebook}",
    "classroom": lambda learner, of: f"patterns-{learner.replace(' ', '')}/exercises/{of.notebook}",
}


def write_class(
    folder: Path, count: int, *, layout: str = "folders", modules: Sequence[str] = LESSONS[:1]
) -> None:
    """Write the submissions of a class of `count` learners into `folder`."""
    for learner in learners(count):
        for module in modules:
            path = folder / LAYOUTS[layout](learner, lesson(module))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(notebook_of(learner, module)), encoding="utf-8")


def mix_in_hostile(folder: Path) -> None:
    """Add one learner for each notebook of hostile answers, and some whose files are no notebooks."""
    for number, batch in enumerate(batches(HOSTILE), 1):
        found = lesson_of(find(next(iter(batch))))
        made = answering(found, {name: hostile.source for name, hostile in batch.items()})
        _put(folder / f"hostile-{number}" / found.notebook, in_bytes(made))
    name = lesson(LESSONS[0]).notebook
    for words, data in {"empty": b"", "no-text": b"\xff\xfe\x00", "a-zip": b"PK\x03\x04"}.items():
        _put(folder / f"broken-{words}" / name, data)
    link = folder / "broken-link" / name
    link.parent.mkdir()
    link.symlink_to("/etc/hostname")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    """Write a class from the command line."""
    parser = argparse.ArgumentParser(description="Write the submissions of a class that does not exist.")
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="folders")
    parser.add_argument("--lessons", nargs="+", default=LESSONS[:1])
    parser.add_argument("--hostile", action="store_true", help="also all the attacks of the tests")
    options = parser.parse_args()
    write_class(options.folder, options.count, layout=options.layout, modules=options.lessons)
    if options.hostile:
        mix_in_hostile(options.folder)


if __name__ == "__main__":
    main()
