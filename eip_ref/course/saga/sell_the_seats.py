"""Sell the seats

Extend · hard · 4 points · 15 minutes

Answer: class Tickets() with reserve, release, charge
Called: A new `Tickets()` for each command, in eight stories of sagas whose commands come mixed. A command
    that raises `Locked` is sent again when the others have had their turn, five times at most.
Promised: Seats that are free are free in the books, whatever the order of the commands, and whoever finds
    enough of them gets them at once. A saga is refused only when it is certain that there are too few
    seats. Nobody pays another price than the one she was promised.
Hint: Three places: where a number is written, where somebody is told that it is sold out, and where money
    is taken. Which of the three anomalies can happen at each?
Hint: Change `free` by an amount. Keep a mark for each saga that has seats and has not paid: as long as
    there is one, “sold out” is not certain. Compare the price once more when you charge.
Hint: `reserve`: if there are enough seats take them and mark the saga; if not, raise `Locked` when anybody
    is marked, else `Refused`. `release` and `charge` take the mark away.
Why: A change by an amount commutes with the changes of others. The mark is a semantic lock: whoever would
    be refused because of it is told to come again. And the price is read again in the transaction that
    charges.

dirty-read: A saga was refused because of seats that came free again. They were not sold, only held.
never-final: A saga waits for ever. The seats are sold for good, and it is still told to come again.
fuzzy-read: Somebody paid another price than the one she was promised. It had changed since she was told.
overbooked: More seats were sold than there are. Somebody will stand.
refused-for-nothing: A saga was refused although nothing was wrong. There were enough seats, or the price
    was as promised.
waits-for-nothing: A saga was told to come again, and there were seats enough. What others hold is out of
    `free` already.
lost-update: Seats are lost, or sold twice. What a saga had seen before was written back over what another
    one had done.
old-value-back: A release wiped out what others had done. It put back the number of before.
wrong-money: The till is wrong. Each charge adds the price of one saga, once.
command-failed (raised): A command ended with another error. Known are `Refused`, which is certain, and
    `Locked`, which is worth another attempt. What must be remembered stands in `books`: the next command is
    executed by a new `Tickets`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...saga import Locked, Refused
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "Story", "mixed_sagas"]

TRIES = 5


class Story(NamedTuple):
    """The seats that are free at first, the commands, and what must be so in the end."""

    name: str
    free: int
    commands: tuple[tuple[str, str, Any], ...]  #: what, whose saga, seats or price
    left: int
    refused: tuple[tuple[str, str], ...] = ()
    till: int = 0


ANN_AND_BEN = (("reserve", "Ann", 4), ("reserve", "Ben", 3))
THE_LAST = (("reserve", "Ann", 1), ("reserve", "Ben", 1))
A_NEW_PRICE = (("reserve", "Ann", 1), ("price", "", 45), ("charge", "Ann", 30), ("release", "Ann", 1))
PAYS, BEN_PAYS, BACK = ("charge", "Ann", 30), ("charge", "Ben", 30), ("release", "Ann", 4)
HELD, STILL_HELD, TURNS_BACK = "the last seat is held", "one seat is sold and one is held", "one turns back"
IN_TURN = (
    ("reserve", "Ann", 1),
    ("release", "Ann", 1),
    ("reserve", "Ben", 1),
    BEN_PAYS,
    ("reserve", "Cat", 1),
)
ONE_OF_TWO = (*THE_LAST, PAYS, ("reserve", "Cat", 1), ("release", "Ben", 1))
A_LOWER_PRICE = (("reserve", "Ann", 1), ("price", "", 20), *A_NEW_PRICE[2:])
ALL = (
    Story("two at a time", 10, (*ANN_AND_BEN, PAYS, BEN_PAYS), left=3, till=60),
    Story(TURNS_BACK, 10, (*ANN_AND_BEN, BACK, BEN_PAYS), left=7, till=30),
    Story(HELD, 1, (*THE_LAST, ("release", "Ann", 1)), left=0),
    Story("the last seat is sold", 1, (*THE_LAST, PAYS), left=0, refused=(("reserve", "Ben"),), till=30),
    Story("the price changes", 5, A_NEW_PRICE, left=5, refused=(("charge", "Ann"),)),
    Story("the price falls", 5, A_LOWER_PRICE, left=5, refused=(("charge", "Ann"),)),
    Story(STILL_HELD, 2, ONE_OF_TWO, left=0, till=30),
    Story("given back, then sold", 1, IN_TURN, left=0, refused=(("reserve", "Cat"),), till=30),
)


class _Books:
    """The documents of the service: "free", "price", "till", and whatever it adds."""

    def __init__(self, free: int) -> None:
        self._documents: dict[str, Any] = {"free": free, "price": 30, "till": 0}

    def get(self, name: str, default: Any = None) -> Any:
        """A document, or `default`."""
        return self._documents.get(name, default)

    def put(self, name: str, value: Any) -> None:
        """Write a document."""
        self._documents[name] = value

    def delete(self, name: str) -> None:
        """Remove a document, if it is there."""
        self._documents.pop(name, None)


async def mixed_sagas(tickets: kit.Answer, story: Story, seed: int) -> None:
    """Send the commands of a story, one each second. What is told to come again comes after the others."""
    books = _Books(story.free)
    waiting = [(0, command) for command in story.commands]
    refused: list[tuple[str, str]] = []
    locked: list[tuple[str, str]] = []
    for_nothing: list[str] = []
    while waiting:
        tried, (what, saga, value) = waiting.pop(0)
        await anyio.sleep(1)
        before = dict(books._documents)
        said = "done"
        try:
            if what == "price":
                books.put("price", value)
            else:
                getattr(tickets(), what)(books, saga, value)
        except Locked:
            said, books._documents = "come again", before
            if what == "reserve" and value <= before["free"]:
                for_nothing.append(saga)
            if tried < TRIES:
                waiting.append((tried + 1, (what, saga, value)))
            else:
                locked.append((what, saga))
        except Refused:
            said, books._documents = "refused", before
            refused.append((what, saga))
        text = f"{what} {saga} {value}: {said}, {books.get('free')} free"
        record(Kind.NOTE, "seats", saga, who="", text=text)
    wanted = {"left": story.left, "refused": [list(each) for each in story.refused], "till": story.till}
    kit.write_down(
        story=story.name,
        wanted=wanted,
        free=books.get("free"),
        till=books.get("till"),
        refused=[list(each) for each in refused],
        locked=[list(each) for each in locked],
        for_nothing=for_nothing,
    )


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    wanted, story = day["wanted"], f"in the story “{day['story']}”"
    for what, saga in day["locked"]:
        yield kit.seen("never-final", f"{story} {saga}'s {what} was told to come again, to the end.", trace)
    for what, saga in day["refused"]:
        if [what, saga] not in wanted["refused"]:
            mistake = "dirty-read" if day["story"] in (HELD, STILL_HELD) else "refused-for-nothing"
            yield kit.seen(mistake, f"{story} {saga}'s {what} was refused.", trace)
    for what, saga in wanted["refused"]:
        if [what, saga] not in day["refused"] and not day["locked"]:
            mistake = "overbooked" if what == "reserve" else "fuzzy-read"
            yield kit.seen(mistake, f"{story} {saga}'s {what} was not refused.", trace)
    for saga in day["for_nothing"]:
        yield kit.seen("waits-for-nothing", f"{story} {saga}'s reserve was told to come again.", trace)
    if day["free"] != wanted["left"]:
        mistake = "old-value-back" if day["story"] == TURNS_BACK else "lost-update"
        yield kit.seen(mistake, f"{story} the seats left are {day['free']}, and not {wanted['left']}.", trace)
    if day["till"] != wanted["till"]:
        yield kit.seen(
            "wrong-money", f"{story} the till holds {day['till']}, and not {wanted['till']}.", trace
        )


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(mixed_sagas, lambda seed: ALL, judge), judge, seeds=(1,))
