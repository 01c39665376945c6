"""What a learner gets back: one page with their marks, what went wrong and its picture.

It shows no seed and no hidden input but what the picture of the trace shows.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...lab.static_image import image
from ...lab.wording import plural
from .. import page
from ..exercise import Exercise
from ..marks import Mark
from ..registry import Lesson
from .classbook import NOT_BEGUN, ClassBook, Graded
from .document import document, table, text
from .pictures import Pictures
from .untrusted import shown

__all__ = ["feedback", "next_step"]


def feedback(book: ClassBook, learner: str, pictures: Pictures) -> str:
    """A learner's page. The same marks give the same bytes."""
    handed_in = [(lesson, graded) for lesson in book.lessons if (graded := book.get(learner, lesson))]
    body = "\n".join(
        [_head(learner, handed_in), *(_lesson(lesson, graded, pictures) for lesson, graded in handed_in)]
    )
    return document(f"Feedback: {learner}", body)


def next_step(mark: Mark) -> str:
    """What a learner can do about a mark that is not full."""
    begin = "Begin it and check it" if mark.mistake in NOT_BEGUN else "Mend it and check it"
    return f'{begin} in the notebook. `hint("{mark.exercise}")` helps, a step at each call.'


def _head(learner: str, handed_in: list[tuple[Lesson, Graded]]) -> str:
    points = sum(graded.marks.points for _, graded in handed_in)
    most = sum(graded.marks.most for _, graded in handed_in)
    share = 100 * points // most if most else 0
    said = f"{points} of {plural(most, 'point')}" if handed_in else "Nothing that can be graded was found."
    meter = f'<span class="meter" aria-hidden="true"><span style="width:{share}%"></span></span>'
    return (
        f'<header><p class="soft">Feedback on the exercises</p><h1>{text(learner)}</h1>'
        f"<p><b>{said}</b></p>{meter if handed_in else ''}</header>"
    )


def _lesson(lesson: Lesson, graded: Graded, pictures: Pictures) -> str:
    exercises = {exercise.name: exercise for exercise in lesson.exercises}
    pairs = [(exercises[mark.exercise], mark) for mark in graded.marks.marks if mark.exercise in exercises]
    wrong = [(e, m) for e, m in pairs if not m.passed and m.mistake not in NOT_BEGUN]
    cards = [_card(exercise, mark, graded, pictures) for exercise, mark in wrong]
    return "\n".join(
        [
            f'<section aria-labelledby="{lesson.module}">',
            f'<h2 id="{lesson.module}">{lesson.number:02} · {text(lesson.title)}</h2>',
            *_notes(graded),
            _table(pairs, graded),
            *(["<h3>What to mend</h3>", *cards] if cards else []),
            f'<p class="soft">{_isolation(graded)}</p></section>',
        ]
    )


def _notes(graded: Graded) -> Iterator[str]:
    notes = [*graded.notes, *graded.marks.notes]
    if notes:
        yield f"<ul>{''.join(f'<li>{page.prose(shown(note))}</li>' for note in notes)}</ul>"


def _table(pairs: list[tuple[Exercise, Mark]], graded: Graded) -> str:
    rows = [
        [f"{number} · {_title(exercise, mark)}", _outcome(mark), f"{mark.points} of {mark.most}"]
        for number, (exercise, mark) in enumerate(pairs, start=1)
    ]
    total = f"{graded.marks.points} of {graded.marks.most}"
    return table(("Exercise", "Outcome", "Points"), rows, numbers=[2], foot=("Total", "", total))


def _title(exercise: Exercise, mark: Mark) -> str:
    title = text(exercise.title)
    begun_wrong = not mark.passed and mark.mistake not in NOT_BEGUN
    return f'<a href="#{_anchor(exercise)}">{title}</a>' if begun_wrong else title


def _anchor(exercise: Exercise) -> str:
    return exercise.name.replace("/", "-")


def _outcome(mark: Mark) -> str:
    if mark.passed:
        return '<span class="good">✓ passed</span>'
    if mark.mistake in NOT_BEGUN:
        return f'<span class="soft">○ {_said(mark)}</span>'
    return f'<span class="bad">✗ {_said(mark)}</span>'


def _said(mark: Mark) -> str:
    return page.prose(shown(mark.title))


def _card(exercise: Exercise, mark: Mark, graded: Graded, pictures: Pictures) -> str:
    parts = [
        ("Called", page.prose(exercise.called)),
        ("Seen", page.prose(shown(mark.seen))),
        ("Promised", page.prose(exercise.promised)),
        ("Looks like", page.prose(f"{mark.title}. {mark.explanation}")),
        ("Next", page.prose(next_step(mark))),
    ]
    picture = pictures.get(graded.pictures.get(mark.exercise, ""))
    drawn = f"<figure>{image(picture.svg, shown(picture.alt))}</figure>" if picture.svg else ""
    body = page.sections([(name, html) for name, html in parts if html]) + drawn
    score = f"{mark.points} of {plural(mark.most, 'point')}"
    card = page.card(exercise.title, page.VERMILLION, body, score)
    return f'<article id="{_anchor(exercise)}">{card}</article>'


def _isolation(graded: Graded) -> str:
    return f"Graded in {text(graded.marks.isolation)}." if graded.marks.isolation else ""
