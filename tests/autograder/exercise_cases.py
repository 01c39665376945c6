"""What the tests of each lesson's exercises share: kept answers, model answers and stubs, and how they do.

A lesson keeps its answers in `wrong_answers/<lesson>.py`, in one `Answers` named ANSWERS, and
`test_every_exercise.py` finds them there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eip_ref.autograder import registry, workbook
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import Verdict, judge_answer, judge_trace, run_answer
from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer, stubbed
from eip_ref.trace import Trace

ROOT = Path(__file__).parents[2]
OTHER_SEEDS = range(101, 121)  #: seeds that no check in a notebook uses

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kept:
    """An answer that a learner might write, and the mistake that must be diagnosed; "" for a right one."""

    exercise: Exercise
    answer: Callable[..., Any]
    mistake: str

    def __str__(self) -> str:
        return f"{self.exercise.slug}:{self.answer.__name__}"


class Answers:
    """The kept answers of one lesson."""

    def __init__(self, lesson: str) -> None:
        self.lesson = lesson
        self.kept: list[Kept] = []

    def wrong(self, slug: str, mistake: str) -> Callable[[AnyFunction], AnyFunction]:
        """Keep the decorated answer as a wrong one, with the name of its mistake."""

        def keep(answer: AnyFunction) -> AnyFunction:
            self.kept.append(Kept(registry.find(f"{self.lesson}/{slug}"), answer, mistake))
            return answer

        return keep

    def right(self, slug: str) -> Callable[[AnyFunction], AnyFunction]:
        """Keep the decorated answer as a right one of another design than the model answer."""
        return self.wrong(slug, "")


def model(exercise: Exercise) -> Any:
    """The model answer, from the solution notebook."""
    return _answer(exercise, model_answer)


def stub(exercise: Exercise) -> Any:
    """The answer as the learner finds it."""
    return _answer(exercise, stubbed)


def _answer(exercise: Exercise, made: Callable[[str], str]) -> Any:
    """Run the notebook's import cell and the exercise's own cells, and nothing else of it."""
    notebook = read(ROOT / "solutions" / registry.lesson(exercise.lesson).notebook)
    imports = next(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    cells = [made(cell["source"]) for cell in workbook.answer_cells(notebook, exercise)]
    names: dict[str, Any] = {"__name__": "the_notebook"}
    exec("\n\n".join([imports, *cells]), names)
    return names[exercise.answer]


def assert_passes(exercise: Exercise, answer: Any, seeds: Iterable[int] = ()) -> None:
    """The answer passes for the seeds of the check, for 20 others, and for these."""
    verdict = judge_answer(exercise, answer, (*exercise.seeds, *OTHER_SEEDS, *seeds))
    assert verdict.passed, f"seed {verdict.seed}: {verdict.diagnosis}: {verdict.seen}"


def assert_shows(kept: Kept) -> None:
    """A wrong answer fails for every seed of the check, and what it looks like is its own mistake."""
    for seed in kept.exercise.seeds:
        verdict = judge_answer(kept.exercise, kept.answer, [seed])
        assert _mistake(verdict) == kept.mistake, f"seed {seed}: {verdict.diagnosis}: {verdict.seen}"


def assert_same_after_json(kept: Kept) -> None:
    """A trace that was saved and read again is judged as the trace that was not."""
    for seed in kept.exercise.seeds:
        text = run_answer(kept.exercise, kept.answer, seed).to_json()
        again = Trace.from_json(text).to_json()
        assert again == text
        verdicts = [judge_trace(kept.exercise, saved, seed) for saved in (text, again)]
        assert verdicts[0] == verdicts[1]
        assert _mistake(verdicts[0]) == kept.mistake


def _mistake(verdict: Verdict) -> str:
    return verdict.diagnosis.name if verdict.diagnosis else ""


def assert_well_kept(answers: Answers, exercise: Exercise) -> None:
    """At least three wrong answers are kept, and another right one where there is more than one design."""
    mine = [kept for kept in answers.kept if kept.exercise == exercise]
    assert len([kept for kept in mine if kept.mistake]) >= 3
    assert exercise.kind == "predict" or any(not kept.mistake for kept in mine)
