"""All that is written of a class, file by file."""

from __future__ import annotations

from .class_record import ClassRecord
from .feedback import feedback
from .gradebook import gradebook
from .gradescope import gradescope
from .junit import junit
from .pictures import Pictures
from .results import Results

__all__ = ["write"]


def write(book: ClassRecord, results: Results, pictures: Pictures) -> None:
    """Write the results of a class. Raises OSError."""
    from .overview import overview  # its plots take long to import, and a worker or `eip check` draws none

    lessons = {lesson.module: lesson for lesson in book.lessons}
    for learner, file in book.files.items():
        results.write(f"feedback/{file}.html", feedback(book, learner, pictures))
        for graded in book.of(learner):
            lesson = lessons[graded.marks.lesson]
            results.write(f"gradescope/{file}/{lesson.module}.json", gradescope(graded, lesson))
    results.write("gradebook.csv", gradebook(book))
    results.write("junit.xml", junit(book))
    results.write("overview.html", overview(book))
