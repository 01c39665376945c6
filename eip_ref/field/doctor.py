"""The doctor of the field: which real systems can be run on this machine, and what brings the others."""

from __future__ import annotations

from importlib.util import find_spec

from .servers import SERVERS, Server

CLIENTS = (
    "aio_pika",
    "aiobotocore",
    "asyncpg",
    "confluent_kafka",
    "google.pubsub_v1",
    "nats",
    "opentelemetry",
    "redis",
    "stomp",
)
INSTALL = "python -m pip install -e '.[field]' -c constraints.txt"


def report() -> str:
    """One line for each system, and one for the client libraries."""
    return "\n".join([_clients(), *map(_line, SERVERS)])


def _clients() -> str:
    missing = [name for name in CLIENTS if find_spec(name) is None]
    return f"missing  client libraries: {INSTALL}" if missing else "ready    client libraries"


def _line(server: type[Server]) -> str:
    if missing := server.missing():
        return f"missing  {missing}"
    return f"ready    {server.name} {server.version_used()}"
