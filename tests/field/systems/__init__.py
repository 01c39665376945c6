"""The systems, one module each: how its adapter is opened, and which promises it does not simply keep."""

from ..verdicts import System
from . import (
    activemq,
    course,
    direct,
    envoy,
    kafka,
    kurrentdb,
    nats,
    postgresql,
    pubsub,
    rabbitmq,
    redis,
    sqs,
)

__all__ = ["SYSTEMS"]

SYSTEMS: tuple[System, ...] = (
    *rabbitmq.SYSTEMS,
    *nats.SYSTEMS,
    *redis.SYSTEMS,
    *postgresql.SYSTEMS,
    *kafka.SYSTEMS,
    *activemq.SYSTEMS,
    *sqs.SYSTEMS,
    *pubsub.SYSTEMS,
    *direct.SYSTEMS,
    *course.SYSTEMS,
    *envoy.SYSTEMS,
    *kurrentdb.SYSTEMS,
)
"""In the order of the table."""
