"""The story of the lessons: a customer places an order, told by an orchestrator and as a choreography.

Five services each keep their own books: orders, customers (credit), payments, inventory and shipping.
Whoever tells the story, the services, their handlers and their keys are the same.

    order     create it: pending, which is a semantic lock     undo: reject it
    credit    reserve a part of the customer's limit           undo: release it
    payment   put the money aside                              undo: give it back
    stock     put the goods aside                              undo: put them back
    charge    take the money: the pivot
    ship      send the goods
    confirm   tell the customer: the order is final
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...message import Message
from ...saga import (
    Choreography,
    LocalHandler,
    LocalTransaction,
    Participant,
    Phase,
    Reaction,
    Refused,
    Saga,
    Step,
    add,
    pivot,
    retriable,
)
from ...storage import MemoryStore, Store

STEPS = (
    Step("order", "CreateOrder", undo="RejectOrder"),
    Step("credit", "ReserveCredit", undo="ReleaseCredit"),
    Step("payment", "ReservePayment", undo="ReleasePayment"),
    Step("stock", "ReserveStock", undo="ReleaseStock"),
    pivot("charge", "ChargePayment"),
    retriable("ship", "ShipOrder"),
    retriable("confirm", "ConfirmOrder"),
)


def order_saga(**settings: Any) -> Saga:
    """The orchestrated story."""
    return Saga("place order", STEPS, **settings)


PLACE_ORDER = "OrderPlaced"
REACTIONS = (
    Reaction("orders", PLACE_ORDER, "CreateOrder", "order", "OrderCreated"),
    Reaction("customers", "OrderCreated", "ReserveCredit", "credit", "CreditReserved", "CreditRefused"),
    Reaction("payments", "CreditReserved", "ReservePayment", "payment", "PaymentReserved", "PaymentRefused"),
    Reaction("inventory", "PaymentReserved", "ReserveStock", "stock", "StockReserved", "OutOfStock"),
    Reaction("payments", "StockReserved", "ChargePayment", "charge", "PaymentCharged", "ChargeRefused"),
    Reaction("shipping", "PaymentCharged", "ShipOrder", "ship", "OrderShipped"),
    Reaction("orders", "OrderShipped", "ConfirmOrder", "confirm", "OrderConfirmed"),
    # and back, from wherever it was refused
    Reaction("inventory", "ChargeRefused", "ReleaseStock", "stock", "StockReleased", undoes=True),
    Reaction("payments", "StockReleased", "ReleasePayment", "payment", "PaymentReleased", undoes=True),
    Reaction("payments", "OutOfStock", "ReleasePayment", "payment", "PaymentReleased", undoes=True),
    Reaction("customers", "PaymentReleased", "ReleaseCredit", "credit", "CreditReleased", undoes=True),
    Reaction("customers", "PaymentRefused", "ReleaseCredit", "credit", "CreditReleased", undoes=True),
    Reaction("orders", "CreditReleased", "RejectOrder", "order", "OrderRejected", undoes=True),
    Reaction("orders", "CreditRefused", "RejectOrder", "order", "OrderRejected", undoes=True),
)


TIMED_OUT = "OrderTimedOut"
TIMEOUT = Reaction(  # too late when the card is charged: then that is said again, and the saga goes on
    "payments", TIMED_OUT, "RefuseCharge", "charge", "ChargeRefused", "PaymentCharged", undoes=True
)


def order_choreography() -> Choreography:
    """The same story without a coordinator. `TIMED_OUT` turns a saga back whose pivot is not done."""
    ends = {"OrderConfirmed": Phase.COMPLETED, "OrderRejected": Phase.COMPENSATED}
    return Choreography(PLACE_ORDER, (*REACTIONS, TIMEOUT), ends, TIMED_OUT)


def _status(now: str, effect: str) -> LocalHandler:
    """An order is pending until its saga ends; nobody may take it for more."""

    def handle(command: Message, books: LocalTransaction) -> None:
        books.put(f"order {command.correlation_id}", now)
        books.effect(effect)

    return handle


def _move(source: str, target: str, what: str, effect: str) -> LocalHandler:
    """Move the amount of `what` in the order from one account to another: commutative, never below 0."""

    def handle(command: Message, books: LocalTransaction) -> None:
        order = {**command.body, "saga": command.correlation_id}
        amount, one, other = order[what], source.format(**order), target.format(**order)
        add(books, one, -amount, minimum=0)
        add(books, other, amount)
        books.effect(effect, **{one: -amount, other: amount})

    return handle


def _charge(command: Message, books: LocalTransaction) -> None:
    """The pivot. A card that was reported stolen is refused."""
    if books.get(f"stolen {command.body['customer']}"):
        raise Refused("the card was reported stolen")
    _move("aside {saga}", "till", "price", "charged the card")(command, books)


def _refuse_charge(command: Message, books: LocalTransaction) -> None:
    """There is no way back over the pivot; only one that has not happened can be refused."""
    raise Refused("the card is charged already")


def _ship(command: Message, books: LocalTransaction) -> str:
    number = f"parcel {command.correlation_id}"
    books.put(number, command.body["item"])
    books.effect("sent the parcel")
    return number


_HANDLERS: dict[str, dict[str, LocalHandler]] = {
    "orders": {
        "CreateOrder": _status("pending", "created the order"),
        "RejectOrder": _status("rejected", "rejected the order"),
        "ConfirmOrder": _status("confirmed", "confirmed the order"),
    },
    "customers": {
        "ReserveCredit": _move("credit {customer}", "used {customer}", "price", "reserved credit"),
        "ReleaseCredit": _move("used {customer}", "credit {customer}", "price", "released credit"),
    },
    "payments": {
        "ReservePayment": _move("card {customer}", "aside {saga}", "price", "put money aside"),
        "ReleasePayment": _move("aside {saga}", "card {customer}", "price", "gave the money back"),
        "ChargePayment": _charge,
        "RefuseCharge": _refuse_charge,
    },
    "inventory": {
        "ReserveStock": _move("stock {item}", "set aside {item}", "quantity", "put goods aside"),
        "ReleaseStock": _move("set aside {item}", "stock {item}", "quantity", "put the goods back"),
    },
    "shipping": {"ShipOrder": _ship},
}


class OrderServices:
    """The five services. `execute` brings a command to the one that knows it.

    `first` are the documents of each that is new: `{"inventory": {"stock tea": 3}, …}`. Each has a store
    of its own in memory, unless `store_of(name)` makes another.
    """

    def __init__(
        self,
        first: dict[str, dict[str, Any]] | None = None,
        store_of: Callable[[str], Store] = lambda name: MemoryStore(),
    ) -> None:
        self._names: dict[str, str] = {}  # of the services, by command
        self.services: dict[str, Participant] = {}
        for name, handlers in _HANDLERS.items():
            store = store_of(name)
            with store.transaction() as transaction:
                for key, document in (first or {}).get(name, {}).items():
                    if transaction.get(name, key) is None:
                        transaction.put(name, key, document)
            self.services[name] = Participant(name, store, handlers)
            self._names |= dict.fromkeys(handlers, name)

    def who(self, command: Message) -> str:
        """The name of the service that knows a command."""
        return self._names[command.type]

    async def execute(self, command: Message) -> Any:
        """Bring a command to its service, without a network in between."""
        return await self.services[self.who(command)](command)

    def business(self) -> dict[str, dict[str, Any]]:
        """The books of all services, without the records of operations."""
        return {name: service.business() for name, service in self.services.items()}
