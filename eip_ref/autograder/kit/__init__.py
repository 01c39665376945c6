"""The exercise kit: what the parts of an exercise have in common, so that each brings only what is its own.

An exercise is a module of a lesson's folder in `eip_ref.course`: its docstring holds its texts (`texts`), a
scenario lets the answer work (`scenario`), and a judge reads the trace of that (`journeys`). Some kinds have
a form of their own: *predict* (`questions`) and *write the test* (`write_the_test`).
`docs/adding_an_exercise.md` writes one from beginning to end.
"""

from ..exercise import Vacuous
from .journeys import (
    Journey,
    Symptom,
    Symptoms,
    effects,
    facts,
    journeys,
    require,
    seen,
    story,
    when,
)
from .questions import Answered, answers, ask, counted, measured, misread, numbers, readings, unreadable
from .scenario import (
    Answer,
    as_program,
    cases,
    die,
    die_soon,
    happens,
    mortal,
    participants,
    play,
    write_down,
)
from .texts import exercise
from .write_the_test import Make, judge_test, try_test

__all__ = [
    "Answer",
    "Answered",
    "Journey",
    "Make",
    "Symptom",
    "Symptoms",
    "Vacuous",
    "answers",
    "as_program",
    "ask",
    "cases",
    "counted",
    "die",
    "die_soon",
    "effects",
    "exercise",
    "facts",
    "happens",
    "journeys",
    "judge_test",
    "measured",
    "misread",
    "mortal",
    "numbers",
    "participants",
    "play",
    "readings",
    "require",
    "seen",
    "story",
    "try_test",
    "unreadable",
    "when",
    "write_down",
]
