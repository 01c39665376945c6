"""Order the steps

Choose · medium · 3 points · 8 minutes

Answer: def plan()
Called: Your plan for 1,000 orders. Credit refuses 2 of 100, the bank refuses to charge 3 of 100, and stock
    has no tea for 20 of 100.
Promised: No customer gets a parcel, or a letter that says “your tea is on its way”, without paying. Nobody
    is charged who gets no tea. And at most 150 steps are undone.
Hint: Which of the steps cannot be undone? Put them behind the step after which nobody says no.
Hint: Whoever refuses often should be asked early, when little has been done.
Hint: Stock first of all, then credit; charging is the last step that somebody can refuse, so it is the
    pivot. The parcel and the letter come after it.
Why: Charge is the last step that can be refused, and from then on each step succeeds if one repeats it.
    Before it stand the steps that can be undone, and the one that refuses most often stands first, so that
    little must be undone.

no-such-plan (ValueError): There is no such plan. It must hold each of the five steps once.
parcel-for-nothing: A parcel left for somebody who did not pay. It cannot be undone.
letter-for-nothing: A customer was told that her tea is on its way, and it is not. A letter cannot be
    undone.
charged-for-nothing: Somebody was charged who gets no tea. To give the money back costs a fee and a
    customer.
much-undone: More is undone than need be. Whoever says no most often is asked late, when much has been done.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import anyio.lowlevel

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "a_thousand_orders"]

REFUSED = {"credit": 0.02, "stock": 0.20, "charge": 0.03, "parcel": 0.0, "letter": 0.0}
FOR_NOTHING = {"parcel": "parcels", "letter": "letters", "charge": "charges"}
ORDERS, MOST = 1000, 150


async def a_thousand_orders(plan: kit.Answer, seed: int) -> None:
    """Run 1,000 orders by the plan; what somebody refuses takes back all steps before it."""
    await anyio.lowlevel.checkpoint()
    steps = plan()
    if not isinstance(steps, list | tuple) or sorted(map(str, steps)) != sorted(REFUSED):
        raise ValueError(f"`plan` returned {steps!r}, and not a list with each of {', '.join(REFUSED)} once")
    chance, counts = Random(seed), Counter[str]()
    for _ in range(ORDERS):
        fate = {step: chance.random() < share for step, share in REFUSED.items()}
        if no := [place for place, step in enumerate(steps) if fate[step]]:
            counts.update(steps[: no[0]])
    for step in steps:
        text = f"{step}: undone, or done for nothing, {counts[step]} times"
        record(Kind.NOTE, step, text=text)
    undone = counts["credit"] + counts["stock"]
    kit.write_down(**{name: counts[step] for step, name in FOR_NOTHING.items()}, undone=undone, plan=[*steps])


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    for name in FOR_NOTHING.values():
        if day[name]:
            words = f"{day[name]} of {ORDERS:,} orders ended with {name} for nothing."
            yield kit.seen(f"{name.removesuffix('s').replace('charge', 'charged')}-for-nothing", words, trace)
    if day["undone"] > MOST:
        yield kit.seen("much-undone", f"{day['undone']} steps were undone.", trace)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_thousand_orders), judge, seeds=(1, 5))
