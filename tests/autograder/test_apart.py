"""Exercises of the course run with the answer in a process of its own as they do in one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import judge_trace, run_answer
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.registry import lessons

from .apart import mistakes, starter, trace
from .exercise_cases import Kept, kept_answers, model, model_source, whole_source

EXERCISES = [exercise for found in lessons() for exercise in found.exercises]
FIRST = ("point_to_point", "message_queue")  #: of the others the model answers alone
KEPT = [kept for pattern in FIRST for kept in kept_answers(pattern)]

OTHER_ORDER = {"message_queue/order_per_key", "backpressure/close_the_tills"}
"""Here the tasks of the answer take turns among themselves within one instant, and the judge's side does not
see these turns. So the facts are the same and their order within an instant is not."""

OTHER_FACTS = {"backpressure/bear_with_the_partner", "choosing/run_the_whole_shop"}
"""As above, and who is first at an instant gets other luck from the network, or is the last to be served. And
what a bucket records that the answer makes itself is nobody's fact. So the judgement alone is the same."""


@pytest.fixture(scope="module")
def by() -> Iterator[Zygote]:
    with starter() as zygote:
        yield zygote


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_the_model_answer_leaves_the_same_trace(exercise: Exercise, by: Zygote) -> None:
    """Event by event."""
    seed = exercise.seeds[0]
    here = run_answer(exercise, model(exercise), seed)
    there = trace(exercise, whole_source(exercise, model_source(exercise)), seed, by=by)
    if exercise.name in OTHER_FACTS:
        assert judge_trace(exercise, there.to_json(), seed).passed
    elif exercise.name in OTHER_ORDER:
        assert sorted(map(str, here)) == sorted(map(str, there))
    else:
        assert here.first_difference(there) is None


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_a_kept_answer_looks_like_its_mistake(kept: Kept, by: Zygote) -> None:
    """With the first seed of the check, and a right one like none."""
    source = whole_source(kept.exercise, kept.source)
    assert mistakes(kept.exercise, source, kept.exercise.seeds[:1], by=by) == {kept.mistake}
