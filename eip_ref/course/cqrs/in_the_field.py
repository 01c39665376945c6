"""A hundred sign-ups with Kafka between relay and projector, for lesson 08b: in a tenth of the time."""

from __future__ import annotations

import anyio

from ...apps.shop_dashboard.services import DASHBOARD, users
from ...cqrs import ReadModel, Relay
from ...field.real_runs import RealScenario
from ...field.servers import Kafka, Server
from ...lab import Exponential, Faults
from ...message import Message
from ...storage import MemoryStore
from .sign_ups import CUSTOMERS, EVERY, SLOW, open_page, registration

__all__ = ["a_hundred_sign_ups_on_kafka"]

FASTER = 10
ENOUGH = 30.0  #: seconds that a page waits for its version


async def _a_hundred_sign_ups(server: Server) -> None:
    """Each customer opens her page twice: at once, and by the version that her answer names."""
    from ...field.kafka_log import KafkaLog

    chance, service = Faults(), users(MemoryStore())
    view = ReadModel(MemoryStore(), "dashboard", DASHBOARD)

    async def project(event: Message) -> None:
        await chance.sleep("projector", Exponential(SLOW / FASTER))
        await view(event)

    async def customer(number: int) -> None:
        answer = await service.handle(registration(number))
        await open_page(view, answer, by_version=False, where="page at once")
        await open_page(view, answer, by_version=True, timeout=ENOUGH, where="page by version")

    log = KafkaLog(server.url, "events")
    async with log, log.group("dashboard") as group, anyio.create_task_group() as workers:
        workers.start_soon(Relay(service.outbox, log.append).run)
        workers.start_soon(group.follow, project)
        async with anyio.create_task_group() as street:
            for number in range(1, CUSTOMERS + 1):
                street.start_soon(customer, number)
                await chance.sleep("street", Exponential(EVERY / FASTER))
        workers.cancel_scope.cancel()


a_hundred_sign_ups_on_kafka = RealScenario("a_hundred_sign_ups", Kafka, _a_hundred_sign_ups)
