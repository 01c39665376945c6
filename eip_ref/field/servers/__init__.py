"""The servers: found, started, killed and started again. See `server.py`."""

from .activemq import ActiveMQ
from .envoy import Envoy
from .kafka import Kafka
from .kurrentdb import KurrentDB
from .moto import Moto
from .nats import NATS
from .postgresql import PostgreSQL
from .pubsub import PubSub
from .rabbitmq import RabbitMQ
from .redis import Redis
from .server import NotOurs, Server, holds

__all__ = [
    "NATS",
    "SERVERS",
    "ActiveMQ",
    "Envoy",
    "Kafka",
    "KurrentDB",
    "Moto",
    "NotOurs",
    "PostgreSQL",
    "PubSub",
    "RabbitMQ",
    "Redis",
    "Server",
    "holds",
]

SERVERS: tuple[type[Server], ...] = (
    RabbitMQ,
    NATS,
    Redis,
    PostgreSQL,
    Kafka,
    ActiveMQ,
    Moto,
    PubSub,
    Envoy,
    KurrentDB,
)
"""All kinds of them, in the order in which the doctor names them."""
