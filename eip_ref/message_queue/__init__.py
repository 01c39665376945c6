"""Message queue: each message is worked on by one consumer at a time, until one of them says done.

The promise: a message that `put` has accepted is handed out under a lease, again and again, until a
consumer acknowledges it or the dead-letter policy moves it aside; at every instant

    ready + in flight + acked + dead + dropped = accepted.

The guarantee is a pair of the queue's lease and the consumer's ack: ack first is at-most-once, ack
last is at-least-once, and an effect happens exactly once only at a receiver that is idempotent and
whose record of the message commits together with the effect.

    async def a_consumer_dies() -> None:
        async with MessageQueue("orders", lease=30) as queue:
            for number in (1, 2):
                await queue.put(Message(f"order {number}"))
            await queue.receive()  # and its consumer dies, with order 1 in its hands
            for _ in range(2):
                lease = await queue.receive()
                print(f"{anyio.current_time():3.0f} s  {lease.message.body}, delivery {lease.deliveries}")
                await lease.ack()
            print("in the end:", queue.counts)

Read `lease_rules.py` first, then `queue.py`, which keeps the messages in memory; then `consumer.py`,
`dead_letters.py` and `idempotent.py`. `protocol.py` says what any queue must offer, whatever it is made
of, and `stored_messages.py` what the rules need of whatever keeps the messages.

*Left out:* surviving the death of the queue's own process (that is a durable queue), routing,
priorities and transactions over several queues.
"""

from .consumer import AckMode, Consumer, Worker, heartbeat, process
from .dead_letters import NEVER, Backoff, DeadLetterPolicy, dead_letter, original, replay
from .idempotent import Attempt, Conflict, Duplicate, IdempotentReceiver, Ledger
from .lease_rules import LeaseQueue
from .protocol import Empty, Lease, Queue, QueueClosed, QueueFull, Settled
from .queue import MessageQueue, MessagesInMemory
from .stored_messages import Counts, MessageState, MessageTable, StoredMessage

__all__ = [
    "NEVER",
    "AckMode",
    "Attempt",
    "Backoff",
    "Conflict",
    "Consumer",
    "Counts",
    "DeadLetterPolicy",
    "Duplicate",
    "Empty",
    "IdempotentReceiver",
    "Lease",
    "LeaseQueue",
    "Ledger",
    "MessageQueue",
    "MessageState",
    "MessageTable",
    "MessagesInMemory",
    "Queue",
    "QueueClosed",
    "QueueFull",
    "Settled",
    "StoredMessage",
    "Worker",
    "dead_letter",
    "heartbeat",
    "original",
    "process",
    "replay",
]
