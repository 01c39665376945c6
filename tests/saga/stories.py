"""What the tests of sagas share: a shop with little in it, and a network that fails as it is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.abc

from eip_ref.course.saga.order_story import OrderServices, order_saga
from eip_ref.lab import invariants
from eip_ref.lab.invariants.sagas import saga_outcome
from eip_ref.message import Message
from eip_ref.message_queue import Backoff
from eip_ref.saga import NotDone, Refused, Retry, Saga, SagaState
from eip_ref.trace import Trace

ORDER = {"customer": "ann", "item": "tea", "quantity": 2, "price": 30}
QUICK = Retry(attempts=3, backoff=Backoff(initial=1, factor=2, max_delay=10))

COMPLETED: dict[str, dict[str, Any]] = {
    "orders": {"order o1": "confirmed"},
    "customers": {"credit ann": 70, "used ann": 30},
    "payments": {"card ann": 70, "aside o1": 0, "till": 30},
    "inventory": {"stock tea": 3, "set aside tea": 2},
    "shipping": {"parcel o1": "tea"},
}


def first(*, credit: int = 100, money: int = 100, tea: int = 5, stolen: bool = False) -> dict[str, Any]:
    """What the books of the shop hold before the first order."""
    payments = {"card ann": money} | ({"stolen ann": True} if stolen else {})
    return {
        "customers": {"credit ann": credit},
        "payments": payments,
        "inventory": {"stock tea": tea},
    }


NO_TEA = first(tea=1)
STOLEN = first(stolen=True)


Books = Mapping[str, Mapping[str, Any]]


def without_zeros(books: Books) -> dict[str, dict[str, Any]]:
    """The books without accounts that are empty."""
    return {name: {k: v for k, v in values.items() if v != 0} for name, values in books.items()}


def amounts(shop: OrderServices) -> dict[str, dict[str, Any]]:
    """The books as the business sees them, without accounts that are empty."""
    return without_zeros(shop.business())


def untouched(values: Mapping[str, Any], saga: str = "o1") -> dict[str, dict[str, Any]]:
    """The books after a compensated saga: as before it, and the order is rejected."""
    books = {name: dict(values.get(name, {})) for name in ("orders", "customers", "payments")}
    books |= {name: dict(values.get(name, {})) for name in ("inventory", "shipping")}
    books["orders"][f"order {saga}"] = "rejected"
    return books


def saga(**settings: Any) -> Saga:
    """The order story with few and quick attempts."""
    return order_saga(**({"retry": QUICK, "undo_retry": QUICK} | settings))


class Network:
    """Brings commands to a shop in 0.1 seconds, and fails as told: `{command id: [fault, …]}`.

    Faults, one for each attempt: "down" (definitely not done), "broken before" and "broken after"
    the effect, "silent before" and "silent after" it, "late" (silent, and the effect comes 50 s later),
    and "" for none. The last of a list that ends in "…" is repeated for ever.
    """

    def __init__(
        self,
        shop: OrderServices,
        faults: Mapping[str, Sequence[str]] | None = None,
        late: anyio.abc.TaskGroup | None = None,
    ) -> None:
        self.shop = shop
        self.attempts: list[str] = []  #: ids of the commands, one for each attempt
        self.bodies: dict[str, list[Any]] = defaultdict(list)
        self._faults = {name: list(those) for name, those in (faults or {}).items()}
        self._late = late

    async def execute(self, command: Message) -> Any:
        self.attempts.append(command.id)
        self.bodies[command.id].append(command.body)
        fault = self._next(command.id)
        await anyio.sleep(0.1)
        if fault == "down":
            raise NotDone("the service does not answer the phone")
        if fault == "broken before":
            raise ConnectionError("the line broke")
        if fault == "late":
            assert self._late is not None
            self._late.start_soon(partial(self._arrive, command, 50))
        if fault in ("silent before", "late"):
            await anyio.sleep_forever()
        if not fault:
            return await self.shop.execute(command)
        with suppress(Refused):  # whatever was answered, nobody hears it
            await self.shop.execute(command)
        if fault == "broken after":
            raise ConnectionError("the line broke")
        return await anyio.sleep_forever()

    async def _arrive(self, command: Message, seconds: float) -> None:
        await anyio.sleep(seconds)
        with suppress(Refused):
            await self.shop.execute(command)

    def _next(self, identity: str) -> str:
        left = self._faults.get(identity)
        if not left:
            return ""
        if left[-1] == "…" and len(left) == 2:
            return left[0]
        return left.pop(0)


def holds(trace: Trace, **settings: Any) -> None:
    """The invariants of every saga."""
    invariants.assert_holds(trace, partial(saga_outcome, **settings), invariants.no_duplicate_effect)


def told(state: SagaState) -> tuple[str, str]:
    """The end of a saga and the reason."""
    return str(state.phase), state.reason
