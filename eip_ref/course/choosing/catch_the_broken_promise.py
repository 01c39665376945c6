"""Catch the broken promise

Write the test · hard · 4 points · 12 minutes

Answer: async def test_shop(make)
Called: Your `test_shop(make)` on two correct shops and on five broken ones. `make()` gives a new shop.
Promised: The test passes for each correct shop and raises AssertionError for each broken one.
Hint: What does “yes” promise, and what does “no” promise? The two correct shops give different answers
    while mail is away, and both keep what they say.
Hint: Look at an order when all is well, at one while mail is away, after mail is back, and at one whose
    answer was lost, so that it is placed again. Look at `done` only after `settle`.
Hint: Place "a"; let mail be away and place "b"; let it come back; `lose_the_next_answer()`, place "c" (it
    says None) and place "c" again. After `settle()`: all three services 1 for each order with a “yes”, 0
    for each “no”.
Why: The test says nothing about how a shop works, nor that it says “yes” while mail is away. It holds each
    shop to its own words: “yes” is once for each service, “no” is nothing at all.

accuses-a-correct-shop: Fails a shop that keeps its promise. One correct shop says “no” while mail is away,
    the other says “yes” and catches up. An error of the test itself counts, too.
misses-the-loss: Does not see that work is lost. The shop said “yes” while mail was away, and mail never
    heard of it.
misses-the-double: Does not see that work is done twice. An answer was lost, the order was placed again, and
    it was done again.
misses-the-half: Does not see that an order is half done. The customer heard “no”, and billing has charged
    her.
misses-the-forgotten: Does not see that an order is refused for good. It was placed again when mail was
    back, and the shop did nothing.
misses-the-silent-service: Does not see that one service never hears of anything. Look at all three of them.
"""

from __future__ import annotations

import anyio

from ...autograder import kit

__all__ = ["EXERCISE"]

SERVICES = ("billing", "stock", "mail")


class Shop:
    """Says “yes” when it has kept the order, and tells each service once it is there."""

    def __init__(self) -> None:
        self._away = self._losing = False
        self._kept: dict[str, list[str]] = {}  # the services that must still hear of an order
        self._times: dict[tuple[str, str], int] = {}

    def mail_is_away(self, away: bool) -> None:
        self._away = away

    def lose_the_next_answer(self) -> None:
        self._losing = True

    async def place(self, order: str) -> str | None:
        answer = await self._place(order)
        if self._losing:
            self._losing = False
            return None
        return answer

    async def settle(self) -> None:
        """Let a minute pass."""
        await anyio.sleep(60)
        for order in self._kept:
            self._work(order)

    def done(self, order: str) -> dict[str, int]:
        return {service: self._times.get((order, service), 0) for service in SERVICES}

    async def _place(self, order: str) -> str:
        await anyio.sleep(0.1)
        self._kept.setdefault(order, [*SERVICES])
        return "yes"

    def _work(self, order: str) -> None:
        for service in [*self._kept[order]]:
            if not (service == "mail" and self._away):
                self._kept[order].remove(service)
                self._do(order, service)

    def _do(self, order: str, service: str) -> None:
        self._times[order, service] = self._times.get((order, service), 0) + 1


class Asking(Shop):
    """Says “yes” when all three have done it, and “no” when one is away."""

    async def _place(self, order: str) -> str:
        await anyio.sleep(0.5)
        if self._away and order not in self._kept:
            return "no"
        self._kept.setdefault(order, [*SERVICES])
        self._work(order)
        return "yes"


class Losing(Shop):
    """Forgets whom it could not reach."""

    async def _place(self, order: str) -> str:
        answer = await super()._place(order)
        self._work(order)
        self._kept[order].clear()
        return answer


class Doubling(Shop):
    """Takes an order that comes again for a new one."""

    async def _place(self, order: str) -> str:
        self._kept[order] = [*self._kept.get(order, ()), *SERVICES]
        return await super()._place(order)


class Halving(Asking):
    """Has asked billing before it finds that mail is away. A “yes” later hides it: nothing is done twice."""

    async def _place(self, order: str) -> str:
        if self._away and order not in self._kept:
            self._do(order, "billing")
        return await super()._place(order)

    def _do(self, order: str, service: str) -> None:
        if not self._times.get((order, service)):
            super()._do(order, service)


class Forgetting(Asking):
    """Remembers a “no” as if it were done."""

    async def _place(self, order: str) -> str:
        if self._away:
            self._kept.setdefault(order, [])
            return "no"
        return await super()._place(order)


class Deaf(Shop):
    """Has no line to stock."""

    def _do(self, order: str, service: str) -> None:
        if service != "stock":
            super()._do(order, service)


CORRECT: dict[str, kit.Make] = {"a shop with queues": Shop, "a shop that asks": Asking}
BROKEN = {
    "a shop that forgets who was away": (Losing, "misses-the-loss"),
    "a shop that does a repeated order again": (Doubling, "misses-the-double"),
    "a shop that charges and says no": (Halving, "misses-the-half"),
    "a shop that never does what it once refused": (Forgetting, "misses-the-forgotten"),
    "a shop without a line to stock": (Deaf, "misses-the-silent-service"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-shop", BROKEN),
    seeds=(1,),
)
