"""The class on one page, for the teacher: points, mistakes by name, learners, what needs a look, time."""

from __future__ import annotations

from statistics import median
from typing import Any

from markupsafe import Markup

from ...lab.figures import bars
from ...lab.wording import plural, seconds
from ..marks import NOT_BEGUN
from ..registry import Lesson
from .charts import outcomes, spread
from .class_record import ClassRecord
from .document import document

__all__ = ["overview"]

MOST_MISTAKES = 12  #: that are listed


def overview(book: ClassRecord) -> str:
    """The page. All that may differ from run to run is in its last section."""
    return document(
        "overview.html",
        book=book,
        lessons=", ".join(map(_title, book.lessons)).replace(" · ", " ") or "Nothing was handed in.",
        numbers=_numbers(book),
        spread=_spread(book),
        exercises=[_lesson(book, lesson) for lesson in book.lessons],
        most_mistakes=MOST_MISTAKES,
        learner_heads=_learner_heads(book),
        titles={each.name: each.title for lesson in book.lessons for each in lesson.exercises},
        times=_times(book),
        plural=plural,
        seconds=seconds,
        NOT_BEGUN=NOT_BEGUN,
    )


def _title(lesson: Lesson) -> str:
    return f"{lesson.label} · {lesson.title}"


def _numbers(book: ClassRecord) -> list[tuple[str, str]]:
    few = {"handed in nothing": len(book.missing), "handed in late": len(book.late)}
    return [
        (str(len(book.files)), "learner" if len(book.files) == 1 else "learners"),
        (str(len(book.notebooks)), "notebook graded" if len(book.notebooks) == 1 else "notebooks graded"),
        (f"{book.mean:.1f}", f"points of {book.most}, mean"),
        (f"{book.median:g}", f"points of {book.most}, median"),
        *((str(number), words) for words, number in few.items() if number),
    ]


def _spread(book: ClassRecord) -> Markup:
    points = [book.points(each) for each in book.graded_learners]
    return Markup(spread(points, book.most, "How the points are spread").html if points else "")


def _lesson(book: ClassRecord, lesson: Lesson) -> dict[str, Any]:
    facts = book.exercises(lesson)
    picture = Markup(outcomes(facts, "Who passed which exercise").html)
    return {"title": _title(lesson), "facts": facts, "picture": picture}


def _learner_heads(book: ClassRecord) -> list[str]:
    total = [f"Total of {book.most}"] if len(book.lessons) > 1 else []
    return ["Learner", *(f"{lesson.label} {lesson.title}" for lesson in book.lessons), *total]


def _times(book: ClassRecord) -> Markup:
    times = {
        each.exercise.title: round(median(each.seconds), 3)
        for lesson in book.lessons
        for each in book.exercises(lesson)
        if each.seconds
    }
    title = "Seconds that an answer takes, median"
    return Markup(bars(times, unit="s", title=title).html if times else "")
