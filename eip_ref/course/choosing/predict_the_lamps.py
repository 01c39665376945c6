"""Predict the lamps

Predict · medium · 3 points · 8 minutes

Answer: def predict_the_lamps()
Called: Four short storms, each with the shop and the faults of a line of the table.
Promised: For each storm the lamps that are on after it.
Hint: Go through one order that meets the fault. What has been done, and what has its customer heard?
Hint: A charge without an answer may have happened, and with no key the next one is another. Whoever has heard
    “accepted” does not stand at the door any more.
Hint: With slow payments two lamps are on in the naive shop, for two kinds of customers: those who heard
    “yes”, and those who heard “no”. With mail away there is one. After the death there are two for one
    customer, who stood nowhere. The saga lights the lamp of those who wait.
Why: A fault does not light a lamp by itself: it does so through what the shop promises and what it
    forgets. So the same slow payments are double charges in one shop and waiting customers in another.

no-prediction: A storm has no prediction, or it cannot be read. Each is a list of lamps, such as ["twice",
    "slow"].
what-is-done-twice: Other lamps are on in the naive shop with slow payments. It asks again while its first
    charge is still being worked on.
nobody-tells: Other lamps are on when mail is away. Nobody tells the shop that mail did not hear it.
word-without-paper: Other lamps are on after “accepted” and a death. What was said at the door is kept,
    and what is kept nowhere is forgotten.
patience-costs: Other lamps are on with the saga and slow payments. It gives nothing away and does nothing
    twice, and it needs its time.
"""

from __future__ import annotations

from typing import Any

from ...autograder import kit
from ...trace import Trace
from .lamps import LAMPS, read_the_board
from .repairs import repaired
from .storm import Weather, a_storm

__all__ = ["EXERCISE"]

WEATHER = Weather(12, 5.3, (4.0, 7.0), (7.0, 9.0), (10.0, 11.0))
STORMS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "naive, slow payments": ((), ("slow payments",), "what-is-done-twice"),
    "naive, mail away": ((), ("mail away",), "nobody-tells"),
    "key and accepted, death": (("key", "accepted"), ("death",), "word-without-paper"),
    "saga, slow payments": (("saga",), ("slow payments",), "patience-costs"),
}


def _measured(name: str) -> Any:
    repairs, faults, _ = STORMS[name]
    return kit.measured(a_storm, repaired(*repairs), faults, WEATHER, reading=lit)


def lit(trace: Trace) -> list[str]:
    """The lamps that are on, in alphabetical order."""
    board = read_the_board(trace)
    return sorted(lamp for lamp in LAMPS if getattr(board, lamp))


def lamps(question: str, said: Any) -> list[str] | None:
    if isinstance(said, list | tuple | set) and all(lamp in LAMPS for lamp in said):
        return sorted(set(said))
    return None


def judge(trace: Trace) -> kit.Symptoms:
    yield from kit.unreadable(trace, "no-prediction")
    for storm, said, really in kit.answers(trace):
        if said != really:
            yield kit.seen(STORMS[storm][2], f"For {storm!r} you said {said or 'no lamp'}.", trace)


QUESTIONS = {storm: _measured(storm) for storm in STORMS}
EXERCISE = kit.exercise(__name__, __doc__, kit.ask(QUESTIONS, lamps), judge, seeds=(1,))
