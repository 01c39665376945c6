"""Write the test that catches ack-on-receive

Write the test · medium · 3 points · 11 minutes

Answer: async def test_worker(work)
Called: Your `test_worker(work)` with four workers that keep the promise and four that break it, each in a
    simulation of its own.
Promised: Your test passes for every worker that acknowledges an order once it is done, and not before, and
    not when it failed. It raises an AssertionError for every other worker.
Hint: The test needs a queue with an order in it, a handler of your own, and a worker that runs beside the
    test in a task group. `queue.counts` says how many orders are acked at this moment.
Hint: Three questions: how many orders are acked while the handler works? How many after it raised? How many
    some time after it returned?
Hint: In the handler, after a short sleep, append `queue.counts.acked` to a list, and raise for an order named
    “bad”. Put “bad” into a queue, let the worker run for a little, and assert that none is acked. Do the same
    in a second queue with “good”, and assert that one is. Cancel the task group's scope each time. At the end
    assert that the list holds nothing but 0.
Why: The test looks at three moments: during the work, after an error, and after a success. It asserts counts
    and no schedule, so it accepts every worker that keeps the promise.

accuses-a-correct-worker: The test fails a worker that is correct. A test asserts what was promised, and never
    how or how fast it is done. Workers may hand a failed order back at once or let its lease run out, and may
    do several orders at a time.
misses-ack-on-receive: The test does not notice an ack that comes before the work. When all goes well, an
    early ack looks like a late one in the end. Only somebody who looks while the work is going on, or lets it
    fail, sees the difference. And an assertion inside the handler is an error of the handler: the worker
    catches it.
misses-ack-after-failure: The test does not notice an ack after an error. This worker is right as long as no
    handler fails. So some handler has to fail.
misses-never-acks: The test does not notice that the ack never comes. A worker that never acknowledges also
    never acknowledges too early. Look at the good case too. An empty queue is no proof: a queue puts aside
    what came back too often.
"""

from __future__ import annotations

import anyio

from ...autograder import kit
from ...message_queue import Lease, Queue, Worker
from .shop import Handler

__all__ = ["EXERCISE"]


# Workers that keep the promise, each in a way of its own


async def ack_last(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception as error:
            await lease.nack(reason=str(error))
        else:
            await lease.ack()


async def lets_the_lease_run_out(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            continue  # unsettled: the queue hands it out again when the lease is over
        await lease.ack()


async def two_at_a_time(queue: Queue, handle: Handler) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(ack_last, queue, handle)
        group.start_soon(ack_last, queue, handle)


async def reference(queue: Queue, handle: Handler) -> None:
    await Worker(queue, handle, heartbeat=True).run()


# Workers that break it


async def acks_on_receive(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        await lease.ack()
        try:
            await handle(lease.message)
        except Exception:
            continue


async def acks_in_finally(queue: Queue, handle: Handler) -> None:
    while True:
        await _ack_whatever_happens(await queue.receive(), handle)


async def _ack_whatever_happens(lease: Lease, handle: Handler) -> None:
    try:
        await handle(lease.message)
    except Exception:
        return
    finally:
        await lease.ack()


async def acks_after_an_error(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            await lease.ack()  # so that it does not come again
        else:
            await lease.ack()


async def never_acks(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception as error:
            await lease.nack(reason=str(error))


CORRECT: dict[str, kit.Make] = {  # here a thing is the worker's function, which needs no making
    "a worker that acks last": ack_last,
    "a worker that lets the lease run out after an error": lets_the_lease_run_out,
    "a worker that does two orders at a time": two_at_a_time,
    "the reference worker with a heartbeat": reference,
}
BROKEN: dict[str, tuple[kit.Make, str]] = {
    "a worker that acks on receive": (acks_on_receive, "misses-ack-on-receive"),
    "a worker that acks in `finally`": (acks_in_finally, "misses-ack-after-failure"),
    "a worker that acks after an error": (acks_after_an_error, "misses-ack-after-failure"),
    "a worker that never acks": (never_acks, "misses-never-acks"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-worker", BROKEN),
    seeds=(1,),
)
