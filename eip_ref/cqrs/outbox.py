"""The outbox: events that are committed with the state that they tell of, and not published yet.

An event leaves in three steps, each of them a transaction. A relay *claims* whole streams for a
time; it publishes their events; it *marks* each as published, which removes it. A claim has a token,
as a lease has one: what the holder of an old claim says changes nothing.

    with store.transaction() as transaction:
        transaction.put("users", "ann", …)
        outbox.add(transaction, event)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import anyio

from ..message import Message
from ..storage import Store, Transaction, key_of
from ..trace import Kind, record
from .events import stream_version

__all__ = ["Claim", "Entry", "Outbox"]

NOBODY = ("", 0, -math.inf, "")  # the claim on a stream that no relay has: who, token, until, last place


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one relay to publish the events of one stream, until a time on anyio's clock."""

    stream: str
    relay: str
    token: int
    until: float


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the outbox, its place there, and the claim under which it was handed out."""

    place: str
    event: Message
    claim: Claim


class Outbox:
    """The outbox `name` in a store. Several of them, and several relays, can share the store."""

    def __init__(self, store: Store, name: str = "outbox") -> None:
        self.store = store
        self.name = name
        self._claims = f"{name}.claims"
        record(Kind.OPENED, name, who="", role="channel", capacity=None)

    def add(self, transaction: Transaction, event: Message) -> None:
        """Write the event in the transaction that changes the state. Raises TypeError when it is not JSON."""
        version = stream_version(event)
        number = transaction.count(self.name)
        transaction.put(self.name, key_of(number), [event.key, event.to_json(shift=self.store.shift)])
        facts: dict[str, Any] = {"key": event.key, "stream": event.key, "version": version}
        transaction.after_commit(
            lambda: record(Kind.SENT, self.name, event.id, label=event.label, key=event.key)
        )
        transaction.after_commit(lambda: record(Kind.ACCEPTED, self.name, event.id, **facts))

    # A relay claims, and marks

    def claim(self, relay: str, *, seconds: float, limit: int) -> list[Entry]:
        """At most `limit` events of streams that no other relay has claimed, oldest first.

        All that are handed out of one stream are its oldest, in order. The claims last `seconds`.
        """
        entries: list[Entry] = []
        claims: dict[str, Claim | None] = {}
        with self.store.transaction() as transaction:
            after = ""
            while len(entries) < limit and (page := transaction.scan(self.name, after=after, limit=limit)):
                for after, (stream, envelope) in page[: limit - len(entries)]:
                    if stream not in claims:
                        claims[stream] = self._claim(transaction, stream, relay, seconds)
                    if (claim := claims[stream]) is not None:
                        entries.append(
                            Entry(after, Message.from_json(envelope, shift=self.store.shift), claim)
                        )
            for entry in entries:
                self._hand_out(transaction, entry)
            for claim, last in {e.claim.stream: (e.claim, e.place) for e in entries}.values():
                row = [claim.relay, claim.token, claim.until + self.store.shift, last]
                transaction.put(self._claims, claim.stream, row)
        return entries

    def mark(self, entry: Entry) -> bool:
        """The event is published: remove it. False, and nothing is changed, when the claim is over."""
        with self.store.transaction() as transaction:
            if not self._holds(transaction, entry.claim):
                self._say(transaction, Kind.STALE, entry, attempted="mark")
                return False
            transaction.delete(self.name, entry.place)
            transaction.count(f"{self.name}.published")
            self._say(transaction, Kind.ACKED, entry)
            return True

    def left(self, claim: Claim) -> float:
        """How many more seconds the claim lasts; 0 when it is over, or another relay has the stream."""
        with self.store.transaction() as transaction:
            return max(0.0, claim.until - anyio.current_time()) if self._holds(transaction, claim) else 0.0

    def release(self, entries: list[Entry]) -> None:
        """Give the streams of these entries back; those that were not marked may be claimed at once."""
        with self.store.transaction() as transaction:
            held = [entry for entry in entries if self._holds(transaction, entry.claim)]
            for entry in held:
                transaction.delete(self._claims, entry.claim.stream)
                if transaction.get(self.name, entry.place) is not None:
                    self._say(transaction, Kind.RETURNED, entry, reason="released")

    # What there is to see

    def __len__(self) -> int:
        """How many events are not published yet."""
        with self.store.transaction() as transaction:
            return transaction.size(self.name)

    @property
    def published(self) -> int:
        """How many events have been marked since the store was made."""
        with self.store.transaction() as transaction:
            return int(transaction.get("counters", f"{self.name}.published", 0))

    @property
    def age(self) -> float:
        """For how many seconds the oldest event has waited; 0 when none waits."""
        with self.store.transaction() as transaction:
            for _, (_, envelope) in transaction.scan(self.name, limit=1):
                return max(
                    0.0, anyio.current_time() - Message.from_json(envelope, shift=self.store.shift).created
                )
        return 0.0

    @property
    def free_at(self) -> float:
        """When the first claim on an event runs out, on anyio's clock; infinity when there is none.

        A relay that died after its last mark has left a claim on nothing, for which nobody waits.
        """
        with self.store.transaction() as transaction:
            waiting = {stream for _, (stream, _) in transaction.scan(self.name)}
            claims = transaction.scan(self._claims)
            ends = [until for stream, (_, _, until, _) in claims if stream in waiting]
        return min(ends, default=math.inf) - self.store.shift

    def _claim(self, transaction: Transaction, stream: str, relay: str, seconds: float) -> Claim | None:
        now = anyio.current_time()
        _, _, until, _ = transaction.get(self._claims, stream, NOBODY)
        if until - self.store.shift > now:
            return None
        return Claim(stream, relay, transaction.count(self._claims), now + seconds)

    def _hand_out(self, transaction: Transaction, entry: Entry) -> None:
        """Say that it went out; and before, that it came back, when a claim that ran out had it."""
        claim = entry.claim
        relay, token, until, last = transaction.get(self._claims, claim.stream, NOBODY)
        if entry.place <= last:
            old = Entry(entry.place, entry.event, Claim(claim.stream, relay, token, until))
            self._say(transaction, Kind.EXPIRED, old)
            self._say(transaction, Kind.RETURNED, old, reason="the claim ran out")
        self._say(transaction, Kind.DELIVERED, entry, deliveries=1, until=claim.until)

    def _holds(self, transaction: Transaction, claim: Claim) -> bool:
        _, token, _, _ = transaction.get(self._claims, claim.stream, NOBODY)
        return bool(token == claim.token) and claim.until > anyio.current_time()

    def _say(self, transaction: Transaction, kind: Kind, entry: Entry, **data: object) -> None:
        facts = {"lease": f"{entry.claim.token}.{int(entry.place)}", "key": entry.claim.stream, **data}
        who = entry.claim.relay
        transaction.after_commit(lambda: record(kind, self.name, entry.event.id, who=who, **facts))
