"""An answer becomes a trace, the trace becomes a verdict, and nothing but JSON goes between them."""

from __future__ import annotations

import dataclasses
import gc
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from eip_ref.autograder import judging, mistakes, registry
from eip_ref.autograder.exercise import Diagnosis, Exercise
from eip_ref.autograder.forms import Form, a_class, async_function, function, one_of
from eip_ref.autograder.judging import judge_answer, judge_trace, run_answer
from eip_ref.autograder.registry import UnknownExercise, find
from eip_ref.trace import Event, Trace, record

from . import answers
from .conftest import TOYS
from .toys import toy

WORKER = toy.MEND_THE_WORKER


def test_a_right_answer_passes_and_earns_its_points() -> None:
    """What keeps the promise passes with every seed."""
    verdict = judge_answer(WORKER, answers.ack_last)
    assert (verdict.passed, verdict.points, verdict.diagnosis) == (True, 3, None)


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (answers.ack_first, "ack-first"),
        (answers.not_started, "not-started"),
        (answers.waits_for_ever, "stuck"),
        (answers.goes_round, "never-ends"),
        (answers.never_sleeps, "never-ends"),
        (answers.divides, "raised"),
        (answers.disconnects, "acks-nothing"),
        (answers.exits, "raised"),
        (None, "wrong-form"),
        (lambda orders: None, "wrong-form"),
    ],
)
def test_a_wrong_answer_is_named(answer: object, mistake: str) -> None:
    """Whatever an answer does, the verdict is a mistake with a name."""
    verdict = judge_answer(WORKER, answer)
    assert verdict.diagnosis
    assert (verdict.passed, verdict.points, verdict.diagnosis.name) == (False, 0, mistake)


def test_an_error_is_told_with_the_line_of_the_learners_own_code() -> None:
    """The words name the error, the line, and what it says, even out of a task group."""
    seen = judge_answer(WORKER, answers.divides).seen
    first = answers.divides.__code__.co_firstlineno
    assert (
        seen == f"Line {first + 3} of your cell raised ZeroDivisionError: division by zero\n    print(1 / 0)"
    )


def test_an_error_keeps_the_trace_until_then() -> None:
    """What happened before the error is there to be drawn."""
    assert judge_answer(WORKER, answers.divides).trace.count("delivered") == 1


def test_a_deadlock_says_where_the_learners_task_waits() -> None:
    """The words name the task and the line where it waits."""
    assert "waits_for_ever, line" in judge_answer(WORKER, answers.waits_for_ever).seen


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The collector looks at all objects, as in a kernel; workers of these tests keep it from some."""
    monkeypatch.setattr(judging, "_frozen_by_others", False)
    kept = gc.get_freeze_count()
    gc.unfreeze()
    yield
    gc.unfreeze()
    if kept:
        gc.freeze()


def test_old_objects_are_not_collected_while_an_answer_is_judged(collected: None) -> None:
    """A kernel holds many, and runs make more. Afterwards they are collected as before."""
    frozen = []

    async def looks(orders: object, charge: object) -> None:
        frozen.append(gc.get_freeze_count())

    judge_answer(WORKER, looks)
    assert min(frozen) > 10_000
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_keeps_from_the_collector_stays_so(collected: None) -> None:
    """Judging ends nothing that it has not begun."""
    gc.freeze()
    judge_answer(WORKER, answers.ack_last)
    assert gc.get_freeze_count() > 10_000


def test_what_is_kept_from_the_collector_is_counted_once(
    collected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To count goes through all of it: a worker of these tests would need 50 ms for each verdict."""
    gc.freeze()
    count = Mock(wraps=gc.get_freeze_count)
    monkeypatch.setattr(gc, "get_freeze_count", count)
    for _ in range(3):
        judge_answer(WORKER, answers.ack_last)
    assert count.call_count == 1


def test_an_interrupt_is_not_the_answers_fault() -> None:
    """Who interrupts the kernel wants it to stop."""

    async def interrupted(orders: object, charge: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_answer(WORKER, interrupted)


def test_the_first_seed_that_fails_is_the_one_reported() -> None:
    """A verdict says which seed shows the mistake again."""
    exercise = dataclasses.replace(WORKER, judge=lambda trace: [] if trace.seed != 5 else [_found()])
    assert judge_answer(exercise, answers.ack_last).seed == 5


def _found() -> Diagnosis:
    return Diagnosis(WORKER.mistakes[0], "seen")


def test_the_judge_reads_what_json_holds_and_nothing_else() -> None:
    """A tuple has become a list before the judge sees it: live objects do not reach it."""
    seen: list[Any] = []

    def run(answer: object, seed: int) -> Trace:
        return Trace([Event(0, "note", "answer", "", "", {"value": (1, 2)})], seed=seed)

    def judge(trace: Trace) -> list[Any]:
        seen.append(trace[0].data["value"])
        return []

    judge_answer(dataclasses.replace(WORKER, run=run, judge=judge), answers.ack_last)
    assert seen[0] == [1, 2]
    assert isinstance(seen[0], list)


@pytest.mark.parametrize("answer", [answers.ack_last, answers.ack_first, answers.divides])
def test_the_verdict_on_a_saved_trace_is_the_same(answer: object) -> None:
    """The halves can live in two processes: a trace read back from JSON is judged alike."""
    text = run_answer(WORKER, answer, 1)
    assert judge_trace(WORKER, text, 1) == judge_trace(WORKER, Trace.from_json(text).to_json(), 1)


def test_an_answer_that_records_what_json_cannot_hold_is_told() -> None:
    """A trace that cannot be saved is an error of the answer, not of the check."""

    async def answer(orders: Any, charge: object) -> None:
        record("note", "worker", text=object())
        await answers.ack_last(orders, charge)  # type: ignore[arg-type]

    assert judge_answer(WORKER, answer).diagnosis == mistakes.RAISED


def test_a_run_in_which_the_fault_never_hit_proves_nothing() -> None:
    """A pass needs a trace in which the thing to survive really happened."""
    exercise = dataclasses.replace(WORKER, run=lambda answer, seed: Trace((), seed=seed))
    verdict = judge_answer(exercise, answers.ack_last)
    assert verdict.diagnosis == mistakes.PROVES_NOTHING
    assert verdict.seen == "This run proves nothing: the worker never crashed."


def _named(exercise: Exercise, answer: object) -> str:
    diagnosis = judge_answer(exercise, answer).diagnosis
    return diagnosis.name if diagnosis else ""


def test_a_chosen_answer_is_judged_by_what_was_chosen() -> None:
    """The choice is a fact of the trace."""
    assert judge_answer(toy.CHOOSE_THE_MODE, lambda job: "ack last").passed
    assert _named(toy.CHOOSE_THE_MODE, lambda job: "ack first") == "wrong-mode"


async def _listens(make: Any) -> None:
    with anyio.fail_after(60):
        assert await make().ring() == "ding"


async def _accepts_all(make: Any) -> None:
    make()


async def _accuses_all(make: Any) -> None:
    raise AssertionError("no bell is good enough")


async def _trusts_that_it_rings(make: Any) -> None:
    assert await make().ring() == "ding"


def test_a_learners_test_passes_when_it_tells_good_from_broken() -> None:
    """It accepts every correct implementation and catches every broken one, one that hangs included."""
    assert judge_answer(toy.WRITE_THE_TEST, _listens).passed
    assert judge_answer(toy.WRITE_THE_TEST, _trusts_that_it_rings).passed


def test_a_learners_test_that_accepts_a_broken_thing_is_told_which() -> None:
    """The picture then shows the broken thing at work."""
    verdict = judge_answer(toy.WRITE_THE_TEST, _accepts_all)
    assert _named(toy.WRITE_THE_TEST, _accepts_all) == "misses"
    assert verdict.seen == "Your test accepts a silent bell."


def test_a_learners_test_that_fails_a_correct_thing_is_told_so_first() -> None:
    """It says what the test said, and where: an assertion without words would tell nothing else."""
    verdict = judge_answer(toy.WRITE_THE_TEST, _accuses_all)
    assert _named(toy.WRITE_THE_TEST, _accuses_all) == "accuses"
    line = _accuses_all.__code__.co_firstlineno + 1
    assert verdict.seen.endswith(f"no bell is good enough (line {line} of your cell)")


def test_a_learners_test_that_is_a_stub_is_not_started() -> None:
    """The stub's error is not taken for a caught mistake."""

    async def stub(make: object) -> None:
        raise NotImplementedError()

    assert judge_answer(toy.WRITE_THE_TEST, stub).diagnosis == mistakes.NOT_STARTED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hints": ("one", "two")}, "exactly three hints"),
        ({"kind": "essay"}, "the kind must be one of"),
        ({"difficulty": 4}, "the difficulty must be"),
        ({"name": "Mend the worker"}, "the name must be"),
        ({"points": 0}, "above 0"),
        ({"promised": ""}, "must say something"),
        ({"answer": "my worker"}, "a Python name"),
        ({"seeds": ()}, "needs a seed"),
    ],
)
def test_an_exercise_that_is_not_complete_is_refused(change: dict[str, Any], words: str) -> None:
    """An author learns at import what is missing."""
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(WORKER, **change)


async def _asks(queue: object) -> None: ...


def _plain(queue: object) -> None: ...


class _Thing:
    def __init__(self, size: int) -> None: ...
    def take(self) -> None: ...
    async def later(self) -> None: ...


@pytest.mark.parametrize(
    ("form", "answer", "words"),
    [
        (async_function("queue"), _asks, None),
        (async_function("queue"), _plain, r"must be asynchronous: write `async def _plain\(queue\):`"),
        (async_function("queue", "n"), _asks, r"called with \(queue, n\), and yours takes \(queue\)"),
        (async_function("queue"), 5, "what you passed is an int"),
        (async_function("queue"), None, "what you passed is None"),
        (function("queue"), _plain, None),
        (function("queue"), _asks, "without `async`"),
        (a_class("size", methods=("take",)), _Thing, None),
        (a_class("size"), _Thing(1), "what you passed is a _Thing"),
        (a_class("size", methods=("async take",)), _Thing, "write `async def take"),
        (a_class("size", methods=("later",)), _Thing, "write `def later"),
        (a_class("size", methods=("put",)), _Thing, "lacks the method put"),
        (a_class(), _Thing, r"yours takes \(size\)"),
        (one_of("ack first", "ack last"), "ack last", None),
        (one_of("ack first", "ack last"), "never", "'never' is no choice here"),
    ],
)
def test_a_form_says_what_is_wrong(form: Form, answer: object, words: str | None) -> None:
    """Nothing, for an answer that can be called; else a sentence that says what to do."""
    complaint = form.complaint(answer)
    if words is None:
        assert complaint is None
    else:
        assert complaint
        assert re.search(words, complaint)


def test_a_function_that_was_called_by_mistake_is_explained() -> None:
    """The commonest slip with async functions has its own words, and no warning from Python."""
    assert "Pass the function itself: `_asks`" in str(async_function("queue").complaint(_asks(None)))


def test_an_exercise_is_found_by_its_name(toys: registry.Lesson) -> None:
    """The name leads to the lesson's module, which is imported when it is needed."""
    assert find("toy/mend_the_worker").title == "Mend the worker"
    assert (toys.notebook, toys.points) == ("07_toy.ipynb", 6)


TWO_LESSONS = """
from eip_ref.autograder.registry import Part

PARTS = (
    Part("mending", "Mending", EXERCISES[:1], ("a",)),
    Part("testing", "Testing", EXERCISES[1:], ("b",)),
)
"""


@pytest.fixture
def copied(toys: registry.Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the toy lesson, to be changed before it is imported again."""
    copy = tmp_path / "toy.py"
    shutil.copy(TOYS / "toy.py", copy)
    monkeypatch.setattr(sys.modules[registry.PACKAGE], "__path__", [str(tmp_path)])
    sys.modules.pop(f"{registry.PACKAGE}.toy")
    return copy


def test_a_pattern_may_have_several_lessons(toys: registry.Lesson, copied: Path) -> None:
    """Each has a notebook, exercises and predictions of its own; the exercises keep their names."""
    _, *others = toys.exercises
    copied.write_text(copied.read_text() + TWO_LESSONS)
    mending, testing = registry.lessons()
    assert (mending.notebook, testing.notebook) == ("07a_mending.ipynb", "07b_testing.ipynb")
    assert registry.lesson("testing") == registry.lesson_of(find(others[0].name)) == testing
    assert [lesson.asks("toy/b") for lesson in (mending, testing)] == [False, True]


def test_a_package_that_does_not_write_its_lessons_out_is_named(copied: Path) -> None:
    """So that nobody looks for a lesson that the commands do not see."""
    copied.write_text(copied.read_text().replace('"Toys"', "title()"))
    with pytest.raises(ValueError, match="the package 'toy' must write out NUMBER and TITLE"):
        registry.outlines()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("toy/mend_the_workr", "did you mean 'toy/mend_the_worker'"),
        ("toi/mend", "did you mean 'toy'"),
        ("mend_the_worker", "is named lesson/exercise"),
    ],
)
def test_an_unknown_name_is_answered_with_a_known_one(toys: registry.Lesson, name: str, words: str) -> None:
    """A slip of the pen is mended by the message."""
    with pytest.raises(UnknownExercise, match=words):
        find(name)
