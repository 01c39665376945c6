"""Exercise: competing consumers that keep the order of each customer, from a queue without keys."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from random import Random
from typing import Protocol

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play
from ...autograder.forms import async_function
from ...message import Message
from ...message_queue import MessageQueue, Queue
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT, Handler, before, effects, happens, name_of, ranked, seen, story, when

__all__ = ["ORDER_PER_KEY", "changes_of_mind"]

WORKERS = 3
STEPS = {"place": (4.0, 6.0), "change": (2.0, 4.0), "cancel": (1.0, 2.0)}  #: seconds, from and to
CUSTOMERS = ("Ada", "Ben", "Cem", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lea")
MOST_OF_SEQUENTIAL = 0.9  #: of the time that one worker alone would take

AT_ONCE = Mistake(
    "two-of-a-key-at-once",
    "Two orders of one customer were in work at the same time",
    "Whoever is faster finishes first. To take them in order is not enough: the second must not begin "
    "before the first is done.",
)
OVERTAKEN = Mistake(
    "key-overtaken",
    "A later order of a customer overtook an earlier one",
    "Waiting by looking again and again is no line: whoever looks at the right moment is next. And a "
    "message that is put back rests, and while it rests the next one of the same customer may be handed "
    "out.",
)
ALONE = Mistake(
    "no-concurrency",
    "One order after the other, as if there were one worker",
    "What matters is the order of each customer. Customers who have nothing to do with each other need not "
    "wait for each other.",
)
TOO_MANY = Mistake(
    "too-many-at-once",
    "More orders in work than there are workers",
    "A task is not a worker: tasks cost nothing, and what they call has a limit. Something must count.",
)
NOT_DONE = Mistake(
    "left-behind",
    "An order was never worked on",
    "It was taken from the queue and not handled, or it was never taken.",
)
NOT_ACKED = Mistake(
    "acked-out-of-step",
    "Acknowledged before the work, or not at all",
    "An order is acknowledged when it is done: not before, for the worker may die, and not never, for the "
    "queue would hand it out again.",
)
MISTAKES = (TOO_MANY, OVERTAKEN, AT_ONCE, NOT_DONE, NOT_ACKED, ALONE)


class Work(Protocol):
    """What the learner writes."""

    def __call__(self, queue: Queue, handle: Handler, workers: int) -> Awaitable[object]: ...


async def changes_of_mind(work: Work, seed: int) -> None:
    """Eight customers place, change and cancel; the last one cancels when the order has just been placed."""
    chance = Random(seed)
    *customers, last = chance.sample(CUSTOMERS, 8)
    takes: dict[str, float] = {}

    async def put(step: str, customer: str) -> None:
        message = Message(f"{step} {customer}", headers={"customer": customer})
        takes[message.id] = chance.uniform(*STEPS[step])
        with acting("shop"):
            await queue.put(message)

    async def handle(message: Message) -> None:
        record(Kind.STARTED, whoami(), message.id)
        await anyio.sleep(takes[message.id])
        happens(message, "done")
        if message.body == f"place {last}":
            await put("cancel", last)

    async with (
        MessageQueue("orders", lease=3600, policy=PATIENT) as queue,
        anyio.create_task_group() as group,
    ):
        for step, customer in (*_mixed(customers, chance), ("place", last), ("change", last)):
            await put(step, customer)
        with acting("crew"):
            group.start_soon(_run, work, queue, handle)
        with anyio.move_on_after(3 * sum(takes.values())):
            await queue.join()
            await anyio.sleep(10)
        group.cancel_scope.cancel()


def _mixed(customers: list[str], chance: Random) -> Iterator[tuple[str, str]]:
    """The steps of the customers: each one's in order, sometimes two or three in a row."""
    left = {customer: list(STEPS) for customer in customers}
    hasty = customers[0]
    while left:
        customer = hasty if hasty in left else chance.choice(list(left))
        for _ in range(chance.randint(1, len(left[customer]))):
            yield left[customer].pop(0), customer
        if not left[customer]:
            del left[customer]


async def _run(work: Work, queue: Queue, handle: Handler) -> None:
    await work(queue, handle, WORKERS)


def judge(trace: Trace) -> list[Diagnosis]:
    found = [
        *_too_many(trace),
        *_out_of_order(trace),
        *_not_done(trace),
        *_not_acked(trace),
        *_alone(trace),
    ]
    return ranked(found, MISTAKES)


def _customers(trace: Trace) -> dict[str, list[str]]:
    """The messages of each customer, in the order in which the queue accepted them."""
    labels = {e.message: str(e.data["label"]) for e in trace.filter(Kind.SENT)}
    found: dict[str, list[str]] = {}
    for message in trace.messages(Kind.ACCEPTED):
        found.setdefault(labels[message].split()[1], []).append(message)
    return found


def _out_of_order(trace: Trace) -> Iterator[Diagnosis]:
    place = {m: (customer, n) for customer, mine in _customers(trace).items() for n, m in enumerate(mine)}
    busy: dict[str, Event] = {}
    done: dict[str, Event] = {}
    for event in trace.filter(Kind.STARTED, Kind.EFFECT):
        customer, number = place[event.message]
        order = name_of(trace, event.message)
        if event.kind == Kind.STARTED:
            other = busy.get(customer)
            if other is not None:
                words = (
                    f"{order} was begun at {when(event)}, while {name_of(trace, other.message)} was in work."
                )
                yield seen(AT_ONCE, words, story(trace, other.message, event.message))
            busy[customer] = event
            continue
        if customer in busy and busy[customer].message == event.message:
            del busy[customer]
        last = done.setdefault(customer, event)
        if place[last.message][1] > number:
            words = (
                f"{order} was done at {when(event)}, after {name_of(trace, last.message)} at {when(last)}."
            )
            mistake = OVERTAKEN if _began(trace, event).at >= last.at else AT_ONCE
            yield seen(mistake, words, story(trace, last.message, event.message))
        else:
            done[customer] = event


def _began(trace: Trace, effect: Event) -> Event:
    return before(trace, effect, Kind.STARTED)[-1]


def _too_many(trace: Trace) -> Iterator[Diagnosis]:
    working: list[str] = []
    for event in trace.filter(Kind.STARTED, Kind.EFFECT):
        if event.kind == Kind.EFFECT:
            working.remove(event.message)
            continue
        working.append(event.message)
        if len(working) > WORKERS:
            words = f"{len(working)} orders were in work at {when(event)}, and there are {WORKERS} workers."
            yield seen(TOO_MANY, words, story(trace, *working))
            return


def _not_done(trace: Trace) -> Iterator[Diagnosis]:
    for message in trace.messages(Kind.ACCEPTED):
        if not effects(trace, message):
            words = f"{name_of(trace, message)} was not done by {trace.end:.0f} s."
            yield seen(NOT_DONE, words, story(trace, message))


def _not_acked(trace: Trace) -> Iterator[Diagnosis]:
    acked = trace.messages(Kind.ACKED)
    for ack in trace.filter(Kind.ACKED):
        if not before(trace, ack, Kind.EFFECT):
            words = f"{name_of(trace, ack.message)} was acknowledged at {when(ack)}, before it was done."
            yield seen(NOT_ACKED, words, story(trace, ack.message))
    for effect in effects(trace):
        if effect.message not in acked:
            words = f"{name_of(trace, effect.message)} was done at {when(effect)} and never acknowledged."
            yield seen(NOT_ACKED, words, story(trace, effect.message))


def _alone(trace: Trace) -> Iterator[Diagnosis]:
    done = effects(trace)
    if not done:
        return
    sequential = sum(effect.at - _began(trace, effect).at for effect in done)
    if done[-1].at > MOST_OF_SEQUENTIAL * sequential:
        words = f"All was done at {when(done[-1])}. One worker alone would need {sequential:.0f} s."
        yield seen(ALONE, words, story(trace, *[e.message for e in done[:3]]))


ORDER_PER_KEY = Exercise(
    name="message_queue/order_per_key",
    title="Keep the order of each customer",
    points=4,
    minutes=14,
    difficulty=3,
    kind="extend",
    answer="work_in_order",
    form=async_function("queue", "handle", "workers"),
    called=(
        "Your `work_in_order(queue, handle, workers)` with 3 workers. Eight customers place, change and "
        "cancel an order each: 24 messages, mixed, and each takes between 1 and 6 seconds. The queue knows "
        'no keys; the customer is in `message.headers["customer"]`.'
    ),
    promised=(
        "For each customer the messages are worked on one at a time, in the order of the queue. At most 3 "
        "are in work at once, and all together they take clearly less time than with one worker. Each is "
        "acknowledged when it is done."
    ),
    hints=(
        "While a message of Ada is in work, where can her next one wait, so that nobody else takes it and "
        "no worker stands idle for it?",
        "One task takes from the queue and puts each lease into a line of its customer. Each line is worked "
        "on by one task at a time, from its head. A semaphore of `workers` limits how many lines are "
        "served.",
        "Keep `lines: dict[str, deque[Lease]]`. A new lease joins its line if there is one; else make the "
        "line and start a task for it. The task: while the line is not empty, handle and ack its head "
        "inside `async with free:`, then drop the head; at the end delete the line.",
    ),
    explanation=(
        "A dispatcher takes the leases in order and gives each customer a line. A line has one task, so a "
        "customer's messages are done one after the other; lines run side by side, as many as there are "
        "workers."
    ),
    run=play(changes_of_mind),
    judge=judge,
)
