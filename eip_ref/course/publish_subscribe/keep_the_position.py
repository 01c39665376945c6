"""Keep the position

Complete · medium · 3 points · 10 minutes

Answer: class Position() with deliver, ack, take_over
Called: One `Position()` for each of several readers that die. `deliver(offset)` when a message is handed
    out, `ack(offset, generation)` when its work is done, `take_over()` when another reader takes the place
    of the last one.
Promised: `committed` is the first offset whose work is not known to be done. `take_over()` begins a new
    generation, and an ack of an older generation changes nothing: `ack` returns False for it, and True for
    all others.
Hint: Which acks does the position need to remember, and until when?
Hint: It moves only over an unbroken row of acks. What becomes of the acks beyond a gap when somebody else
    takes over?
Hint: Keep `committed`, `generation` and a set of the offsets that are done beyond the gap. `ack` adds to
    the set and moves `committed` while it is in the set. `take_over` empties the set and adds 1 to
    `generation`.
Why: One number says that everything before it is done. Acks beyond a gap are kept aside, and a new reader
    does that work again. Acks of the old reader come too late to say what the new one has done.

counts-on-delivery: The position moves when a message is handed out. Whoever dies with it in its hands has
    done nothing.
believes-the-highest: The position jumps over what is not done. An ack says that one message is done, and
    nothing about those before it.
stands-still: The position does not move over what is done. After the next crash all of it is done again.
believes-the-dead: An ack of an older generation counts. Its reader was replaced, and what it says is about
    work that the new one has in hand.
remembers-the-old-acks: Acks of the old reader move the position of the new one. When it took over it began
    again from the position, and everything behind it is its own work now.
wrong-answer-to-an-ack: `ack` or `take_over` returns the wrong thing. A reader must know whether what it did
    still counts, and a new one needs the number of its generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "readers_that_die"]


READERS, STEPS = 20, 40


class _Right:
    """The model of the judge. One that `remembers` keeps what the old readers have acked."""

    def __init__(self, *, remembers: bool = False) -> None:
        self.committed = self.generation = 0
        self._done = set[int]()
        self._remembers = remembers

    def deliver(self, offset: int) -> None:
        """Nothing moves."""

    def ack(self, offset: int, generation: int) -> bool:
        if generation != self.generation:
            return False
        self._done.add(offset)
        while self.committed in self._done:
            self.committed += 1
        return True

    def take_over(self) -> int:
        if not self._remembers:
            self._done.clear()
        self.generation += 1
        return self.generation


async def readers_that_die(position_class: kit.Answer, seed: int) -> None:
    """Play several positions, each with readers that ack in any order and die. Each step is written down."""
    for number in range(READERS):
        _play(position_class(), Random(f"{seed}/{number}"), f"reader {number + 1}")
        await anyio.sleep(1)
    kit.write_down(readers=READERS)


def _play(position: Any, chance: Random, where: str) -> None:
    right, remembering = _Right(), _Right(remembers=True)
    out = list[tuple[int, int]]()  # deliveries without an ack, each with its generation
    following = highest = 0
    for _ in range(STEPS):
        what = chance.choices(["deliver", "ack", "take over"], [5, 5 if out else 0, 1])[0]
        said: object = None
        expected: object = None
        if what == "deliver":
            out.append((following, right.generation))
            words, following = f"deliver({following})", following + 1
            for each in (position, right, remembering):
                each.deliver(following - 1)
        elif what == "ack":
            offset, generation = out.pop(chance.randrange(len(out)))
            words, stale = f"ack({offset}, {generation})", generation != right.generation
            said = position.ack(offset, generation)
            expected, _ = right.ack(offset, generation), remembering.ack(offset, generation)
            what = "late ack" if stale else "ack"
            highest = highest if stale else max(highest, offset + 1)
        else:
            words = "take_over()"
            said, expected, _ = position.take_over(), right.take_over(), remembering.take_over()
            following = right.committed
        facts: dict[str, Any] = {"what": what, "said": _plain(said), "expected": expected, "highest": highest}
        places: dict[str, Any] = {"mine": _plain(position.committed), "right": right.committed}
        record(Kind.NOTE, where, text=words, remembering=remembering.committed, **places, **facts)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int) else repr(value)


def judge(trace: Trace) -> kit.Symptoms:
    kit.facts(trace)
    for number in range(READERS):
        steps = trace.filter(Kind.NOTE, where=f"reader {number + 1}")
        for place, step in enumerate(steps):
            mistake = _mistake(step.data)
            if mistake:
                it = step.data
                words = f"after `{it['text']}` `committed` is {it['mine']}, and {it['right']} is right."
                if it["mine"] == it["right"]:
                    words = f"`{it['text']}` returned {it['said']!r}, and {it['expected']!r} is right."
                yield kit.seen(mistake, f"{step.where}: {words}", steps[max(0, place - 6) : place + 1])
                break


def _mistake(step: Mapping[str, Any]) -> str:
    mine, right = step["mine"], step["right"]
    if mine == right:
        return "" if step["said"] == step["expected"] else "wrong-answer-to-an-ack"
    if step["what"] == "late ack":
        return "believes-the-dead"
    if not isinstance(mine, int) or mine < right:
        return "stands-still"
    if step["what"] == "deliver":
        return "counts-on-delivery"
    return "remembers-the-old-acks" if mine == step["remembering"] else "believes-the-highest"


# One run has twenty readers, each with a chance of its own.
EXERCISE = kit.exercise(__name__, __doc__, kit.play(readers_that_die), judge, seeds=(1,))
