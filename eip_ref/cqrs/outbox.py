"""The outbox: messages that are committed with the state that they tell of, and not published yet.

A message is an event of a service, whose key is its stream, or a command of a saga, whose key is the
saga. It leaves in three steps, each of them a transaction. A relay *claims* all that has one key for a
time; it publishes these messages; it *marks* each as published, which removes it. A claim has a token,
as a lease has one: what the holder of an old claim says changes nothing.

    with store.transaction() as transaction:
        transaction.put("users", "ann", …)
        outbox.add(transaction, event)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from .. import values
from ..event_sourcing import stream_version
from ..message import EXPIRED, Message
from ..storage import Store, Transaction, key_of
from ..trace import Kind, record

__all__ = ["Claim", "ClaimedMessage", "Outbox"]

NOBODY = ("", 0, -math.inf, "")  # the claim on a key that no relay has: who, token, until, last place


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one relay to publish what has one key, until a time on anyio's clock."""

    key: str
    relay: str
    token: int
    until: float


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message in the outbox, its place there, and the claim under which it was handed out."""

    place: str
    message: Message
    claim: Claim


class Outbox:
    """The outbox `name` in a store. Several of them, and several relays, can share the store.

    Its messages need a key, within which they leave in order. With `versioned` they are events, which
    must say which version of their stream they made, so that readers can tell a gap and a duplicate.
    """

    def __init__(self, store: Store, name: str = "outbox", *, versioned: bool = True) -> None:
        self.store = store
        self.name = values.name("the name of an outbox", name)
        self._versioned = versioned
        self._claims = f"{name}.claims"
        record(Kind.OPENED, name, who="", role="channel", capacity=None)

    def add(self, transaction: Transaction, message: Message) -> None:
        """Write the message in the transaction that changes the state.

        Raises ValueError when it has no key, lacks its version or is an event with a deadline, TypeError
        when it is not JSON.
        """
        if not message.key:
            raise ValueError(f"message {message.id!r} must have a key, within which its order counts")
        facts: dict[str, Any] = {"key": message.key}
        if self._versioned and message.deadline is not None:
            raise ValueError(f"event {message.id} has a deadline, but what has happened does not expire")
        if self._versioned:
            facts |= {"stream": message.key, "version": stream_version(message)}
        place = key_of(transaction.count(self.name))
        transaction.put(self.name, place, [message.key, message.to_json(shift=self.store.shift)])
        transaction.after_commit(
            lambda: record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        )
        transaction.after_commit(lambda: record(Kind.ACCEPTED, self.name, message.id, **facts))

    # A relay claims, and marks

    def claim(self, relay: str, *, seconds: float, limit: int) -> list[ClaimedMessage]:
        """At most `limit` messages whose keys no other relay has claimed, oldest first.

        All that are handed out of one key are its oldest, in order. The claims last `seconds`. Raises
        ValueError for a name, a number of seconds or a limit that is none.
        """
        values.name("the name of a relay", relay)
        values.duration("seconds", seconds, zero=False)
        values.count("limit", limit)
        claimed: list[ClaimedMessage] = []
        claims: dict[str, Claim | None] = {}
        with self.store.transaction() as transaction:
            after = ""
            while len(claimed) < limit and (page := transaction.scan(self.name, after=after, limit=limit)):
                for after, (key, envelope) in page[: limit - len(claimed)]:
                    if key not in claims:
                        claims[key] = self._claim(transaction, key, relay, seconds)
                    if (claim := claims[key]) is not None:
                        claimed.append(ClaimedMessage(after, self._opened(envelope), claim))
            for each in claimed:
                self._hand_out(transaction, each)
            for claim, last in {each.claim.key: (each.claim, each.place) for each in claimed}.values():
                row = [claim.relay, claim.token, claim.until + self.store.shift, last]
                transaction.put(self._claims, claim.key, row)
        return claimed

    def mark(self, claimed: ClaimedMessage) -> bool:
        """The message is published: remove it. False, and nothing is changed, when the claim is over."""
        with self.store.transaction() as transaction:
            if removed := self._removed(transaction, claimed, "mark"):
                transaction.count(f"{self.name}.published")
                self._say(transaction, Kind.ACKED, claimed)
            return removed

    def drop(self, claimed: ClaimedMessage) -> bool:
        """The deadline of the message has passed: remove it. False as for `mark`."""
        with self.store.transaction() as transaction:
            if removed := self._removed(transaction, claimed, "drop"):
                self._say(transaction, Kind.RETURNED, claimed, reason=EXPIRED)
                told = partial(record, Kind.DROPPED, self.name, claimed.message.id, who="", reason=EXPIRED)
                transaction.after_commit(told)
            return removed

    def _removed(self, transaction: Transaction, claimed: ClaimedMessage, attempted: str) -> bool:
        if not self._holds(transaction, claimed.claim):
            self._say(transaction, Kind.STALE, claimed, attempted=attempted)
            return False
        transaction.delete(self.name, claimed.place)
        return True

    def left(self, claim: Claim) -> float:
        """The seconds for which the claim still lasts; 0 when it is over, or another relay has the key."""
        with self.store.reading() as transaction:
            return max(0.0, claim.until - anyio.current_time()) if self._holds(transaction, claim) else 0.0

    def release(self, claimed: list[ClaimedMessage]) -> None:
        """Give the keys of these messages back; those that were not marked may be claimed at once."""
        with self.store.transaction() as transaction:
            held = [each for each in claimed if self._holds(transaction, each.claim)]
            for each in held:
                transaction.delete(self._claims, each.claim.key)
                if transaction.get(self.name, each.place) is not None:
                    self._say(transaction, Kind.RETURNED, each, reason="released")

    # What there is to see

    def __len__(self) -> int:
        """The number of messages that are not published yet."""
        with self.store.reading() as transaction:
            return transaction.size(self.name)

    @property
    def published(self) -> int:
        """The number of messages that have been marked since the store was made."""
        with self.store.reading() as transaction:
            return int(transaction.get("counters", f"{self.name}.published", 0))

    @property
    def age(self) -> float:
        """The seconds for which the oldest message has waited; 0 when none waits."""
        with self.store.reading() as transaction:
            for _, (_, envelope) in transaction.scan(self.name, limit=1):
                return max(0.0, anyio.current_time() - self._opened(envelope).created)
        return 0.0

    @property
    def free_at(self) -> float:
        """The time at which the first claim on a message ends, on anyio's clock; infinity without one.

        A relay that died after its last mark has left a claim on nothing, for which nobody waits.
        """
        with self.store.reading() as transaction:
            waiting = {key for _, (key, _) in transaction.scan(self.name)}
            claims = transaction.scan(self._claims)
            ends = [until for key, (_, _, until, _) in claims if key in waiting]
        return min(ends, default=math.inf) - self.store.shift

    def _opened(self, envelope: str) -> Message:
        return Message.from_json(envelope, shift=self.store.shift)

    def _claim(self, transaction: Transaction, key: str, relay: str, seconds: float) -> Claim | None:
        now = anyio.current_time()
        _, _, until, _ = transaction.get(self._claims, key, NOBODY)
        if until - self.store.shift > now:
            return None
        return Claim(key, relay, transaction.count(self._claims), now + seconds)

    def _hand_out(self, transaction: Transaction, claimed: ClaimedMessage) -> None:
        """Say that it went out; and before, that it came back, when a claim that ran out had it."""
        claim = claimed.claim
        relay, token, until, last = transaction.get(self._claims, claim.key, NOBODY)
        if claimed.place <= last:
            old = ClaimedMessage(claimed.place, claimed.message, Claim(claim.key, relay, token, until))
            self._say(transaction, Kind.EXPIRED, old)
            self._say(transaction, Kind.RETURNED, old, reason="the claim ran out")
        self._say(transaction, Kind.DELIVERED, claimed, deliveries=1, until=claim.until)

    def _holds(self, transaction: Transaction, claim: Claim) -> bool:
        _, token, _, _ = transaction.get(self._claims, claim.key, NOBODY)
        return bool(token == claim.token) and claim.until > anyio.current_time()

    def _say(self, transaction: Transaction, kind: Kind, claimed: ClaimedMessage, **data: object) -> None:
        facts = {"lease": f"{claimed.claim.token}.{int(claimed.place)}", "key": claimed.claim.key, **data}
        who = claimed.claim.relay
        transaction.after_commit(lambda: record(kind, self.name, claimed.message.id, who=who, **facts))
