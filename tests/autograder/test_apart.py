"""Exercises of the course run with the answer in a process of its own as they do in one process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CoroutineType

import pytest

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import judge_trace, run_answer
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.registry import find, lessons
from eip_ref.trace import Event, Trace

from .apart import starter, trace
from .exercise_cases import kept_answers, model, model_source, whole_source

EXERCISES = [exercise for found in lessons() for exercise in found.exercises]

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
    """Event by event, and it passes. With other seeds it passes in the notebook of solutions.

    `test_isolated` grades the kept answers.
    """
    seed = exercise.seeds[0]
    here = Trace.from_json(run_answer(exercise, model(exercise), seed))
    there = trace(exercise, whole_source(exercise, model_source(exercise)), seed, by=by)
    assert judge_trace(exercise, there.to_json(), seed).passed
    if exercise.name in OTHER_ORDER:
        assert sorted(map(str, here)) == sorted(map(str, there))
    elif exercise.name not in OTHER_FACTS:
        assert here.first_difference(there) is None


def test_nothing_of_the_dead_is_held_when_a_run_is_over(by: Zygote) -> None:
    """Else a class of hundreds would fill the memory: their frames lead to the whole run."""
    exercise = find("message_queue/mend_the_worker")
    answers = [kept for kept in kept_answers("message_queue") if kept.exercise == exercise]

    def held() -> int:
        for kept in answers:
            trace(exercise, whole_source(exercise, kept.source), 1, by=by)
        gc.collect()
        return sum(isinstance(each, CoroutineType | Event) for each in gc.get_objects())

    at_first = held()
    assert held() == at_first
