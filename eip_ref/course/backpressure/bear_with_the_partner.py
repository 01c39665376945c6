"""Bear with the partner

Extend · hard · 4 points · 12 minutes

Answer: class Throttle() with async take
Called: `await throttle.take()` before every call to the partner: by one caller, by four at a time, and by
    four after 40 s in which nobody called, each time with a new `Throttle()`. They call as often as they are
    let.
Promised: In any one second the partner sees 15 calls at most, and in the long run 10 a second. As long as
    somebody wants to call, it sees 9 a second or more.
Hint: Who must share what? Four callers are one shop, and the partner counts its calls together.
Hint: A second may begin at any moment. In the worst one, what was saved up and what falls meanwhile are
    used both.
Hint: A `TokenBucket` with a rate of 10 and a burst of 5, made once in `__init__`; `take` awaits its `take`.
Why: In any second at most burst + rate calls are made. With a rate of 10 that leaves a burst of 5. The
    bucket is shared, and it never saves more than its burst.

no-throttle: Nothing holds even one caller back. A new bucket is full each time, a coroutine that nobody
    awaits does nothing, and a limit on calls at the same time is no limit on calls a second.
each-for-itself: Each caller keeps the limit, and all together do not. The partner sees the sum of them.
saved-without-end: What was not used is saved without an end. After a quiet time all of it is used at once,
    and the partner breaks.
worst-second-forgotten: Too many calls in the worst second. A second begins at any moment, not with the
    clock, and what was saved comes on top of what falls in it.
too-fast-for-long: More than 10 calls a second in the long run. A second in which the partner bears 15 may
    come once, and not again and again.
too-slow: Slower than the partner allows. It bears 10 calls a second, and somebody waited for less.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...message import Message
from ...trace import Event, Trace

__all__ = ["EXERCISE", "many_calls"]

MOST = 15


class Case(NamedTuple):
    """The calls of a while: by how many callers, and after how long a silence. Times in seconds."""

    callers: int
    quiet: float  #: nobody calls for so long before
    seconds: float


CASES = {
    "one caller": Case(1, 0.0, 8.0),
    "four callers": Case(4, 0.0, 20.0),
    "four callers after a quiet time": Case(4, 40.0, 8.0),
}


async def many_calls(throttle_class: kit.Answer, seed: int) -> None:
    """Let callers call the partner as often as the throttle lets them, with a new throttle in each case."""
    for name, case in CASES.items():
        throttle = throttle_class()
        await anyio.sleep(case.quiet + 0.35)  # not at a full second
        async with kit.participants() as start:
            for caller in range(1, case.callers + 1):
                start(f"caller {caller}", _call, throttle, f"{name}: call {caller}.")
            await anyio.sleep(case.seconds)
    kit.write_down(cases=list(CASES))


async def _call(throttle: Any, name: str) -> None:
    for number in range(1, 500):
        await throttle.take()
        kit.happens(Message("call", id=f"{name}{number}"), "called")
        await anyio.sleep(0)


def judge(trace: Trace) -> kit.Symptoms:
    happened = kit.effects(trace)
    for name in kit.facts(trace)["cases"]:
        case = CASES[name]
        calls = [call for call in happened if call.message.startswith(f"{name}: ")]
        worst = _worst_second(calls)
        if len(worst) > MOST:
            words = f"{name}: {len(worst)} calls in the second from {worst[0].at:.2f} s."
            yield kit.seen(_too_many(worst, calls), words, worst)
        elif len(calls) > 10 * case.seconds + MOST:
            words = f"{name}: {len(calls)} calls in {case.seconds:g} s."
            yield kit.seen("too-fast-for-long", words, calls[:40])
        elif len(calls) < 9 * case.seconds:
            yield kit.seen("too-slow", f"{name}: {len(calls) / case.seconds:.1f} calls a second.", calls[:20])


def _too_many(worst: list[Event], calls: list[Event]) -> str:
    """The mistake behind so many calls in a second."""
    if len(worst) <= 2 * MOST:
        return "worst-second-forgotten"
    callers = Counter(call.message.rpartition(".")[0] for call in worst)
    later = [call for call in calls if call.at >= worst[0].at + 1]
    if max(callers.values()) > MOST and not later:
        return "no-throttle"
    if max(callers.values()) > MOST and len(_worst_second(later)) <= 2 * MOST:
        return "saved-without-end"
    return "each-for-itself" if len(callers) > 1 else "no-throttle"


def _worst_second(calls: list[Event]) -> list[Event]:
    return max((_second_from(calls, first) for first in range(len(calls))), key=len, default=[])


def _second_from(calls: list[Event], first: int) -> list[Event]:
    over = bisect_left(calls, calls[first].at + 1 - 1e-9, key=lambda call: call.at)
    return calls[first:over]


EXERCISE = kit.exercise(__name__, __doc__, kit.play(many_calls), judge, seeds=(1,))
