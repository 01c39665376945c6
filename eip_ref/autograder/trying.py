"""Exercises of the kind *write the test*: the learner's test meets implementations, good and broken.

The learner writes `async def test(make)`: it makes a thing with `make()`, uses it, and raises
AssertionError when the thing breaks its promise. The run tries it on each implementation in a
simulation of its own and notes what the test said. The judge asks that no correct implementation is
accused and no broken one slips through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..lab.clock import Deadlock, simulate
from ..trace import Event, Kind, Trace
from .exercise import Diagnosis, Mistake, Run, Vacuous

__all__ = ["judge_test", "try_test"]

TEST = "the test"  #: the `where` of the notes that say what the learner's test said

Make = Callable[[], Any]


def try_test(correct: Mapping[str, Make], broken: Mapping[str, Make], *, max_events: int = 20_000) -> Run:
    """Make a `run` that tries the learner's test on implementations, each under its name in words.

    The trace holds the events of the first implementation about which the test is wrong, so that
    its picture shows what the test should have noticed; then a note for each implementation.
    """

    def run(test: Callable[[Make], Any], seed: int) -> Trace:
        notes: list[Event] = []
        shown: Trace | None = None
        for works, things in ((True, correct), (False, broken)):
            for name, make in things.items():
                trace, said = _try(test, make, seed, max_events)
                data = {"text": f"{name}: {said or 'accepted'}", "name": name, "works": works, "said": said}
                notes.append(Event(0.0, "note", TEST, "", "", data))
                if shown is None and bool(said) == works:
                    shown = trace
        shown = shown or Trace(())
        return Trace([*shown, *(note._replace(at=shown.end) for note in notes)], seed=seed)

    return run


def _try(test: Callable[[Make], Any], make: Make, seed: int, max_events: int) -> tuple[Trace, str]:
    """The trace, and what the test said against the thing: "" when it accepted it."""
    try:
        return simulate(test, make, seed=seed, max_events=max_events), ""
    except Deadlock as error:
        return _trace(error), "the test waits for ever"
    except Exception as error:
        first = error
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, NotImplementedError):
            raise first from error
        return _trace(error), f"{type(first).__name__}: {first}".removesuffix(": ")


def _trace(error: BaseException) -> Trace:
    found = getattr(error, "trace", None)
    return found if isinstance(found, Trace) else Trace(())


def judge_test(
    accuses: Mistake, misses: Mistake | Mapping[str, Mistake]
) -> Callable[[Trace], list[Diagnosis]]:
    """Make a `judge`: `accuses` for a test that fails a correct implementation, `misses` for one that
    accepts a broken one; give a mapping to name a mistake for each broken implementation."""

    def judge(trace: Trace) -> list[Diagnosis]:
        notes = trace.filter(Kind.NOTE, where=TEST).events
        if not notes:
            raise Vacuous("the test was tried on nothing.")
        found: list[Diagnosis] = []
        for note in notes:
            name, works, said = note.data["name"], note.data["works"], note.data["said"]
            if works and said:
                found.append(Diagnosis(accuses, f"Your test fails {name}, which keeps the promise. {said}"))
            elif not works and not said:
                mistake = misses[name] if isinstance(misses, Mapping) else misses
                found.append(Diagnosis(mistake, f"Your test accepts {name}."))
        return found

    return judge
