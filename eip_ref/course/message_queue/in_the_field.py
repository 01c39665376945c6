"""Two workers of different speed on RabbitMQ, for lesson 02a: its scenario, in a tenth of the time."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from ...field.real_runs import RealScenario
from ...field.servers import RabbitMQ, Server
from ...message import Message
from ...message_queue import Worker
from ...trace import Kind, acting, record, whoami

__all__ = ["ORDERS", "several_workers_on_rabbitmq"]

ORDERS = 8
SECONDS: Mapping[str, float] = {"worker-1": 0.5, "worker-2": 0.2}
ENOUGH = 10.0  #: seconds to say a last ack


async def _several_workers(server: Server) -> None:
    from ...field.rabbitmq import RabbitQueue

    packed = []

    async def pack(message: Message) -> None:
        await anyio.sleep(SECONDS[whoami()])
        record(Kind.EFFECT, whoami(), message.id, effect="packed")
        packed.append(message)
        if len(packed) == ORDERS:
            for worker in workers:
                worker.stop(within=ENOUGH)

    async with RabbitQueue(server.url, "orders", lease=60) as queue, anyio.create_task_group() as group:
        with acting("shop"):
            for number in range(1, ORDERS + 1):
                await queue.put(Message(f"order {number}"))
        workers = [Worker(queue, pack) for _ in SECONDS]
        for name, worker in zip(SECONDS, workers, strict=True):
            with acting(name):
                group.start_soon(worker.run)


several_workers_on_rabbitmq = RealScenario("several_workers", RabbitMQ, _several_workers)
