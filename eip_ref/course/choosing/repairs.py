"""The shop of lesson 12b: naive, and with repairs, each a pattern of the course."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial

import anyio

from ...circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration
from ...message import Message
from ...message_queue import Backoff
from ...request_reply import NotDone, RequestError
from ...saga import Orchestrator, Refused, Retry, Saga, SagaLog, Step, retriable
from .storm import Door, Mail, Order, Paper, Service, Shop

__all__ = ["REPAIRS", "naive", "repaired"]

REPAIRS = ("key", "queue", "saga", "accepted", "breaker", "shed")
Ask = Callable[[Order, str | None], Awaitable[str]]
LIMIT = 20  #: orders in hand, with "shed"


async def naive(door: Door, payments: Service, stock: Service, mail: Mail, paper: Paper) -> None:
    """Charge, up to three times; reserve; tell mail; answer."""
    await repaired()(door, payments, stock, mail, paper)


def repaired(*repairs: str) -> Shop:
    """The shop with these repairs."""
    return partial(_shop, frozenset(repairs))


async def _shop(
    repairs: Collection[str], door: Door, payments: Service, stock: Service, mail: Mail, paper: Paper
) -> None:
    ask: dict[str, Ask] = {
        "charge": payments.do,
        "refund": payments.undo,
        "reserve": stock.do,
        "release": stock.undo,
    }
    if "breaker" in repairs:
        ask["charge"] = _behind_a_breaker(payments.do)
    ask["mail"] = partial(_mail, mail.put if "queue" in repairs else mail.send)
    work = _Saga(ask, SagaLog(paper._store), patient="breaker" in repairs) if "saga" in repairs else None
    steps = work or _Steps(ask, keys="key" in repairs)
    written, in_hand = "saga" in repairs, set[str]()

    async def serve(order: Order) -> None:
        door.say(order["id"], await steps(order))
        if written:
            await paper.write(order["id"], None)
        in_hand.discard(order["id"])

    def begin(order: Order) -> None:
        in_hand.add(order["id"])
        group.start_soon(serve, order)

    async with anyio.create_task_group() as group:
        for left in paper.read().values():
            if left is not None:
                begin(left)
        while True:
            order = await door.order()
            if order["id"] in in_hand:
                continue  # it is on the paper, and has been begun already
            if "shed" in repairs and len(in_hand) >= LIMIT:
                door.say(order["id"], "no")
                continue
            if written:
                await paper.write(order["id"], order)
            if "accepted" in repairs:
                door.say(order["id"], "accepted")
            begin(order)


async def _mail(hand_over: Callable[[Order], Awaitable[None]], order: Order, key: str | None) -> str:
    await hand_over(order)
    return "done"


def _behind_a_breaker(charge: Ask) -> Ask:
    """Charge through a breaker. A call that it rejects is certainly not done."""
    breaker = CircuitBreaker("payments", policy=ConsecutiveFailures(5), open_duration=OpenDuration(2))

    async def ask(order: Order, key: str | None) -> str:
        try:
            return str(await breaker.call(charge, order, key))
        except CallRejected as error:
            raise NotDone(str(error)) from error

    return ask


class _Steps:
    """One step after the other, each three times at most. Nothing is written down, nothing is taken back."""

    def __init__(self, ask: dict[str, Ask], keys: bool) -> None:
        self._ask, self._keys = ask, keys

    async def __call__(self, order: Order) -> str:
        for step in ("charge", "reserve", "mail"):
            if not await self._three_times(self._ask[step], order):
                return "no"
        return "yes"

    async def _three_times(self, ask: Ask, order: Order) -> bool:
        for _ in range(3):
            try:
                return await ask(order, order["id"] if self._keys else None) == "done"
            except RequestError:
                continue
        return False


class _Saga:
    """A saga with a log: it ends whole or with nothing, however often its process dies."""

    def __init__(self, ask: dict[str, Ask], log: SagaLog, patient: bool) -> None:
        self._ask = ask
        steps = (
            Step("charge", "charge", undo="refund", timeout=2),
            Step("reserve", "reserve", undo="release", timeout=2),
            retriable("mail", "mail", timeout=5),
        )
        again = Retry(30 if patient else 4, Backoff(initial=0.5, max_delay=2.0))
        self._orchestrator = Orchestrator(Saga("order", steps, retry=again), log, self._execute)

    async def __call__(self, order: Order) -> str:
        ended = await self._orchestrator.run(order["id"], order)
        return "yes" if ended.phase == "completed" else "no"

    async def _execute(self, command: Message) -> str:
        if (answer := await self._ask[command.type](command.body, command.id)) == "no":
            raise Refused("there is nothing left")
        return answer
