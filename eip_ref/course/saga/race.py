"""The race of an action with its own undo, of lesson 09a: both are on their way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

import anyio

from ...lab import Faults, simulate
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, sequence
from ...message import Message
from ...saga import Refused
from ...trace import Kind, Trace, acting, record

__all__ = ["FATES", "Payments", "Send", "a_race", "card", "one_rung", "undo_race_demo"]

PRICE, WAY = 30, 0.1  #: seconds on the way, when nothing is wrong

FATES: dict[str, dict[str, Any]] = {
    "answered": {},
    "refused": {"fate": "refused"},
    "answer lost": {"fate": "answer lost"},
    "action late": {"delay": 5.0},
    "action lost": {"fate": "action lost"},
    "undo twice": {"copies": 2},
}


class Payments(Protocol):
    """A bank with Ann's card."""

    card: int

    def do(self, key: str, price: int) -> None: ...

    def undo(self, key: str, price: int) -> None: ...


Send = Callable[[str], Awaitable[None]]
Coordinator = Callable[[Send, bool, float], Awaitable[None]]
Rung = tuple[
    Callable[[bool], Payments], bool
]  #: of the ladder: the bank, and whether the undo is noted first


async def a_race(
    coordinate: Coordinator,
    rung: Rung,
    fate: str = "arrives",
    delay: float = WAY,
    patience: float = 2.0,
    copies: int = 1,
) -> None:
    """Play a payment that is taken back.

    The action is `delay` seconds on its way, and the undo comes `copies` times.
    """
    make, note_first = rung
    bank, chance, answers = make(fate == "refused"), Faults(), dict[str, str]()
    heard = anyio.Event()

    async def receive(command: Message) -> None:
        record(Kind.ACCEPTED, "payments", command.id, who="payments")
        before, answer = bank.card, "done"
        try:
            (bank.undo if command.type == "undo" else bank.do)("order 1", PRICE)
        except Refused:
            answer = "refused"
        if bank.card != before:
            what = f"the card holds {bank.card}"
            record(Kind.EFFECT, "payments", command.id, who="payments", effect=what, by=bank.card - before)
        if command.type == "do":
            with acting("payments"):
                await back.send(Message(answer))

    async def hear(answer: Message) -> None:
        record(Kind.ACCEPTED, "coordinator", answer.id, who="coordinator")
        answers["do"] = str(answer.body)
        heard.set()

    async def send(what: str) -> None:
        if what == "undo":
            for _ in range(copies):
                await undo.send(Message(f"give {PRICE} back", type="undo"))
            return
        await do.send(Message(f"put {PRICE} aside", type="do"))
        await heard.wait()
        if answers["do"] == "refused":
            raise Refused("payments refused")

    do = chance.link("to payments", receive, latency=delay, loss=float(fate == "action lost"))
    undo = chance.link("to payments", receive, latency=WAY)
    back = chance.link("to coordinator", hear, latency=WAY, loss=float(fate == "answer lost"))
    async with back, do, undo:
        with acting("coordinator"):
            await coordinate(send, note_first, patience)
    text = f"Ann's card holds {bank.card}."
    record(Kind.NOTE, "payments", who="", text=text, card=bank.card)


def card(trace: Trace) -> int:
    """The money on Ann's card at the end of a race. It was 100, and the order is off."""
    return int(trace.filter(Kind.NOTE, where="payments")[-1].data["card"])


def one_rung(coordinate: Coordinator, make: Callable[[bool], Payments], note_first: bool) -> dict[str, Trace]:
    """Print what Ann's card holds after each fate of the command, and return the traces by fate."""
    runs = {
        name: simulate(partial(a_race, coordinate, (make, note_first), **settings))
        for name, settings in FATES.items()
    }
    print(*(f"{name:>11}" for name in FATES), sep="  ")
    print(*(f"{card(run):>11}" for run in runs.values()), sep="  ")
    return runs


def _picture(trace: Trace) -> Figure:
    return sequence(trace, lifelines=("coordinator", "payments"), title="One payment, and its undo")


def _in_words(trace: Trace) -> str:
    effects = [f"{event.data['by']:+} at {event.at:.1f} s" for event in trace.filter(Kind.EFFECT)]
    verdict = {100: "as it should be", 70: "30 are gone"}.get(card(trace), "Ann is given money for nothing")
    return f"Ann's card holds {card(trace)}: {verdict}. Payments did {', '.join(effects) or 'nothing'}."


def undo_race_demo(coordinate: Coordinator, rungs: Mapping[str, Rung]) -> Demo:
    """The ladder of the lesson with its controls."""

    async def scenario(rung: str, fate: str, delay: float, patience: float, copies: int) -> None:
        await a_race(coordinate, rungs[rung], fate, delay, patience, copies)

    _, two, three, four = rungs
    return demo(
        scenario,
        {
            "rung": choice(*rungs, label="Rung"),
            "fate": choice("arrives", "refused", "answer lost", "action lost", label="The action"),
            "delay": slider(0.1, 8.0, 0.1, value=0.1, label="Action on its way (s)"),
            "patience": slider(0.5, 6.0, 0.1, value=2.0, label="Timeout (s)"),
            "copies": slider(1, 3, value=1, label="Copies of the undo"),
        },
        presets={
            "1: the answer is lost": {"fate": "answer lost"},
            "2: the action is lost": {"rung": two, "fate": "action lost"},
            "3: the undo is doubled": {"rung": three, "copies": 2},
            "3: the action is late": {"rung": three, "delay": 5.0},
            "4: the action is late": {"rung": four, "delay": 5.0},
        },
        summary=_in_words,
        figures=[_picture],
        player=False,
        seed=None,
        title="Undo race",
    )
