"""The class on one page, for the teacher: points, mistakes by name, learners, what needs a look, time."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from statistics import median
from urllib.parse import quote

from ...lab.figures import bars
from ...lab.wording import plural, seconds
from .. import page
from ..marks import Mark
from ..registry import Lesson
from .charts import outcomes, spread
from .classbook import NOT_BEGUN, ClassBook
from .document import document, table, text, tiles
from .untrusted import shown

__all__ = ["overview"]

MOST_MISTAKES = 12  #: that are listed


def overview(book: ClassBook) -> str:
    """The page. All that may differ from run to run is in its last section."""
    parts = [
        f"<header><h1>Class overview</h1><p class='soft'>{text(_lessons(book))}</p></header>",
        tiles(_numbers(book)),
        *_to_look_at(book),
        *_points(book),
        *map("".join, (_lesson(book, lesson) for lesson in book.lessons)),
        *_mistakes(book),
        *_learners(book),
        *_odd(book),
        *_time(book),
    ]
    return document("Class overview", "\n".join(parts))


def _lessons(book: ClassBook) -> str:
    return (
        ", ".join(f"{lesson.number:02} {lesson.title}" for lesson in book.lessons) or "Nothing was handed in."
    )


def _numbers(book: ClassBook) -> Iterator[tuple[str, str]]:
    yield str(len(book.files)), "learner" if len(book.files) == 1 else "learners"
    yield str(len(book.graded)), "notebook graded" if len(book.graded) == 1 else "notebooks graded"
    yield f"{book.mean:.1f}", f"points of {book.most}, mean"
    yield f"{book.median:g}", f"points of {book.most}, median"


def _to_look_at(book: ClassBook) -> Iterator[str]:
    if book.problems:
        many = plural(len(book.problems), "thing needs", "things need")
        items = "".join(
            f"<li><b>{text(problem.where)}</b>: {text(problem.words)}</li>" for problem in book.problems
        )
        opened = " open" if len(book.problems) <= 8 else ""
        yield f"<details{opened}><summary><b>⚠ {many} a look</b></summary><ul>{items}</ul></details>"


def _points(book: ClassBook) -> Iterator[str]:
    learners = book.graded_learners
    if learners:
        yield _section("Points")
        points = [book.points(each) for each in learners]
        yield f"<figure>{spread(points, book.most, 'How the points are spread').html}</figure>"


def _lesson(book: ClassBook, lesson: Lesson) -> Iterator[str]:
    facts = book.exercises(lesson)
    yield _section(f"{lesson.number:02} · {lesson.title}")
    yield f"<figure>{outcomes(facts, 'Who passed which exercise').html}</figure>"
    rows = [
        [
            f"{number} · {text(each.exercise.title)}",
            "★" * each.exercise.difficulty,
            str(each.passed),
            str(each.wrong),
            str(each.not_begun),
            f"{each.share * each.exercise.points:.1f} of {each.exercise.points}",
        ]
        for number, each in enumerate(facts, start=1)
    ]
    heads = ("Exercise", "Difficulty", "Passed", "Wrong", "Not begun", "Mean points")
    yield table(heads, rows, numbers=(2, 3, 4, 5))


def _mistakes(book: ClassBook) -> Iterator[str]:
    yield _section("Most frequent mistakes")
    if not book.mistakes:
        yield "<p>None.</p>"
        return
    most = book.mistakes[0].learners
    rows = [
        [
            f"{page.prose(shown(made.mark.title))}<br><code class='soft'>{text(made.mark.mistake)}</code>",
            text(made.exercise.title),
            f"{made.learners}",
            _bar(made.learners, most),
        ]
        for made in book.mistakes[:MOST_MISTAKES]
    ]
    yield table(("Mistake", "Exercise", "Learners", ""), rows, numbers=(2,))
    rest = len(book.mistakes) - MOST_MISTAKES
    if rest > 0:
        yield f"<p class='soft'>and {plural(rest, 'mistake')} less frequent than these</p>"


def _bar(part: int, whole: int) -> str:
    share = max(1, 100 * part // whole)
    return f'<span class="bar wide" aria-hidden="true"><span style="width:{share}%"></span></span>'


def _learners(book: ClassBook) -> Iterator[str]:
    yield _section("Learners")
    yield "<p class='soft'>One sign for each exercise: ✓ passed, ✗ wrong, ○ not begun.</p>"
    heads = ["Learner", *(f"{lesson.number:02} {lesson.title}" for lesson in book.lessons)]
    several = len(book.lessons) > 1
    rows = [
        [
            f'<a class="name" href="feedback/{quote(file)}.html">{text(learner)}</a>',
            *(_points_of(book, learner, lesson) for lesson in book.lessons),
            *([str(book.points(learner))] if several else []),
        ]
        for learner, file in book.files.items()
    ]
    total = [f"Total of {book.most}"] if several else []
    yield table([*heads, *total], rows, numbers=range(1, len(heads) + 1))


def _points_of(book: ClassBook, learner: str, lesson: Lesson) -> str:
    graded = book.get(learner, lesson)
    if graded is None:
        return '<span class="soft">–</span>'
    titles = {exercise.name: exercise.title for exercise in lesson.exercises}
    points = f"{graded.marks.points} of {graded.marks.most}"
    signs = "".join(_sign(mark, titles.get(mark.exercise, "")) for mark in graded.marks.marks)
    return f'<span class="strip wide">{signs}</span> <span class="points">{points}</span>'


def _sign(mark: Mark, title: str) -> str:
    if mark.passed:
        return f'<span class="good" title="{text(title)}: passed">✓</span>'
    kind, sign = ("soft", "○") if mark.mistake in NOT_BEGUN else ("bad", "✗")
    return f'<span class="{kind}" title="{text(title)}: {text(mark.title)}">{sign}</span>'


def _odd(book: ClassBook) -> Iterator[str]:
    if book.notes:
        yield _section("Odd, and cost nothing")
        items = "".join(
            f"<li><b>{text(learner)}</b>: {' '.join(page.prose(shown(note)) for note in notes)}</li>"
            for learner, notes in book.notes.items()
        )
        many = plural(len(book.notes), "learner")
        yield f"<details><summary>Notes on {many}</summary><ul>{items}</ul></details>"


def _time(book: ClassBook) -> Iterator[str]:
    run = book.run
    yield _section("This run")
    kept = f" The marks of {plural(run.kept, 'notebook')} were kept from an earlier run." if run.kept else ""
    yield (
        f"<p>{text(run.began)}: {plural(run.graded, 'notebook')} graded in {seconds(round(run.seconds, 1))}."
        f"{kept} {escape('. '.join(book.isolations))}</p>"
    )
    times = {
        each.exercise.title: round(median(each.seconds), 3)
        for lesson in book.lessons
        for each in book.exercises(lesson)
        if each.seconds
    }
    if times:
        yield f"<figure>{bars(times, unit='s', title='Seconds that an answer takes, median').html}</figure>"


def _section(title: str) -> str:
    return f"<h2>{text(title)}</h2>"
