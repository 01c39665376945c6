"""Sell once

Repair · hard · 5 points · 15 minutes

Answer: async def sell(store, card, sale, euros)
Called: Your `sell(store, card, sale, euros)` from tills that sell at the same time, 14 sales on nine cards.
    Of some appends the request is lost, and of some the confirm: `store.append` then raises TimeoutError
    after a second. Of one sale the first four requests are lost.
Promised: Each sale is in its stream once at most, and no card is ever below zero. You return 'sold' when the
    sale is in the stream, and 'not enough' when it is not, and what is left on the card is less than its
    price. You answer within 30 s.
Hint: Three things can come back from `append`: a confirm, a conflict, and silence. What does each of them
    say about this sale?
Hint: After a silence the sale may be in the stream. How can you find out, when you read it again? It helps
    when all attempts of one sale have the same id.
Hint: In a loop: read; if an event of the stream has the id `sale`, it is sold; if the money is not enough,
    say so; else append with `id=sale` and `expected=len(events)`. On `WrongExpectedVersion` and on
    `TimeoutError` begin again at the top.
Why: The expected version keeps two decisions on one state apart, and the id keeps two attempts of one sale
    together. After a conflict the till decides again, after a silence it looks for its own sale first.

sold-twice: A sale stands in the stream twice. The confirm was lost, not the sale. What is appended under
    another id is another sale.
old-decision: A card went below zero after a conflict. The conflict told the version, and the sale was
    appended there. But it had been decided on another state.
overdrawn: A card went below zero. The sale was decided on another state than that at whose version it was
    appended, or nobody looked whether the money is enough.
said-sold: Said 'sold' of a sale that is not in the stream. The tea is given away. A silence is no proof, and
    neither is a conflict, nor another sale for the same price.
said-refused: Said 'not enough' of a sale that stands in the stream. The customer has paid and goes without
    her tea.
turned-away: Sent a customer away who had money enough. Neither a conflict nor a silence says that the money
    is not enough, and neither do several of them. Enough is also what is just the price.
no-answer: Gave no answer within 30 s. It waits too long between two attempts, or asks the same question
    again and again.
no-such-word: Returned something else. Whoever calls decides by 'sold' and 'not enough'.
error-came-out (raised): The function raised an error. A conflict and a timeout are what it has to deal with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...event_sourcing import Appended, Expected, MemoryEventStore, Recorded
from ...message import Message
from ...trace import Kind, Trace, acting

__all__ = ["EXERCISE", "nine_cards"]

SOLD, NOT_ENOUGH = "sold", "not enough"
LIMIT = 30.0
REQUEST, CONFIRM = "the request is lost", "the confirm is lost"
ALIKE = {"card 2": 2}  #: sales of the same price


class Sale(NamedTuple):
    card: str
    euros: int
    at: float = 0.0  #: seconds
    fates: tuple[str, ...] = ()  #: of its first attempts


class Network:
    """The store as the tills see it: over a network."""

    def __init__(self, store: MemoryEventStore, chance: Random, fates: Sequence[str]) -> None:
        self._store = store
        self._chance = chance
        self._fates = list(fates)

    async def read(self, stream: str) -> list[Recorded]:
        """The events of the stream."""
        await anyio.sleep(self._chance.uniform(0.7, 0.75))
        return await self._store.read(stream)

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """Append as a store does, or raise TimeoutError after a second."""
        fate = self._fates.pop(0) if self._fates else ""
        await anyio.sleep(self._chance.uniform(0.21, 0.3))
        if fate != REQUEST:
            appended = await self._store.append(stream, events, expected=expected)
        if fate:
            await anyio.sleep(1)
            raise TimeoutError("no confirm after 1 s")
        return appended


def sales_of(chance: Random) -> tuple[dict[str, int], list[Sale]]:
    """The cards with what is loaded, and the sales.

    A till that reads twice before it appends has decided, on card 8, between two sales: the second till reads
    before the first has sold, and again after it.
    """
    less = chance.randint(1, 4)
    loaded = {f"card {n}": euros for n, euros in enumerate((40, 100, 40, 100, 60, 12, 25, 40, 40), 1)}
    return loaded, [
        Sale("card 1", 25),
        Sale("card 1", 25 - less),
        Sale("card 2", 25),
        Sale("card 2", 25),
        Sale("card 3", 25 - less, fates=(CONFIRM,)),
        Sale("card 4", 25, fates=(CONFIRM,)),
        Sale("card 4", 25 - less, at=0.7),
        Sale("card 5", 25 - less, fates=(REQUEST,)),
        Sale("card 6", 25),
        Sale("card 7", 25, fates=(REQUEST,) * 4),
        Sale("card 8", 25),
        Sale("card 8", 25 - less, at=0.5),
        Sale("card 9", 25, fates=(REQUEST,)),
        Sale("card 9", 25 - less, at=0.8),
    ]


async def nine_cards(sell: kit.Answer, seed: int) -> None:
    """Play 14 sales, all by tills of their own."""
    chance, store, said = Random(seed), MemoryEventStore("cards"), dict[int, object]()
    loaded, sales = sales_of(chance)

    async def till(number: int, sale: Sale) -> None:
        network = Network(store, Random(f"{seed}/{number}"), sale.fates)
        await anyio.sleep(sale.at)
        with anyio.move_on_after(LIMIT):
            said[number] = await sell(network, sale.card, f"sale {number}", sale.euros)

    for card, euros in loaded.items():
        await store.append(card, [Message({"euros": euros}, "CardLoaded")])
    async with anyio.create_task_group() as group:
        for number, sale in enumerate(sales, 1):
            with acting(f"till {number}"):
                group.start_soon(till, number, sale)
    rows = [
        {"sale": number, "card": sale.card, "euros": sale.euros, "said": _plain(said, number)}
        for number, sale in enumerate(sales, 1)
    ]
    streams = {card: [_euros(event) for event in await store.read(card)] for card in loaded}
    kit.write_down(rows=rows, streams=streams)


def _plain(said: dict[int, object], number: int) -> str | None:
    answer = said.get(number, LIMIT)
    return None if answer is LIMIT else answer if isinstance(answer, str) else repr(answer)


def _euros(event: Recorded) -> float:
    body = event.message.body
    euros = body.get("euros") if isinstance(body, dict) else None
    return euros if isinstance(euros, int | float) else 0.0


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    sold = Counter((row["card"], row["euros"]) for row in facts["rows"] if row["said"] == SOLD)
    there = {card: Counter(-euros for euros in stream) for card, stream in facts["streams"].items()}
    for row in facts["rows"]:
        card, euros = row["card"], row["euros"]
        yield from _judge(trace, row, sold[card, euros], there[card][euros], sum(facts["streams"][card]))
    for card, stream in facts["streams"].items():
        if min(accumulate(stream)) < 0:
            words = f"{card} is at {sum(stream)} euros: {' '.join(f'{euros:+}' for euros in stream)}."
            shown = _moves(trace, card)
            tills = {event.who for event in shown if event.kind == Kind.REFUSED}
            old = any(event.kind == Kind.ACCEPTED and event.who in tills for event in shown)
            yield kit.seen("old-decision" if old else "overdrawn", words, shown)


def _judge(trace: Trace, row: dict[str, Any], sold: int, times: int, left: float) -> kit.Symptoms:
    """`sold` sales of this card and price were called sold, and the stream has `times` of them."""
    euros, said, shown = row["euros"], row["said"], _moves(trace, row["card"])
    there = times >= sold if said == SOLD else times > sold
    sale = f"sale {row['sale']} for {euros} euros, which is {'in' if there else 'not in'} its stream."
    words = f"you said {said!r} of {sale}"
    if times > ALIKE.get(row["card"], 1):
        yield kit.seen("sold-twice", f"sale {row['sale']} for {euros} euros is there {times} times.", shown)
    elif said is None:
        yield kit.seen("no-answer", f"sale {row['sale']} has no answer after {LIMIT:g} s.", shown[:12])
    elif said not in (SOLD, NOT_ENOUGH):
        yield kit.seen("no-such-word", words, shown)
    elif said == SOLD and times < sold:
        both = f"you said {said!r} of {sold} sales for {euros} euros, and {times} is in their stream."
        yield kit.seen("said-sold", both if sold > 1 else words, shown)
    elif said == NOT_ENOUGH and times > sold:
        yield kit.seen("said-refused", words, shown)
    elif said == NOT_ENOUGH and left >= euros:
        words = f"{words[:-1]}; {left} euros are left on {row['card']}."
        yield kit.seen("turned-away", words, shown)


def _moves(trace: Trace, card: str) -> Trace:
    """The appends to the stream of this card, kept, refused or known."""
    kinds = Kind.ACCEPTED, Kind.REFUSED, Kind.DUPLICATE
    return trace.filter(*kinds, test=lambda event: event.data.get("stream") == card)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(nine_cards), judge)
