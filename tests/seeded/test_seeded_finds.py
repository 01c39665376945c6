"""The seeded fault runs prove something: their faults are felt, and they find what is broken."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eip_ref import values
from eip_ref.durable_queue import ConsumerGroup, SQLiteLog
from eip_ref.message import Message
from eip_ref.message_queue import (
    Attempt,
    IdempotentReceiver,
    MessageQueue,
    MessagesInMemory,
    StoredMessage,
    Worker,
)
from eip_ref.point_to_point import OfferedMessage, PointToPointChannel, Receiver
from eip_ref.request_reply import Replier
from eip_ref.storage import Record
from tests.broken import circuit_breaker, durable_queue, publish_subscribe, request_reply
from tests.seeded import every_run, once, wrong

LEAVES = "point_to_point/a receiver that leaves and dies"
WORKERS = "message_queue/workers that crash and fail"
SICK = "circuit_breaker/services that fall sick"
QUEUE = "durable_queue/a queue in a process that crashes"
LOG = "durable_queue/a log in a process that crashes"
SUBSCRIBERS = "publish_subscribe/durable subscribers that crash"
MEMBERS = "publish_subscribe/a group whose members crash and leave"
REQUESTS = "request_reply/customers, and a bank that crashes"


# One mistake each, beside those in tests/broken


class DeliversWhatItRefused(PointToPointChannel):
    """Tells a sender that gave up that nothing was sent, and delivers it all the same."""

    def _take_back(self, offer: OfferedMessage, reason: str) -> None:
        if reason == "the sender gave up" and not offer.settled.is_set():
            self._waiting.append(OfferedMessage(offer.message))
        super()._take_back(offer, reason)


class GivesTheNewestFirst(PointToPointChannel):
    """A stack is not a channel."""

    @contextmanager
    def receiver(self) -> Iterator[Receiver]:
        with super().receiver() as receiver:
            take = receiver.receive_nowait

            def newest() -> Message:
                self._waiting.rotate(1)
                return take()

            receiver.receive_nowait = newest  # type: ignore[method-assign]
            yield receiver


class ForgetsItsBuffer(PointToPointChannel):
    """What was kept for the receiver goes with the connection."""

    @contextmanager
    def receiver(self) -> Iterator[Receiver]:
        with super().receiver() as receiver:
            yield receiver
        self._waiting.clear()


class AcksFirst(Worker):
    """Acknowledges what it has not done yet: a crash, or a failure, loses it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "ack": "first"})


class WithoutLines(MessageQueue):
    """Messages of one key do not wait for each other."""

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._messages = _OneBesideTheOther()


class _OneBesideTheOther(MessagesInMemory):
    def add(self, stored: StoredMessage) -> None:
        stored.key = None
        super().add(stored)

    def has_key(self, key: str) -> bool:
        return False


class RemembersTooEarly(IdempotentReceiver):
    """Notes the id before the effect: the retry after a failure looks like a duplicate."""

    async def __call__(self, message: Message) -> None:
        if message.id not in self._ledger:
            async with self._ledger.transaction(message.id):
                pass
            transaction = Attempt(self._ledger, message.id)
            await values.finished(self._handle(message, transaction))
            self._ledger._commit(transaction)


class CommitsWhenItReads(ConsumerGroup):
    """What was read counts as done: a crash skips it."""

    async def read(self, **bounds: Any) -> list[Record]:
        found = await super().read(**bounds)
        await self.commit()
        return found


class KnowsNoIds(SQLiteLog):
    """What is sent again, since no confirm came, is in the log twice."""

    def __init__(self, *args: Any, dedup: int = 0, **settings: Any) -> None:
        super().__init__(*args, **settings)


class ForgetsItsAnswers(Replier):
    """Carries out an operation as often as it is asked for."""

    async def answer(self, request: Message) -> Message | None:
        self._operations._answered.clear()
        return await super().answer(request)


@pytest.mark.parametrize(
    ("name", "right", "broken", "said"),
    [
        (LEAVES, "PointToPointChannel", DeliversWhatItRefused, "accepted and refused"),
        (LEAVES, "PointToPointChannel", GivesTheNewestFirst, "fifo"),
        (LEAVES, "PointToPointChannel", ForgetsItsBuffer, "nothing acked lost"),
        (WORKERS, "MessageQueue", WithoutLines, "one in flight per key"),
        (WORKERS, "IdempotentReceiver", RemembersTooEarly, "nothing acked lost"),
        (WORKERS, "Worker", AcksFirst, "nothing acked lost"),
        (SICK, "CircuitBreaker", circuit_breaker.FreeForAll, "the limit is"),
        (SICK, "CircuitBreaker", circuit_breaker.CountsStaleResults, "that result was stale"),
        (QUEUE, "SQLiteQueue", durable_queue.ConfirmsBeforeWriting, "confirmed .* charged"),
        (QUEUE, "SQLiteQueue", durable_queue.ForgetsCounts, "conservation|deliver"),
        (LOG, "ConsumerGroup", CommitsWhenItReads, "committed .* and had done"),
        (LOG, "SQLiteLog", KnowsNoIds, "and in the log are"),
        (SUBSCRIBERS, "PublishSubscribeChannel", publish_subscribe.DropsInSilence, "every subscription"),
        (SUBSCRIBERS, "PublishSubscribeChannel", publish_subscribe.TakesTheNewest, "order per publisher"),
        (MEMBERS, "PartitionedTopic", publish_subscribe.ResumesWhereItHadRead, "no gap"),
        (MEMBERS, "PartitionedTopic", publish_subscribe.CommitsWithoutFencing, "conservation"),
        (REQUESTS, "Requestor", request_reply.OneReplySlot, "no stray reply"),
        (REQUESTS, "Replier", ForgetsItsAnswers, "though nobody crashed"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else value.partition("/")[0],
)
def test_the_seeds_find_what_is_broken(
    name: str, right: str, broken: type, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One mistake in the place of the right thing, and a seed that shows it, for the right reason."""
    monkeypatch.setattr(importlib.import_module(f"tests.seeded.{name.partition('/')[0]}"), right, broken)
    run = every_run()[name]
    assert any(re.search(said, words) for seed in range(60) for words in wrong(run, seed))


FELT = {
    LEAVES: "crashed restarted lost duplicated blocked refused dropped",
    WORKERS: "crashed restarted lost duplicated failed expired stale extended dead replayed duplicate",
    SICK: "crashed restarted failed cancelled nacked state refused",
    QUEUE: "crashed restarted lost duplicated failed expired stale dead duplicate",
    LOG: "crashed restarted lost duplicated duplicate",
    SUBSCRIBERS: "crashed restarted lost duplicated failed returned dead dropped",
    MEMBERS: "crashed restarted lost duplicated stale returned dropped",
    REQUESTS: "crashed restarted lost duplicated failed refused dropped duplicate",
}


@pytest.mark.parametrize("name", FELT)
def test_the_faults_are_felt(name: str) -> None:
    """In the first fifty seeds everything bad that can happen does, and more than once."""
    seen = sum((once(name, seed).kinds for seed in range(50)), Counter[str]())
    assert {kind for kind in FELT[name].split() if seen[kind] < 3} == set()


def test_requests_end_in_every_way() -> None:
    """Some of the first fifty seeds' customers are told each of these."""
    run = every_run()[REQUESTS]
    told = {type(learned) for seed in range(50) for learned in run.play(seed).result.learned.values()}
    assert {"TimedOut", "CardDeclined", "Busy", "TooManyWaiting", "str"} <= {kind.__name__ for kind in told}
