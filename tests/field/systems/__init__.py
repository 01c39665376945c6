"""The systems, one module each: how its adapter is opened, and which promises it does not simply keep."""

from ..verdicts import System
from . import kafka, nats, postgresql, rabbitmq, redis

__all__ = ["SYSTEMS"]

SYSTEMS: tuple[System, ...] = (
    *rabbitmq.SYSTEMS,
    *nats.SYSTEMS,
    *redis.SYSTEMS,
    *postgresql.SYSTEMS,
    *kafka.SYSTEMS,
)
"""In the order of the table."""
