"""Exercises of the kind *predict*: what the learner says of each question, beside what was measured.

The learner writes a function that returns a dictionary of predictions by name. The run asks each question
of a real scenario, and the judge reads prediction and measurement side by side.
"""

from __future__ import annotations

import reprlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from ...lab.clock import simulate
from ...trace import Event, Kind, Trace
from ..exercise import Run
from .journeys import Symptom, Symptoms, seen

__all__ = [
    "Answered",
    "answers",
    "ask",
    "counted",
    "measured",
    "misread",
    "numbers",
    "readings",
    "unreadable",
]

ANSWER = "answer"  #: the `where` of notes that hold what a learner said
RETURNED = "returned"  #: the question of a note on an answer that is no dictionary

Measure = Callable[[int], tuple[Trace, Any]]


def measured(
    scenario: Callable[..., Awaitable[object]], *args: Any, reading: Callable[[Trace], Any]
) -> Measure:
    """Make a measurement: the trace of `scenario(*args)`, and what `reading` says of it, as JSON."""

    def measure(seed: int) -> tuple[Trace, Any]:
        trace = simulate(scenario, *args, seed=seed)
        return trace, reading(trace)

    return measure


def readings(
    scenario: Callable[..., Awaitable[object]], questions: Mapping[str, Callable[[Trace], Any]]
) -> dict[str, Measure]:
    """Make measurements that are all of one run: by question, what its reading says of the trace."""
    return {question: measured(scenario, reading=reading) for question, reading in questions.items()}


def counted(count: Callable[[], Any]) -> Measure:
    """Make a measurement that has no trace to show: what `count()` returns, as JSON."""
    return lambda seed: (Trace(()), count())


def numbers(question: str, said: object) -> list[int] | None:
    """A readable prediction for `ask`: whole numbers, in any order."""
    if isinstance(said, list | tuple | set) and all(type(number) is int for number in said):
        return sorted(said)
    return None


def ask(questions: Mapping[str, Measure], readable: Callable[[str, Any], Any]) -> Run:
    """Make a `run` for an answer that predicts: `answer()` gives a dictionary of predictions by question.

    `readable(question, said)` is a prediction as JSON, or None when it is none. The trace is that of the
    first question whose prediction was another, followed by a note for each question.
    """

    def run(answer: Callable[[], Any], seed: int) -> Trace:
        said = answer()
        if not isinstance(said, Mapping):
            return Trace([_note(RETURNED, _thing(said), None)], seed=seed)
        shown, notes = Trace(()), list[Event]()
        for question, measure in questions.items():
            heard, (trace, really) = said.get(question), measure(seed)
            mine = readable(question, heard)
            if mine not in (None, really) and not shown:
                shown = trace
            unread = "is missing" if heard is None else f"cannot be read: {reprlib.repr(heard)}"
            notes.append(_note(question, mine, really, unread if mine is None else ""))
        return Trace([*shown, *(note._replace(at=shown.end) for note in notes)], seed=seed)

    return run


def _thing(said: object) -> str:
    return "nothing" if said is None else f"something of type {type(said).__name__}"


def _note(question: str, said: Any, really: Any, unread: str = "") -> Event:
    data = {"text": f"{question}: {said}", "question": question, "said": said, "really": really}
    data |= {"unread": unread} if unread else {}
    return Event(0.0, "note", ANSWER, "", "", data)


class Answered(NamedTuple):
    """A question, what the learner said, and what was measured."""

    question: str
    said: Any
    really: Any


def answers(trace: Trace) -> list[Answered]:
    """For judges: the questions of an `ask` that the learner answered, in their order."""
    return [
        answered for answered in _all(trace) if answered.said is not None and answered.question != RETURNED
    ]


def unreadable(trace: Trace, mistake: str) -> list[Symptom]:
    """For judges: `mistake` for each prediction that is missing or cannot be read."""
    return [
        seen(mistake, f"The prediction for {note.data['question']!r} {note.data['unread']}.")
        if note.data["question"] != RETURNED
        else seen(mistake, f"The answer returned {note.data['said']}, and not a dictionary of predictions.")
        for note in trace.filter(Kind.NOTE, where=ANSWER)
        if "unread" in note.data or note.data["question"] == RETURNED
    ]


def misread(
    mistakes: Mapping[str, str] | Callable[[Answered], str], *, unread: str = "no-prediction"
) -> Callable[[Trace], Symptoms]:
    """Make a judge: a mistake for each question of which the learner said something else, and the trace.

    `mistakes` has it by question, or tells it of what was answered. `unread` is that of a missing prediction.
    """
    mistake = mistakes if callable(mistakes) else lambda answered: mistakes[answered.question]

    def judge(trace: Trace) -> Symptoms:
        yield from unreadable(trace, unread)
        for answered in answers(trace):
            if answered.said != answered.really:
                yield seen(mistake(answered), f"For {answered.question!r} you said {answered.said}.", trace)

    return judge


def _all(trace: Trace) -> list[Answered]:
    notes = trace.filter(Kind.NOTE, where=ANSWER)
    return [Answered(*(note.data[part] for part in Answered._fields)) for note in notes]
