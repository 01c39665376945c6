"""Read the trace of an evening

Read the trace · medium · 3 points · 10 minutes

Answer: def read_the_evening()
Called: The evening that you can play: `simulate(a_mixed_evening)`. Thirty customers, from order 1 to order
    30, each on one way through mail, billing and stock.
Promised: Your four lists are those of the trace.
Hint: One line of the trace is enough for each list, when you know which. What tells that a customer came,
    and how it ended for her?
Hint: `filter("failed", where="customer")` has those who heard “no”, `filter("effect", where="billing")`
    what billing has done. A breaker that is open says “no” without a moment's wait.
Hint: With `collections.Counter` over `event.message` of the effects at billing you find what happened
    twice. Compare the times of "started" and "failed" of each customer. For “half”, look for any effect of
    an order whose customer heard “no”.
Why: Each list is a property of lesson 12a, read for single orders: duplicates, “no”, half done, and what
    the breaker kept away from mail. None of them needs the program, only what happened.

no-prediction: A list is missing or cannot be read. Each of the four is a list of numbers of orders, such as
    [1, 4].
requests-are-not-effects: Billing has worked twice on others. A request that was sent twice may have been
    carried out once, or not at all. What happened is an effect.
slow-is-not-no: Others heard “no”. Whoever has waited long has heard “yes” in the end. A customer heard “no”
    when her “started” is followed by “failed”.
no-is-not-half: Others were left half done. Whoever heard “no” before anything was done has lost nothing.
    Half done is an order with an effect whose customer heard “no”.
failed-is-not-rejected: The breaker rejected others. A call that mail did not answer was let through, and it
    took a second to fail. What is rejected fails in the instant in which it comes.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import anyio

from ...autograder import kit
from ...circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration
from ...message import Message
from ...request_reply import RequestError
from ...trace import Event, Kind, Trace, acting, working
from .evening import Evening
from .ways import TIMEOUT, ask_again, ask_once, asking_all

__all__ = ["EXERCISE", "a_mixed_evening"]


async def a_mixed_evening() -> None:
    """Play thirty orders, one every 4 s: mail through a breaker, billing again without a key, stock once."""
    world = Evening(loss=0.08, seed=4)
    before_mail = CircuitBreaker("mail", policy=ConsecutiveFailures(2), open_duration=OpenDuration(6))
    async with asking_all(world) as services, anyio.create_task_group() as group:

        async def customer(order: Message) -> None:
            with suppress(RequestError, CallRejected), working("customer", order.id):
                await before_mail.call(ask_once, services["mail"], order)
                await ask_again(services["billing"], order)
                await services["stock"].request(order.body, timeout=TIMEOUT)

        with acting("shop"):
            for number in range(1, 31):
                group.start_soon(customer, Message(f"order {number}", id=f"order {number}"))
                await anyio.sleep(4)


def _numbers(messages: object) -> list[int]:
    return sorted({int(message.removeprefix("order ")) for message in messages})  # type: ignore[attr-defined]


def twice(trace: Trace) -> list[int]:
    times = Counter(event.message for event in trace.filter(Kind.EFFECT, where="billing"))
    return _numbers(order for order, count in times.items() if count > 1)


def heard_no(trace: Trace) -> list[int]:
    return _numbers(trace.messages(Kind.FAILED, where="customer"))


def half(trace: Trace) -> list[int]:
    return [n for n in heard_no(trace) if trace.filter(Kind.EFFECT, message=f"order {n}")]


def rejected(trace: Trace) -> list[int]:
    came = {event.message: event.at for event in trace.filter(Kind.STARTED, where="customer")}

    def at_once(event: Event) -> bool:
        return event.at == came[event.message]

    return _numbers(event.message for event in trace.filter(Kind.FAILED, where="customer", test=at_once))


READINGS = {"twice": twice, "no": heard_no, "half": half, "rejected": rejected}
MISTAKES = {
    "twice": "requests-are-not-effects",
    "no": "slow-is-not-no",
    "half": "no-is-not-half",
    "rejected": "failed-is-not-rejected",
}
RUN = kit.ask(kit.readings(a_mixed_evening, READINGS), kit.numbers)
EXERCISE = kit.exercise(__name__, __doc__, RUN, kit.misread(MISTAKES), seeds=(1,))
