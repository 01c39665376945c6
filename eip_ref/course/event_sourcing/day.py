"""A day of gift cards at the Tea House, of lesson 07a, and travelling through its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import anyio

from ...event_sourcing import MemoryEventStore, Recorded
from ...lab import Faults
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, lines
from ...message import Message
from ...trace import Kind, Trace, acting, record

__all__ = ["QUESTIONS", "a_day", "the_log_demo"]

FACTS = 60
CARDS = ("card 7", "card 8", "card 9")
TILLS = ("till 1", "till 2")
TEAS = {"Assam": 12, "Darjeeling": 15, "Sencha": 10}

Fold = Callable[[Counter[str], Recorded], None]


async def a_day() -> list[Recorded]:
    """Play a day with 60 facts about three cards, and return its log.

    A card is loaded with 60 euros when it has not enough. One tea in six is taken back, Sencha more often.
    """
    chance = Faults().random("customers")
    store, left, bought = MemoryEventStore("cards"), Counter[str](), list[tuple[str, str]]()
    for _ in range(FACTS):
        await anyio.sleep(round(chance.expovariate(1 / 480)))
        card, tea, till = chance.choice(CARDS), chance.choice([*TEAS]), chance.choice(TILLS)
        type_, euros = "TeaSold", -TEAS[tea]
        if left[card] < TEAS[tea]:
            type_, euros, tea = "CardLoaded", 60, ""
        elif bought and chance.random() < 1 / 6:
            card, tea = bought.pop()
            type_, euros = "TeaTakenBack", TEAS[tea]
        else:
            bought += [(card, tea)] * (3 if tea == "Sencha" else 1)
        left[card] += euros
        body = {"euros": euros, "tea": tea, "till": till}
        with acting(till):
            await store.append(card, [Message(body, type_)])
    return await store.read_all()


def _left(state: Counter[str], event: Recorded) -> None:
    state[event.stream] += event.message.body["euros"]


def _sold(state: Counter[str], event: Recorded) -> None:
    if event.message.type == "TeaSold":
        state[event.message.body["till"]] -= event.message.body["euros"]


def _taken_back(state: Counter[str], event: Recorded) -> None:
    if event.message.type == "TeaTakenBack":
        state[event.message.body["tea"]] += 1


QUESTIONS: dict[str, tuple[Fold, Iterable[str], str]] = {
    "left on each card": (_left, CARDS, "euros"),
    "sold by each till": (_sold, TILLS, "euros"),
    "taken back of each tea": (_taken_back, TEAS, "teas"),
}


def the_log_demo() -> Demo:
    """A slider over the log of the day, and three questions to it."""

    async def scenario(after: int, question: str) -> None:
        fold, names, unit = QUESTIONS[question]
        state = Counter(dict.fromkeys(names, 0))
        history = [dict(state)]
        log = await a_day()
        for event in log:
            fold(state, event)
            history.append(dict(state))
        when = log[after - 1].at if after else 0
        facts: dict[str, Any] = {"after": after, "history": history, "unit": unit, "when": when}
        record(Kind.NOTE, question, who="", text=f"after {after} facts", **facts)

    return demo(
        scenario,
        {
            "after": slider(0, FACTS, value=20, label="Facts of the log, so far"),
            "question": choice(*QUESTIONS, label="Question"),
        },
        presets={
            "In the morning": {"after": 8},
            "At noon": {"after": 24},
            "In the evening": {"after": FACTS},
            "Which till sold more?": {"after": FACTS, "question": "sold by each till"},
            "What comes back?": {"after": FACTS, "question": "taken back of each tea"},
        },
        summary=_in_words,
        figures=[_so_far],
        player=False,
        seed=7,
        title="A slider over the log",
    )


def _asked(trace: Trace) -> tuple[str, dict[str, Any]]:
    (note,) = trace.filter(Kind.NOTE)
    return note.where, dict(note.data)


def _in_words(trace: Trace) -> str:
    question, it = _asked(trace)
    state = ", ".join(f"{name}: {value}" for name, value in it["history"][it["after"]].items())
    hours, minutes = divmod(round(it["when"] / 60), 60)
    so_far = f"After {it['after']} of {FACTS} facts, at {9 + hours}:{minutes:02}"
    return f"{so_far}, {question}, in {it['unit']}: {state}."


def _so_far(trace: Trace) -> Figure:
    question, it = _asked(trace)
    series = {name: [(i, state[name]) for i, state in enumerate(it["history"])] for name in it["history"][0]}
    return lines(series, x="facts", y=it["unit"], title=f"All day: {question}", mark=it["after"])
