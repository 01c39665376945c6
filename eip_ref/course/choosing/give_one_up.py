"""Give one up

Extend · medium · 3 points · 10 minutes

Answer: def give_up(needs, measured)
Called: Your `give_up(needs, measured)` with six tables of four ways and four properties. `needs` has the
    highest accepted value by property, `measured` the values by way and property.
Promised: A list of all needs of which each, given up alone, lets some way fit. It is empty when some way
    fits already, and when no single need is enough.
Hint: When does a way fit after one need was given up? Count the needs that it breaks.
Hint: A way that breaks nothing fits already. One that breaks exactly one need names that need. What of a
    way that breaks two?
Hint: For each way make the list of the needs that it breaks, with `>`. If one of these lists is empty,
    return []. Else return the single names of all lists that have just one.
Why: Only a way that breaks a single need can be had for one concession. All of these together are what one
    can offer to whoever has written the needs: this one or that one.

no-list: Not a list of names of needs. What it returns is a list, such as ["lag"], and each name stands in
    it once.
at-the-bound: A value that is just the bound is accepted. A need says the highest value that will do.
gives-up-for-nothing: Something fits already. A need was given up all the same, and nothing is won by it.
helps-nobody: No single need is enough here. Every way breaks two or more, so to give up one helps nobody.
only-one: One of several was named. Whoever wrote the needs may find another one easier to give up.
gives-up-too-much: Needs were named that need not be given up. What a way breaks counts only if it is all
    that it breaks.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from ...autograder import kit
from ...trace import Trace

__all__ = ["EXERCISE", "six_tables"]

PROPERTIES = ("lost", "twice", "lag", "hurt")
BOUND = 5
AT_THE_BOUND = "a value at the bound"
NONE_ALONE = "none alone"


class Table(NamedTuple):
    """Four ways, each with the properties that it breaks; and what is right."""

    kind: str
    broken: list[list[str]]
    right: list[str]


def _tables(chance: Random) -> list[Table]:
    a, b, c, d = chance.sample(PROPERTIES, 4)
    return [
        Table(AT_THE_BOUND, [[], [a, b], [c, d], [b, c, d]], []),
        Table("something fits", [[a], [], [b, c], [d]], []),
        Table("one stands in the way", [[a, b], [c], [a, d], [b, c, d]], [c]),
        Table("either of two", [[b], [a, b], [c, d], [d]], [b, d]),
        Table("the same for two ways", [[a], [a], [b, c], [a, b, c, d]], [a]),
        Table(NONE_ALONE, [[a, b], [b, c], [c, d], [a, b, d]], []),
    ]


async def six_tables(give_up: kit.Answer, seed: int) -> None:
    """Ask for each table what must be given up."""
    chance = Random(seed)
    asked: list[Any] = []
    for kind, broken, right in _tables(chance):
        needs = dict.fromkeys(PROPERTIES, BOUND)
        ways = {}
        for way, over in zip(("queue", "saga", "topic", "log"), broken, strict=True):
            accepted = {name: chance.randint(0, BOUND - 1) for name in PROPERTIES}
            ways[way] = accepted | {name: chance.randint(BOUND + 1, 30) for name in over}
        if kind == AT_THE_BOUND:
            ways["queue"][chance.choice(PROPERTIES)] = BOUND
        said = give_up(dict(needs), {way: dict(values) for way, values in ways.items()})
        readable = isinstance(said, list) and all(isinstance(name, str) for name in said)
        asked.append(
            {
                "kind": kind,
                "said": sorted(said) if readable else None,
                "right": sorted(right),
                "ways": ways,
                "at_bound": [name for name, value in ways["queue"].items() if value == BOUND],
            }
        )
    kit.write_down(asked=asked)


def judge(trace: Trace) -> kit.Symptoms:
    for table in kit.facts(trace)["asked"]:
        kind, said, right = table["kind"], table["said"], table["right"]
        if said is None or len(set(said)) < len(said):
            yield kit.seen("no-list", f"{kind}: what you return is no list of different names.")
        elif said != right:
            words = (
                f"{kind}: you give up {said or 'nothing'}, with at most {BOUND} accepted and {table['ways']}."
            )
            yield kit.seen(_mistake(table), words)


def _mistake(table: dict[str, Any]) -> str:
    said, right = set(table["said"]), set(table["right"])
    if table["kind"] == NONE_ALONE:
        return "helps-nobody"
    if not right:
        return "at-the-bound" if table["said"] == table["at_bound"] else "gives-up-for-nothing"
    return "only-one" if said < right else "gives-up-too-much"


EXERCISE = kit.exercise(__name__, __doc__, kit.play(six_tables), judge)
