'''The texts of an exercise, read from the docstring of its module.

    """Fix the worker that loses orders

    Repair · easy · 3 points · 10 minutes

    Answer: async def work(queue, handle)
    Called: What the check calls, and what happens meanwhile.
    Promised: What is judged, in full sentences. A text goes on in lines that are
        indented.
    Hint: The first of three, a question.
    Hint: The second, a direction.
    Hint: The third, nearly the code.
    Why: Why the model answer keeps the promise; shown with it.
    Part: What is asked · 1 point · ack-on-receive
    Part: What else is asked · 2 points · dies-of-one-order

    ack-on-receive: Acknowledged before the work was done. Why this mistake does harm,
        in two or three sentences, without the answer.
    dies-of-one-order (NoAddress): One bad order ended the worker. An error that leaves
        `work` ends it.
    """

Mistakes come last, each with a name that stays, a title, which is the first sentence, and an explanation.
Their order is their rank: of all that a judge finds in a trace, the mistake that stands first here is the
verdict. In brackets stands what ends a run without the judge: the name of an error, or `deadlock`,
`runaway` or `raised`; several are parted by commas.

Parts are for an exercise that asks several things; most have none. Each has its points, which add up to
those of the exercise, and the mistakes that cost them. A mistake of no part costs all points.
'''

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from inspect import cleandoc

from ...trace import Trace
from ..exercise import LEVELS, SEEDS, Diagnosis, Ending, Exercise, Mistake, Part, Run, Vacuous
from ..forms import Form, a_class, async_function, function
from .journeys import Symptom

__all__ = ["Judge", "exercise", "form_of"]

Judge = Callable[[Trace], Iterable[Symptom]]

SIZE = re.compile(r"([A-Z][a-z ]+) · (easy|medium|hard) · (\d+) points? · (\d+) minutes?")
ANSWER = re.compile(r"(async def|def|class) (\w+)\(([\w, ]*)\)(?: with ([\w, ]+))?")
FORMS = {"async def": async_function, "def": function, "class": a_class}
PART = re.compile(r"(.+) · (\d+) points? · ([a-z0-9, -]+)", re.DOTALL)
TEXT = re.compile(r"([A-Z][a-z]+): (.+)", re.DOTALL)
LIKE = {  # what each of them looks like
    SIZE: "Repair · easy · 3 points · 10 minutes",
    ANSWER: "async def work(queue, handle), or: class Desk(orders) with async work, row",
    PART: "What is asked · 1 point · ack-on-receive, dies-of-one-order",
    TEXT: "Called: in words, going on in lines that are indented",
}
MISTAKE = re.compile(r"([a-z0-9-]+)(?: \(([\w, ]+)\))?: ([^.]+)\.\s+(.+)", re.DOTALL)


def exercise(
    module: str, texts: str | None, run: Run, judge: Judge, *, seeds: tuple[int, ...] = SEEDS
) -> Exercise:
    """Make the exercise of a module from its `__name__` and its `__doc__`.

    `run` lets the answer work with a seed and returns the trace, `judge` yields what it sees in a trace.
    `seeds` are those of the check in the notebook. Raises ValueError when a text is missing or unreadable.
    """
    lesson, slug = module.split(".")[-2:]
    try:
        title, *rest = re.split(r"\n+(?=\S)", cleandoc(texts or ""))
        kind, level, points, minutes = _parts(SIZE, rest.pop(0) if rest else "")
        named = [_parts(TEXT, part) for part in rest if part[0].isupper()]
        told = [_parts(MISTAKE, part) for part in rest if not part[0].isupper()]
        signature = _one(named, "Answer")
        answer, form = _answer(signature)
        mistakes = {name: Mistake(name, _joined(title), _joined(words)) for name, _, title, words in told}
        if len(mistakes) < len(told):
            raise ValueError("two mistakes have the same name")
        return Exercise(
            name=f"{lesson}/{slug}",
            title=title,
            kind=kind.lower(),
            difficulty=LEVELS.index(level) + 1,
            points=int(points),
            minutes=int(minutes),
            answer=answer,
            form=form,
            signature=signature,
            called=_one(named, "Called"),
            promised=_one(named, "Promised"),
            hints=tuple(_joined(text) for name, text in named if name == "Hint"),
            explanation=_one(named, "Why"),
            run=run,
            judge=_ranking(judge, mistakes),
            endings={ending: mistakes[name] for name, listed, *_ in told for ending in _endings(listed)},
            mistakes=tuple(mistakes.values()),
            parts=tuple(_part(text) for name, text in named if name == "Part"),
            seeds=seeds,
        )
    except ValueError as error:
        raise ValueError(f"the texts of {module}: {error}") from error


def _parts(form: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = form.fullmatch(text.strip())
    if not found:
        like = LIKE.get(form, "ack-on-receive (NoAddress): A title. And why it does harm, in more sentences.")
        raise ValueError(f"{text!r} does not look like {like!r}")
    return tuple(part or "" for part in found.groups())


def _one(named: list[tuple[str, ...]], wanted: str) -> str:
    found = [text for name, text in named if name == wanted]
    if len(found) != 1:
        raise ValueError(f"“{wanted}:” must be there once, and is there {len(found)} times")
    return _joined(found[0])


def _joined(text: str) -> str:
    return " ".join(text.split())


def _listed(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(",") if part)


def _part(text: str) -> Part:
    title, points, mistakes = _parts(PART, _joined(text))
    return Part(title, int(points), tuple(_listed(mistakes)))


def _endings(text: str) -> Iterator[str]:
    """The endings of a run that stand in brackets behind the name of a mistake."""
    for ending in _listed(text):
        if not (ending[0].isupper() or ending in (Ending.DEADLOCK, Ending.RUNAWAY, Ending.RAISED)):
            raise ValueError(f"{ending!r} is no error, and none of deadlock, runaway and raised")
        yield ending


def form_of(signature: str) -> Form:
    """The form of an answer, from the line that tells it: "async def work(queue, handle)"."""
    return _answer(signature)[1]


def _answer(text: str) -> tuple[str, Form]:
    """The name of what the learner writes, and what it must look like."""
    kind, name, parameters, methods = _parts(ANSWER, text)
    make = partial(a_class, methods=tuple(_listed(methods))) if kind == "class" else FORMS[kind]
    return name, make(*_listed(parameters))


def _ranking(judge: Judge, mistakes: Mapping[str, Mistake]) -> Callable[[Trace], list[Diagnosis]]:
    """Make the judge of the exercise: what was seen, as diagnoses, the mistake of the highest rank first.

    A trace that proves nothing is `Vacuous` only when nothing was seen in it.
    """
    rank = list(mistakes)

    def ranked(trace: Trace) -> list[Diagnosis]:
        found: list[Symptom] = []
        try:
            for symptom in judge(trace):
                found.append(symptom)
        except Vacuous:
            if not found:
                raise
        unknown = {symptom.mistake for symptom in found} - mistakes.keys()
        if unknown:
            raise RuntimeError(f"the texts know no mistake {', '.join(unknown)}, and the judge names it")
        found.sort(key=lambda symptom: rank.index(symptom.mistake))
        return [Diagnosis(mistakes[name], words, events) for name, words, events in found]

    return ranked
