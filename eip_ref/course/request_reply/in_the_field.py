"""Three orders that are asked for twice over NATS, without a key and with one: for lesson 06b."""

from __future__ import annotations

from typing import Any

import anyio

from ...field.real_runs import RealScenario
from ...field.servers import NATS, Server
from ...message import Message
from ...request_reply import Indefinite, NoResponder
from ...trace import Kind, acting, record

__all__ = ["paid_twice_on_nats"]

ORDERS = 3
TOO_SHORT, ENOUGH = 0.3, 30.0  #: seconds that the first attempt waits, and the second


async def _paid_twice(server: Server) -> None:
    from ...field.nats_core import nats_replier, nats_requestor

    timed_out = anyio.Event()

    async def charge(request: Message) -> str:
        record(Kind.EFFECT, "bank", request.id, effect=f"charged {request.body}")
        await timed_out.wait()
        return "paid"

    async def pay(order: str, key: str | None) -> None:
        nonlocal timed_out
        timed_out = anyio.Event()
        try:
            await shop.request(order, timeout=TOO_SHORT, idempotency_key=key)
        except Indefinite:
            timed_out.set()
        await shop.request(order, timeout=ENOUGH, idempotency_key=key)

    async with nats_requestor(server.url, "bank", name="shop") as shop:
        with acting("bank"):
            bank: Any = nats_replier(server.url, "bank", charge, name="bank")
            await bank.__aenter__()
        try:
            with acting("shop"):
                for number in range(1, ORDERS + 1):
                    await pay(f"order {number}, no key", None)
                    await pay(f"order {number}, one key", f"order {number}")
        finally:
            await bank.__aexit__(None, None, None)
        with acting("shop"):
            try:
                await shop.request("order 4, no bank", timeout=ENOUGH)
            except NoResponder:
                record(Kind.NOTE, "shop", text="order 4: nobody serves bank; definitely not paid")


paid_twice_on_nats = RealScenario("paid_twice", NATS, _paid_twice)
