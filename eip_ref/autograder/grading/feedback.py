"""The page that a learner gets back: their marks, what went wrong and its picture.

It shows no seed and no hidden input but what the picture of the trace shows.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ...lab.static_image import image
from ...lab.wording import plural
from ..exercise import Exercise
from ..marks import NOT_BEGUN, Mark, next_step
from ..registry import Lesson
from .class_record import ClassRecord, Graded
from .document import document
from .pictures import Pictures
from .untrusted import shown

__all__ = ["feedback", "late_note"]


def feedback(book: ClassRecord, learner: str, pictures: Pictures) -> str:
    """A learner's page. The same marks give the same bytes."""
    handed_in = [(lesson, graded) for lesson in book.lessons if (graded := book.get(learner, lesson))]
    points = sum(graded.marks.points for _, graded in handed_in)
    most = sum(graded.marks.most for _, graded in handed_in)
    return document(
        "feedback.html",
        learner=book.people.get(learner) or learner,
        said=f"{points} of {plural(most, 'point')}" if handed_in else _nothing(book, learner),
        share=100 * points // most if most else 0,
        lessons=[_lesson(lesson, graded, pictures) for lesson, graded in handed_in],
        NOT_BEGUN=NOT_BEGUN,
    )


def _nothing(book: ClassRecord, learner: str) -> str:
    return "Nothing was handed in." if learner in book.missing else "Nothing that can be graded was found."


def late_note(graded: Graded) -> list[str]:
    """A line for a notebook that was handed in after the deadline; none as a rule."""
    return [f"Handed in {graded.late}. The points are those of the answers alone."] if graded.late else []


def _lost(graded: Graded) -> list[str]:
    """A line for a notebook of which nothing was graded; none as a rule."""
    first = graded.marks.marks[0]
    return [f"{first.title}: {first.seen} {first.explanation}"] if graded.lost else []


def _lesson(lesson: Lesson, graded: Graded, pictures: Pictures) -> dict[str, Any]:
    exercises = {exercise.name: exercise for exercise in lesson.exercises}
    pairs = [(exercises[mark.exercise], mark) for mark in graded.marks.marks if mark.exercise in exercises]
    wrong = [(e, m) for e, m in pairs if not (m.passed or graded.lost or m.mistake in NOT_BEGUN)]
    cards = [_card(exercise, mark, graded, pictures) for exercise, mark in wrong]
    notes = [*_lost(graded), *late_note(graded), *graded.notes, *graded.marks.notes]
    return {"lesson": lesson, "graded": graded, "pairs": pairs, "cards": cards, "notes": notes}


def _card(exercise: Exercise, mark: Mark, graded: Graded, pictures: Pictures) -> dict[str, Any]:
    picture = pictures.get(graded.pictures.get(mark.exercise, ""))
    parts = [
        ("Called", exercise.called),
        ("Parts", "\n".join(map(str, mark.parts))),
        ("Seen", mark.seen),
        ("Promised", exercise.promised),
        ("Looks like", f"{mark.title}. {mark.explanation}"),
        ("Next", next_step(mark)),
        ("Picture", picture.why),
    ]
    return {
        "exercise": exercise,
        "score": f"{mark.points} of {plural(mark.most, 'point')}",
        "parts": [(name, words) for name, words in parts if words],
        "picture": Markup(image(picture.svg, shown(picture.alt))) if picture.svg else "",
    }
