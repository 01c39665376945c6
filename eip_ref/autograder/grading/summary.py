"""A class in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ...lab.wording import plural
from .class_record import ClassRecord

__all__ = ["summary"]

MOST_MISTAKES = 5


def summary(book: ClassRecord) -> str:
    """A class in a few lines for a terminal."""
    return "\n".join(_lines(book))


def _lines(book: ClassRecord) -> Iterator[str]:
    yield f"{plural(len(book.graded), 'notebook')} of {plural(len(book.files), 'learner')}: {_how(book)}"
    if book.missing or book.late:
        yield f"{len(book.missing)} handed in nothing, {len(book.late)} handed in late"
    if book.notebooks:
        yield f"Points: mean {book.mean:.1f}, median {book.median:g} of {book.most}"
    for lesson in book.lessons if book.notebooks else ():
        hardest = min(book.exercises(lesson), key=lambda facts: facts.share)
        said = f"hardest: {hardest.exercise.title}, passed by {hardest.passed} of {hardest.answers}"
        yield f"{lesson.label} {lesson.title}: {said if hardest.share < 1 else 'all passed all exercises'}"
    if book.mistakes:
        yield "Most frequent mistakes:"
    for made in book.mistakes[:MOST_MISTAKES]:
        yield f"  {made.learners:>4} × {made.mark.title} ({made.exercise.title})"
    if book.problems:
        yield f"{plural(len(book.problems), 'thing needs', 'things need')} a look; the overview lists them."


def _how(book: ClassRecord) -> str:
    run = book.run
    kept = f", {run.kept} kept from before" if run.kept else ""
    return f"{run.graded} graded{kept}, in {run.seconds:.1f} s"
