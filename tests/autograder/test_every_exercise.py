"""Every exercise of every lesson: stub, model answer, other right answers, each mistake by its name."""

from __future__ import annotations

import re

import pytest

from eip_ref.autograder import workbook
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import judge_answer, run_answer
from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer, stubbed
from eip_ref.autograder.registry import lesson_of, lessons

from .exercise_cases import (
    ROOT,
    Kept,
    assert_passes,
    assert_same_after_json,
    assert_shows,
    assert_told,
    assert_well_kept,
    changed,
    kept_answers,
    model,
    plays,
    stub,
)

EXERCISES = [exercise for found in lessons() for exercise in found.exercises]
PATTERNS = sorted({exercise.lesson for exercise in EXERCISES})
KEPT = [kept for pattern in PATTERNS for kept in kept_answers(pattern)]
SILENT = {"durable_queue/read_back", "event_sourcing/climb_the_ladder"}  #: on what a right answer was given
CHANGES_ANYHOW = re.compile(r'"(seed|receipt)": ?\d+')
BEGUN = {
    "message_queue/predict_the_shares": "no-prediction",
    "message_queue/keep_the_lease": "lease-ran-out",
    "message_queue/order_per_key": "two-of-a-key-at-once",
    "durable_queue/read_the_trace": "no-prediction",
    "durable_queue/share_the_sync": "confirmed-too-early",
    "durable_queue/follow_the_log": "passed-over",
    "backpressure/close_the_tills": "waits-for-ever",
    "backpressure/labels_for_orders": "waits-for-itself",
    "publish_subscribe/every_socket": "one-breaks-all",
    "publish_subscribe/read_the_night": "no-answer",
    "request_reply/mend_the_dispatcher": "anothers-answer",
    "request_reply/end_the_storm": "storm-goes-on",
    "choosing/run_the_whole_shop": "paid-twice",
    "event_sourcing/sell_once": "error-came-out",
    "api_gateway/mend_the_page": "wrong-customer",
    "saga/in_any_order": "aside-twice",
    "circuit_breaker/mend_the_fuse": "all-let-in",
    "cqrs/both_or_neither": "never-told",
    "cqrs/read_the_evening": "wrong-design",
    "event_sourcing/react_once": "old-customers",
    "saga/who_takes_it_back": "all-stays",
    "cqrs/not_before": "old-as-new",
    "cqrs/without_a_gap": "gap",
    "event_sourcing/follow_the_store": "doubled-at-death",
    "circuit_breaker/say_where_it_is_from": "says-cached",
}
"""Exercises that begin with something that runs, and what it looks like in the check."""

each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
each_right = pytest.mark.parametrize("kept", [kept for kept in KEPT if not kept.mistake], ids=str)
each_wrong = pytest.mark.parametrize(
    "kept", [kept for kept in KEPT if kept.mistake], ids=str, scope="module"
)  # all tests of an answer, then those of the next: its runs are played once


@each_exercise
def test_a_stub_is_told_that_it_is_only_the_beginning(exercise: Exercise) -> None:
    """Who has not begun is told so, with every seed."""
    for seed in exercise.seeds:
        diagnosis = judge_answer(exercise, stub(exercise), [seed]).diagnosis
        assert diagnosis
        assert diagnosis.name == BEGUN.get(exercise.name, "not-started")


@each_exercise
def test_the_model_answer_passes(exercise: Exercise) -> None:
    """With the check's own seeds, and with seeds that it has never seen."""
    assert_passes(exercise, model(exercise))


@pytest.mark.parametrize(
    "exercise", [each for each in EXERCISES if each.name not in SILENT], ids=lambda each: each.name
)
def test_each_seed_of_a_check_plays_another_run(exercise: Exercise) -> None:
    """Or it has one: what is played again finds nothing, and who fits one run alone fails in grading."""
    runs = {CHANGES_ANYHOW.sub("", run_answer(exercise, model(exercise), seed)) for seed in exercise.seeds}
    assert len(runs) == len(exercise.seeds)


@each_right
def test_another_right_answer_passes(kept: Kept) -> None:
    """What is judged is the promise, not the design."""
    assert_passes(kept.exercise, kept.answer)


@each_wrong
def test_a_wrong_answer_is_told_its_mistake(kept: Kept) -> None:
    """The name of the mistake is the one that was meant, with two seeds of the check."""
    assert_shows(kept)


@each_wrong
def test_a_wrong_answer_is_judged_alike_in_another_process(kept: Kept) -> None:
    """The trace as JSON is all that the verdict rests on."""
    assert_same_after_json(kept)


@each_wrong
def test_the_words_name_who_and_when(kept: Kept) -> None:
    """A learner can find the place: the words name a message, a participant or a question, and are short."""
    assert 20 < len(plays(kept)[0].verdict.seen) < 900


@each_exercise
def test_enough_answers_are_kept(exercise: Exercise) -> None:
    """Three wrong ones at least, and a right one of another design."""
    assert_well_kept(exercise)


@each_exercise
def test_each_mistake_that_an_exercise_knows_is_made_by_a_kept_answer(exercise: Exercise) -> None:
    """Or by the stub. What nobody was seen to do is not diagnosed either."""
    made = {kept.mistake for kept in KEPT if kept.exercise == exercise}
    made.add(BEGUN.get(exercise.name, "not-started"))
    assert [mistake.name for mistake in exercise.mistakes if mistake.name not in made] == []


@pytest.mark.parametrize("exercise", [each for each in EXERCISES if each.parts], ids=lambda each: each.name)
def test_each_part_is_earned_and_lost_by_a_kept_answer(exercise: Exercise) -> None:
    """A wrong answer that earns a part has its points, and those of no other part."""
    wrong = [plays(kept)[0].verdict for kept in KEPT if kept.exercise == exercise and kept.mistake]
    for number, part in enumerate(exercise.parts):
        assert {verdict.parts[number].points for verdict in wrong} == {0, part.points}
    assert any(0 < verdict.points < exercise.points for verdict in wrong)
    for verdict in wrong:
        assert verdict.points == sum(part.points for part in verdict.parts) < exercise.points


@each_exercise
def test_the_notebook_tells_a_story_and_a_task(exercise: Exercise) -> None:
    """Above the answer, in words of the author."""
    assert_told(exercise)


@each_exercise
def test_the_notebook_tells_kind_points_and_minutes_of_an_exercise(exercise: Exercise) -> None:
    """As its texts have them."""
    notebook = read(ROOT / "solutions" / lesson_of(exercise).notebook)
    assert any(f"*{exercise.size}*" in cell["source"] for cell in notebook["cells"])


@each_exercise
def test_no_piece_of_the_solution_is_in_the_exercise(exercise: Exercise) -> None:
    """The whole answer stands nowhere in what the learner opens, nor three lines of it in its own cell."""
    solution = read(ROOT / "solutions" / lesson_of(exercise).notebook)
    handed_out = read(ROOT / "exercises" / lesson_of(exercise).notebook)
    given = "\n".join(_lines(cell["source"]) for cell in handed_out["cells"])
    begun = "\n".join(_lines(cell["source"]) for cell in workbook.answer_cells(handed_out, exercise))
    for cell in workbook.answer_cells(solution, exercise):
        answer, stubs = _lines(model_answer(cell["source"])), _lines(stubbed(cell["source"]))
        assert answer not in given
        rows = [row for row in answer.splitlines() if row not in stubs]
        pieces = ["\n".join(rows[n : n + 3]) for n in range(len(rows) - 2)]
        assert [piece for piece in pieces if piece in begun] == []


def _lines(source: str) -> str:
    return "\n".join(line.strip() for line in source.splitlines() if line.strip())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_has_enough_exercises_of_different_kinds(pattern: str) -> None:
    """Four at least, of four kinds."""
    mine = [exercise for exercise in EXERCISES if exercise.lesson == pattern]
    assert len(mine) >= 4
    assert len({exercise.kind for exercise in mine}) >= 4


LOOP = "while True:\n    try:\n        pack()\n        ack()\n    finally:\n        rest()"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("- pack()\n+ pack(twice)", "        pack(twice)"),
        ("- pack()\n- ack()\n+ ack()\n+ pack()", "        ack()\n        pack()"),
        ("- try:\n-     ...\n-     rest()\n+ pack()", "while True:\n    pack()"),
        ("- rest()\n\n- True\n+ orders", "while orders:"),
    ],
)
def test_a_kept_change_is_made_where_its_lines_stand(change: str, line: str) -> None:
    """Whatever their indentation is, and with any lines in place of dots."""
    assert line in changed(LOOP, change)


@pytest.mark.parametrize("change", ["- unpack()", "- ()\n+ (1)", "+ pack()"])
def test_a_kept_change_that_fits_nowhere_or_twice_is_refused(change: str) -> None:
    """So that a new model answer cannot make a wrong answer right in silence."""
    with pytest.raises(AssertionError):
        changed(LOOP, change)
