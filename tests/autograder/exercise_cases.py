"""Kept answers, model answers and stubs of the exercises, and how they do; shared by several tests.

A lesson keeps its answers in `wrong_answers/<lesson>.md`: under `## exercise` a heading for each answer,
`### mistake: a name in words`, or `### right: a name in words`, and below it, indented, the text of the
learner's cell. Lines that begin with `-` and `+` change the model answer instead: what stands after `-` is
replaced by what stands after `+`, wherever it is indented; `...` stands for any lines, and a blank line
parts two changes. `### base` is a program that the changes below it are made to, in place of the model
answer. Lines that are not indented are remarks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from textwrap import dedent
from typing import Any

from eip_ref.autograder import derive, registry, workbook
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import Verdict, judge_answer, judge_trace, run_answer
from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer, stubbed
from eip_ref.trace import Trace

ROOT = Path(__file__).parents[2]
KEPT = Path(__file__).with_name("wrong_answers")
LONG = 2_000  #: events of a run
OTHER_SEEDS = range(101, 111)  #: seeds that no check in a notebook uses


@dataclass(frozen=True, eq=False)
class Kept:
    """An answer that a learner might write, and the mistake that must be diagnosed; "" for a right one."""

    exercise: Exercise
    name: str  #: "goes home after an error"
    mistake: str
    source: str  #: the text of the learner's cell

    def __str__(self) -> str:
        return f"{self.exercise.slug}:{self.name.replace(' ', '_')}"

    @property
    def answer(self) -> Any:
        """The answer, made anew from its text."""
        return _made(self.exercise, self.source)


@cache
def kept_answers(lesson: str) -> tuple[Kept, ...]:
    """The kept answers of a lesson, in their order."""
    text = (KEPT / f"{lesson}.md").read_text(encoding="utf-8")
    return tuple(kept for slug, part in _parts("##", text) for kept in _kept(f"{lesson}/{slug}", part))


def _parts(mark: str, text: str) -> Iterator[tuple[str, str]]:
    """The headings that begin with `mark`, each with what stands below it."""
    for part in re.split(rf"(?m)^{mark} ", text)[1:]:
        heading, _, below = part.partition("\n")
        yield heading, below


def _kept(name: str, text: str) -> Iterator[Kept]:
    exercise = registry.find(name)
    base = _source(exercise, model_answer)
    for heading, below in _parts("###", text):
        code = _code(below)
        source = code if re.match(r"[^-+]", code) else changed(base, code)
        mistake, _, words = heading.partition(": ")
        if mistake == "base":
            base = source
        else:
            yield Kept(exercise, words, "" if mistake == "right" else mistake, source)


def _code(text: str) -> str:
    return dedent("\n".join(line for line in text.splitlines() if re.match(r" {4}|$", line))).strip("\n")


def changed(source: str, change: str) -> str:
    """The source with the lines after `-` replaced by those after `+` that follow, or by nothing."""
    old: list[str] = []
    for sign, group in groupby([*change.splitlines(), ""], lambda line: line[:1]):
        lines = [line[2:] for line in group]
        assert sign != "+" or old, f"nothing says what {lines} replaces"
        if old:
            source = _replaced(source, old, lines if sign == "+" else [])
        old = lines if sign == "-" else []
    return source


def _replaced(source: str, old: list[str], new: list[str]) -> str:
    rest = ("(?:.*\n)*?.*" if line.strip() == "..." else f"(?P=indent){re.escape(line)}" for line in old[1:])
    pattern = "\n".join([f"^(?P<indent> *)(?P<before>.*?){re.escape(old[0])}", *rest])
    found = list(re.finditer(pattern, source, re.MULTILINE))
    assert len(found) == 1, f"{len(found)} places in the model answer have {old[0]!r}:\n{source}"
    indent, before = found[0]["indent"], found[0]["before"]
    put = indent + before + f"\n{indent}".join(new)
    return source[: found[0].start()] + put + source[found[0].end() :]


def model(exercise: Exercise) -> Any:
    """The model answer, from the solution notebook."""
    return _made(exercise, _source(exercise, model_answer))


def stub(exercise: Exercise) -> Any:
    """The answer as the learner finds it."""
    return _made(exercise, _source(exercise, stubbed))


def model_source(exercise: Exercise) -> str:
    """The text of the model answer."""
    return _source(exercise, model_answer)


def whole_source(exercise: Exercise, source: str) -> str:
    """The notebook's import cell, and below it the text of an answer."""
    code = (cell["source"] for cell in _solutions(exercise)["cells"] if cell["cell_type"] == "code")
    return f"{next(code)}\n\n{source}"


def _source(exercise: Exercise, made: Callable[[str], str]) -> str:
    cells = workbook.answer_cells(_solutions(exercise), exercise)
    return "\n\n".join(made(cell["source"]) for cell in cells)


def _made(exercise: Exercise, source: str) -> Any:
    """What the exercise's cell defines, after the notebook's import cell and nothing else of it."""
    names: dict[str, Any] = {"__name__": "the_notebook"}
    exec(whole_source(exercise, source), names)
    defined = exercise.answer in names
    assert defined, (
        f"{exercise.name}: an answer must define {exercise.answer!r}, and this one does not:\n{source}"
    )
    return names[exercise.answer]


def _solutions(exercise: Exercise) -> dict[str, Any]:
    return _read(registry.lesson_of(exercise).notebook)


@cache
def _read(notebook: str) -> dict[str, Any]:
    return read(ROOT / "solutions" / notebook)


def assert_passes(exercise: Exercise, answer: Any, seeds: Iterable[int] = ()) -> None:
    """The answer passes for the seeds of the check, for these, and for ten others.

    Three others are enough where all give the same trace: there nothing is left to chance. So are they where
    a run has thousands of events, each of which the seed may move.
    """
    seeds = (*exercise.seeds, *seeds, *OTHER_SEEDS[:3])
    first, *more = (_passing(exercise, answer, seed) for seed in seeds)
    if len(first) <= LONG and any(trace.events != first.events for trace in more):
        for seed in OTHER_SEEDS[3:]:
            _passing(exercise, answer, seed)


def _passing(exercise: Exercise, answer: Any, seed: int) -> Trace:
    verdict = judge_answer(exercise, answer, [seed])
    assert verdict.passed, f"seed {verdict.seed}: {verdict.diagnosis}: {verdict.seen}"
    return verdict.trace


@dataclass(frozen=True)
class Played:
    """One run of a kept answer, and its judgement."""

    seed: int
    text: str  #: the trace as JSON
    verdict: Verdict


@lru_cache(maxsize=1)  # traces are large; tests that ask for the same answer stand together
def plays(kept: Kept) -> tuple[Played, ...]:
    """A run with two seeds of the check, played once for all tests of this answer."""
    answer = kept.answer
    texts = [(seed, run_answer(kept.exercise, answer, seed)) for seed in kept.exercise.seeds[:2]]
    return tuple(Played(seed, text, judge_trace(kept.exercise, text, seed)) for seed, text in texts)


def assert_shows(kept: Kept) -> None:
    """A wrong answer fails for two seeds of the check, and what it looks like is its own mistake."""
    for played in plays(kept):
        verdict = played.verdict
        assert _mistake(verdict) == kept.mistake, f"seed {played.seed}: {verdict.diagnosis}: {verdict.seen}"


def assert_same_after_json(kept: Kept) -> None:
    """A trace that was saved and read again is judged as the trace that was not."""
    played = plays(kept)[0]
    again = Trace.from_json(played.text).to_json()
    assert again == played.text
    assert judge_trace(kept.exercise, again, played.seed) == played.verdict


def _mistake(verdict: Verdict) -> str:
    return verdict.diagnosis.name if verdict.diagnosis else ""


def assert_well_kept(exercise: Exercise) -> None:
    """At least three wrong answers are kept, and another right one where there is more than one design."""
    mine = [kept for kept in kept_answers(exercise.lesson) if kept.exercise == exercise]
    place = f"under `## {exercise.slug}` of {_file(exercise.lesson)}"
    wrong = [kept for kept in mine if kept.mistake]
    assert len(wrong) >= 3, f"there must be three wrong answers {place}; there are {len(wrong)}"
    assert exercise.kind == "predict" or len(mine) > len(wrong), f"there must be a right answer {place}"


def assert_told(exercise: Exercise) -> None:
    """The notebook tells a story and a task, and not what `eip derive --add` wrote in their place."""
    cells = _solutions(exercise)["cells"]
    above = cells[: cells.index(workbook.answer_cells(_solutions(exercise), exercise)[0])]
    prose = "\n\n".join(cell["source"] for cell in above if cell["cell_type"] == "markdown")
    story = prose.rpartition(exercise.size)[2]
    place = f"above the answer of {exercise.name} in solutions/{registry.lesson_of(exercise).notebook}"
    assert derive.STORY not in story.splitlines(), f"write a story in place of {derive.STORY!r} {place}"
    assert derive.TASK not in story.splitlines(), f"write a task in place of {derive.TASK!r} {place}"
    assert "**Task.**" in story, f"there must be a paragraph that begins with **Task.** {place}"
    assert len(story.split()) > 40, f"there must be a story {place}"


def _file(lesson: str) -> str:
    return (KEPT / f"{lesson}.md").relative_to(KEPT.parents[2]).as_posix()
