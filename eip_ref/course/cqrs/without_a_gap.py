"""Without a gap

Repair · hard · 4 points · 15 minutes

Answer: async def follow(view, send, after)
Called: Your `follow(view, send, after)` for a browser that has a position already, beside a view that changes
    all the time. `send` takes a while. In the last run the browser is gone in the middle.
Promised: The browser gets the last change of each row, and every change once at most, in the order of their
    positions, and nothing at or before `after`. When it has gone, nobody listens for it any more.
Hint: What happens to a change that comes while you still send what was there before?
Hint: Listen first, then read what was there. Then some changes come twice, and their positions tell which.
Hint: `with view.listen() as heard:`, and inside `for change in await view.since(after): await send(change)`,
    each time `after = change["position"]`. Then `async for change in heard:`, and send what is newer.
Why: Whoever listens first can miss nothing, and whoever remembers the last position sends nothing twice. The
    `with` ends the listening however the browser goes.

gap: A change was missed. It came between two steps, and the row stays old until somebody changes it again.
sent-twice: A change was sent twice. The browser counts it twice, or rings twice.
back-in-time: A change was sent after a newer one. The browser shows the old row.
from-the-beginning: The browser got what it had before. It said how far it is.
still-listening: Somebody listens for a browser that has gone. Every browser that ever came costs memory.
swallowed: The browser has gone, and nothing ended. Its end raises an error, and that must come out.
error-came-out (raised): `follow` raised an error. A browser that follows is no reason for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, acting, record

__all__ = ["EXERCISE", "a_browser_follows"]

Change = dict[str, Any]
ROWS = tuple(f"customer {number}" for number in range(1, 24))
READ, SEND, END = 0.1, 0.1, 12.0


class Heard:
    """The changes that were heard since the listening began."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._came = anyio.Event()

    def __aiter__(self) -> Heard:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            await self._came.wait()
        return self._changes.popleft()

    def _add(self, change: Change) -> None:
        self._changes.append(dict(change))
        self._came.set()
        self._came = anyio.Event()


class View:
    """A view whose rows know the positions of their last changes."""

    def __init__(self) -> None:
        self._rows: dict[str, Change] = {}
        self._listeners: list[Heard] = []
        self._position = 0

    async def since(self, position: int) -> list[Change]:
        """The last change of each row that was changed after this position, in order. It takes a moment."""
        await anyio.sleep(READ)
        found = self._since(position)
        await anyio.sleep(READ)
        return found

    def _since(self, position: int) -> list[Change]:
        changes = sorted(self._rows.values(), key=lambda change: int(change["position"]))
        return [dict(change) for change in changes if change["position"] > position]

    @contextmanager
    def listen(self) -> Iterator[Heard]:
        """Every change from now on, until the block ends."""
        heard = Heard()
        self._listeners.append(heard)
        try:
            yield heard
        finally:
            self._listeners.remove(heard)

    def _change(self, key: str) -> None:
        self._position += 1
        self._rows[key] = change = {"position": self._position, "row": key}
        record(Kind.SENT, "view", f"{key}@{self._position}", who="projector", label=f"{key} {self._position}")
        for heard in self._listeners:
            heard._add(change)


class Run(NamedTuple):
    """A browser: how far it is, how many changes there were before, and after how many it goes."""

    before: int
    after: int
    goes_after: int = 1_000


RUNS = (Run(0, 0), Run(6, 0), Run(6, 4), Run(6, 6), Run(6, 0, 5), Run(0, 0, 2))


def all_runs(seed: int) -> Iterator[Run]:
    yield from RUNS


async def a_browser_follows(follow: kit.Answer, run: Run, seed: int) -> None:
    """Let a browser follow the view for a few seconds."""
    chance, view = Random(seed), View()
    sent: list[int] = []

    async def send(change: Change) -> None:
        await anyio.sleep(SEND)
        if len(sent) >= run.goes_after:
            record(Kind.NOTE, "browser", who="browser", text="the browser has gone")
            raise ConnectionError("the browser has gone")
        sent.append(change["position"])
        record(Kind.DELIVERED, "view", f"{change['row']}@{change['position']}", who="browser")

    for number in range(run.before):
        view._change(ROWS[number % 4])
    with acting("browser"):
        async with anyio.create_task_group() as group:
            group.start_soon(_change_all_the_time, view, chance)
            with anyio.move_on_after(END), suppress(ConnectionError):
                await follow(view, send, run.after)
                await anyio.sleep_forever()
            group.cancel_scope.cancel()
    last = [change["position"] for change in view._since(0)]
    quiet = anyio.current_time() >= END
    kit.write_down(run=run._asdict(), sent=sent, last=last, listening=len(view._listeners), quiet=quiet)


async def _change_all_the_time(view: View, chance: Random) -> None:
    """Change rows in bursts, quicker than they can be sent, and then rest; most of them once.

    The first row changes twice before `since` has looked: whoever listens hears a change that is old by then.
    """
    for _ in range(2):
        await anyio.sleep(READ / 3)
        view._change(ROWS[4])
    rows = iter(ROWS[5:])
    for _ in range(3):
        for _ in range(6):
            await anyio.sleep(chance.uniform(0.02, 0.09))
            view._change(next(rows))
        await anyio.sleep(1)
        view._change(chance.choice(ROWS[:4]))


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    run, sent = facts["run"], facts["sent"]
    words = f"a browser that is at {run['after']} got the positions {sent}"
    gone = run["goes_after"] < 1_000
    if not gone and not set(facts["last"]) <= set(sent) | set(range(run["after"] + 1)):
        yield kit.seen("gap", f"{words}; the rows are at {facts['last']}.", trace)
    if any(position <= run["after"] for position in sent):
        yield kit.seen("from-the-beginning", f"{words}.", trace)
    if len(set(sent)) < len(sent):
        yield kit.seen("sent-twice", f"{words}.", trace)
    elif sent != sorted(sent):
        yield kit.seen("back-in-time", f"{words}.", trace)
    if facts["listening"]:
        yield kit.seen("still-listening", f"{words}, and is still listened for at the end.", trace)
    if gone and len(sent) == run["goes_after"] and facts["quiet"]:
        yield kit.seen("swallowed", f"{words}; then it had gone, and `follow` went on.", trace)


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(a_browser_follows, all_runs, judge), judge)
