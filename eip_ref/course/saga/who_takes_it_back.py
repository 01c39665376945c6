"""Who takes it back?

Repair · medium · 4 points · 15 minutes

Answer: def way_back()
Called: Five evenings, told by the reactions that go forward and those that you return: one on which nobody
    says no, and one for each of the four services that can refuse.
Promised: When a service refuses, everything that was done before is taken back, and somebody says
    `EveningCancelled`. When nobody refuses, nothing is taken back.
Hint: Ask for each of the four refusals: what has been done by then, and who did it?
Hint: Begin at the last one. `CardRefused`: the cake is ordered, the teacher and the room are booked, and
    the evening is announced. Who hears of it first, and what does she say when she has taken hers back?
Hint: `["CardRefused", "kitchen", "cake", "CakeCancelled"]`, `["CakeCancelled", "teachers", "teacher",
    "TeacherFreed"]`, and so on to the planner. The other refusals enter the same chain further on.
Why: Each refusal sets off the undo of the step before it, and that one the next. A refusal further back
    enters the chain further on. That all services hear each refusal and take back whatever they have done
    is right as well: an undo of what never was leaves a tombstone.

nobody-listens (ValueError): The definition was refused. An event that nobody reacts to, or one that nobody
    says, a step that its service does not have, or no list of [event, service, step, says].
runs-in-a-circle (EventCycle): An event leads back to itself. The saga may run in a circle for ever.
all-stays: A refusal takes nothing back. The evening is called off, perhaps, and whatever was booked for it
    stays booked.
taken-too-much: Something was taken back on an evening that takes place. Nobody had refused.
one-stays: Something stays booked after a refusal. Its service does not hear that it was in vain.
never-ends: Nobody says that the evening is cancelled. All is taken back, and whoever watches the events waits
    for the end.
not-cancelled: The evening is still announced. All is taken back, and the planner does not know.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

from ...autograder import kit
from ...message import Message
from ...saga import Choreography, LocalTransaction, Participant, Phase, Reaction, Refused, Service, event
from ...storage import MemoryStore
from ...trace import Trace

__all__ = ["EXERCISE", "an_evening"]

STEPS = {
    "planner": "evening",
    "rooms": "room",
    "teachers": "teacher",
    "kitchen": "cake",
    "cards": "charge",
}
FORWARD = (
    Reaction("planner", "EveningPlanned", "do evening", "evening", "EveningAnnounced"),
    Reaction("rooms", "EveningAnnounced", "do room", "room", "RoomBooked", "RoomRefused"),
    Reaction("teachers", "RoomBooked", "do teacher", "teacher", "TeacherBooked", "TeacherRefused"),
    Reaction("kitchen", "TeacherBooked", "do cake", "cake", "CakeOrdered", "CakeRefused"),
    Reaction("cards", "CakeOrdered", "do charge", "charge", "CardCharged", "CardRefused"),
)
EVENINGS = ("", "room", "teacher", "cake", "charge")


def _told(way_back: Any) -> Choreography:
    """The whole story. Raises ValueError for what is no way back."""
    rows = way_back()
    if not isinstance(rows, list | tuple) or not all(
        isinstance(row, list | tuple) and len(row) == 4 and all(isinstance(x, str) for x in row[:3])
        for row in rows
    ):
        raise ValueError(f"`way_back` returned {rows!r}, and not a list of [event, service, step, says]")
    ends = {"CardCharged": Phase.COMPLETED}
    back = []
    for number, (on, who, step, says) in enumerate(rows):
        if STEPS.get(who) != step:
            raise ValueError(f"{who!r} cannot take back {step!r}; each service takes back its own step")
        if says is None:
            says = f"said nothing {number}"
            ends[says] = Phase.COMPENSATED
        back.append(Reaction(who, on, f"undo {step}", step, says, undoes=True))
    ends |= (
        {"EveningCancelled": Phase.COMPENSATED} if any(row[3] == "EveningCancelled" for row in rows) else {}
    )
    heard = {reaction.on for reaction in back}
    return Choreography(
        "EveningPlanned", (*FORWARD, *back), {k: v for k, v in ends.items() if k not in heard}
    )


async def an_evening(way_back: kit.Answer, refuses: str, seed: int) -> None:
    """Plan one evening; the service of the step `refuses` says no, or nobody does."""
    told, done, said = _told(way_back), list[str](), set[str]()

    def act(step: str, undo: bool, command: Message, books: LocalTransaction) -> None:
        if not undo and step == refuses:
            raise Refused(f"no {step}")
        books.put(step, not undo)
        books.effect(f"{'took back' if undo else 'did'} {step}")
        (done.remove if undo else done.append)(step)

    async def publish(message: Message) -> None:
        said.add(message.type)
        for who in told.listeners(message.type):
            group.start_soon(deliver, who, message)

    async def deliver(who: str, message: Message) -> None:
        await anyio.sleep(0.1)
        await services[who].receive(message)

    services = {}
    for who, step in STEPS.items():
        handlers = {f"do {step}": partial(act, step, False), f"undo {step}": partial(act, step, True)}
        services[who] = Service(Participant(who, MemoryStore(), handlers), told, publish)
    with anyio.move_on_after(60):
        async with anyio.create_task_group() as group:
            await publish(event("evening 1", "EveningPlanned", {}))
    kit.write_down(refuses=refuses, left=done, cancelled="EveningCancelled" in said)


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    refuses, left = day["refuses"], day["left"]
    if not refuses:
        if missing := [step for step in STEPS.values() if step not in left]:
            words = f"nobody refused, and in the end {', '.join(missing)} was taken back."
            yield kit.seen("taken-too-much", words, trace)
        return
    before = list(STEPS.values())[: list(STEPS.values()).index(refuses)]
    words = (
        f"{refuses} was refused, and in the end {', '.join(left)} {'is' if len(left) == 1 else 'are'} left."
    )
    if left in (before, before[1:]) and len(left) > 1:
        yield kit.seen("all-stays", words, trace)
    elif left == ["evening"]:
        yield kit.seen("not-cancelled", words, trace)
    elif left:
        yield kit.seen("one-stays", words, trace)
    elif not day["cancelled"]:
        yield kit.seen("never-ends", f"{refuses} was refused, and nobody said `EveningCancelled`.", trace)


EXERCISE = kit.exercise(
    __name__, __doc__, kit.cases(an_evening, lambda seed: EVENINGS[::-1], judge), judge, seeds=(1,)
)
