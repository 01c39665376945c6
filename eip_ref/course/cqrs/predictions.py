"""The predictions of lessons 08a, 08b and 08c · CQRS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...trace import Trace
from .._proof import Proved
from .crash_points import Deaths
from .dashboard import at_the_end, on_the_wall
from .sign_ups import pages
from .sockets import heard_by

__all__ = ["PREDICTIONS"]


def _wrong(deaths: Deaths) -> tuple[int, int]:
    return deaths.count("lost"), deaths.count("doubled")


def _some(deaths: Deaths) -> tuple[bool, bool]:
    lost, doubled = _wrong(deaths)
    return lost > 0, doubled > 0


def _whose(heard: Mapping[str, Any]) -> str:
    event = heard['x","id":"ben']
    return event["id"] if isinstance(event, dict) else "error"


def _late(traces: Mapping[float, Trace]) -> str:
    seconds = traces[30].result
    return "at once" if seconds <= 1 else "a few seconds" if seconds <= 10 else "half a minute"


def _not_found(looked: Mapping[float, Trace]) -> str:
    missing = pages(looked[0.5])["404"]
    return "none" if not missing else "a few" if missing < 15 else "half" if missing < 70 else "all"


PREDICTIONS = (
    Proved(
        name="cqrs/look_first",
        question="The handler looks first, and the browser asks again. How many of the five deaths go wrong?",
        run="looked",
        reading=_wrong,
        claims={
            "None: what was done is not done again, and what was not is": (0, 0),
            "One: Ann is still welcomed twice": (0, 1),
            "Two: the event is lost again": (2, 0),
        },
        answer="Two: the event is lost again",
        why=(
            "The row says that Ann is a customer. It does not say that mail has been told. So the second try "
            "finds the row, believes that all is done, and answers 201."
        ),
    ),
    Proved(
        name="cqrs/outbox",
        question="State and event in one commit, and a relay. What do the deaths do now?",
        run="relayed",
        reading=_some,
        claims={
            "Nothing: every death ends right": (False, False),
            "Some events are lost: those that the relay had in its hands": (True, False),
            "Some events are doubled": (False, True),
        },
        answer="Some events are doubled",
        why=(
            "Publishing and removing are two writes to two systems again. The relay publishes first. When it "
            "dies between the two, the event is still in the outbox, and it is published once more."
        ),
    ),
    Proved(
        name="cqrs/format",
        question='Cem has the id "cem" and signs up as `x","id":"ben`. What does a reader of the event get?',
        run="heard",
        reading=_whose,
        claims={
            "An error: this is no JSON": "error",
            "Cem's event, with a strange name": "cem",
            "An event about Ben": "ben",
        },
        answer="An event about Ben",
        why=(
            "The name closes its own quotes and goes on with a second `id`. That is JSON, and a reader takes "
            "the last one of two equal names. Nothing in the text says that Cem has written half of it."
        ),
    ),
    Proved(
        name="cqrs/broker_down",
        question="The broker is down for 62 s and comes back. How long after that does mail have the event?",
        run="down",
        reading=_late,
        claims={
            "At once: the relay waits for the broker": "at once",
            "After about 5 s": "a few seconds",
            "After about 30 s": "half a minute",
        },
        answer="After about 30 s",
        why=(
            "The relay does not know when the broker comes back. After each failure it waits twice as long, "
            "up to 30 s. Its try at 61.5 s was half a second too early, and the next one was at 91.5 s."
        ),
    ),
    Proved(
        name="cqrs/half_a_second",
        question="Each customer now opens her page half a second after her 201. How many of 100 get a 404?",
        run="looked",
        reading=_not_found,
        claims={
            "None: the projector needs 0.3 s": "none",
            "About five": "a few",
            "About half of them": "half",
        },
        answer="About half of them",
        why=(
            "0.3 s is what an event needs when it is its turn. Before, it stands in a line, behind others "
            "who signed up a moment ago. And 0.3 s is a mean: some events need a second, and others wait."
        ),
    ),
    Proved(
        name="cqrs/fourth",
        question="The view goes by version, and the fourth charge is lost. What does it show of 5,400 cents?",
        run="without_the_fourth",
        reading=lambda trace: at_the_end(trace)[0],
        claims={
            "5,300: the fourth is missing": 5300,
            "5,400: the versions tell what is missing": 5400,
            "300, until the fourth comes": 300,
        },
        answer="300, until the fourth comes",
        why=(
            "Without the fourth, the fifth is not the next one. The view holds it back, and all that follow. "
            "It would rather be old than wrong: what it shows was true once."
        ),
    ),
    Proved(
        name="cqrs/gauge",
        question="The relay has been away for 45 s. What does this gauge say?",
        run="away",
        reading=lambda trace: "small" if on_the_wall(trace, 55)["lag"] < 2 else "large",
        claims={
            "About 45 s": "large",
            "Nothing: there is no event to measure": "none",
            "Less than a second": "small",
        },
        answer="Less than a second",
        why=(
            "The gauge is written when an event comes. Since 10 s none has come, so it still says how quick "
            "the last one was. What does not come measures nothing."
        ),
    ),
    Proved(
        name="cqrs/three_sockets",
        question="Three browsers, twelve changes, one channel. What do they show when all is quiet?",
        run="one_channel",
        reading=lambda trace: sum(cents == 1200 for _, cents in heard_by(trace).values()),
        claims={
            "All three show the newest row": 3,
            "One shows the newest row, the others older ones": 1,
            "None does: the changes get in each other's way": 0,
        },
        answer="One shows the newest row, the others older ones",
        why=(
            "A channel gives each message to one of those who read it: they are competing consumers. Each "
            "browser gets every third change, and only one of them the last."
        ),
    ),
    Proved(
        name="cqrs/dead_projector",
        question=(
            "The projector is dead. Dina signs up, and her browser asks for the place that it was told. What "
            "are the two answers?"
        ),
        run="without_projector",
        reading=lambda answers: [answers[0].status, answers[1].status, answers[1].body.get("stale")],
        claims={
            "201, and then 404": [201, 404, None],
            "503 at once: the shop is not complete": [503, 503, None],
            "201, and then 200 with a mark": [201, 200, True],
        },
        answer="201, and then 200 with a mark",
        why=(
            "The command needs its own database and nothing else. The read waits for the version, and when "
            "its time is over it says that it has nothing that new. It does not say that there is no Dina."
        ),
    ),
    Proved(
        name="cqrs/resume",
        question=(
            "Meanwhile Ann gets two new names and Ben one charge. How many changes come when it resumes?"
        ),
        run="resumed",
        reading=lambda resumed: sorted(change["id"] for change in resumed),
        claims={
            "Two: the last one of each row": ["ann", "ben"],
            "Three: every change that it has missed": ["ann", "ann", "ben"],
            "Three: all rows again, a socket remembers nothing": ["ann", "ben", "dina"],
        },
        answer="Two: the last one of each row",
        why=(
            "Nothing is kept for a browser that is away. Each row knows the position of its last change, "
            "so what is newer than the browser's position is read from them. Ann's first new name is gone."
        ),
    ),
    Proved(
        name="cqrs/from_the_log",
        question="A dual write charged Ann 500 cents, and died. Now the view is rebuilt. What is true?",
        run="after_the_rebuild",
        reading=lambda standing: standing["books"] - standing["shown"],
        claims={
            "The view is right: the rebuild brings what was missing": 0,
            "The view still shows 500 cents too little": 500,
            "The rebuild stops with an error": -1,
        },
        answer="The view still shows 500 cents too little",
        why=(
            "A rebuild reads events, and there is none. What was never told cannot be told again: only a "
            "comparison with the books finds it."
        ),
    ),
)
