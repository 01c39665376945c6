"""The outbox, and the relay that empties it: messages that are committed with the state that they tell of.

A message is an event of a service, whose key is its stream, or a command of a saga, whose key is the
saga. It leaves in three steps, each of them a transaction. A relay *claims* all that has one key for a
time; it publishes these messages; it *marks* each as published, which removes it. A claim has a token,
as a lease has one: what the holder of an old claim says changes nothing.

    with store.transaction() as transaction:
        transaction.put("users", "ann", …)
        outbox.add(transaction, event)

Publish, then mark: a crash between the two publishes the message again, with the same id, and loses
nothing. The other order would lose it. Within a key the order is that of the outbox, and the next
message is published only after the one before is marked; a key belongs to one relay at a time, and a
relay starts nothing that it cannot finish before its claim ends.

When the broker is down the relay backs off, longer after each failure, and tries the same message
again: to go on with the next would break the order. A relay with nothing to do is asleep until
something is committed.

*Left out:* moving a message aside that the broker will never take; it holds up its outbox, visibly,
in `age`. A publish that was given up may still reach a real broker later than its successors; the
readers of a stream know its versions and put that right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.lowlevel

from .. import values
from ..event_sourcing import stream_version
from ..message import EXPIRED, Handler, Message
from ..message_queue import Backoff
from ..storage import Store, Transaction, despite_faults, key_of
from ..trace import Kind, acting, record

T = TypeVar("T")

NOBODY = ("", 0, -math.inf, "")  # the claim on a key that no relay has: who, token, until, last place


class ClaimedMessage(NamedTuple):
    """A message in the outbox, and the right of one relay to publish what has its key, for a time."""

    place: str  #: in the outbox
    key: str
    message: Message
    relay: str
    token: int
    until: float  #: on anyio's clock


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
        if self._versioned:
            if message.deadline is not None:
                raise ValueError(f"event {message.id} has a deadline, but what has happened does not expire")
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
        until = anyio.current_time() + seconds
        claimed: list[ClaimedMessage] = []
        tokens: dict[str, int] = {}  # by key; 0 where another relay has it
        with self.store.transaction() as transaction:
            after = ""
            while len(claimed) < limit and (page := transaction.scan(self.name, after=after, limit=limit)):
                for after, (key, envelope) in page[: limit - len(claimed)]:
                    if key not in tokens:
                        tokens[key] = self._new_token(transaction, key)
                    if token := tokens[key]:
                        message = self._opened(envelope)
                        claimed.append(ClaimedMessage(after, key, message, relay, token, until))
            for each in claimed:
                self._hand_out(transaction, each)
            for last in {each.key: each for each in claimed}.values():
                row = [relay, last.token, until + self.store.shift, last.place]
                transaction.put(self._claims, last.key, row)
        return claimed

    def mark(self, claimed: ClaimedMessage) -> bool:
        """The message is published: remove it. False, and nothing is changed, when the claim is over."""
        with self.store.transaction() as transaction:
            return self._removed(transaction, claimed, "mark", Kind.ACKED)

    def drop(self, claimed: ClaimedMessage) -> bool:
        """The deadline of the message has passed: remove it. False as for `mark`."""
        with self.store.transaction() as transaction:
            if removed := self._removed(transaction, claimed, "drop", Kind.RETURNED, reason=EXPIRED):
                told = partial(record, Kind.DROPPED, self.name, claimed.message.id, who="", reason=EXPIRED)
                transaction.after_commit(told)
            return removed

    def _removed(
        self, transaction: Transaction, claimed: ClaimedMessage, attempted: str, kind: Kind, **facts: object
    ) -> bool:
        if not self._holds(transaction, claimed):
            self._say(transaction, Kind.STALE, claimed, attempted=attempted)
            return False
        transaction.delete(self.name, claimed.place)
        self._say(transaction, kind, claimed, **facts)
        return True

    def left(self, claimed: ClaimedMessage) -> float:
        """The seconds for which the claim still lasts; 0 when it is over, or another relay has the key."""
        with self.store.reading() as transaction:
            return claimed.until - anyio.current_time() if self._holds(transaction, claimed) else 0.0

    def release(self, claimed: list[ClaimedMessage]) -> None:
        """Give the keys of these messages back; those that were not marked may be claimed at once."""
        with self.store.transaction() as transaction:
            held = [each for each in claimed if self._holds(transaction, each)]
            for each in held:
                transaction.delete(self._claims, each.key)
                if transaction.get(self.name, each.place) is not None:
                    self._say(transaction, Kind.RETURNED, each, reason="released")

    # What there is to see

    def __len__(self) -> int:
        """The number of messages that are not published yet."""
        with self.store.reading() as transaction:
            return transaction.size(self.name)

    @property
    def age(self) -> float:
        """The seconds for which the oldest message has waited; 0 when none waits."""
        with self.store.reading() as transaction:
            for _, (_, envelope) in transaction.scan(self.name, limit=1):
                return max(0.0, anyio.current_time() - self._opened(envelope).created)
        return 0.0

    @property
    def free_at(self) -> float:
        """The time from which on a message can be claimed, on anyio's clock; infinity when there is none.

        A relay that died after its last mark has left a claim on nothing, for which nobody waits.
        """
        with self.store.reading() as transaction:
            waiting = {key for _, (key, _) in transaction.scan(self.name)}
            ends = [transaction.get(self._claims, key, NOBODY)[2] for key in waiting]
        return min(ends, default=math.inf) - self.store.shift

    def _opened(self, envelope: str) -> Message:
        return Message.from_json(envelope, shift=self.store.shift)

    def _new_token(self, transaction: Transaction, key: str) -> int:
        """The token of a new claim on the key; 0 while another one lasts."""
        _, _, until, _ = transaction.get(self._claims, key, NOBODY)
        return 0 if until - self.store.shift > anyio.current_time() else transaction.count(self._claims)

    def _hand_out(self, transaction: Transaction, claimed: ClaimedMessage) -> None:
        """Say that it went out; and before, that it came back, when a claim that ran out had it."""
        relay, token, until, last = transaction.get(self._claims, claimed.key, NOBODY)
        if claimed.place <= last:
            old = claimed._replace(relay=relay, token=token, until=until)
            self._say(transaction, Kind.EXPIRED, old)
            self._say(transaction, Kind.RETURNED, old, reason="the claim ran out")
        self._say(transaction, Kind.DELIVERED, claimed, until=claimed.until)

    def _holds(self, transaction: Transaction, claimed: ClaimedMessage) -> bool:
        _, token, _, _ = transaction.get(self._claims, claimed.key, NOBODY)
        return bool(token == claimed.token) and claimed.until > anyio.current_time()

    def _say(self, transaction: Transaction, kind: Kind, claimed: ClaimedMessage, **data: object) -> None:
        place, key, message, relay, token, _ = claimed
        facts = {"lease": f"{token}.{int(place)}", "key": key, **data}
        transaction.after_commit(lambda: record(kind, self.name, message.id, who=relay, **facts))


class Relay:
    """Publishes what is in the outbox, until it is stopped.

    `publish(message)`, plain or `async`, returns after the broker has confirmed the message, and raises
    any Exception when it has not. `claim` is for how many seconds the relay owns a key, and so the
    longest that publishing one message may take, and that a relay which died holds up its keys.
    """

    def __init__(
        self,
        outbox: Outbox,
        publish: Handler,
        name: str = "relay",
        *,
        claim: float = 30.0,
        batch: int = 20,
        backoff: Backoff | None = None,
    ) -> None:
        self.outbox = outbox
        self.name = values.name("name", name)
        self.failures = 0  #: attempts that failed since the last one that did not
        self._publish = publish
        self._claim = values.duration("claim", claim, zero=False)
        self._batch = values.count("batch", batch)
        self._backoff = backoff or Backoff(initial=0.5, max_delay=30.0)
        self._stopped = False
        self._pause: anyio.CancelScope | None = None

    def stop(self) -> None:
        """Publish no more than what is on its way: one message, also within a batch. Idempotent."""
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()

    async def run(self) -> None:
        """Work until `stop`. On cancellation the claims are given back, and it is raised again.

        A fault of the disk on which the outbox is gets noted, and the relay goes on later.
        """
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        with acting(self.name):
            while not self._stopped:
                if await despite_faults(self.run_once, self.name) or self._stopped:
                    continue
                back_off = self.failures and len(self.outbox)  # another may have published what failed here
                until = math.inf if back_off else self.outbox.free_at  # of another relay's claims
                with anyio.CancelScope(deadline=until) as self._pause:
                    await self._back_off() if back_off else await self.outbox.store.news()

    async def run_once(self) -> int:
        """Publish one batch; returns how many messages of it were published and marked."""
        await anyio.lowlevel.checkpoint()
        claimed = await self._in_store(
            partial(self.outbox.claim, self.name, seconds=self._claim, limit=self._batch)
        )
        done = 0
        try:
            for each in claimed:
                if self._stopped or not await self._publish_and_mark(each):
                    break
                done += 1
        finally:  # also when it is cancelled, so that nobody has to wait for the claims to end
            if claimed:
                with anyio.CancelScope(shield=True):
                    await self._in_store(partial(self.outbox.release, claimed))
        return done

    async def _in_store(self, step: Callable[[], T]) -> T:
        """Return what the step returns, after its commit; the loop goes on meanwhile."""
        return await self.outbox.store.run(lambda _: step())

    async def _publish_and_mark(self, claimed: ClaimedMessage) -> bool:
        """False when one of the two was not possible."""
        left = self.outbox.left(claimed)
        if left <= 0:
            return False
        if claimed.message.has_expired(anyio.current_time()):
            return await self._in_store(partial(self.outbox.drop, claimed))
        try:
            with anyio.fail_after(left):
                await values.finished(self._publish(claimed.message))
        except Exception as error:
            self.failures += 1
            record(Kind.FAILED, self.name, claimed.message.id, error=repr(error), failures=self.failures)
            return False
        self.failures = 0
        return await self._in_store(partial(self.outbox.mark, claimed))

    async def _back_off(self) -> None:
        await anyio.sleep(self._backoff.seconds(self.failures))
