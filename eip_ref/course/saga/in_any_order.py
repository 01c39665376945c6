"""In any order

Repair · hard · 4 points · 15 minutes

Answer: class Stock(boxes) with do, undo, free
Called: One `Stock(boxes)` for each way in which two copies of `do`, two copies of `undo` and the `do` of
    another order can arrive; some with few boxes, and one with two keys of the same order.
Promised: After an `undo` nothing of that key is set aside, and nothing will be, whatever comes later. A
    repetition changes nothing. `do` returns True when the boxes of this key are set aside, and False when
    they are not. There are never more boxes free than there were, nor fewer than none.
Hint: Write down for each key what has become of it. Which three answers are there, when a command comes?
Hint: An `undo` of a key that you have never seen is news: its `do` may still come.
Hint: Keep a dictionary: key → "aside" or "revoked". `do`: revoked is False, aside is True; a new key sets
    aside if there are enough. `undo`: give boxes back only if the key is aside, and mark it as revoked in
    any case.
Why: Each key has one of three states, unknown, aside or revoked, and revoked is for good. So whichever
    comes first, the end is the same; and whoever repeats a question gets the answer that is true now.

blind-undo: An undo gave boxes back that were not set aside. Its `do` had not come, had been refused, or
    had been taken back before.
late-do-counts: A `do` that came after its own `undo` set boxes aside. Nobody will ever give them back.
comes-alive: A second copy of `do`, after the undo, set boxes aside again. The key had been taken back.
aside-twice: A repetition of `do` set boxes aside once more. It was the same command.
wrong-answer: `do` said something that is not so. The coordinator believes it, and goes on or turns back.
turned-away: `do` set no boxes aside, and enough were free. Each key and each `Stock` stands for itself, and
    exactly as many as are asked for are enough.
oversold: More boxes were set aside than there are. Somebody was promised tea that does not exist.
anothers-boxes: The undo of one order touched the boxes of another. Each key stands for itself.
error-came-out (raised): A command ended with an error. A command that comes twice, or too early, is no
    error: networks do that.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any, NamedTuple

import anyio.lowlevel

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "arrivals"]

BOXES, COUNT, OTHER = 10, 3, 2
MINE, OTHERS, GIFT = "order 1/stock", "order 2/stock", "order 1/gift"


class Way(NamedTuple):
    """The commands in the order of their arrival, and the boxes of a fresh stock."""

    commands: tuple[tuple[str, str, int], ...]  #: what, key, boxes
    boxes: int = BOXES


async def arrivals(stock: kit.Answer, way: Way, seed: int) -> None:
    """Let the commands arrive one after the other; write down what each answered, and what was free then."""
    await anyio.lowlevel.checkpoint()
    mine, told = stock(way.boxes), []
    for what, key, count in way.commands:
        said = mine.do(key, count) if what == "do" else mine.undo(key, count)
        told.append([what, key, count, said if isinstance(said, bool) else None, mine.free()])
        words = (
            f"{what} {key}: {said}, {told[-1][-1]} free"
            if what == "do"
            else f"{what} {key}: {told[-1][-1]} free"
        )
        record(Kind.NOTE, "stock", key, who="", text=words)
    kit.write_down(told=told, boxes=way.boxes)


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    free, states = day["boxes"], dict[str, str]()
    done_before = set[str]()
    for number, (what, key, count, said, really) in enumerate(day["told"], 1):
        state = states.get(key, "unknown")
        if what == "undo":
            free += count if state == "aside" else 0
            states[key] = "revoked"
        elif state == "unknown" or (state == "refused" and said):
            states[key] = "aside" if free >= count else "refused"
            free -= count if states[key] == "aside" else 0
        words = f"command {number}, `{what}` of {key!r}"
        if really != free:
            yield kit.seen(
                _why(what, state, free, really, key in done_before), _said(words, free, really), trace
            )
            return
        if what == "do" and said is not (states.get(key) == "aside"):
            yield kit.seen("wrong-answer", f"{words} returned {said}; free boxes: {really}.", trace)
        done_before |= {key} if what == "do" else set()


def _said(words: str, free: int, really: object) -> str:
    return f"after {words}, the number of free boxes was {really}, and should have been {free}."


def _why(what: str, state: str, free: int, really: Any, came: bool) -> str:
    if what == "undo":
        return "anothers-boxes" if really == free + OTHER else "blind-undo"
    if state == "aside":
        return "aside-twice"
    if state == "revoked":
        return "comes-alive" if came else "late-do-counts"
    return "oversold" if isinstance(really, int) and really < free else "turned-away"


def _all_ways(seed: int) -> list[Way]:
    do, undo, other = ("do", MINE, COUNT), ("undo", MINE, COUNT), ("do", OTHERS, OTHER)
    ways = dict.fromkeys(permutations((do, undo, other, do, undo)))
    too_many = ("do", OTHERS, 3)
    few = [
        (do, do),
        (do, too_many, undo, ("do", "order 3/stock", 3)),
        (do, too_many, ("undo", OTHERS, 3), undo, too_many),
        (do, too_many, undo, too_many),
    ]
    gift = ("do", GIFT, OTHER), ("undo", GIFT, OTHER)
    first = [Way((do,)), Way((do, do)), Way((do, undo))]
    return [*first, *map(Way, ways), *(Way(way, boxes=COUNT) for way in few), Way((do, *gift))]


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(arrivals, _all_ways, judge), judge, seeds=(1,))
