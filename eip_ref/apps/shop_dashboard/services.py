"""The two services of the shop that the dashboard joins: users and billing, and the dashboard's view.

Each service has its own commands, its own state and its own events; neither knows the other, nor
the dashboard. A user can be charged before the dashboard has heard of the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cqrs import Check, Command, CommandRejected, Commands, Decision, DomainEvent, InvalidCommand
from ...event_sourcing import EventHandler, Recorded, View
from ...storage import Store

__all__ = ["DASHBOARD", "billing", "users"]

State = Mapping[str, Any] | None


# Users


def users(store: Store) -> Commands:
    """The service that knows who the users are: Register, Rename."""
    service = Commands(store, "users")
    service.handler("Register", _register, check=_has_text("name", "email"))
    service.handler("Rename", _rename, check=_has_text("name"))
    return service


def _register(state: State, command: Command) -> Decision:
    if state is not None:
        raise CommandRejected(f"user {command.target} is registered already")
    name, email = command.data["name"], command.data["email"]
    # The state has more in it than anybody else is told.
    state = {"name": name, "email": email, "names_before": []}
    return Decision(state, (DomainEvent("UserRegistered", {"name": name, "email": email}),))


def _rename(state: State, command: Command) -> Decision:
    if state is None:
        raise CommandRejected(f"there is no user {command.target}")
    name = command.data["name"]
    if name == state["name"]:
        return Decision(state)
    new = {**state, "name": name, "names_before": [*state["names_before"], state["name"]]}
    return Decision(new, (DomainEvent("UserRenamed", {"name": name}),))


# Billing


def billing(store: Store) -> Commands:
    """The service that knows what users owe, in cents: Charge, Pay; and an old till with wrong events."""
    service = Commands(store, "billing")
    service.handler("Charge", _charge, check=_has_amount)
    service.handler("Pay", _pay, check=_has_amount)
    service.handler("ChargeAtTheOldTill", _charge_at_the_old_till, check=_has_amount)
    return service


def _charge(state: State, command: Command) -> Decision:
    owed = (state or {"owed": 0})["owed"] + command.data["cents"]
    return Decision({"owed": owed}, (DomainEvent("Charged", {"cents": command.data["cents"]}),))


def _charge_at_the_old_till(state: State, command: Command) -> Decision:
    """A charge like any other, but its event is poison: the amount in it is text, in whole units."""
    text = f"{command.data['cents'] / 100:.2f}"
    return Decision(_charge(state, command).state, (DomainEvent("Charged", {"cents": text}),))


def _pay(state: State, command: Command) -> Decision:
    owed, cents = (state or {"owed": 0})["owed"], command.data["cents"]
    if cents > owed:
        raise CommandRejected(f"{command.target} owes {owed} cents, and cannot pay {cents}")
    return Decision({"owed": owed - cents}, (DomainEvent("Paid", {"cents": cents}),))


def _has_text(*names: str) -> Check:
    def check(data: Mapping[str, Any]) -> None:
        for name in names:
            value = data.get(name)
            if not isinstance(value, str) or not value.strip() or len(value) > 200:
                raise InvalidCommand(f"{name} must be text of 1 to 200 letters, not {value!r:.60}")

    return check


def _has_amount(data: Mapping[str, Any]) -> None:
    cents = data.get("cents")
    if not isinstance(cents, int) or isinstance(cents, bool) or not 0 < cents <= 10**9:
        raise InvalidCommand(f"cents must be a whole number from 1 to 1,000,000,000, not {cents!r:.60}")


# The dashboard: one row for each user, whichever service speaks first


def _row(view: View, event: Recorded) -> tuple[str, dict[str, Any], Any]:
    """The key and the row of the customer whom the event is about, and the body of the event."""
    key = event.stream.partition("/")[2]
    empty = {"name": None, "email": None, "charges": 0, "charged": 0, "paid": 0}
    return key, view.get(key, empty), event.message.body


def _named(view: View, event: Recorded) -> None:
    key, row, body = _row(view, event)
    view.put(key, row | body)


def _charged(view: View, event: Recorded) -> None:
    key, row, body = _row(view, event)
    view.put(key, row | {"charges": row["charges"] + 1, "charged": row["charged"] + body["cents"]})


def _paid(view: View, event: Recorded) -> None:
    key, row, body = _row(view, event)
    view.put(key, row | {"paid": row["paid"] + body["cents"]})


DASHBOARD: dict[str, EventHandler] = {
    "UserRegistered": _named,
    "UserRenamed": _named,
    "Charged": _charged,
    "Paid": _paid,
}
