"""Catch the page

Write the test · hard · 4 points · 12 minutes

Answer: async def test_page(make)
Called: Your `test_page(make)` on two correct pages and on six broken ones. `make()` gives a new one.
Promised: The test passes for each correct page and raises AssertionError for each broken one.
Hint: You are the three services. On which days would each promise be broken? One day is not enough.
Hint: Let `ask` count its calls that are under way, in a `try` and `finally`. Play a day on which all is
    well, one on which the bank hangs, and one on which it fails.
Hint: All well, with 0.1, 0.2 and 0.3 s: assert the whole page, `missing == []`, and at most 0.35 s. The
    bank sleeps 60 s, inside `anyio.fail_after(5)`: assert `missing == ["payment"]`, that `"payment"` is not
    on the page, at most 1 s, and that no call is under way. Then the bank raises: assert the same page
    again.
Why: Each broken page is right when all is well, but for the slow one and the one with the wrong name. A
    page is tested by what its services do, so the test plays the services.

accuses-a-correct-page: Fails a page that keeps the promises. Look at what you assert beyond them, such as
    the order of the calls, or a time that is too exact.
misses-the-wrong-customer: Does not see that the page asks for another user. When the user with the order's
    number has the same name, nobody sees it.
misses-the-row: Does not see that the services are asked one after the other. The page is right, and takes
    the sum of their times.
misses-the-endless-wait: Does not see that a page waits for ever. When the bank hangs, so does the page.
misses-what-runs-on: Does not see that a call runs on after the page. The page is right and in time, and the
    service still works for it.
misses-the-null: Does not see that a field is null and nobody says why. The client takes it for a payment
    that is empty.
misses-the-words: Does not see that the words of an exception are on the page. They are for the log.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from ...api_gateway import Branch, BranchInput, FanOut
from ...autograder import kit

__all__ = ["EXERCISE"]

Ask = Callable[[str, int], Awaitable[Any]]
TIME = 0.95


class Page:
    """One clock for all branches, and a task for each that can be asked at once."""

    async def page(self, order_id: int, ask: Ask) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        with self.clock():
            await self.fill(fields, order_id, ask)
        if "order" not in fields:
            raise LookupError("no order")
        return self.shown(fields)

    def clock(self) -> Any:
        return anyio.move_on_after(TIME)

    async def fill(self, fields: dict[str, Any], order_id: int, ask: Ask) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.put, fields, "payment", ask, "bank", order_id)
            group.start_soon(self.order_and_user, fields, order_id, ask)

    async def order_and_user(self, fields: dict[str, Any], order_id: int, ask: Ask) -> None:
        await self.put(fields, "order", ask, "orders", order_id)
        if "order" in fields:
            await self.put(fields, "user", ask, "people", self.user_of(order_id, fields["order"]))

    def user_of(self, order_id: int, order: Any) -> int:
        return int(order["user"])

    async def put(self, fields: dict[str, Any], field: str, ask: Ask, service: str, number: int) -> None:
        try:
            fields[field] = await ask(service, number)
        except Exception as error:
            self.failed(fields, field, error)

    def failed(self, fields: dict[str, Any], field: str, error: Exception) -> None:
        """Leave the field out."""

    def shown(self, fields: dict[str, Any]) -> dict[str, Any]:
        missing = [field for field in ("order", "user", "payment") if field not in fields]
        return {**fields, "missing": missing}


class OverAFanOut(Page):
    """The same with the fan-out of the reference."""

    async def page(self, order_id: int, ask: Ask) -> dict[str, Any]:
        async def order(part: BranchInput) -> Any:
            return await ask("orders", order_id)

        async def user(part: BranchInput) -> Any:
            return await ask("people", part.results["order"]["user"])

        async def payment(part: BranchInput) -> Any:
            return await ask("bank", order_id)

        branches = (
            Branch("order", order, required=True),
            Branch("user", user, needs=["order"]),
            Branch("payment", payment),
        )
        answer = await FanOut(*branches, timeout=1.0)()
        return {**answer.data, "missing": list(answer.errors)}


class WrongCustomer(Page):
    """Asks for the user with the number of the order."""

    def user_of(self, order_id: int, order: Any) -> int:
        return order_id


class InARow(Page):
    """Asks one after the other."""

    async def fill(self, fields: dict[str, Any], order_id: int, ask: Ask) -> None:
        await self.order_and_user(fields, order_id, ask)
        await self.put(fields, "payment", ask, "bank", order_id)


class Patient(Page):
    """Waits for the bank as long as it takes."""

    def clock(self) -> Any:
        self.until = anyio.current_time() + TIME
        return anyio.CancelScope()

    async def put(self, fields: dict[str, Any], field: str, ask: Ask, service: str, number: int) -> None:
        with anyio.CancelScope(deadline=math.inf if service == "bank" else self.until):
            await super().put(fields, field, ask, service, number)


class RunningOn(Page):
    """Gives up waiting in time, and does not end its calls."""

    async def fill(self, fields: dict[str, Any], order_id: int, ask: Ask) -> None:
        calls = [
            asyncio.ensure_future(self.put(fields, "payment", ask, "bank", order_id)),
            asyncio.ensure_future(self.order_and_user(fields, order_id, ask)),
        ]
        await asyncio.wait(calls, timeout=TIME - 0.01)

    def shown(self, fields: dict[str, Any]) -> dict[str, Any]:
        return super().shown(dict(fields))


class Nulls(Page):
    """Shows null for what did not come, and says that nothing is missing."""

    def shown(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"user": None, "payment": None, **fields, "missing": []}


class Talking(Page):
    """Names what failed, and shows the words of its exception."""

    def failed(self, fields: dict[str, Any], field: str, error: Exception) -> None:
        fields["why"] = f"{field}: {error!r}"


CORRECT: dict[str, kit.Make] = {
    "a page with one clock": Page,
    "a page over the reference": OverAFanOut,
}
BROKEN = {
    "a page that asks for the wrong user": (WrongCustomer, "misses-the-wrong-customer"),
    "a page that asks one after the other": (InARow, "misses-the-row"),
    "a page that waits for the bank for ever": (Patient, "misses-the-endless-wait"),
    "a page that lets calls run on": (RunningOn, "misses-what-runs-on"),
    "a page with nulls": (Nulls, "misses-the-null"),
    "a page with the words of an exception": (Talking, "misses-the-words"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-page", BROKEN),
    seeds=(1,),
)
