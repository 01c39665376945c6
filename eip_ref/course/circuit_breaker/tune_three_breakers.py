"""Tune three breakers

Choose · medium · 4 points · 12 minutes

Answer: def settings(service)
Called: Your `settings(service)` for 'payments', 'search' and 'stock'. Each service is called for some
    minutes, through a breaker with the settings of your choice.
Promised: Each breaker keeps what its line in the table asks for, in calls made in vain and refused in vain.
Hint: Take one line at a time. In an outage the calls made in vain are those until it opens, and one probe for
    each open time. Those refused in vain come in the rest of the last open time.
Hint: For search: how many failures in a row are nothing new? For stock: how long is a hiccup, and how many
    calls fall into one?
Hint: Payments: a small number, and an open time between 15 and 20 s. Search: more in a row than on a good
    day, and a short open time, for ten customers a second wait at the door. Stock: a breaker that never opens
    in a hiccup, or one that is open as long as a hiccup is.
Why: In an outage of 70 s an open time of 15 s costs four probes, and at most 15 customers. Search has four
    failures in a row on a good day, so five or more mean something. Against hiccups of two seconds a breaker
    is of no use: it should stay out of the way.

no-such-setting (ValueError): There is no such setting. `failures` is a whole number from 1 to 20,
    `open_for` from 1 to 120 s.
asks-in-vain: Too many calls reach a service that is sick. It opens late, or it tries again too often.
shut-too-long: Too many customers are refused after the service is well again. What is left of the open time
    is refused in vain.
false-alarm: The breaker opens while nothing is wrong. So many failures in a row come on a good day, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "three_services_to_tune"]


class Service(NamedTuple):
    """A service, its calls, and what its breaker may cost."""

    every: float  #: seconds between two calls
    seconds: float
    sick: tuple[tuple[float, float], ...]
    block: int  #: one failure by chance in each block of so many calls, and now and then four in a row
    made: int  #: the most calls that may be made in vain
    refused: int  #: and refused in vain


SERVICES = {
    "payments": Service(1.0, 240.0, ((60.0, 130.0),), 0, 10, 20),
    "search": Service(0.1, 150.0, ((80.0, 117.0),), 10, 40, 160),
    "stock": Service(0.25, 240.0, tuple((30.0 * n, 30.0 * n + 2) for n in range(1, 8)), 0, 60, 60),
}


async def three_services_to_tune(settings: kit.Answer, service: str, seed: int) -> None:
    """Call one service, with the settings of the answer for it."""
    it = SERVICES[service]
    failures, open_for = _read(settings(service), service)
    breaker = CircuitBreaker(
        service, policy=ConsecutiveFailures(failures), open_duration=OpenDuration(open_for)
    )
    shift = Random(seed).choice((0.0, 1.0, 2.0))  # the outages begin a little later
    score = {"made in vain": 0, "refused in vain": 0, "refused before": 0}
    for number in range(round(it.seconds / it.every)):
        now = anyio.current_time()
        sick = any(start + shift <= now < end + shift for start, end in it.sick)
        try:
            permit = breaker.admit()
        except CallRejected:
            if not sick:
                score["refused in vain"] += 1
                score["refused before"] += now < it.sick[0][0]
        else:
            score["made in vain"] += sick
            if sick or _unlucky(it, number, seed):
                permit.failure()
            else:
                permit.success()
        await anyio.sleep(it.every)
    text = ", ".join(f"{count} {name}" for name, count in score.items())
    record(Kind.NOTE, "score", service, who="", text=f"{service}: {text}", score=score)


def _unlucky(it: Service, number: int, seed: int) -> bool:
    """One call of each block, and in each twentieth block four in a row."""
    if not it.block:
        return False
    block, place = divmod(number, it.block)
    if block % 20 == 7:
        return 3 <= place < 7
    return Random(f"{seed}/{block}").randrange(it.block // 2) == place


def _read(chosen: Any, service: str) -> tuple[int, float]:
    if not isinstance(chosen, Mapping) or set(chosen) != {"failures", "open_for"}:
        raise ValueError(f"for {service!r} you return {chosen!r}, and not 'failures' and 'open_for'")
    failures, open_for = chosen["failures"], chosen["open_for"]
    if type(failures) is not int or not 1 <= failures <= 20:
        raise ValueError(f"for {service!r} failures is {failures!r}, and must be a whole number from 1 to 20")
    if type(open_for) not in (int, float) or not 1 <= open_for <= 120:
        raise ValueError(f"for {service!r} open_for is {open_for!r}, and must be from 1 to 120 s")
    return failures, float(open_for)


def judge(trace: Trace) -> kit.Symptoms:
    notes = trace.filter(Kind.NOTE, where="score")
    if not notes:
        raise kit.Vacuous("no service was called.")
    for note in notes:
        it, score = SERVICES[note.message], note.data["score"]
        made, refused = score["made in vain"], score["refused in vain"]
        told = f"`{note.message}`: {made} calls made in vain, {refused} refused in vain."
        states = trace.filter(Kind.STATE, where=note.message)[:12]
        if score["refused before"]:
            yield kit.seen("false-alarm", told, states)
        elif made > it.made:
            yield kit.seen("asks-in-vain", told, states)
        elif refused > it.refused:
            yield kit.seen("shut-too-long", told, states)


EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.cases(three_services_to_tune, lambda seed: SERVICES, judge, max_events=60_000),
    judge,
    seeds=(1, 5),
)
