"""The page for those who add an exercise: its example is one, and all its code does what the page says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from eip_ref.autograder import check, derive, kit, registry
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import judge_answer
from eip_ref.autograder.notebooks import read, write
from eip_ref.autograder.registry import PACKAGE, Lesson
from eip_ref.message import Message
from eip_ref.trace import Trace

from . import exercise_cases
from .exercise_cases import (
    Kept,
    assert_passes,
    assert_shows,
    assert_told,
    assert_well_kept,
    kept_answers,
    model,
    stub,
)

PAGE = (Path(__file__).parents[2] / "docs" / "adding_an_exercise.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"\n\*\*`?([^*`]+)`?\*\*\n\n```\w+\n(.*?)\n```\n", PAGE, re.DOTALL))
FOLDER = "eip_ref/course/message_queue"


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lesson]:
    """The lesson that the page writes, in a course that has no other: package, notebooks, kept answers."""
    content = tmp_path / "content" / "message_queue"
    content.mkdir(parents=True)
    for name in ("__init__.py", "set_aside.py"):
        (content / name).write_text(BLOCKS[f"{FOLDER}/{name}"], encoding="utf-8")
    kept = tmp_path / "message_queue.md"
    kept.write_text(BLOCKS["tests/autograder/wrong_answers/message_queue.md"], encoding="utf-8")
    others = [name for name in sys.modules if name.startswith(f"{PACKAGE}.") or name == PACKAGE]
    for name in others:
        monkeypatch.delitem(sys.modules, name)
    package = ModuleType(PACKAGE)
    package.__path__ = [str(content.parent)]
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    monkeypatch.setattr(exercise_cases, "ROOT", tmp_path)
    monkeypatch.setattr(exercise_cases, "KEPT", tmp_path)
    monkeypatch.setenv("EIP_HOME", str(tmp_path))
    (tmp_path / "exercises").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "eip-ref"\n')
    _forget()
    yield registry.lesson("poison_and_duplicates")
    for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    kept_answers.cache_clear()
    exercise_cases._read.cache_clear()


@pytest.fixture
def exercise(lesson: Lesson, tmp_path: Path) -> Exercise:
    """The exercise, with its cells filled in as the page says and the exercise notebook derived."""
    (exercise,) = lesson.exercises
    assert derive.add(tmp_path, exercise) == 0
    path = tmp_path / "solutions" / lesson.notebook
    notebook = read(path)
    story, answer = notebook["cells"][-3:-1]
    assert story["source"].startswith(BLOCKS["The story"].partition("\n\nSome customers")[0])
    assert answer["source"].splitlines()[0] == BLOCKS["The answer"].splitlines()[0]
    story["source"], answer["source"] = BLOCKS["The story"], BLOCKS["The answer"]
    write(notebook, path)
    assert derive.update(tmp_path) == 0
    return exercise


def test_the_example_is_an_exercise_whose_answers_get_their_diagnosis(
    exercise: Exercise,
) -> None:
    """Model answer and other right ones pass, the stub is told to begin, each mistake is made and seen."""
    assert_told(exercise)
    assert_passes(exercise, model(exercise))
    diagnosis = judge_answer(exercise, stub(exercise)).diagnosis
    assert diagnosis
    assert diagnosis.name == "not-started"
    kept = kept_answers("message_queue")
    for each in kept:
        _try(each)
    assert {each.mistake for each in kept} == {"", *(mistake.name for mistake in exercise.mistakes)}


def test_an_exercise_of_which_nothing_is_written_yet_is_refused(lesson: Lesson, tmp_path: Path) -> None:
    """What `eip derive --add` left for the author is no story; the words say where one is missing."""
    (exercise,) = lesson.exercises
    assert derive.add(tmp_path, exercise) == 0
    with pytest.raises(AssertionError, match=f"a story in place of .* in solutions/{lesson.notebook}"):
        assert_told(exercise)


def test_too_few_kept_answers_are_missed_in_their_file(exercise: Exercise, tmp_path: Path) -> None:
    """By its name, and that of the exercise."""
    (tmp_path / "message_queue.md").write_text("## set_aside\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"under `## set_aside` of .*message_queue\.md; there are 0"):
        assert_well_kept(exercise)


def test_a_kept_answer_that_defines_something_else_is_named(exercise: Exercise) -> None:
    """With its text, in which the name is to be mended."""
    kept = Kept(exercise, "another name", "", "async def sorts(orders):\n    pass")
    with pytest.raises(AssertionError, match=r"must define 'sort'(.|\n)*def sorts"):
        kept.answer  # noqa: B018


def _try(kept: Kept) -> None:
    if kept.mistake:
        assert_shows(kept)
    else:
        assert_passes(kept.exercise, kept.answer)


def test_the_page_shows_how_to_look_at_a_run(exercise: Exercise, capsys: pytest.CaptureFixture[str]) -> None:
    """The trace of the model answer, in which the process dies."""
    (look,) = re.findall(r"```python\n(from eip_ref\.course\..*?)\n```", PAGE, re.DOTALL)
    exec(look, {"sort": model(exercise)})
    assert "crashed" in capsys.readouterr().out


def test_the_check_of_the_example_says_what_the_page_says(exercise: Exercise) -> None:
    """In the words of its texts, with the message and the time."""
    (early,) = (kept for kept in kept_answers("message_queue") if kept.mistake == "acked-too-early")
    report = str(check(exercise.name, early.answer))
    assert re.search(r"Order \d \(m\d\) was acknowledged at [\d.]+ s, and `\w+` did not have it\.", report)
    assert "Looks like:\n    Acknowledged before it was in its new queue." in report


def test_the_page_names_nothing_that_the_kit_does_not_have() -> None:
    """What it lists can be used."""
    named = set(re.findall(r"\bkit\.(\w+)", PAGE))
    assert named - set(kit.__all__) == set()
    assert len(named) > 15


# Other kinds

TEXTS = """Snippet

Choose · easy · 1 point · 1 minute

Answer: {answer}
Called: It.
Promised: It.
Hint: One.
Hint: Two.
Hint: Three.
Why: So.

{mistakes}
"""
SNIPPETS = re.findall(r"```python\n(from eip_ref.autograder import kit\n.*?)\n```", PAGE, re.DOTALL)


def snippet(number: int, answer: str, *mistakes: str) -> Exercise:
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(SNIPPETS[number], names)
    texts = TEXTS.format(answer=answer, mistakes="\n".join(f"{name}: A. B." for name in mistakes))
    return kit.exercise("course.page.snippet", texts, names["run"], names["judge"])


def named(exercise: Exercise, answer: object) -> str:
    diagnosis = judge_answer(exercise, answer).diagnosis
    return diagnosis.name if diagnosis else ""


def test_the_snippet_of_many_small_runs_judges_each_of_them() -> None:
    """And shows the first wrong one alone."""
    jobs = snippet(0, "def choose(job)", "payment-lost")
    assert named(jobs, lambda job: "ack last") == ""
    assert named(jobs, lambda job: "ack first") == "payment-lost"
    trace: Trace = judge_answer(jobs, lambda job: "ack first").trace
    assert [event.where for event in trace] == ["payment"]


def test_the_snippet_of_a_prediction_compares_it_with_what_was_measured() -> None:
    """A number that is not there is no prediction."""
    cups = snippet(1, "def cups()", "no-prediction", "miscounted")
    said = [{"cups": 3}, {"cups": 4}, {}]
    assert [named(cups, lambda: each) for each in said] == ["", "miscounted", "no-prediction"]  # noqa: B023


async def _counts(make: Any) -> None:
    async with make() as queue:
        await queue.put(Message("order 1"))
        with anyio.fail_after(1):
            await queue.receive()


async def _looks_away(make: Any) -> None:
    make()


async def _raises(make: Any) -> None:
    async with make() as queue:
        await queue.put(Message("order 1"))
        with pytest.raises(TimeoutError), anyio.fail_after(1):
            await queue.receive()


async def _accuses(make: Any) -> None:
    raise AssertionError("no queue is good enough")


def test_the_snippet_of_a_test_to_write_tells_good_tests_from_others() -> None:
    """One that looks passes; one that does not misses the loss; one that accuses all is told so."""
    tests = snippet(2, "async def test_queue(make)", "accuses-a-correct-queue", "misses-the-loss")
    tried = [named(tests, test) for test in (_counts, _looks_away, _accuses)]
    assert tried == ["", "misses-the-loss", "accuses-a-correct-queue"]
    seen = judge_answer(tests, _raises).seen
    assert "DID NOT RAISE" in seen
    assert "use `try`, `except` and `assert`" in seen
