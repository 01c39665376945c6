"""A view that Quix Streams makes of a log of Kafka, beside ours: both are made of the same events."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.cqrs import DomainEvent, ReadModel, event
from eip_ref.event_sourcing import Recorded, View
from eip_ref.field.kafka_log import KafkaLog
from eip_ref.field.servers import Kafka
from eip_ref.storage import MemoryStore

from .conftest import Servers

CUSTOMERS, CHARGES = 3, 20
PYTHON = Path(__file__).parents[2] / "build/quixstreams/bin/python"
PROGRAM = Path(__file__).with_name("quixstreams_view.py")
LIMIT = 120.0  #: seconds until it has printed its view


def _charged(view: View, event: Recorded) -> None:
    row = view.get(event.stream, {"version": 0, "charges": 0, "charged": 0})
    cents = event.message.body["cents"]
    view.put(
        event.stream,
        {"version": event.version, "charges": row["charges"] + 1, "charged": row["charged"] + cents},
    )


async def _publish(log: KafkaLog) -> int:
    """Charge each customer in turn; every fourth event comes twice. Returns how many came."""
    for number in range(CUSTOMERS * CHARGES):
        version, customer = divmod(number, CUSTOMERS)
        fact = DomainEvent("Charged", {"cents": number})
        charge = event(fact, f"billing/{customer}", version + 1, id=f"{number}", causation_id="")
        for _ in range(1 + (number % 4 == 0)):
            await log.append(charge)
    return log.end


async def _ours(log: KafkaLog) -> dict[str, Any]:
    view = ReadModel(MemoryStore(), "charged", {"Charged": _charged})
    for _, message, _ in await log.read(0, limit=log.end):
        await view(message)
    return view.rows()


def _theirs(address: str, topic: str, events: int) -> Any:
    command = [str(PYTHON), str(PROGRAM), address, topic, str(events)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_quix_streams_makes_the_same_view_of_the_same_log(servers: Servers) -> None:
    """Each from the first event on, and with those that came twice."""
    if missing := Kafka.no_fresh_one():
        pytest.skip(missing)
    if not PYTHON.exists():
        pytest.skip("Quix Streams is missing; install it: make build/quixstreams/.done")
    kafka = servers.running(Kafka)

    async def main() -> tuple[int, dict[str, Any]]:
        async with KafkaLog(kafka.url, "charges") as log:
            return await _publish(log), await _ours(log)

    events, ours = anyio.run(main)
    assert events == CUSTOMERS * CHARGES * 5 // 4
    assert [row["charges"] for row in ours.values()] == [CHARGES] * CUSTOMERS
    assert _theirs(kafka.url, "charges", events) == ours
