"""Travel in time

Complete · easy · 3 points · 10 minutes

Answer: def as_of(events, position)
Called: Your `as_of(events, position)` on a log of 24 facts about three cards, for positions from 0 to
    beyond the end.
Promised: You return what was on each card when the log had come to that position: a dictionary from card to
    euros. A card without a fact up to there is missing, or has 0. A balance is below 0 where tea was sold
    before the card was loaded. The facts stay as they are.
Hint: Which facts belong to the past of this position? And in which order did they happen?
Hint: A position is a number in the fact, and no place in the list: there are gaps. Two of the types add, and
    one sets.
Hint: Go through `events` as they come and stop at the first whose `position` is above. `left[card]` grows by
    `euros`, shrinks by `euros`, or becomes `euros`; other types change nothing.
Why: The state of any moment is a fold of the facts up to there, in the order of the log. New types of facts
    come along in every system, so a fold passes over what it does not know.

changes-history: The facts are not what they were. Whoever reads the log next folds other facts.
sorts-by-clock: The facts were put in the order of their clocks. The clocks of the tills differ, and a fact
    that sets then meets others.
forgets-the-position: It folds the whole log, whatever the position. This is the state of now.
counts-places: It counts facts, as `events[:position]` does, or stops one too early or too late. A position is
    written in the fact, and some positions are not there.
misreads-the-count: It takes `CardCounted` for another thing. That fact says what is on the card, whatever
    was believed before.
counts-a-stranger: A fact of a fourth type changed a balance. A tea that was refused has a price, too, and
    takes nothing from the card.
wrong-balance: A balance is another one. Look at each type of fact by itself, and begin each call with
    nothing. Where no fact has the position, what was true before still is.
no-balances: What came back is no dictionary from card to euros. A balance is a number.
stumbles (raised): An error came out. A fact of a type that one does not know is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "all_positions"]

CARDS = ("card 7", "card 8", "card 9")
LOADED, SOLD, COUNTED, OTHERS = "CardLoaded", "TeaSold", "CardCounted", ("TeaRefused", "CardPrinted")
Fact = dict[str, Any]


def a_log(chance: Random) -> list[Fact]:
    """24 facts; some positions are left out, and the clock of till 2 is behind.

    On the first card tea is sold before it is loaded, and then less is found than was believed. Then tea is
    sold at till 2, whose clock says that this was before.
    """
    begin = [(SOLD, CARDS[0], 8), (LOADED, CARDS[0], 30), (COUNTED, CARDS[0], 7), (SOLD, CARDS[0], 5)]
    types = [COUNTED] * 4 + [LOADED] * 5 + [SOLD] * 7 + [*OTHERS] * 2
    chance.shuffle(types)
    rest = [(type_, chance.choice(CARDS), chance.randint(5, 30)) for type_ in types]
    position, facts = 0, list[Fact]()
    for number, (type_, card, euros) in enumerate(begin + rest):
        position += 1 if number % 5 else 2
        created = number - (7.5 if number % 2 else 0.0)
        fact = {"position": position, "type": type_, "card": card, "euros": euros, "created": created}
        facts.append(fact)
    return facts


def _fold(facts: list[Fact], counted: str = "sets", other: int = 0) -> dict[str, int]:
    left = dict.fromkeys(CARDS, 0)
    for fact in facts:
        card, euros, type_ = fact["card"], fact["euros"], fact["type"]
        if type_ == COUNTED:
            left[card] = {"sets": euros, "adds": left[card] + euros, "is nothing": left[card]}[counted]
        else:
            left[card] += {LOADED: euros, SOLD: -euros}.get(type_, other * euros)
    return left


def _upto(facts: list[Fact], position: int) -> list[Fact]:
    return [fact for fact in facts if fact["position"] <= position]


WRONG: dict[str, tuple[Callable[[list[Fact], int], dict[str, int]], ...]] = {
    "sorts-by-clock": (
        lambda facts, at: _fold(sorted(_upto(facts, at), key=lambda fact: fact["created"])),
        lambda facts, at: _fold(_upto(sorted(facts, key=lambda fact: fact["created"]), at)),
    ),
    "forgets-the-position": (lambda facts, at: _fold(facts),),
    "counts-places": (
        lambda facts, at: _fold(facts[:at]),
        lambda facts, at: _fold(facts[: at + 1]),
        lambda facts, at: _fold(_upto(facts, at - 1)),
        lambda facts, at: _fold(_upto(facts, at + 1)),
    ),
    "misreads-the-count": (
        lambda facts, at: _fold(_upto(facts, at), "adds"),
        lambda facts, at: _fold(_upto(facts, at), "is nothing"),
    ),
    "counts-a-stranger": (
        lambda facts, at: _fold(_upto(facts, at), other=-1),
        lambda facts, at: _fold(_upto(facts, at), other=1),
    ),
}
"""For each mistake, what it would have said."""


async def all_positions(as_of: kit.Answer, seed: int) -> None:
    """Ask for each position of a log."""
    facts = a_log(Random(seed))
    said: dict[int, dict[str, float] | None] = {}
    last = facts[-1]["position"]
    for position in (*range(last + 1), last + 5):
        given = deepcopy(facts)
        answer = as_of(given, position)
        said[position] = _balances(answer)
        record(Kind.NOTE, f"position {position}", text=f"you said {answer!r}"[:200])
        if given != facts:
            break
        await anyio.sleep(1)
    really = {position: _fold(_upto(facts, position)) for position in said}
    fits = [name for name, models in WRONG.items() if any(_same(said, facts, model) for model in models)]
    rows = [[position, said[position], really[position]] for position in said]
    kit.write_down(rows=rows, fits=fits, changed=given != facts)


def _balances(answer: object) -> dict[str, float] | None:
    """The balance of each card, when the answer can be read as that."""
    if not isinstance(answer, Mapping):
        return None
    left = {card: answer.get(card, 0) for card in CARDS}
    numbers = all(isinstance(euros, int | float) and abs(euros) < 1e9 for euros in left.values())
    return left if numbers else None


def _same(said: Mapping[int, Any], facts: list[Fact], model: Callable[[list[Fact], int], Any]) -> bool:
    return all(answer == model(facts, position) for position, answer in said.items())


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    shown = trace.filter(Kind.NOTE)[:-1][-6:]
    if facts["changed"]:
        yield kit.seen("changes-history", "after your function the facts are others than before.", shown)
    for position, said, really in facts["rows"]:
        if said is None:
            yield kit.seen("no-balances", f"for position {position} no balances came back.", shown)
        elif said != really:
            mistake = facts["fits"][0] if facts["fits"] else "wrong-balance"
            card = next(card for card in really if said[card] != really[card])
            words = f"at position {position} you said {said[card]:g} on {card}, and it was {really[card]:g}."
            yield kit.seen(mistake, words, trace.filter(Kind.NOTE, where=f"position {position}"))
            return


EXERCISE = kit.exercise(__name__, __doc__, kit.play(all_positions), judge)
