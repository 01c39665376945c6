"""The servers: found, started, killed and started again. See `server.py`."""

from .nats import NATS
from .postgresql import PostgreSQL
from .rabbitmq import RabbitMQ
from .redis import Redis
from .server import Server, holds

__all__ = ["NATS", "SERVERS", "PostgreSQL", "RabbitMQ", "Redis", "Server", "holds"]

SERVERS: tuple[type[Server], ...] = (RabbitMQ, NATS, Redis, PostgreSQL)
"""All kinds of them, in the order in which the doctor names them."""
