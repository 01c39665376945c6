"""Finish the order

Complete · hard · 4 points · 20 minutes

Answer: async def finish(log, shop, order)
Called: Your `finish(log, shop, order)` on an order for which there is tea, on one for which there is none,
    and on one whose undo of payment fails several times. Then again, with a death at each await.
Promised: `finish` returns. In the end either all four steps of the order are done, once, or none is left.
    Without a death and with tea all four are done. What is taken back is taken back in reverse, and a step
    that was refused is not undone.
Hint: After a restart you have the log and nothing else. What must stand in it before the first command
    leaves, so that you know the order and the step that may have happened?
Hint: A step whose intent is in the log, and nothing more, is in doubt. Send it again with the same order,
    or undo it: both are safe. Only a refusal says that it did not happen.
Hint: Write `["begun", order]` first, `["intent", step]` before each `do`, `["refused", step]` after a
    refusal. In each life: as long as no line says refused, go through the steps from the first. When one
    does, undo in reverse what has an intent and was not refused, each in a loop until it raises no
    `NotDone`.
Why: The log has the intent of each step before its command leaves. Whatever was in doubt is sent once more
    under the same key, so it is done once, and an undo of it finds whatever there is. The refusal is the
    only result that changes what must be done.

another-name: A command was sent under another name. To the service that is another order, which nobody
    placed. After a restart its name stands in your log, or nowhere.
nothing-known (IndexError): A list was shorter than expected. A process that dies before the first line
    finds an empty log: there is no order, and nothing to do.
never-returns: `finish` was still at work after ten minutes. What is refused or taken back stays so, however
    often one asks.
forgets-at-restart: The second life knew nothing. The log is empty: all that the first life knew was in its
    memory.
doubt-guessed: What was in doubt was taken for done, or for not done. A command had left, no answer had
    come, and you believed one of the two.
gives-up: An undo failed, and it was left at that. The service was down for a moment. What was to be taken
    back stands as it is.
turns-back-for-nothing: An order was taken back that nothing was wrong with. No step was refused and nobody
    died.
half: Some steps are done and others are not. Neither the customer nor the shop has what was agreed.
undoes-the-refused: A step was undone that was refused. It certainly did not happen; a simple service gives
    back now what it never took.
not-in-reverse: Taken back in another order. What was built on another step must go first.
service-down (NotDone): An error of the network ended the coordinator. A service that is down is down for a
    while.
refusal-ends-it (Refused): A refusal ended the coordinator. What was done before it stands as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from ...autograder import kit
from ...lab import Crash, Participant
from ...saga import NotDone, Refused
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "STEPS", "Case", "an_order"]

STEPS = ("order", "credit", "payment", "stock")
WAY = 0.25  #: seconds, there and back
DEATHS = range(1, 45)  #: awaits of the first life


class Case(NamedTuple):
    """One run: the tea in stock, how often the undo of payment fails, and the await at which it dies."""

    tea: int = 0
    failures: int = 0
    death: int = 0  #: 0 for never


class _Log:
    """The file of the coordinator: what was written is there after a death."""

    def __init__(self) -> None:
        self._lines: list[Any] = []

    def lines(self) -> list[Any]:
        """All lines, in the order in which they were written."""
        return [*self._lines]

    async def write(self, line: Any) -> None:
        """Add a line, any JSON value. It is kept when this returns."""
        await anyio.lowlevel.checkpoint()
        self._lines.append(line)
        record(Kind.NOTE, "log", text=f"log: {line}")
        await anyio.lowlevel.checkpoint()


class _Services:
    """The four services behind a network; each remembers its keys, and leaves tombstones."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._failures = case.failures
        self._known: dict[tuple[str, str], str] = {}
        self._refused: set[tuple[int, str, str]] = set()  # heard, and in which life
        self._life = 0
        self._answered = 0
        self._names = set[str]()  # of orders that commands spoke of
        self._effects: list[tuple[str, str]] = []
        self._undid_the_refused: list[str] = []

    async def do(self, step: str, order: str) -> None:
        """Have a step of this order done. Raises `Refused`."""
        self._check(step, order)
        await anyio.sleep(WAY)
        known = self._known.setdefault((step, order), self._first(step))
        if known == "new":
            self._known[step, order] = "done"
            self._happens("did", step, order)
        await anyio.sleep(WAY)
        if known in ("refused", "revoked"):
            self._refused.add((self._life, step, order))
            raise Refused(f"{step} of {order} is {known}")
        self._answered += 1

    async def undo(self, step: str, order: str) -> None:
        """Have a step of this order taken back. Raises `NotDone` when the service is down."""
        self._check(step, order)
        if (self._life, step, order) in self._refused and self._known[step, order] == "refused":
            self._undid_the_refused.append(step)
        await anyio.sleep(WAY)
        if step == "payment" and self._failures:
            self._failures -= 1
            raise NotDone("payments is down")
        if self._known.get((step, order)) == "done":
            self._happens("took back", step, order)
        if self._known.get((step, order)) != "refused":
            self._known[step, order] = "revoked"
        await anyio.sleep(WAY)

    def _check(self, step: str, order: str) -> None:
        if step not in STEPS:
            raise ValueError(f"there is no step {step!r}; the steps are {', '.join(STEPS)}")
        self._names.add(str(order))

    def _first(self, step: str) -> str:
        return "refused" if step == "stock" and not self._case.tea else "new"

    def _happens(self, what: str, step: str, order: str) -> None:
        self._effects.append((what, step))
        record(Kind.EFFECT, "shop", f"{order}/{step}", who="shop", effect=f"{what} {step}")


async def an_order(finish: kit.Answer, case: Case, seed: int) -> None:
    """Play one order, such as `Case(tea=0, failures=0, death=12)`: the coordinator dies at its 12th await."""
    services, log = _Services(case), _Log()
    name = f"order {100 * seed + case.death}"
    orders = iter([name])

    async def life() -> None:
        services._life += 1
        await finish(log, services, next(orders, None))

    crashes = (Crash(step=case.death, restart_after=1),) if case.death else ()
    with anyio.move_on_after(600) as limit:
        await Participant("coordinator", life, crashes=crashes).run()
    kit.write_down(
        effects=services._effects,
        refused=services._undid_the_refused,
        others=sorted(services._names - {name}),
        forgot=services._answered > 0 and not log.lines(),
        died=services._life == 2,
        returned=not limit.cancelled_caught,
        down=services._failures < case.failures,
        case=f"`Case(tea={case.tea}, failures={case.failures}, death={case.death})`",
        tea=case.tea,
    )


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    net = Counter[str]()
    for what, step in day["effects"]:
        net[step] += 1 if what == "did" else -1
    died = f"{'after' if day['died'] else 'without'} a death: {day['case']}"
    for name in day["others"]:
        yield kit.seen("another-name", f"there were commands for {name!r}, {died}.", trace)
    if not day["returned"]:
        yield kit.seen("never-returns", f"it did not return, {died}.", trace)
    done = [step for step in STEPS if net[step]]
    if 0 < len(done) < len(STEPS):
        words = f"In the end {', '.join(done)} {'is' if len(done) == 1 else 'are'} done and the rest is not"
        yield kit.seen(_why_half(day, done), f"{words}, {died}.", trace)
    if day["died"] and day["forgot"]:
        yield kit.seen("forgets-at-restart", f"the log is empty, {died}.", trace)
    if day["tea"] and not day["died"] and not done:
        yield kit.seen("turns-back-for-nothing", "No step is done in the end.", trace)
    for step in day["refused"]:
        yield kit.seen("undoes-the-refused", f"{step} was refused, and then undone.", trace)
    back = [step for what, step in day["effects"] if what == "took back"]
    if back != sorted(back, key=STEPS.index, reverse=True):
        yield kit.seen("not-in-reverse", f"Taken back in this order: {', '.join(back)}.", trace)


def _why_half(day: dict[str, Any], done: list[str]) -> str:
    if day["down"] and done == ["payment"]:
        return "gives-up"
    if day["died"]:
        return "forgets-at-restart" if day["forgot"] else "doubt-guessed"
    return "half"


def _all_cases(seed: int) -> Iterator[Case]:
    yield from (Case(1), Case(0), Case(0, failures=6))
    for death in reversed(DEATHS):  # late ones first: they tell more of what a second life does
        yield from (Case(tea, failures=2, death=death) for tea in (1, 0))


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(an_order, _all_cases, judge), judge, seeds=(1,))
