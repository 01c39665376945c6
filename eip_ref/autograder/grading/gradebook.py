"""The gradebook: a table that spreadsheets and learning platforms read.

A row for each learner; a column for each exercise, for the total of each lesson and of all, and one for
what should be known beside the points, such as that something was handed in late. The most points that a
column can have stand in its header, since a row of them would be taken for a learner. A cell is empty
where nothing was handed in.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from io import StringIO

from ..registry import Lesson
from .class_record import ClassRecord

__all__ = ["OtherColumns", "gradebook", "with_rows_of"]

BYTE_ORDER_MARK = "\ufeff"  #: by which a spreadsheet knows that names are in UTF-8
END = "\r\n"  #: of a row
FORMULA = ("=", "+", "-", "@", "\t", "\r")  #: a cell that begins so would be computed


class OtherColumns(ValueError):
    """A gradebook into which no row of another one fits."""


def gradebook(book: ClassRecord) -> str:
    """The gradebook of a class as CSV, as RFC 4180 has it."""
    out = StringIO()
    rows = csv.writer(out)
    people = any(book.people.values())
    rows.writerow(["Learner", *(["Name"] if people else []), *_heads(book), "Status"])
    for learner in book.files:
        name = [_text(book.people.get(learner, ""))] if people else []
        rows.writerow([_text(learner), *name, *_points(book, learner), _text(book.status(learner))])
    return BYTE_ORDER_MARK + out.getvalue()


def with_rows_of(learners: Collection[str], new: str, old: str) -> str:
    """The gradebook `old` with the rows of these learners from `new`; every other byte stays.

    Raises `OtherColumns` when the two have not the same columns.
    """
    (heads, *before), (new_heads, *now) = old.split(END), new.split(END)
    if heads != new_heads:
        raise OtherColumns("the gradebook has other columns than this class has; grade the whole class")
    wanted = {name: row for row in now if (name := _first(row)) in set(map(_text, learners))}
    rows = [wanted.pop(_first(row), row) for row in before]
    return END.join([heads, *rows[:-1], *wanted.values(), *rows[-1:]])


def _first(row: str) -> str:
    return next(iter(next(csv.reader([row]), [])), "")


def _heads(book: ClassRecord) -> Iterator[str]:
    for lesson in book.lessons:
        yield from (f"{exercise.name} ({exercise.points})" for exercise in lesson.exercises)
        yield f"{lesson.module} total ({lesson.points})"
    yield f"Total ({book.most})"


def _points(book: ClassRecord, learner: str) -> Iterator[int | str]:
    for lesson in book.lessons:
        yield from _lesson_points(book, learner, lesson)
    yield book.points(learner) if book.of(learner) else ""


def _lesson_points(book: ClassRecord, learner: str, lesson: Lesson) -> list[int | str]:
    graded = book.get(learner, lesson)
    if graded is None:
        return [""] * (len(lesson.exercises) + 1)
    points = {mark.exercise: mark.points for mark in graded.marks.marks}
    return [*(points.get(exercise.name, 0) for exercise in lesson.exercises), graded.marks.points]


def _text(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA) else name
