"""Not before it is there

Repair · medium · 4 points · 10 minutes

Answer: async def page(view, key, wanted, within)
Called: Your `page` on nine evenings: the view has the versions already, or they come after a while, one
    after the other, too late, or never.
Promised: The row is as new as was wanted, and `stale` is False; or `within` seconds are over, and `stale` is
    True. You answer 0.3 s after the first of both, at the latest.
Hint: Which question does the browser ask? Not "what is there now", but "what is there, and not before …".
Hint: Wait in a loop while any stream is behind its wanted version, and put one time limit around all of it.
    When do you read the row?
Hint: `with anyio.move_on_after(within):` and inside `while behind(): await view.changed()`. After it, read
    the row, and let `behind()` say whether it is stale.
Why: One limit holds for all streams together. The row is read after the wait, and the mark is worked out from
    the versions, not from how the wait ended.

old-as-new: An old row was given as new. The browser shows a customer something that is not so any more, and
    nobody knows.
old-row: The row is not that of the moment of the answer. It was read before the wait, or left out.
answered-late: The answer came after the time was over. The browser has gone.
waited-in-vain: Waited although everything was there. A fixed pause is too short today and too long tomorrow.
gave-up-early: Said stale before the time was over. What was wanted might still have come. A change of the
    view need not be the one that is wanted.
marked-in-vain: Said stale of a row that is as new as was wanted. Whoever is warned every time no longer
    listens.
never-answers (deadlock): No answer at all. The version never comes, and nothing ends the wait.
other-form: Another form of answer. It is a dictionary with `row` and `stale`.
error-came-out (raised): `page` raised an error. A view that is late is no reason for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, acting, record

__all__ = ["EXERCISE", "nine_evenings"]

USERS, BILLING = "users/ann", "billing/ann"
SLACK = 0.3
Arrivals = tuple[tuple[float, str, int], ...]  #: when, the stream, its version


class Evening(NamedTuple):
    """The events of the view with their times, and the wish of the browser."""

    name: str
    arrivals: Arrivals
    wanted: dict[str, int]
    within: float = 2.0


EVENINGS = (
    Evening("after a while", ((0.0, USERS, 1), (1.2, USERS, 2)), {USERS: 2}),
    Evening("nothing is wanted", ((0.0, USERS, 1), (1.0, USERS, 2)), {}),
    Evening("there at once", ((0.0, USERS, 1),), {USERS: 1}),
    Evening("something else comes first", ((0.0, USERS, 1), (0.4, BILLING, 1), (1.4, USERS, 2)), {USERS: 2}),
    Evening("two streams", ((0.5, USERS, 4), (1.5, BILLING, 3)), {USERS: 1, BILLING: 3}),
    Evening("the other first", ((0.5, BILLING, 3), (1.5, USERS, 1)), {USERS: 1, BILLING: 3}),
    Evening("newer than wanted", ((0.0, USERS, 4),), {USERS: 2}),
    Evening("never", ((0.0, USERS, 1),), {USERS: 2}),
    Evening("too late", ((0.0, USERS, 1), (1.4, USERS, 2), (2.8, BILLING, 1)), {USERS: 2, BILLING: 1}),
)


class View:
    """A view that gets events, and tells when it has changed."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._changed = anyio.Event()

    def seen(self, stream: str) -> int:
        """The last version of the stream that is in the view; 0 when there is none."""
        return self._versions.get(stream, 0)

    def row(self, key: str) -> dict[str, Any] | None:
        """The row as it is now."""
        return {"key": key, **self._versions} if self._versions else None

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def _take(self, stream: str, version: int) -> None:
        self._versions[stream] = version
        record(Kind.STATE, "view", who="view", was="", now=f"{stream}/{version}")
        self._changed.set()
        self._changed = anyio.Event()


def all_evenings(seed: int) -> Iterator[Evening]:
    """The evenings, at another pace for each seed."""
    pace = Random(seed).choice((0.8, 1.0, 1.5))
    for evening in EVENINGS:
        arrivals = tuple((at * pace, stream, version) for at, stream, version in evening.arrivals)
        yield evening._replace(arrivals=arrivals, within=evening.within * pace)


async def nine_evenings(page: kit.Answer, evening: Evening, seed: int) -> None:
    """Let the browser ask once, at the beginning."""
    view, got, at = View(), None, 0.0

    async def ask() -> None:
        nonlocal got, at
        with acting("browser"):
            got = await page(view, "ann", dict(evening.wanted), evening.within)
        at = anyio.current_time()
        record(Kind.NOTE, "browser", who="browser", text=f"got {got}")

    for when, stream, version in evening.arrivals:
        if when == 0:
            view._take(stream, version)
    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        for when, stream, version in evening.arrivals:
            if when:
                await anyio.sleep_until(when)
                view._take(stream, version)
    told = dict(got) if isinstance(got, dict) else repr(got)
    kit.write_down(evening=evening._asdict(), got=told, at=at)


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    evening, got, at = facts["evening"], facts["got"], facts["at"]
    words = f"evening {evening['name']!r}, {evening['within']:g} s: at {at:.1f} s the answer was {got}."
    if not isinstance(got, dict) or set(got) != {"row", "stale"} or not isinstance(got["stale"], bool):
        yield kit.seen("other-form", words, trace)
        return
    there = _there(evening)
    row, complete = got["row"] or {}, there <= at + 1e-6
    new = all(row.get(stream, 0) >= version for stream, version in evening["wanted"].items())
    came = [(stream, version) for when, stream, version in evening["arrivals"] if when < at - 1e-6]
    now = all(row.get(stream, 0) >= version for stream, version in came)
    if not got["stale"] and not complete:
        yield kit.seen("old-as-new", words, trace)
    elif got["stale"] and not complete and at < evening["within"] - 1e-6:
        yield kit.seen("gave-up-early", words, trace)
    elif not now or not (got["stale"] or new):
        yield kit.seen("old-row", words, trace)
    elif got["stale"] and there <= min(at, evening["within"] - 1e-6):
        yield kit.seen("marked-in-vain", words, trace)
    elif at > min(there, evening["within"]) + SLACK + 1e-6:
        yield kit.seen("answered-late" if at > evening["within"] + SLACK else "waited-in-vain", words, trace)


def _there(evening: dict[str, Any]) -> float:
    """The time at which everything that is wanted is in the view."""
    times = [0.0]
    for stream, version in evening["wanted"].items():
        came = [at for at, of, number in evening["arrivals"] if of == stream and number >= version]
        times.append(min(came, default=1e9))
    return max(times)


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(nine_evenings, all_evenings, judge), judge)
