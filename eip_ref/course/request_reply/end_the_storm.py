"""End the storm

Choose · medium · 3 points · 8 minutes

Answer: def remedy()
Called: Half a minute with the settings that you choose. Six customers a second ask a bank that answers ten a
    second. From 5 s to 8 s there are 25 a second.
Promised: Before the spike and from 23 s on, at least 90 of 100 customers have their answer. At no time does
    anybody wait longer than 3 s for a single answer.
Hint: How many questions a second are there after the spike, when each customer asks again?
Hint: Which questions can the bank leave out without harm to anybody? It must know which they are, or say no
    before they are old.
Hint: Keep the timeout of 1 s and one retry. With `"told": True` the bank skips those who have left; a
    backlog of 5 makes it say no at once. One of the two is enough.
Why: The storm lives on answers for people who have left. Told the deadline, the bank skips them. With a
    short backlog nobody waits half a second, so nobody leaves and asks again. With no retry at all the line
    shrinks by itself, four a second.

no-such-setting (ValueError): There is no such setting. `retries` is 0 to 3, `told` True or False,
    `backlog` 0 to 10,000, `timeout` 0.2 to 10 s.
calm-is-disturbed: Customers go without an answer while nothing is wrong. They come by chance, two at a time
    now and then, and somebody must be able to wait for a moment.
storm-goes-on: The storm does not end. The bank works without a break, for people who have left.
kept-waiting: Somebody waited for more than 3 s. All have their answer in the end, and the line was moved
    from the bank to the customers' patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...autograder import kit
from ...lab import Uniform
from ...trace import Kind, Trace
from .storm import a_spike, answered

__all__ = ["EXERCISE", "half_a_minute"]

SPIKE, CALM_AGAIN, END = (5.0, 8.0), 23.0, 28.0
LIMIT = 3.0
ALLOWED = {
    "retries": (int, 0, 3),
    "told": (bool, False, True),
    "backlog": (int, 0, 10_000),
    "timeout": (float, 0.2, 10),
}


async def half_a_minute(remedy: kit.Answer, seed: int) -> None:
    """Play half a minute with a spike, and the settings that `remedy()` returns."""
    await a_spike(**_settings(remedy()), spike=SPIKE, seconds=29.0, gaps=lambda mean: Uniform(0.0, 2 * mean))
    kit.write_down(played=True)


def _settings(chosen: object) -> dict[str, Any]:
    if not isinstance(chosen, Mapping) or set(chosen) != set(ALLOWED):
        raise ValueError(f"`remedy` returned {chosen!r}, and not a dictionary with {', '.join(ALLOWED)}")
    for name, (kind, least, most) in ALLOWED.items():
        value = chosen[name]
        right = type(value) is kind or (kind is float and type(value) is int)
        if not right or not least <= value <= most:
            raise ValueError(f"{name} is {value!r}, and must be from {least} to {most}")
    return dict(chosen)


def judge(trace: Trace) -> kit.Symptoms:
    calm, after = answered(trace, 0, SPIKE[0]), answered(trace, CALM_AGAIN, END)
    ends = trace.filter(Kind.EFFECT)
    waits = [event.data["waited"] for event in ends]
    if calm < 90:
        words = f"{calm} % of the customers before the spike had their answer."
        yield kit.seen("calm-is-disturbed", words, ends[:20])
    elif after < 90:
        words = f"{after} % of the customers from {CALM_AGAIN:g} s on had their answer."
        yield kit.seen("storm-goes-on", words, ends[-20:])
    if max(waits) > LIMIT + 0.001:  # the clock counts in fractions
        longest = ends[waits.index(max(waits))]
        words = f"{longest.message} waited {max(waits):.1f} s for one answer."
        yield kit.seen("kept-waiting", words, [longest])


EXERCISE = kit.exercise(__name__, __doc__, kit.play(half_a_minute, max_events=400_000), judge, seeds=(1, 2))
