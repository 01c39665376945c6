"""The gradebook: a table that spreadsheets and learning platforms read.

A row for each learner; a column for each exercise, for the total of each lesson and of all. The most
points that a column can have stand in its header, since a row of them would be taken for a learner.
A cell is empty where nothing was handed in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from ..registry import Lesson
from .class_record import ClassRecord

__all__ = ["gradebook"]

BYTE_ORDER_MARK = "\ufeff"  #: by which a spreadsheet knows that names are in UTF-8
FORMULA = ("=", "+", "-", "@", "\t", "\r")  #: a cell that begins so would be computed


def gradebook(book: ClassRecord) -> str:
    """The gradebook of a class as CSV, as RFC 4180 has it."""
    out = StringIO()
    rows = csv.writer(out)
    rows.writerow(["Learner", *_heads(book)])
    for learner in book.files:
        rows.writerow([_text(learner), *_points(book, learner)])
    return BYTE_ORDER_MARK + out.getvalue()


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
