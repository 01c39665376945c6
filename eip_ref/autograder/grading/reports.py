"""All that is written of a class, file by file."""

from __future__ import annotations

from collections.abc import Collection

from .. import page
from .class_record import ClassRecord
from .feedback import feedback
from .gradebook import gradebook, with_rows_of
from .gradescope import gradescope
from .junit import junit
from .pictures import Pictures
from .results import Results

__all__ = ["load", "write"]


def load() -> None:
    """Load what `write` needs, if somebody has time before: it takes half a second, most of it matplotlib."""
    from ...lab.figures.canvas import empty
    from . import overview  # noqa: F401

    page.environment()
    empty("", "")


def write(book: ClassRecord, results: Results, pictures: Pictures, only: Collection[str] = ()) -> None:
    """Write the results of a class; with `only`, what is of these learners, and the pages of the class.

    Raises OSError, and `OtherColumns` when rows of `only` do not fit into the gradebook that is there.
    """
    from .overview import overview  # not before: a worker or `eip check` writes none

    lessons = {lesson.module: lesson for lesson in book.lessons}
    made = gradebook(book)
    results.write("gradebook.csv", with_rows_of(only, made, results.read("gradebook.csv")) if only else made)
    for learner in only or book.files:
        file = book.files[learner]
        results.write(f"feedback/{file}.html", feedback(book, learner, pictures))
        for graded in book.of(learner):
            lesson = lessons[graded.marks.lesson]
            results.write(f"gradescope/{file}/{lesson.module}.json", gradescope(graded, lesson))
    results.write("junit.xml", junit(book))
    results.write("overview.html", overview(book))
