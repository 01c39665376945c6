"""Choose the rule

Choose · medium · 3 points · 8 minutes

Answer: def rule(service)
Called: Your `rule(service)` for 'cards', 'stock', 'reviews' and 'search'. Each is called once a second for
    four minutes, through a breaker of its own with the rule of your choice.
Promised: Each breaker opens soon enough in its outage, and not before: as its line in the table asks.
Hint: Write down how ten calls in the outage end, one after the other. Which rule can see it?
Hint: A rule that opens at little also opens when nothing is wrong. A rule that looks at twenty calls needs
    many bad ones, and that takes time.
Hint: Three failures in a row never come from stock, and they do come from reviews on a good day. Search never
    fails.
Why: Cards are dead or well, so three in a row are quick and sure. Stock fails in between, so only a share
    sees it. Reviews fail now and then, so the share must be above what is normal. Search is right and too
    late, and only a rule about time sees that.

no-such-rule (ValueError): There is no such rule. There are "3 in a row", "half of 20", "a tenth of 20" and
    "half over 2 s".
too-late: Opens late. The outage is plain to see, and too many calls had to fail before.
row-is-broken: Does not open for stock. The replicas that are well answer in between, and each success begins
    the row anew.
false-alarm: Opens while the service is as well as ever. Some errors are its normal state, and three of them
    come in a row now and then.
blind: Does not open for a service that fails. What it looks at is not what goes wrong there.
slow-is-fine: Does not open for search. Each answer is right, so no failure is ever counted, and each customer
    waits 4 s.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import anyio

from ...autograder import kit
from ...circuit_breaker import (
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    LastCalls,
    OpenDuration,
    Policy,
    SlowCallRate,
)
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "four_services"]

CALLS, OUTAGE = 240, 120  #: calls of each service, and the first one of its outage
TRIPLE = 40  #: the first of three failures of reviews in a row, on a good day
RULES: dict[str, Callable[[], Policy]] = {
    "3 in a row": lambda: ConsecutiveFailures(3),
    "half of 20": lambda: FailureRate(0.5, LastCalls(20)),
    "a tenth of 20": lambda: FailureRate(0.1, LastCalls(20)),
    "half over 2 s": lambda: SlowCallRate(0.5, LastCalls(20), slow_after=2.0),
}
SOON = {"cards": 5, "stock": 20, "reviews": 20, "search": 20}  #: calls in the outage until it opens


def _fails(service: str, number: int, seed: int) -> bool:
    ill = number >= OUTAGE
    if service == "cards":
        return ill
    if service == "stock":
        return ill and number % 5 in (0, 2, 4)  # three of its five replicas, in turn
    unlucky = Random(f"{seed}/{number // 10}").randrange(10) == number % 10  # one of each ten
    return service == "reviews" and (ill or unlucky or TRIPLE <= number < TRIPLE + 3)


async def four_services(rule: kit.Answer, seed: int) -> None:
    """Call each service for four minutes. The outage is in the second half."""
    rules = {service: rule(service) for service in SOON}
    async with kit.participants(wait=True) as start:
        for service, chosen in rules.items():
            if chosen not in RULES:
                raise ValueError(f"for {service!r} you return {chosen!r}; there are {', '.join(RULES)}")
            breaker = CircuitBreaker(service, policy=RULES[chosen](), open_duration=OpenDuration(20))
            start("shop", _call, breaker, seed)
    kit.write_down(rules=rules)


async def _call(breaker: CircuitBreaker, seed: int) -> None:
    async def work(number: int) -> None:
        await anyio.sleep(4.0 if breaker.name == "search" and number >= OUTAGE else 0.1)
        if _fails(breaker.name, number, seed):
            raise ConnectionError("no answer")

    async def customer(number: int) -> None:
        with suppress(CallRejected, ConnectionError):
            await breaker.call(work, number)

    async with anyio.create_task_group() as group:
        for number in range(CALLS):
            group.start_soon(customer, number)
            await anyio.sleep(1)


def judge(trace: Trace) -> kit.Symptoms:
    rules = kit.facts(trace)["rules"]
    for service, soon in SOON.items():
        opened = trace.filter(Kind.STATE, where=service)[:1]
        if not opened:
            words = f"`{service}`: the breaker stayed closed in two minutes of outage."
            yield kit.seen(
                _when_shut(service, rules[service]), words, trace.filter(Kind.FAILED, where=service)[-5:]
            )
        elif opened[0].at < OUTAGE:
            words = f"`{service}`: it opened at {opened[0].at:.1f} s, and the outage began at {OUTAGE} s."
            yield kit.seen("false-alarm", words, opened)
        elif opened[0].at > OUTAGE + soon:
            words = f"`{service}`: it opened {opened[0].at - OUTAGE:.0f} s after the outage had begun."
            yield kit.seen("too-late", words, opened)


def _when_shut(service: str, rule: str) -> str:
    if service == "search":
        return "slow-is-fine"
    return "row-is-broken" if rule == "3 in a row" else "blind"


EXERCISE = kit.exercise(__name__, __doc__, kit.play(four_services), judge)
