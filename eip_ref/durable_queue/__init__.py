"""Durable queue: what was accepted is on the disk before its producer hears so, and survives any crash.

The promise: `put` returns after the message has been committed to the file, and from then on no
crash of the process loses it; neither does a power failure, on a disk that keeps what it says it
has written. Order, counts, failures, running leases and the tokens of leases are in the same file,
so opening it again is all that a restart needs: a lease that still runs is kept, one that has run
out returns, and a poison message dies of its count, however many processes it has killed. A crash
between the commit and the confirm makes the producer send again with the same id; `dedup` knows it.

`SQLiteQueue` is the queue protocol of `message_queue`. `SQLiteLog` keeps messages at offsets: each
`ConsumerGroup` reads at its own pace, replays from any offset, and retention and compaction decide
what is forgotten. Durability costs one write through to the disk per commit; `group_commit` of
them can share it.

    async def story(path):
        async with SQLiteQueue(path, "orders", lease=30, dedup=100) as queue:
            for number in (1, 2, 3):
                await queue.put(Message(f"order {number}", id=f"order-{number}"))
            await (await queue.receive()).ack()
            await queue.receive()  # and now the process dies with the second order in its hands

        async with SQLiteQueue(path, "orders", lease=30, dedup=100) as queue:
            print("after the restart:", queue.counts)
            await queue.put(Message("order 3", id="order-3"))  # the producer had heard no confirm
            for _ in range(2):
                lease = await queue.receive()
                print(f"{anyio.current_time():3.0f} s  {lease.message.body}, delivery {lease.deliveries}")
                await lease.ack()
            print("in the end:", queue.counts)

Read `queue.py` first, then `messages.py`; the rules that they follow are `message_queue/lease_rules.py`.
Then `log.py`. `confirm.py` shares commits and knows what is sent again; `storage` has transactions and time.

*Left out:* threads for the disk (each call to sqlite3 blocks the event loop for the length of one
short transaction, which also lets it run in virtual time); telling a receiver at once, and not after
`poll` seconds, what another process has put into the same file; priorities; partitions; several machines,
and so the loss of the disk itself; removal of tombstones after compaction.
"""

from .log import ConsumerGroup, SQLiteLog
from .queue import SQLiteQueue

__all__ = ["ConsumerGroup", "SQLiteLog", "SQLiteQueue"]
