"""The patterns on real systems: adapters behind their protocols, and servers to run them on.

The promise: whoever holds a `Queue` need not know whose it is. What a system does not keep of the
protocol's promises is measured, promise by promise, by `make field`, and stands in `docs/field/`.

Each adapter is a module of its own, which imports its client library, so none is imported here:

    from eip_ref.field.rabbitmq import RabbitQueue

    async with RabbitQueue("amqp://guest:guest@localhost/", "orders") as queue:
        await queue.put(Message("order 1"))

`queue.py`, `channel.py` and `log.py` say what all adapters of a pattern say alike: read one of them first,
then the adapter of one system. `servers/` starts and kills the systems themselves.

*Left out:* clusters. Each system runs here as one node on one machine.
"""

from .connections import Adapter, reaching, unbroken
from .queue import BrokerQueue, Delivery, Unsupported
from .wire import decoded, encoded

__all__ = [
    "Adapter",
    "BrokerQueue",
    "Delivery",
    "Unsupported",
    "decoded",
    "encoded",
    "reaching",
    "unbroken",
]
