"""Choose the way

Choose · medium · 4 points · 12 minutes

Answer: def choose_the_way(story)
Called: Your `choose_the_way(story)` for 'sensor', 'order', 'ticket', 'deposit', 'archive' and 'partner'.
    The ways that you name are played for an evening: an order every 2 s, 60 in all, and mail away from 40
    to 60 s.
Promised: For each story the way meets all its needs. The rejected way breaks the need that you name.
Hint: Which of the needs of a story do the fewest ways meet? Begin with that one, and look at its column in
    the picture of the lesson.
Hint: A final answer leaves the ways that ask and the saga. Never half done leaves only one of them. All
    that was before leaves only the log.
Hint: An “order” is for an idempotent queue or log. A “ticket” is asked for, with a key, a “partner” behind
    a breaker. The “sensor” and the “deposit” are the two ends: one way, and the saga.
Why: Two of the six stories have several right answers, and the needs say which. A rejected way with its
    reason is what convinces the next person; without it a recommendation is a taste.

no-such-way (ValueError): There is no such name. The ways are those of `WAYS`, the needs are the columns:
    answer, lost, twice, lag, no, half, hurt, in_vain, missed.
work-is-lost: The way loses work. The customer heard “yes”, and one of the three services never heard of it.
done-twice: The way does things twice. Whoever sends again without a key, or receives without remembering,
    does the work once more.
past-is-missing: The newcomer misses the past. Whoever joins later hears only of what comes later, unless
    the past is kept.
outage-felt: Customers feel the outage. They heard “no” or waited too long, because the way waits for a
    service that is away.
left-half: Orders are left half done. The customer heard “no”, and something was done all the same.
not-final: The answer is not final. “Yes” came before all three had done their work.
too-slow: The answer comes too late. The way waits, or tries again, for longer than the story allows.
too-many-no: Too many customers heard “no”. One lost message was enough for it.
partner-flooded: Mail is asked in vain too often. Each message to somebody who is away costs, and nothing
    held them back.
rejected-fits: What you reject would have done, too. A rejected way must break one of the needs.
no-need: The reason is no need of this story. What a way breaks counts only if the story asks for it.
wrong-reason: The rejected way is rejected for something else. It meets the need that you name, and breaks
    another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from ...autograder import kit
from ...lab import simulate
from ...trace import Event, Kind, Trace
from .evening import Reading, an_evening, measure
from .ways import WAYS

__all__ = ["EXERCISE"]

STORIES: dict[str, dict[str, float]] = {  # the highest value that is accepted
    "sensor": {"answer": 0},
    "order": {"lost": 0, "twice": 0, "hurt": 0},
    "ticket": {"lag": 0, "twice": 0, "answer": 7},
    "deposit": {"lag": 0, "half": 0, "lost": 0},
    "archive": {"missed": 0, "lost": 0},
    "partner": {"lag": 0, "answer": 7, "in_vain": 20, "no": 15},
}
MISTAKES = {
    "lost": "work-is-lost",
    "twice": "done-twice",
    "missed": "past-is-missing",
    "hurt": "outage-felt",
    "half": "left-half",
    "lag": "not-final",
    "answer": "too-slow",
    "no": "too-many-no",
    "in_vain": "partner-flooded",
}


@cache
def _reading(way: str) -> Reading:
    return measure(simulate(an_evening, WAYS[way], 2.0, seed=3))


def run(choose: Callable[[str], Any], seed: int) -> Trace:
    """One note for each story: what was chosen, and how its evening went."""
    return Trace([_note(story, choose(story)) for story in STORIES], seed=seed)


def _note(story: str, said: Any) -> Event:
    if not isinstance(said, Mapping) or set(said) != {"way", "rejected", "because"}:
        raise ValueError(f"for {story!r} you return {said!r}, and not way, rejected and because")
    for part, known in (("way", WAYS), ("rejected", WAYS), ("because", MISTAKES)):
        if not isinstance(said[part], str) or said[part] not in known:
            raise ValueError(f"for {story!r}, {part!r} is {said[part]!r}; there are {', '.join(known)}")
    way, rejected, because = said["way"], said["rejected"], said["because"]
    facts = {
        "text": f"{story}: {way}, not {rejected}",
        "way": way,
        "chosen": _broken(story, way),
        "not": rejected,
        "rejected": _broken(story, rejected),
        "because": because,
    }
    return Event(0.0, Kind.NOTE, story, "", "", facts)


def _broken(story: str, way: str) -> dict[str, float]:
    """The needs of the story that this way breaks, with the values."""
    reading = _reading(way)._asdict()
    return {need: reading[need] for need, bound in STORIES[story].items() if reading[need] > bound}


def judge(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE):
        yield from _seen(note.where, note)


def _seen(story: str, note: Event) -> Iterator[kit.Symptom]:
    way, why = note.data["way"], note.data["because"]
    for need, value in note.data["chosen"].items():
        most = STORIES[story][need]
        words = f"for {story!r} you chose {way!r}: {need} is {value:g}, and must be {most:g} or less."
        yield kit.seen(MISTAKES[need], words, [note])
    if not note.data["rejected"]:
        yield kit.seen(
            "rejected-fits", f"the way that you reject for {story!r} breaks none of its needs.", [note]
        )
    elif why not in STORIES[story]:
        words = f"for {story!r} you name {why!r}, and it does not ask for that."
        yield kit.seen("no-need", words, [note])
    elif why not in note.data["rejected"]:
        words = f"{note.data['not']!r}, which you reject for {story!r}, does not break {why!r}."
        yield kit.seen("wrong-reason", words, [note])


EXERCISE = kit.exercise(__name__, __doc__, run, judge, seeds=(1,))
