"""One order in two styles, of lesson 09b: with a coordinator and without, the same faults, on one clock.

Each style has services and books of its own. A message is half a second on its way. A service that is dead
keeps what comes for it in its queue until it is back, if it comes back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.abc

from ...lab import Crash, Participant, simulate
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, gantt
from ...message import Message
from ...message_queue import Backoff
from ...saga import Choreography, Monitor, NotDone, Orchestrator, Phase, Retry, Saga, SagaLog, Service, event
from ...storage import MemoryStore
from ...trace import Kind, Trace, record
from .order_story import PLACE_ORDER, STEPS, OrderServices, order_choreography
from .shop import ORDER, TRAVEL, first

__all__ = [
    "STORIES",
    "Told",
    "both_styles",
    "equal_books",
    "in_words",
    "outcome",
    "told_by_events",
    "two_styles_demo",
]

STORIES = {"enough tea": first(5), "no tea": first(0), "stolen card": first(5, stolen=True)}
UNDO_FAILS = "no tea, no money back"
VICTIMS = ("nobody", "coordinator", "payments", "inventory", "shipping")
ONE, OTHER = "orchestrated", "choreographed"  #: the ids of the two sagas
TIMEOUT, LONGEST, PATIENCE = 3.0, 50.0, 20.0  #: seconds
TRIES = Retry(attempts=4, backoff=Backoff(initial=1, factor=2, max_delay=10))
NEVER = 21  #: the end of the slider that says when somebody comes back

Books = dict[str, Any]


class _House:
    """The services of one style, and the faults that they suffer."""

    def __init__(self, story: str, victim: str, down: tuple[float, float], broken: bool) -> None:
        self.shop = OrderServices(STORIES[story])
        self.messages = 0
        self._victim, self._down, self._broken = victim, down, broken

    async def reach(self, who: str) -> None:
        """Return when a message that is sent now has reached this service."""
        self.messages += 1
        await anyio.sleep(TRAVEL)
        since, until = self._down
        if who == self._victim and since <= anyio.current_time() < until:
            await anyio.sleep(until - anyio.current_time())

    def check(self, command: str) -> None:
        """Raise `NotDone` for an undo that never works."""
        if self._broken and command == "ReleasePayment":
            raise NotDone("money cannot be given back today")

    def books(self) -> Books:
        books = {key: value for each in self.shop.business().values() for key, value in each.items()}
        return {_anybody(key): value for key, value in books.items() if value not in (0, True)}


def _anybody(key: str) -> str:
    return key.replace(ONE, "1").replace(OTHER, "1")


async def both_styles(
    story: str = "no tea",
    victim: str = "nobody",
    at: float = 3.4,
    back: int = NEVER,
    broken: bool = False,
) -> None:
    """Play the order in both styles. The victim dies and is back `back` seconds later, or never."""
    down = (at, math.inf if back == NEVER else at + back)
    houses = {style: _House(story, victim, down, broken) for style in (ONE, OTHER)}
    crashes = (Crash(at=at, restart_after=None if back == NEVER else back),)
    with anyio.move_on_after(LONGEST):
        async with anyio.create_task_group() as group:
            coordinator = partial(_coordinator, houses[ONE], SagaLog(MemoryStore()))
            mine = crashes if victim == "coordinator" else ()
            group.start_soon(Participant("coordinator", coordinator, crashes=mine).run)
            group.start_soon(choreographed, houses[OTHER], order_choreography())
    facts: dict[str, Any] = {
        style: {"books": house.books(), "messages": house.messages} for style, house in houses.items()
    }
    record(Kind.NOTE, "books", who="", text="the books of both", **facts)


async def _coordinator(house: _House, log: SagaLog) -> None:
    async def execute(command: Message) -> Any:
        await house.reach(house.shop.who(command))
        house.check(command.type)
        try:
            return await house.shop.execute(command)
        finally:
            house.messages += 1
            await anyio.sleep(TRAVEL)

    steps = [replace(step, timeout=TIMEOUT) for step in STEPS]
    saga = Saga(ONE, steps, retry=TRIES, undo_retry=TRIES)
    await Orchestrator(saga, log, execute).run(ONE, ORDER)


async def choreographed(house: _House, told: Choreography) -> None:
    """Tell the story without a coordinator: each event goes to all who listen, and to a monitor."""
    monitor = Monitor(told, name=OTHER, patience=PATIENCE)

    async def publish(message: Message) -> None:
        await monitor.receive(message)
        for who in told.listeners(message.type):
            group.start_soon(deliver, who, message)

    async def deliver(who: str, message: Message) -> None:
        (reaction,) = told.reactions_of(who, message.type)
        command, said = reaction.command(message), list[str]()
        role = "compensation" if reaction.undoes else "action"
        tell = partial(
            record, where=OTHER, message=command.id, who=who, saga=OTHER, step=reaction.step, role=role
        )

        async def say(event: Message) -> None:
            said.append(event.type or "")
            await publish(event)

        for number in range(1, TRIES.attempts + 1):
            tell(Kind.STARTED)
            try:
                await house.reach(who)
                house.check(reaction.does)
                await Service(house.shop.services[who], told, say).receive(message)
            except NotDone as error:
                tell(Kind.FAILED, error=str(error), outcome="not done")
                await anyio.sleep(TRIES.backoff.seconds(number))
                continue
            if said == [reaction.otherwise]:
                tell(Kind.FAILED, error=said[0], outcome="refused")
            else:
                tell(Kind.FINISHED)
            return

    async with anyio.create_task_group() as watch:
        watch.start_soon(monitor.run)
        async with anyio.create_task_group() as group:
            await publish(event(OTHER, PLACE_ORDER, ORDER))
        if monitor.status(OTHER).phase in (Phase.RUNNING, Phase.COMPENSATING):
            await anyio.sleep(PATIENCE)  # nothing moves any more: the monitor finds out
        watch.cancel_scope.cancel()


async def told_by_events(told: Choreography, story: str = "no tea") -> Books:
    """Play the order as this choreography tells it, and return the books."""
    house = _House(story, "nobody", (math.inf, math.inf), False)
    await choreographed(house, told)
    return house.books()


# Reading


class Told(NamedTuple):
    """One style's end."""

    phase: str
    at: float
    messages: int
    books: Books

    def __str__(self) -> str:
        return f"{self.phase} since {self.at:.1f} s, {self.messages} messages"


def outcome(trace: Trace) -> dict[str, Told]:
    """The end of each style."""
    note = trace.filter(Kind.NOTE, where="books")[-1]
    ends = {}
    for style in (ONE, OTHER):
        last = trace.filter(Kind.STATE, where=style, message=style)[-1]
        ends[style] = Told(str(last.data["now"]), last.at, **{"messages": 0, "books": {}, **note.data[style]})
    return ends


def equal_books() -> str:
    """Let a coordinator or a service die for 4 s, at 13 moments in three stories; count the equal books."""
    runs = [
        outcome(simulate(both_styles, story, victim, 0.25 + moment / 2, 4))
        for story in STORIES
        for victim in ("coordinator", "payments", "inventory")
        for moment in range(13)
    ]
    same = sum(run[ONE].books == run[OTHER].books for run in runs)
    return f"equal books in {same} of {len(runs)} runs"


# Playing


def in_words(trace: Trace) -> str:
    """The end of both styles."""
    ends = outcome(trace)
    one, other = ends[ONE].books, ends[OTHER].books
    words = [f"{style}: {told}." for style, told in ends.items()]
    if one == other:
        return "\n".join([*words, f"Both books: {_accounts(one)}."])
    books = [f"Books: {_accounts(one)}", f"against {_accounts(other)}."]
    return "\n".join([*words, *books])


def _accounts(books: Mapping[str, Any]) -> str:
    names = ("order", "credit", "aside", "card", "till", "stock")
    shown = {key: value for key, value in books.items() if key.startswith(names)}
    return ", ".join(f"{key.split()[0]} {value}" for key, value in shown.items())


def _picture(trace: Trace) -> Figure:
    """One chart, the orchestrated rows above the others."""
    mine = [e for e in trace if e.data.get("saga") == ONE or e.kind == Kind.CRASHED]
    others = [e for e in trace if e.data.get("saga") == OTHER]
    return gantt(Trace([*mine, *others, trace[-1]]), title="The same order in both styles")


def two_styles_demo() -> Demo:
    """Both styles on one screen, with a choice of who dies, and when."""

    async def scenario(story: str, victim: str, at: float, back: int) -> None:
        broken = story == UNDO_FAILS
        await both_styles("no tea" if broken else story, victim, at, back, broken)

    return demo(
        scenario,
        {
            "story": choice(*STORIES, UNDO_FAILS, value="no tea", label="Story"),
            "victim": choice(*VICTIMS, value="coordinator", label="Who dies"),
            "at": slider(0.0, 8.0, 0.1, value=3.4, label="Dies at (s)"),
            "back": slider(1, NEVER, value=4, label=f"Back after (s, {NEVER}: never)"),
        },
        presets={
            "Nobody dies": {"victim": "nobody"},
            "Coordinator leaves": {"back": NEVER},
            "Payments never back": {"story": "enough tea", "victim": "payments", "at": 2.1, "back": NEVER},
            "Payments away 8 s": {"victim": "payments", "at": 2.1, "back": 8},
            "Undo fails": {"story": UNDO_FAILS, "victim": "nobody"},
        },
        summary=in_words,
        figures=[_picture],
        player=False,
        seed=None,
        title="Who dies",
    )
