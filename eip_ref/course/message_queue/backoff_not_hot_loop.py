"""Exercise: a failing order is tried again at once, for ever; give it rest, and let the others pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from random import Random

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play, require
from ...autograder.forms import async_function
from ...lab.wording import plural
from ...message import Message
from ...message_queue import MessageQueue, Queue
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT, Handler, effects, happens, name_of, ranked, seen, story, when

__all__ = ["BACKOFF_NOT_HOT_LOOP", "a_supplier_is_away"]

AWAY = 60.0  #: seconds at least for which one order cannot be packed
MOST_ATTEMPTS = 12  #: in the first minute
SOON = 10.0  #: seconds: when all the others must be packed
IN_TIME = 90.0  #: seconds: how long the order may wait after the supplier is back

HOT_LOOP = Mistake(
    "hot-loop",
    "Tried the failing order again without a pause",
    "Nothing has changed since it failed. It keeps its place at the head of the queue, so the worker does "
    "nothing else.",
)
EAGER = Mistake(
    "too-eager",
    "Tried the failing order too often",
    "A pause that is always the same is either too short for a long trouble or too long for a short one.",
)
WORKER_SLEEPS = Mistake(
    "worker-sleeps",
    "The good orders waited for the bad one",
    "While the worker sleeps, it works on nothing. It is the order that should rest.",
)
GAVE_UP = Mistake(
    "gave-up",
    "The order was acknowledged and never packed",
    "After the ack the queue forgets the order. It could have been packed a minute later.",
)
TOO_LATE = Mistake(
    "too-late",
    "The supplier was back, and the order still waited",
    "A pause that grows has to stop growing somewhere.",
)
ONE_ENDS_ALL = Mistake(
    "dies-of-one-order",
    "One bad order ended the worker",
    "An error that leaves `work` ends it. One order that cannot be packed must not stop the others.",
)
MISTAKES = (HOT_LOOP, GAVE_UP, WORKER_SLEEPS, EAGER, TOO_LATE)


class SoldOut(Exception):
    """The order cannot be packed now."""


async def a_supplier_is_away(work: Callable[[Queue, Handler], Awaitable[object]], seed: int) -> None:
    """Four orders, of which one cannot be packed for a minute or two; one worker."""
    chance = Random(seed)
    orders = [f"order {number}" for number in chance.sample(range(10, 99), 4)]
    sold_out, back = chance.choice(orders[:2]), chance.uniform(AWAY, 2 * AWAY)

    async def pack(message: Message) -> None:
        record(Kind.STARTED, whoami(), message.id)
        await anyio.sleep(0.1)
        if message.body == sold_out and anyio.current_time() < back:
            record(Kind.FAILED, whoami(), message.id, error="sold out", back=back)
            raise SoldOut("sold out")
        await anyio.sleep(0.9)
        happens(message, "packed")

    async def worker() -> None:
        await work(queue, pack)

    async with MessageQueue("orders", lease=30, policy=PATIENT) as queue, anyio.create_task_group() as group:
        with acting("shop"):
            for order in orders:
                await queue.put(Message(order))
        with acting("worker"):
            group.start_soon(worker, name="worker")
        with anyio.move_on_after(back + IN_TIME):
            await queue.join()
        group.cancel_scope.cancel()


def judge(trace: Trace) -> list[Diagnosis]:
    require(trace, Kind.FAILED, "no order ever failed.")
    bad = trace.filter(Kind.FAILED)[0]
    return ranked([*_too_often(trace, bad), *_others(trace, bad), *_never(trace, bad)], MISTAKES)


def _too_often(trace: Trace, bad: Event) -> Iterator[Diagnosis]:
    begun = trace.filter(Kind.STARTED, message=bad.message)
    attempts = len([event for event in begun if event.at <= AWAY])
    if attempts > MOST_ATTEMPTS:
        order = name_of(trace, bad.message)
        words = f"{order} was tried {plural(attempts, 'time')} in the first {AWAY:.0f} s, "
        pauses = [later.at - earlier.at for earlier, later in pairwise(begun)]
        words += f"at first after {pauses[0]:.3g} s and at last after {pauses[-1]:.3g} s."
        yield seen(HOT_LOOP if min(pauses) < 0.5 else EAGER, words, story(trace, bad.message)[:20])


def _others(trace: Trace, bad: Event) -> Iterator[Diagnosis]:
    for message in trace.messages(Kind.ACCEPTED, where="orders"):
        packed = effects(trace, message)
        if message != bad.message and not (packed and packed[0].at <= SOON):
            late = f"packed only at {when(packed[0])}" if packed else "never packed"
            words = f"{name_of(trace, message)} could be packed at once, and it was {late}."
            yield seen(WORKER_SLEEPS, words, story(trace, bad.message, message)[:20])


def _never(trace: Trace, bad: Event) -> Iterator[Diagnosis]:
    if effects(trace, bad.message):
        return
    order, back = name_of(trace, bad.message), bad.data["back"]
    acks = trace.filter(Kind.ACKED, message=bad.message)
    if acks:
        words = f"{order} failed and was acknowledged at {when(acks[0])}."
        yield seen(GAVE_UP, words, story(trace, bad.message)[-20:])
    else:
        words = f"{order} could be packed from {back:.0f} s on, and was not by {back + IN_TIME:.0f} s."
        yield seen(TOO_LATE, words, story(trace, bad.message)[-20:])


BACKOFF_NOT_HOT_LOOP = Exercise(
    name="message_queue/backoff_not_hot_loop",
    title="Rest instead of a hot loop",
    points=2,
    minutes=5,
    difficulty=1,
    kind="repair",
    answer="patient_work",
    form=async_function("queue", "handle"),
    called=(
        "Your `patient_work(queue, handle)` on four orders of one second each. One of them is sold out: it "
        "fails with an error until the supplier is back, after one to two minutes."
    ),
    promised=(
        f"The other three are packed within {SOON:.0f} seconds. The one that is sold out is tried at most "
        f"{MOST_ATTEMPTS} times in the first minute, and is packed within {IN_TIME:.0f} seconds after the "
        "supplier is back."
    ),
    hints=(
        "Who should wait here: the worker, or the order?",
        "A nack takes a delay: the order rests for so many seconds, and the worker goes on with the others. "
        "Let the rest grow with `lease.failures`, up to a limit. Without a delay the queue chooses one "
        "itself.",
        "`await lease.nack(delay=min(60, 2**lease.failures))`, or simply `await lease.nack()`.",
    ),
    explanation=(
        "The nack lets the order rest, and the rest grows with each failure: one second, two, four, up to a "
        "minute. The worker never waits. `lease.nack()` without a delay does the same."
    ),
    run=play(a_supplier_is_away),
    judge=judge,
    endings={"SoldOut": ONE_ENDS_ALL},
)
