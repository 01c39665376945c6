"""Keep the order of each customer

Extend · hard · 4 points · 14 minutes

Answer: async def work_in_order(queue, handle, workers)
Called: Your `work_in_order(queue, handle, workers)` with 3 workers. Eight customers place, change and cancel
    an order each: 24 messages, mixed. Each takes between 1 and 6 seconds, and those of one customer take four
    times as long. The queue knows no keys; the customer is in `message.headers["customer"]`.
Promised: For each customer the messages are worked on one at a time, in the order of the queue. At most 3 are
    in work at once. No customer waits for another one while a worker is free. Each message is acknowledged
    when it is done.
Hint: While a message of Ada is in work, where can her next one wait, so that nobody else takes it and no
    worker stands idle for it?
Hint: One task takes from the queue and puts each lease into a line of its customer. Each line is worked on by
    one task at a time, from its head. A semaphore of `workers` limits how many lines are served.
Hint: Keep `lines: dict[str, deque[Lease]]`. A new lease joins its line if there is one; else make the line
    and start a task for it. The task: while the line is not empty, handle and ack its head inside `async with
    free:`, then drop the head; at the end delete the line.
Why: A dispatcher takes the leases in order and gives each customer a line. A line has one task, so a
    customer's messages are done one after the other; lines run side by side, as many as there are workers.

too-many-at-once: More orders in work than there are workers. A task is not a worker: tasks cost nothing, and
    what they call has a limit. Something must count.
key-overtaken: A later order of a customer overtook an earlier one. Waiting by looking again and again is no
    line: whoever looks at the right moment is next. And a message that is put back rests, and while it rests
    the next one of the same customer may be handed out.
two-of-a-key-at-once: Two orders of one customer were in work at the same time. Whoever is faster finishes
    first. To take them in order is not enough: the second must not begin before the first is done.
acked-out-of-step: Acknowledged before the work, or not at all. An order is acknowledged when it is done: not
    before, for the worker may die, and not never, for the queue would hand it out again.
left-behind: An order was never worked on. It was taken from the queue and not handled, or it was never taken.
no-concurrency: One order after the other, as if there were one worker. What matters is the order of each
    customer. Customers who have nothing to do with each other need not wait for each other.
waits-for-a-stranger: A customer waited for another one, and a worker was free. One busy customer is enough to
    hold up others, when it is a worker that waits for this customer's turn, or when two share a line.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from random import Random

import anyio

from ...autograder import kit
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT

__all__ = ["EXERCISE", "changes_of_mind"]

WORKERS = 3
STEPS = {"place": (4.0, 6.0), "change": (2.0, 4.0), "cancel": (1.0, 2.0)}  #: seconds, from and to
CUSTOMERS = ("Ada", "Ben", "Cem", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lea")
MAX_SHARE = 0.9  #: of the time that one worker alone would take
PATIENCE = 1.0  #: seconds that an order may wait beside a free worker, which may look only now and then
SLOW = 4.0  #: times as long take the orders of the customer who holds up others


async def changes_of_mind(work: kit.Answer, seed: int) -> None:
    """Play eight customers who place, change and cancel; the last one cancels what has just been placed."""
    chance = Random(seed)
    *customers, last = chance.sample(CUSTOMERS, 8)
    takes: dict[str, float] = {}

    async def put(step: str, customer: str) -> None:
        message = Message(f"{step} {customer}", headers={"customer": customer})
        takes[message.id] = chance.uniform(*STEPS[step]) * (SLOW if customer == customers[0] else 1)
        with acting("shop"):
            await queue.put(message)

    async def handle(message: Message) -> None:
        record(Kind.STARTED, whoami(), message.id)
        await anyio.sleep(takes[message.id])
        kit.happens(message, "done")
        if message.body == f"place {last}":
            await put("cancel", last)

    async with MessageQueue("orders", lease=3600, policy=PATIENT) as queue, kit.participants() as start:
        for step, customer in (*_mixed(customers, chance), ("place", last), ("change", last)):
            await put(step, customer)
        start("crew", work, queue, handle, WORKERS)
        with anyio.move_on_after(3 * sum(takes.values())):
            await queue.join()
            await anyio.sleep(10)


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


def judge(trace: Trace) -> kit.Symptoms:
    orders = {order.id: order for order in kit.journeys(trace)}
    yield from _too_many(trace)
    yield from _out_of_order(trace, orders)
    for order in orders.values():
        acks, effects = order.all(Kind.ACKED), order.effects
        if not effects:
            yield order.seen("left-behind", f"{order} was not done by {trace.end:.0f} s.")
        elif not acks:
            words = f"{order} was done at {kit.when(effects[0])} and never acknowledged."
            yield order.seen("acked-out-of-step", words)
        if acks and not order.before(acks[0], Kind.EFFECT):
            words = f"{order} was acknowledged at {kit.when(acks[0])}, before it was done."
            yield order.seen("acked-out-of-step", words)
    done = kit.effects(trace)
    alone = sum(effect.at - _began(orders[effect.message], effect).at for effect in done)
    if done and done[-1].at > MAX_SHARE * alone:
        words = f"All was done at {kit.when(done[-1])}. One worker alone would need {alone:.0f} s."
        yield kit.seen("no-concurrency", words, kit.story(trace, *[e.message for e in done[:3]]))
    yield from _held_up(trace, orders)


def _held_up(trace: Trace, orders: dict[str, kit.Journey]) -> kit.Symptoms:
    """See an order that could have been begun: a worker was free, and its customer had none in work."""
    lines: dict[str, deque[str]] = defaultdict(deque)  # of each customer: what waits or is in work
    working: list[str] = []
    since: dict[str, float] = {}  # for the head of a line that could be begun, from when on
    for event in trace.filter(Kind.ACCEPTED, Kind.STARTED, Kind.EFFECT):
        for order, at in since.items():
            if event.at - at > PATIENCE:
                words = f"{orders[order]} waited from {at:.0f} s to {event.at:.0f} s, and a worker was free."
                yield kit.seen("waits-for-a-stranger", words, kit.story(trace, *working, order))
                return
        line = lines[_customer(orders[event.message])]
        if event.kind == Kind.ACCEPTED:
            line.append(event.message)
        elif event.kind == Kind.STARTED:
            working.append(event.message)
        else:
            working.remove(event.message)
            line.remove(event.message)
        free = len(working) < WORKERS
        heads = {line[0] for line in lines.values() if line and free and not set(line) & set(working)}
        since = {order: since.get(order, event.at) for order in heads}


def _customer(order: kit.Journey) -> str:
    return order.label.split()[1]


def _too_many(trace: Trace) -> kit.Symptoms:
    working: list[str] = []
    for event in trace.filter(Kind.STARTED, Kind.EFFECT):
        if event.kind == Kind.EFFECT:
            working.remove(event.message)
            continue
        working.append(event.message)
        if len(working) > WORKERS:
            words = (
                f"{len(working)} orders were in work at {kit.when(event)}, and there are {WORKERS} workers."
            )
            yield kit.seen("too-many-at-once", words, kit.story(trace, *working))
            return


def _out_of_order(trace: Trace, orders: dict[str, kit.Journey]) -> kit.Symptoms:
    place = {order: number for number, order in enumerate(orders)}
    busy: dict[str, kit.Journey] = {}
    done: dict[str, Event] = {}
    for event in trace.filter(Kind.STARTED, Kind.EFFECT):
        order, customer = orders[event.message], _customer(orders[event.message])
        if event.kind == Kind.STARTED:
            if customer in busy:
                words = f"{order} was begun at {kit.when(event)}, while {busy[customer]} was in work."
                yield kit.seen("two-of-a-key-at-once", words, kit.story(trace, busy[customer].id, order.id))
            busy[customer] = order
            continue
        if busy.get(customer) is order:
            del busy[customer]
        last = done.get(customer, event)
        if place[last.message] > place[order.id]:
            overtaken = _began(order, event).at >= last.at
            words = (
                f"{order} was done at {kit.when(event)}, after {orders[last.message]} at {kit.when(last)}."
            )
            mistake = "key-overtaken" if overtaken else "two-of-a-key-at-once"
            yield kit.seen(mistake, words, kit.story(trace, last.message, order.id))
        else:
            done[customer] = event


def _began(order: kit.Journey, effect: Event) -> Event:
    return order.before(effect, Kind.STARTED)[-1]


EXERCISE = kit.exercise(__name__, __doc__, kit.play(changes_of_mind), judge)
