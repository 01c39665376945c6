"""Ten orders on NATS, and mail that is away for three of them: for lesson 05a."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...field.real_runs import RealScenario
from ...field.servers import NATS, Server
from ...message import Message
from ...trace import Kind, acting, record

if TYPE_CHECKING:
    from ...field.channel import BrokerSubscription

__all__ = ["ten_orders_on_nats"]

AWAY = range(4, 7)  #: the orders that mail misses


async def _ten_orders(server: Server) -> None:
    from ...field.nats_core import NatsChannel

    async with NatsChannel(server.url, "shop") as channel:
        stock = await channel.subscribe("orders.*")
        mail = await channel.subscribe("orders.*")
        for number in range(1, 11):
            if number == AWAY.start:
                await mail.leave()
            if number == AWAY.stop:
                mail = await channel.subscribe("orders.*")
            with acting("shop"):
                await channel.publish("orders.paid", Message(f"order {number}"))
            await _hear("stock", stock, "reserved")
            if number not in AWAY:
                await _hear("mail", mail, "receipt sent")


async def _hear(who: str, subscription: BrokerSubscription, effect: str) -> None:
    with acting(who):
        order = await subscription.receive()
        record(Kind.EFFECT, who, order.id, effect=effect)


ten_orders_on_nats = RealScenario("ten_orders", NATS, _ten_orders)
