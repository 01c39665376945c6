"""The doctor of the field: which real systems can be run on this machine, and what brings the others."""

from __future__ import annotations

from contextlib import suppress
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
INSTALL = 'python -m pip install -c constraints.txt -e ".[field]"'


def report() -> str:
    """One line for each system, and one for the client libraries."""
    return "\n".join([_clients(), *map(_line, SERVERS)])


def _clients() -> str:
    is_ready = all(map(_is_there, CLIENTS))
    return "ready    client libraries" if is_ready else f"missing  client libraries: {INSTALL}"


def _is_there(module: str) -> bool:
    with suppress(ModuleNotFoundError):  # raised where a package around it is missing
        return find_spec(module) is not None
    return False


def _line(server: type[Server]) -> str:
    if missing := server.missing():
        return f"missing  {missing}"
    return f"ready    {server.name} {server.version_used()}"
