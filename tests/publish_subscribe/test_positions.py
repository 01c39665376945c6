"""A durable subscription beside a list: where it stands, what it hands out and what it has missed."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.publish_subscribe import Delivery, PublishSubscribeChannel

STEPS = ("publish", "publish", "publish other", "take", "take", "ack", "ack late", "nack", "connect", "ask")
RETAIN = 3


@dataclass
class Oracle:
    """The same subscription as a list of what was published, and of what is out."""

    log: list[str] = field(default_factory=list)
    position: int = 0
    out: dict[int, bool] = field(default_factory=dict)  #: acked or not, by offset
    missed: int = 0

    @property
    def first(self) -> int:
        return max(0, len(self.log) - RETAIN)

    @property
    def committed(self) -> int:
        return next(iter(self.out), self.position)

    def publish(self, topic: str) -> None:
        self.log.append(topic)
        while self.position < self.first:
            self.missed += self.log[self.position] == "orders"
            self.position += 1

    def take(self) -> int | None:
        while self.position < len(self.log) and len(self.out) < RETAIN:
            offset, self.position = self.position, self.position + 1
            if self.log[offset] == "orders":
                self.out[offset] = False
                return offset
        return None

    def ack(self, offset: int) -> None:
        self.out[offset] = True
        while self.out and self.out[next(iter(self.out))]:
            del self.out[next(iter(self.out))]

    def rewind(self) -> None:
        back, self.out = self.out, {}
        self.position = max(self.first, next(iter(back), self.position))
        self.missed += sum(not acked for offset, acked in back.items() if offset < self.position)


async def compare(steps: list[str]) -> None:
    oracle, channel = Oracle(), PublishSubscribeChannel("shop", retain=RETAIN)
    billing = channel.durable("billing", "orders", when_full="drop oldest")
    held: list[Delivery] = []
    for step in ("connect", *steps):
        if step.startswith("publish"):
            topic = "users" if step.endswith("other") else "orders"
            oracle.publish(topic)
            await channel.publish(topic, Message(len(oracle.log) - 1))
        elif step == "take":
            try:
                held.append(billing.receive_nowait())
                assert held[-1].message.body == held[-1].offset == oracle.take()
            except anyio.WouldBlock:
                assert oracle.take() is None
        elif step.startswith("ack") and held:
            delivery = held.pop(-1 if step.endswith("late") else 0)
            oracle.ack(delivery.offset)
            await delivery.ack()
        elif step == "nack" and held:
            await held.pop().nack()
            oracle.rewind()
            held.clear()
        elif step == "connect":
            billing = channel.durable("billing", "orders", when_full="drop oldest")
            oracle.rewind()
            held.clear()
            billing.__enter__()
        elif step == "ask":
            assert channel.durable("billing", "orders", when_full="drop oldest").committed == oracle.committed
        assert (billing.committed, billing.dropped.total()) == (oracle.committed, oracle.missed)


@settings(max_examples=400)
@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_a_durable_subscription_stands_where_a_list_says(steps: list[str]) -> None:
    """After every step: the committed position, what is handed out, and how many were missed."""
    simulate(compare, steps)
