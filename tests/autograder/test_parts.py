"""An exercise with several questions gives points for each part that is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eip_ref.autograder import registry
from eip_ref.autograder.board import project
from eip_ref.autograder.check_command import report
from eip_ref.autograder.exercise import Diagnosis, Part
from eip_ref.autograder.grading.class_record import ClassRecord, Graded
from eip_ref.autograder.grading.feedback import feedback
from eip_ref.autograder.grading.gradebook import gradebook
from eip_ref.autograder.grading.gradescope import gradescope
from eip_ref.autograder.grading.junit import junit
from eip_ref.autograder.grading.overview import overview
from eip_ref.autograder.grading.pictures import Pictures
from eip_ref.autograder.grading.results import Results
from eip_ref.autograder.judging import Verdict, judge_answer
from eip_ref.autograder.marks import Mark, Marks
from eip_ref.autograder.progress import Fact, fold
from eip_ref.autograder.report import Report
from eip_ref.trace import Trace

EXERCISE = registry.find("event_sourcing/read_the_lunch")
LESSON = registry.lesson_of(EXERCISE)
KNOWN = {mistake.name: mistake for mistake in EXERCISE.mistakes}


def verdict(*mistakes: str, seed: int = 1) -> Verdict:
    found = tuple(Diagnosis(KNOWN[name], f"seen: {name}") for name in mistakes)
    return Verdict(EXERCISE, not found, seed, Trace((), seed=seed), "words", found)


@pytest.mark.parametrize(
    ("mistakes", "points"),
    [
        ((), (1, 1, 1)),
        (("wrong-stream",), (0, 1, 1)),
        (("wrong-conflicts", "wrong-repetition"), (1, 0, 1)),
        (("order-of-sending", "wrong-silence"), (0, 1, 0)),
        (("no-prediction",), (0, 0, 0)),
        (("no-prediction", "wrong-silence"), (0, 0, 0)),
    ],
)
def test_a_mistake_costs_its_own_part(mistakes: tuple[str, ...], points: tuple[int, ...]) -> None:
    """And one of no part costs all."""
    seen = verdict(*mistakes)
    assert tuple(part.points for part in seen.parts) == points
    assert (seen.points, seen.mark.points, seen.passed) == (sum(points), sum(points), not mistakes)


def test_a_part_is_lost_when_any_run_loses_it() -> None:
    """What is shown is the first run that failed, and what the others found besides."""
    both = (
        verdict().then(verdict("wrong-stream", seed=2)).then(verdict("wrong-silence", "wrong-stream", seed=3))
    )
    assert (both.seed, both.points) == (2, 1)
    assert [finding.mistake.name for finding in both.findings] == ["wrong-stream", "wrong-silence"]
    assert both.then(verdict(seed=4)) == both


def test_an_answer_is_run_while_it_has_points_to_lose() -> None:
    """One that is right in part with the first seed, and in no part with the second."""
    stopped = replace(EXERCISE, seeds=(1, 2, 3), parts=())
    asked: list[int] = []

    def answer() -> object:
        asked.append(1)
        return {"in the stream": []} if len(asked) > 1 else lunch(silence=[1])

    assert judge_answer(replace(EXERCISE, seeds=(1, 2, 3)), answer).points == 0
    assert len(asked) == 2
    asked.clear()
    assert judge_answer(stopped, answer).points == 0
    assert len(asked) == 1


def lunch(**changed: list[int]) -> dict[str, list[int]]:
    """The right answer, as its own judge reads it from the trace."""
    said: dict[str, list[int]] = {}

    def nothing() -> dict[str, list[int]]:
        return {
            name: [] for name in ("in the stream", "conflicts", "repeated and known", "left without knowing")
        }

    trace = judge_answer(EXERCISE, nothing).trace
    for event in trace:
        if "question" in event.data:
            said[event.data["question"]] = event.data["really"]
    names = {"silence": "left without knowing"}
    return said | {names[name]: value for name, value in changed.items()}


def a_class() -> ClassRecord:
    wrong = verdict("wrong-silence").mark
    marks = [wrong if e == EXERCISE else Mark(e.name, e.points, e.points) for e in LESSON.exercises]
    kept = Marks.from_json(Marks(LESSON.module, tuple(marks)).to_json())
    return ClassRecord((LESSON,), {"ada": "ada"}, (Graded("ada", kept),))


def test_parts_are_kept_as_json() -> None:
    """They come back as they were."""
    marks = Marks(LESSON.module, (verdict("wrong-silence").mark, verdict().mark))
    assert Marks.from_json(marks.to_json()) == marks


def test_every_report_shows_the_points_of_parts(tmp_path: Path) -> None:
    """The same points everywhere, and which part was lost."""
    book = a_class()
    graded, most = book.graded[0], LESSON.points
    assert book.points("ada") == most - 1
    assert f",{most - 1}," in gradebook(book)
    assert "◐" in overview(book)
    assert "(1 in part)" in overview(book)
    page = feedback(book, "ada", Pictures(Results(tmp_path)))
    test = next(t for t in json.loads(gradescope(graded, LESSON))["tests"] if t["name"] == EXERCISE.title)
    assert (test["score"], test["max_score"], test["status"]) == (2, 3, "failed")
    lost = "✗ 0/1  Who is left without knowing"
    for text in (page, test["output"], junit(book), report(graded.marks, LESSON)):
        assert lost in text
        assert "✓ 1/1  The stream" in text
    assert "✗ 2/3" in report(graded.marks, LESSON)


def test_the_notebook_and_the_board_show_them() -> None:
    """The check says which part is right; the board counts the most that a check has given."""
    shown = str(Report(verdict("wrong-silence")))
    assert "(2 of 3 points)" in shown
    assert "✗ 0/1  Who is left without knowing" in shown
    facts = [Fact("checked", EXERCISE.name, {"points": points}) for points in (2, 1)]
    board = str(project(fold([Fact("hinted", EXERCISE.name), *facts]), [LESSON]))
    assert "◐ Read the trace of a lunch" in board
    assert f"2 of {LESSON.points} points" in board


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([Part("a", 2, ("wrong-stream",))], "add up"),
        ([Part("a", 3, ("wrong-stream",)), Part("b", 0, ("wrong-silence",))], "above 0"),
        ([Part("a", 3, ("wrong",))], "one of the exercise"),
        ([Part("a", 1, ("wrong-stream",)), Part("b", 2, ("wrong-stream",))], "one part"),
        ([Part("a", 3, ())], "one of the exercise"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: list[Part], words: str) -> None:
    """Where they are written."""
    with pytest.raises(ValueError, match=words):
        replace(EXERCISE, parts=tuple(parts))
