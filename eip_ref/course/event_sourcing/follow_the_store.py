"""Follow the store

Extend · hard · 5 points · 15 minutes

Answer: async def follow(store, desk)
Called: Your `follow(store, desk)`, in a process that dies three times and starts again a second later, while
    four tills sell for some seconds. Each of them rolls one sale back. `read_all` takes 0.3 s. `follow` is
    stopped 10 s after the last sale.
Promised: In the end each sale stands on the desk once. None is missing, none is there twice, and they are in
    the order of their positions.
Hint: Two things can go wrong: you pass a sale that is not committed yet, or you die between two writes. Which
    methods are there against each?
Hint: `store.horizon()` says how far it is settled. And one of the three methods of the desk writes both at
    once.
Hint: In a loop: `end = store.horizon()`, then the sales after `desk.position()` with `sale.position <=
    end`, then `await desk.keep(ids, end)`, also when there are none. Then sleep a moment.
Why: What is above the horizon may still get neighbours below it, so it is left for the next look. Sale and
    position are kept in one write, so wherever the process dies, both are there or neither is.

skipped: A sale was passed over: your position has come to its place or beyond, and it was not written. Either
    it was not committed yet when you read, or you left it out. The place is given when a sale is inserted.
lost-at-death: A sale was lost when the process died. The position said that it was there, and it was not
    written yet.
doubled-at-death: A sale stands there twice. It was written, the process died before the position was, and it
    was written again.
out-of-order: The sales stand there in another order. What comes late has a place before others, and a desk is
    read from top to bottom.
waits-at-a-gap: It waits for a position that will never come. A sale that is rolled back takes its position
    along, so a gap does not say that something is missing.
too-late: A sale is missing at the end although nothing hindered. Ten seconds after the last one all must be
    there.
error-came-out (raised): The function raised an error. It has to go on until it is stopped.
gave-up (deadlock, runaway): It waits for ever or never waits. Between two looks a moment must pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from random import Random

import anyio
import anyio.lowlevel

from ...autograder import kit
from ...event_sourcing import MemoryEventStore, Recorded
from ...message import Message
from ...trace import Event, Kind, Trace, acting, record

__all__ = ["EXERCISE", "sales_and_a_desk"]

SALES, TILLS, GRACE = 12, 4, 10.0
BACK = 3  #: the sale of each till that is rolled back


class TakenBack(Exception):
    """The customer does not want the tea, before its transaction is committed."""


class Tills(MemoryEventStore):
    """The store with all that is committed; it says how far that is settled."""

    _settled = MemoryEventStore.committed_up_to

    @property
    def committed_up_to(self) -> int:
        return max((event.position for event in self._all), default=0)

    def settled(self) -> int:
        return int(Tills._settled.fget(self))  # type: ignore[attr-defined]


class Sight:
    """The store as the learner gets it."""

    def __init__(self, store: Tills) -> None:
        self._store = store

    async def read_all(self, after: int) -> list[Recorded]:
        """All committed sales above this position."""
        found = await self._store.read_all(after=after, limit=10_000)
        await anyio.sleep(0.3)  # what is committed now is not in the answer
        return found

    def horizon(self) -> int:
        """Up to here nothing new appears any more."""
        return self._store.settled()


class Desk:
    """A disk of its own. The process dies after three of its writes, wherever they come from."""

    def __init__(self, deaths: Sequence[int]) -> None:
        self._sales: list[str] = []
        self._position = 0
        self._writes = 0
        self._deaths = deaths

    def position(self) -> int:
        """The position that is kept."""
        return self._position

    async def write(self, sales: Sequence[str]) -> None:
        """Write these sales on the desk."""
        self._put(sales)
        await self._written()

    async def note(self, position: int) -> None:
        """Keep the position."""
        self._move(position, "note")
        await self._written()

    async def keep(self, sales: Sequence[str], position: int) -> None:
        """Do both in one write."""
        if sales:
            self._put(sales)
        was = self._position
        self._move(position, "keep")
        if sales or position != was:
            await self._written()
        await anyio.lowlevel.checkpoint()

    def _put(self, sales: Sequence[str]) -> None:
        if isinstance(sales, str) or not all(isinstance(sale, str) for sale in sales):
            raise TypeError(f"a list of ids is written, such as ['sale 1.1'], and not {sales!r}")
        self._sales += sales
        record(Kind.NOTE, "desk", text=f"wrote {', '.join(sales)}", sales=list(sales))

    def _move(self, position: int, by: str) -> None:
        if not isinstance(position, int):
            raise TypeError(f"a position is a whole number, not {position!r}")
        if position != self._position:
            text = f"position {self._position} → {position}"
            record(Kind.STATE, "desk", was=self._position, now=position, reason=text, by=by)
        self._position = position

    async def _written(self) -> None:
        self._writes += 1
        if self._writes in self._deaths:
            await kit.die()
        await anyio.sleep(0.01)


async def sales_and_a_desk(follow: kit.Answer, seed: int) -> None:
    """Let four tills sell in transactions that stay open for some time, and the process follow."""
    chance, store = Random(seed), Tills("cards")
    desk = Desk((1, 2, 4))
    plans = [
        [
            (chance.uniform(0.2, 0.6), chance.choice((0.1, 1.5)) * chance.uniform(0.7, 1.3))
            for _ in range(SALES)
        ]
        for _ in range(TILLS)
    ]

    async def till(number: int, plan: Sequence[tuple[float, float]]) -> None:
        for sale, (pause, is_open) in enumerate(plan, 1):
            await anyio.sleep(pause)
            with suppress(TakenBack):
                async with store.transaction() as unit:
                    tea = Message({"euros": 10}, "TeaSold", id=f"sale {number}.{sale}")
                    unit.append(f"card {number}", [tea])
                    await anyio.sleep(is_open)
                    if sale == BACK:
                        raise TakenBack

    async with kit.participants() as start:
        start("follower", follow, Sight(store), desk, deaths=3)
        async with anyio.create_task_group() as tills:
            for number, plan in enumerate(plans, 1):
                with acting(f"till {number}"):
                    tills.start_soon(till, number, plan)
        await anyio.sleep(GRACE)
    kit.write_down(sales=desk._sales)


def judge(trace: Trace) -> kit.Symptoms:
    sales = kit.facts(trace)["sales"]
    places = {event.message: event for event in trace.filter(Kind.ACCEPTED, where="cards")}
    times = Counter(sales)
    for sale, kept in places.items():
        if times[sale] == 0:
            yield _missing(trace, sale, kept.at, kept.data["position"])
        elif times[sale] > 1:
            words = f"{sale} stands on the desk {times[sale]} times."
            yield kit.seen("doubled-at-death", words, _around(trace, sale))
    known = [places[sale].data["position"] for sale in sales if sale in places]
    if known != sorted(known):
        at = next(n for n, (a, b) in enumerate(pairwise(known)) if a > b)
        words = f"{sales[at]} at position {known[at]} stands before {sales[at + 1]} at {known[at + 1]}."
        yield kit.seen("out-of-order", words, _around(trace, sales[at]))
    seldom = "the process dies at a write, and there were too few. Look again every 0.1 s to 1 s."
    kit.require(trace, Kind.CRASHED, seldom, at_least=3)


def _missing(trace: Trace, sale: str, committed: float, position: int) -> kit.Symptom:
    moves = [m for m in trace.filter(Kind.STATE, where="desk") if m.data["was"] < position <= m.data["now"]]
    words = f"{sale}, at position {position}, committed at {committed:.2f} s, is not on the desk"
    if not moves:
        now = max((m.data["now"] for m in trace.filter(Kind.STATE, where="desk")), default=0)
        if now + 1 not in [kept.data["position"] for kept in trace.filter(Kind.ACCEPTED, where="cards")]:
            words = f"{words}. Your position stays at {now}, and position {now + 1} was rolled back."
            return kit.seen("waits-at-a-gap", words)
        return kit.seen("too-late", f"{words}, and the desk's position never came there.")
    words = f"{words}; your position passed it at {kit.when(moves[0])}."
    noted = moves[0].data["by"] == "note" and moves[0].at >= committed
    mistake = "lost-at-death" if noted else "skipped"
    return kit.seen(mistake, words, [*trace.filter(message=sale), *moves[:1]])


def _around(trace: Trace, sale: str) -> list[Event]:
    notes = trace.filter(Kind.NOTE, where="desk", test=lambda event: sale in event.data["sales"])
    return [*trace.filter(message=sale), *notes, *trace.filter(Kind.CRASHED)]


EXERCISE = kit.exercise(__name__, __doc__, kit.play(sales_and_a_desk), judge)
